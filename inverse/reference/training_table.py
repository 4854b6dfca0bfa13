"""The carried facts as a table for composition networks to learn from, where the shared one is not there."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from inverse.reference.facts import Facts
from inverse.reference.phases import NO_ENERGY
from inverse.reference.phases import SOURCES as PHASE_SOURCES
from surrogates.physics.properties import MODULI

Column = tuple[str, str, Mapping[str, float]]
"""Source, property, value by reduced formula: what composition networks are trained on."""


def carried_formulas() -> list[Column]:
    """Return energies (on the scale of the reference hull), moduli and band gaps by formula and source.

    Raises:
        DataError: a carried file is missing or damaged.
    """
    facts = Facts.packaged()
    phases, moduli = facts.hull.phases, facts.moduli
    known = phases.energies != NO_ENERGY
    is_oqmd = phases.sources == PHASE_SOURCES.index("OQMD")
    columns: list[Column] = []
    for source, rows in (("mp", known & ~is_oqmd), ("oqmd", known & is_oqmd)):
        names = np.asarray(phases.formulas)[rows].tolist()
        energies = (phases.energies[rows] / 1000.0).tolist()
        columns.append((source, "formation_energy_per_atom", dict(zip(names, energies, strict=True))))
    names_of_moduli = [prop.name for prop in MODULI]
    entries = pd.DataFrame({name: moduli[name] for name in ("formula", "source", *names_of_moduli)})
    for index, source in enumerate(("mp", "aflow")):
        own = entries[entries["source"] == index].groupby("formula")
        for name in names_of_moduli:
            means = own[name].agg(lambda values: float(np.exp(np.mean(np.log(values)))))
            columns.append((source, name, means.to_dict()))
    return [*columns, ("mp_legacy", "band_gap", facts.band_gaps)]
