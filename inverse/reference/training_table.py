"""The carried facts as a table for composition networks to learn from, where the shared one is not there."""

from collections.abc import Mapping

import numpy as np
import pyarrow.parquet as parquet

from inverse.reference.phases import NO_ENERGY, PACKAGE_DATA
from surrogates.errors import DataError

Column = tuple[str, str, Mapping[str, float]]
"""Source, property, value by reduced formula: what composition networks are trained on."""


def carried_formulas() -> list[Column]:
    """Return energies (on the scale of the reference hull), moduli and band gaps by formula and source.

    Raises:
        DataError: a carried file is missing or damaged.
    """
    try:
        phases, moduli, gaps = (
            parquet.read_table(PACKAGE_DATA / f"{name}.parquet").to_pydict()
            for name in ("phases", "moduli", "band_gaps")
        )
    except (OSError, ValueError) as error:
        raise DataError(f"carried facts cannot be read: {error}") from None
    energies: dict[str, dict[str, float]] = {"mp": {}, "oqmd": {}}
    for formula, energy, source in zip(
        phases["formula"], phases["formation_energy_mev"], phases["source"], strict=True
    ):
        if energy != NO_ENERGY:
            energies["oqmd" if source == 3 else "mp"][formula] = energy / 1000
    columns: list[Column] = [
        (source, "formation_energy_per_atom", values) for source, values in energies.items()
    ]
    for index, source in enumerate(("mp", "aflow")):
        mine = [i for i, s in enumerate(moduli["source"]) if s == index]
        for name in ("bulk_modulus_vrh", "shear_modulus_vrh"):
            columns.append((source, name, _means(mine, moduli["formula"], moduli[name])))
    gap = {f: v / 1000 for f, v in zip(gaps["formula"], gaps["band_gap_mev"], strict=True)}
    return [*columns, ("mp_legacy", "band_gap", gap)]


def _means(rows: list[int], formulas: list[str], values: list[float]) -> dict[str, float]:
    """Return the geometric mean of the positive values of each formula."""
    logs: dict[str, list[float]] = {}
    for i in rows:
        if values[i] and values[i] > 0:
            logs.setdefault(formulas[i], []).append(float(np.log(values[i])))
    return {formula: float(np.exp(np.mean(own))) for formula, own in logs.items()}
