"""Crystals worth a label, most informative first: `python -m experiments.reference_set.pool`.

Writes .work/reference_set/pool-N.jsonl.gz, N one beyond the last: a row is id, formula, origin (aflow,
signature, decoder), prototype, signature, lattice, species, frac_coords, the shipped surrogate's K, G,
formation energy and distance to the hull with their errors, `stable` (chance of lying near the hull) and
`cost`. `--after labels` chooses by where the labels so far disagreed with the surrogate. Deterministic in
(seed, pools and labels so far).
"""

import argparse
import logging
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from experiments.reference_set.candidates import Decorated, decoded, decorated, n_operations, types
from experiments.reference_set.disagreement import Disagreement
from experiments.reference_set.elements import allowed_elements
from experiments.reference_set.files import WORK, labelled, pools, read_lines, write_lines
from experiments.reference_set.selection import is_stiff, selected

LOGGER = logging.getLogger(__name__)

MOST_ABOVE_HULL = 0.35
"""eV/atom, predicted."""

MOST_UNSURE = 0.5
"""Relative error of G, predicted; beyond it 8 of 100 labelled crystals were stable, below it 54."""

SOFT = 10.0
"""GPa added to moduli whose error is taken relative to them: nobody asks how soft caesium is."""

PER_TYPE, PER_CONDITION = 120, 96
"""Decorations tried for each structure type; decoder samples for each condition."""


def gathered(seed: int) -> list[Decorated]:
    """Return sound, distinct crystals of all three origins that stand in no DFT row of elastic moduli."""
    from inverse.decoders import Condition, load_decoder
    from inverse.inputs.constraints import Constraints, Elements
    from inverse.proposers.screening import Screen
    from inverse.reference.familiarity import known_prototypes
    from surrogates.checkpoints.checkpoint import load_surrogate

    elements = frozenset(allowed_elements())
    small: dict[str, Any] = {"n_atoms": (2, 6), "n_elements": (2, 3), "allowed_elements": elements}
    conditions = [Condition(**small), *(Condition(targets=t, **small) for t in _wanted())]
    found = decorated(types(known_prototypes(8)), PER_TYPE, load_surrogate("composition"), seed)
    found += decoded(load_decoder("default"), conditions, PER_CONDITION, seed)
    only = Elements(only=tuple(sorted(elements)))
    screen = Screen(Constraints(elements=only, n_atoms=(1, 8), n_elements=(1, 4)))
    LOGGER.info("%d crystals made", len(found))
    unique = {(d.formula, d.signature): d for d in reversed(found)}
    known = dft_signatures({formula for formula, _ in unique})
    return [d for key, d in unique.items() if key not in known and screen.breach(d.structure) is None]


def _wanted() -> list[dict[str, float]]:
    bulk, shear = "bulk_modulus_vrh", "shear_modulus_vrh"
    return [{bulk: 350.0, shear: 220.0}, {bulk: 250.0, shear: 150.0}, {bulk: 60.0}, {bulk: 20.0}]


def dft_signatures(formulas: Iterable[str]) -> set[tuple[str, str]]:
    """Return (formula, signature) of the DFT rows of these formulas that have elastic moduli."""
    from inverse.reference.signatures import Cell, signature_text
    from surrogates.datasets.elasticity import elasticity_rows

    wanted, found = set(formulas), set()
    for row in elasticity_rows():
        if row["formula"] in wanted:
            cell = Cell(np.array(row["lattice"]), np.array(row["frac_coords"]), tuple(row["species"]))
            found.add((row["formula"], signature_text(cell) or ""))
    return found


def predicted(found: Sequence[Decorated]) -> list[dict[str, Any]]:
    """Return candidates as rows with predictions, those far above the hull left out."""
    from inverse.assembly import hull_below, load_structure_surrogate
    from inverse.prediction.evaluation import Evaluator
    from inverse.reference import ReferenceHull
    from surrogates.physics.properties import BULK_MODULUS, ENERGY_ABOVE_HULL, FORMATION_ENERGY, SHEAR_MODULUS

    wanted = (BULK_MODULUS, SHEAR_MODULUS, FORMATION_ENERGY, ENERGY_ABOVE_HULL)
    evaluator = Evaluator(load_structure_surrogate("cpu"), hull_below(ReferenceHull.packaged()), wanted)
    values = evaluator.predict([d.structure for d in found])
    rows = []
    for k, one in enumerate(found):
        numbers = {}
        for prop in wanted:
            name = prop.name.removesuffix("_vrh")
            numbers[name] = round(float(values[prop].mean[k]), 4)
            numbers[f"{name}_std"] = round(float(values[prop].std[k]), 4)
        if _is_promising(numbers):
            rows.append(_row(one, numbers))
    return rows


def _is_promising(numbers: Mapping[str, float]) -> bool:
    """Return whether a crystal lies near the hull and the surrogate does not expect it to give way."""
    unsure = numbers["shear_modulus_std"] > MOST_UNSURE * numbers["shear_modulus"]
    return (
        all(np.isfinite(list(numbers.values())))
        and numbers["energy_above_hull"] < MOST_ABOVE_HULL
        and not unsure
    )


def _row(one: Decorated, numbers: dict[str, float]) -> dict[str, Any]:
    structure, n_atoms = one.structure, len(one.structure)
    error = max(numbers["energy_above_hull_std"], 0.05)
    stable = 1.0 / (1.0 + np.exp(-1.7 * np.clip((0.15 - numbers["energy_above_hull"]) / error, -20, 20)))
    return {
        "id": "rs-" + sha256(f"{one.formula} {one.signature}".encode()).hexdigest()[:12],
        "formula": one.formula,
        "origin": one.origin,
        "prototype": one.prototype,
        "signature": one.signature,
        "lattice": np.round(structure.lattice.matrix, 6).tolist(),
        "species": [site.specie.symbol for site in structure],
        "frac_coords": np.round(structure.frac_coords, 7).tolist(),
        **numbers,
        "stable": round(float(stable), 4),
        "cost": round((n_atoms + 1) * (1.0 + 16.0 / n_operations(one.prototype)), 2),
    }


def information(row: Mapping[str, Any]) -> float:
    """Return what a label should teach where no labels tell: the relative errors predicted."""
    bulk = row["bulk_modulus_std"] / (row["bulk_modulus"] + SOFT)
    return float(bulk + row["shear_modulus_std"] / (row["shear_modulus"] + SOFT))


def learned(folder: Path = WORK) -> Disagreement:
    """Return where the labels so far disagreed with the surrogate's predictions."""
    labels = labelled(folder)
    rows = [row for path in pools(folder) for row in read_lines(path) if row["id"] in labels]
    moduli = ("bulk_modulus", "shear_modulus")
    return Disagreement.of(
        [{**row, **{f"label_{m}": labels[row["id"]].get(m) for m in moduli}} for row in rows]
    )


def main() -> None:
    """Write the next pool."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=900)
    parser.add_argument("--seed", type=int, default=20261125)
    parser.add_argument("--after", choices=["surrogate", "labels"], default="surrogate")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    from inverse.potentials.loading import limit_threads

    limit_threads()
    earlier = [row for path in pools() for row in read_lines(path)]
    taken, number = {row["id"] for row in earlier}, len(pools()) + 1
    found = gathered(options.seed + number)
    LOGGER.info("%d sound crystals without DFT moduli", len(found))
    rows = [row for row in predicted(found) if row["id"] not in taken]
    LOGGER.info("%d near the hull, %d of them stiff", len(rows), sum(map(is_stiff, rows)))
    teaches, chance = [information(row) for row in rows], [row["stable"] for row in rows]
    if options.after == "labels":
        model = learned()
        teaches, chance = [model.expected_error(r) for r in rows], [model.chance(r) for r in rows]
    chosen = selected(rows, teaches, chance, options.rows, options.seed + number, earlier=earlier)
    path = WORK / f"pool-{number}.jsonl.gz"
    write_lines(path, [rows[k] for k in chosen])
    LOGGER.info("%s: %d rows", path.name, len(chosen))


if __name__ == "__main__":
    main()
