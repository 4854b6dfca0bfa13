"""Label pools by 7net-0: `python -m experiments.reference_set.label pool-1.jsonl.gz --seconds 290`.

One JSON line a crystal, on disk before the next is begun, in .work/reference_set/labels/, a file of its own
for every process. What any of these files holds is passed over, so a killed run loses one crystal at most and
the same command goes on. Failures are rows with their reason. Verdicts also enter the verification store
(INVERSE_STORE). Several pools are labelled one after the other.
"""

import argparse
import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from pymatgen.core import Structure

from experiments.reference_set.coordination import coordination_change
from experiments.reference_set.elements import POTENTIAL
from experiments.reference_set.files import WORK, labelled, pools, read_lines
from experiments.reference_set.gates import MOST_ABOVE_HULL
from inverse.inputs.records import plain, structure_from_record, structure_to_record
from inverse.potentials.limits import Limit
from inverse.potentials.loading import limit_threads, load_potential, potential_version
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.reference import ReferenceHull
from inverse.reference.signatures import Cell, signature_text
from inverse.reference.skeletons import anonymous
from inverse.verification.calibration.energy_correction import formation_energy
from inverse.verification.judge import Judge, RelaxationVerdict, TensorVerdict
from inverse.verification.store import VerificationStore, canonical_structure
from surrogates.errors import EngineError, MachineError
from surrogates.physics.units import GPA_PER_EV_PER_A3

LOGGER = logging.getLogger(__name__)

SECONDS_PER_CRYSTAL = 60.0
"""Of computing."""

LOOK_AROUND = 20
"""Rows after which the files of other processes are read again."""

LOOSE_SYMPREC = 0.1
"""Å, at which the structure before and after relaxation is compared."""

TENSOR_FIELDS = (
    "bulk_modulus",
    "shear_modulus",
    "bulk_amplitude",
    "shear_amplitude",
    "lowest_eigenvalue",
    "lowest_mode",
    "is_stable",
    "flags",
    "relaxed",
    "clamped",
)


def label(row: Mapping[str, Any], judge: Judge, hull: ReferenceHull) -> dict[str, Any]:
    """Return the label of a row of a pool: single point, relaxation, tensor, energies; or why not.

    Args:
        row: with id, formula, lattice, species, frac_coords.
        judge: the potential at the settings of record.
        hull: of known phases.

    Raises:
        MachineError: memory, device or disk failed, which says nothing of the crystal.
    """
    started = time.process_time()
    found: dict[str, Any] = {"id": row["id"], "formula": row["formula"], "potential": judge.potential}
    found |= {"version": potential_version(judge.potential), "settings": judge.settings.digest, "reason": ""}
    try:
        start = canonical_structure(structure_from_record(row))
        found |= _single_point(start, judge.potential, judge.device)
        limit = Limit.of(SECONDS_PER_CRYSTAL)
        relaxed = judge.relax(start, limit)
        found |= {"steps": relaxed.steps, "reason": relaxed.reason}
        if relaxed.structure is not None:
            found |= _relaxed(start, relaxed, hull)
            if (found.get("energy_above_hull") or 0.0) > MOST_ABOVE_HULL:
                found["reason"] = "above the hull: the tensor was not computed"
            else:
                found |= _tensor(judge.tensor(relaxed.structure, limit))
    except MachineError:
        raise
    except Exception as error:  # one crystal never ends a run
        LOGGER.exception("%s", row["id"])
        found["reason"] = f"{type(error).__name__}: {error}"
    found["seconds"] = round(time.process_time() - started, 2)
    return dict(plain(found))


def _single_point(start: Structure, potential: str, device: str) -> dict[str, Any]:
    """Return energy per atom, stress (Voigt, GPa) and largest force of the cell as proposed."""
    cell = SymmetricCell.from_structure(start)
    asked = load_potential(potential, device)
    asked.check_elements({site.specie.symbol for site in start})
    point = asked.evaluate(cell.numbers, cell.lattice, cell.frac_coords)
    stress = point.stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * GPA_PER_EV_PER_A3
    return {
        "start_energy_per_atom": point.energy / cell.n_atoms,
        "start_stress": np.round(stress, 3),
        "start_force": float(np.linalg.norm(point.forces, axis=1).max()),
        "start_volume_per_atom": cell.volume / cell.n_atoms,
    }


def _relaxed(start: Structure, relaxed: RelaxationVerdict, hull: ReferenceHull) -> dict[str, Any]:
    """Return the relaxed cell, its energies, and what relaxation changed."""
    structure = relaxed.structure
    if structure is None:
        return {}
    text = signature_text(Cell.from_structure(structure)) or ""
    before, after = (signature_text(Cell.from_structure(s), LOOSE_SYMPREC) for s in (start, structure))
    return {
        **structure_to_record(structure),
        "energy_per_atom": relaxed.energy / len(structure),
        "volume_change": structure.volume / len(structure) / (start.volume / len(start)) - 1.0,
        "signature": text,
        "prototype": anonymous(text)[0],
        "signature_changed": before != after,
        "coordination_change": round(coordination_change(start, structure), 4),
        **_energies(structure, relaxed.energy, hull),
    }


def _energies(structure: Structure, energy: float, hull: ReferenceHull) -> dict[str, Any]:
    """Return formation energy and distance to the hull, eV/atom; {} where an element has no reference."""
    try:
        formation = formation_energy(structure, energy, POTENTIAL)
        above = hull.energy_above_hull(structure.composition.reduced_formula, formation).energy_above_hull
    except EngineError:
        return {}
    return {"formation_energy_per_atom": round(formation, 5), "energy_above_hull": round(above, 5)}


def _tensor(verdict: TensorVerdict) -> dict[str, Any]:
    """Return the moduli and tensors (rounded to 0.01 GPa) of a verdict, and why there are none."""
    found = {name: getattr(verdict, name) for name in TENSOR_FIELDS}
    for name in ("relaxed", "clamped"):
        found[f"stiffness_{name}"] = np.round(found.pop(name), 2).tolist()
    if verdict.lowest_mode == math.inf:
        found["lowest_mode"] = None
    return {**found, "reason": verdict.reason}


def append(file: TextIO, row: Mapping[str, Any]) -> None:
    """Put a line on disk; it is there when this returns."""
    file.write(json.dumps(row) + "\n")
    file.flush()
    os.fsync(file.fileno())


def run(rows: Sequence[Mapping[str, Any]], judge: Judge, seconds: float, folder: Path = WORK) -> int:
    """Label rows that no file holds until the seconds are used up; return how many."""
    stop, done = time.monotonic() + seconds, dict[str, Any]()
    target = folder / "labels"
    target.mkdir(parents=True, exist_ok=True)
    hull, n_labelled = ReferenceHull.packaged(), 0
    with (target / f"{time.time_ns():x}-{os.getpid()}.jsonl").open("w") as file:
        for place, row in enumerate(rows):
            if time.monotonic() > stop:
                break
            if place % LOOK_AROUND == 0:
                done = labelled(folder)
            if row["id"] in done:
                continue
            found = label(row, judge, hull)
            append(file, found)
            n_labelled += 1
            LOGGER.info("%d %s", n_labelled, summary(found))
    return n_labelled


def summary(row: Mapping[str, Any]) -> str:
    """Return one line for the log."""
    moduli = "K {bulk_modulus} G {shear_modulus}".format_map({"bulk_modulus": "", "shear_modulus": ""} | row)
    return f"{row['id']} {row['formula']} {row['seconds']} s: {row['reason'] or moduli}"


def main() -> None:
    """Label pools."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pools", nargs="+", help="names under .work/reference_set, or paths")
    parser.add_argument("--seconds", type=float, default=290.0)
    parser.add_argument("--part", default="1/1", help="k/n, for several processes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", default=".", help="of the labels, under .work/reference_set")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    limit_threads()
    numbered = {path.name: path for path in pools()}
    paths = [Path(name) if Path(name).exists() else numbered.get(name, WORK / name) for name in options.pools]
    rows = [row for path in paths for row in read_lines(path)]
    k, n = map(int, options.part.split("/"))
    judge = Judge(POTENTIAL, store=VerificationStore(), device=options.device)
    done = run(rows[k - 1 :: n], judge, options.seconds, WORK / options.folder)
    LOGGER.info("%d labelled", done)


if __name__ == "__main__":
    main()
