"""Fifteen known crystals by DFT: bulk modulus, distance from the hull, and of four the shear modulus.

    python -m experiments.first_principles.known --minutes 120   # computes what is missing
    python -m experiments.first_principles.known                 # the table of what there is
    python -m experiments.first_principles.known --write         # its errors to the packaged accuracy.json

The crystals: six whose PBE bulk modulus is a textbook's (C, Al, W, Re, Os, WC), and nine drawn with seed 15
from rows of Materials Project with K >= 200 GPa and G >= 50 GPa: three binaries, four
ternaries, two of any kind, of at most six atoms; without O, F, magnetic 3d metals and elements that
Debian's data sets lack; itself and the phases that it would fall apart into among the structures of Materials
Project, these of at most 14 atoms in all. Written down before any of them was computed.
"""

import argparse
import gzip
import json
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Composition, Lattice, Structure

from experiments.first_principles.calculations import Calculations, answers
from experiments.first_principles.convergence import CRYSTALS
from inverse.potentials.dft import code_named
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.reference import ReferenceHull
from inverse.verification import first_principles
from inverse.verification.first_principles.bulk_modulus import BulkModulus
from inverse.verification.first_principles.crystal import Crystal, Wanted, crystal
from inverse.verification.first_principles.plan import planned
from inverse.verification.first_principles.reaction import Phase, energy_above
from inverse.verification.first_principles.setting import Setting
from surrogates.datasets.shared import data_folder

TEXTBOOK = {"C": 434.0, "Al": 77.0, "W": 301.0, "Re": 368.0, "Os": 406.0, "WC": 378.5}
"""PBE bulk moduli, GPa."""


def _hcp(symbol: str, a: float, c: float) -> Structure:
    return Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(a, c), [symbol], [[1 / 3, 2 / 3, 0.25]])


TEXTBOOK_CELLS = {**CRYSTALS, "Re": _hcp("Re", 2.774, 4.478), "Os": _hcp("Os", 2.757, 4.355)}
LEFT_OUT = frozenset(["O", "F", "Cr", "Mn", "Fe", "Co", "Ni"])
TENSORS = ("C", "WC", "TiN", "TiB2")
SEED = 15

ENOUGH = 4
"""Crystals whose errors replace an allowance in the packaged accuracies; fewer say too little."""

ACCURACY = Path(first_principles.__file__).with_name("accuracy.json")
"""Of the package: standard errors of DFT values."""


@dataclass(frozen=True)
class Known:
    """A known crystal with what its table says: GPa; None where it does not."""

    name: str
    structure: Structure
    bulk_modulus: float | None
    shear_modulus: float | None
    source: str


@cache
def rows(name: str) -> list[dict[str, Any]]:
    with gzip.open(data_folder() / "structures" / f"{name}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def structure_of(row: Mapping[str, Any]) -> Structure:
    return Structure(row["lattice"], row["species"], row["frac_coords"])


def _setting(one: Known, setting: Setting) -> Setting:
    return setting.beside({element.symbol for element in one.structure.composition.elements})


def _known(row: Mapping[str, Any]) -> Known:
    bulk, shear = row["bulk_modulus_vrh"], row["shear_modulus_vrh"]
    return Known(row["formula"], structure_of(row), bulk, shear, row["id"])


def chosen() -> list[Known]:
    """Return the fifteen crystals, and those whose tensor alone is asked for."""
    code = code_named("gpaw")
    table = rows("elasticity")
    out = []
    for formula, modulus in TEXTBOOK.items():
        own = _mp(table, formula, 187 if formula == "WC" else 0)
        shear = own.get("shear_modulus_vrh")
        out.append(Known(formula, TEXTBOOK_CELLS[formula], modulus, shear, "textbook"))
    drawn = [r for r in table if r["source"].startswith("mp_") and _is_wanted(r, code.elements)]
    unique = {r["formula"]: r for r in sorted(drawn, key=lambda r: (r["formula"], r["id"]))}
    pool = [r for f, r in unique.items() if f not in TEXTBOOK and _has_reaction(f, structure_of(r))]
    random.Random(SEED).shuffle(pool)

    def take(n: int, is_one: Any) -> None:
        for _ in range(n):
            row = next(r for r in pool if is_one(len(set(r["species"])), len(r["species"])))
            pool.remove(row)
            out.append(
                Known(
                    row["formula"],
                    structure_of(row),
                    row["bulk_modulus_vrh"],
                    row["shear_modulus_vrh"],
                    row["id"],
                )
            )

    take(3, lambda kinds, atoms: kinds == 2)
    take(4, lambda kinds, atoms: kinds == 3)
    take(2, lambda kinds, atoms: True)
    return out


def tensors_only(known: Iterable[Known]) -> list[Known]:
    """Return the crystals of high symmetry whose shear modulus is asked for, where not among the fifteen."""
    named, table = {one.name for one in known}, rows("elasticity")
    groups = {"TiN": 225, "TiB2": 191}
    out = []
    for formula, group in groups.items():
        if formula not in named:
            row = _mp(table, formula, group)
            out.append(
                Known(
                    formula, structure_of(row), row["bulk_modulus_vrh"], row["shear_modulus_vrh"], row["id"]
                )
            )
    return out


def competitors_of(known: Sequence[Known]) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, Any]]]:
    """Return the shares of the phases that each would fall apart into, itself left out, and their rows."""
    hull = ReferenceHull.packaged()
    shares: dict[str, dict[str, float]] = {}
    for one in known:
        composition = one.structure.composition
        if len(composition.elements) > 1:
            found = hull.energy_above_hull(composition.reduced_formula, 0.0, exclude_itself=True)
            shares[one.name] = dict(found.decomposition)
    names = sorted({name for one in shares.values() for name in one})
    return shares, {n: lowest_phases()[n] for n in names if n in lowest_phases()}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    known = chosen()
    also = tensors_only(known)
    shares, competitors = competitors_of(known)
    setting = Setting(code_named("gpaw"), memory=Calculations())
    if options.plan:
        for one in [*known, *also]:
            n_atoms = len(SymmetricCell.from_structure(one.structure).numbers)
            parts = ", ".join(shares.get(one.name, {}))
            print(f"{one.name:10s} {one.source:14s} {n_atoms} atoms, K {one.bulk_modulus}; {parts}")
        for name, row in competitors.items():
            print(f"{name:10s} {len(SymmetricCell.from_structure(structure_of(row)).numbers)} atoms")
        return 0
    found = answers(
        inquiries_of(known, also, competitors, setting), 60.0 * options.minutes, options.processes
    )
    errors = _print(known, also, shares, competitors, found)
    if options.write:
        write(errors)
    return 0


def inquiries_of(
    known: Sequence[Known],
    also: Sequence[Known],
    competitors: Mapping[str, Mapping[str, Any]],
    setting: Setting,
) -> list[tuple[str, Any]]:
    """Return what is asked: moduli first, then competing phases and tensors, the cheapest first."""
    out, later = [], []
    for one in [*known, *also]:
        cell, own = SymmetricCell.from_structure(one.structure), _setting(one, setting)
        out.append((one.name, crystal(cell, own, Wanted(bulk_modulus=True))))
        if one.name in TENSORS:
            later.append((f"tensor {one.name}", cell, own, Wanted(stiffness=True)))
    for name, row in competitors.items():
        cell = SymmetricCell.from_structure(structure_of(row))
        later.append((f"phase {name}", cell, setting, Wanted()))
    later.sort(key=lambda asked: planned(*asked[1:]).core_minutes)
    return [*out, *((label, crystal(*asked)) for label, *asked in later)]


def write(errors: Mapping[str, Sequence[float]]) -> None:
    """Write the mean absolute error of each property as the model error of the packaged accuracies."""
    packaged = json.loads(ACCURACY.read_text(encoding="utf-8"))
    for name, row in packaged["properties"].items():
        own = errors.get(name, ())
        if len(own) >= ENOUGH:
            row |= {"model": round(float(np.abs(own).mean()), 4), "n": len(own)}
    packaged["source"] = (
        "numerical error of K: experiments.first_principles.convergence; model errors: mean absolute "
        "errors of experiments.first_principles.known; n = 0: an allowance, not yet measured"
    )
    rows = ",\n".join(f"    {json.dumps(n)}: {json.dumps(r)}" for n, r in packaged["properties"].items())
    source = json.dumps(packaged["source"])
    text = f'{{\n  "source": {source},\n  "properties": {{\n{rows}\n  }}\n}}\n'
    ACCURACY.write_text(text, encoding="utf-8")


def _print(
    known: Sequence[Known],
    also: Sequence[Known],
    shares: Mapping[str, Mapping[str, float]],
    competitors: Mapping[str, Mapping[str, Any]],
    found: Mapping[str, Any],
) -> dict[str, list[float]]:
    """Print what is computed; return its errors by property: shares of the value, eV/atom for a distance."""
    errors, distances, shears = [], [], []
    for one in [*known, *also]:
        own = found.get(one.name)
        if not isinstance(own, Crystal) or own.bulk is None:
            print(f"{one.name:10s} {own or 'not yet'}")
            continue
        bulk, table = own.bulk, one.bulk_modulus or float("nan")
        off = bulk.hill() / table - 1.0
        line = [
            f"{one.name:10s} K {bulk.hill():6.1f}, table {table:.1f}, {100 * off:+.1f} %",
            f"V {bulk.voigt:.1f} ({bulk.by_energy:.1f}, {bulk.by_stress:.1f}), K_V - K_R {_softening(bulk)}",
            f"{own.state.order} {own.state.moment:.2f}",
        ]
        if one in known:
            errors.append(off)
        if (distance := _distance(one, own, shares, competitors, found)) is not None:
            distances.append(distance[0] - distance[1])
            line.append(f"above {'+'.join(shares[one.name])} {distance[0]:+.3f}, table {distance[1]:+.3f}")
        tensor = found.get(f"tensor {one.name}")
        if isinstance(tensor, Crystal) and tensor.stiffness is not None and one.shear_modulus:
            stiffness = tensor.stiffness
            shears.append(stiffness.shear_modulus / one.shear_modulus - 1.0)
            line.append(
                f"G {stiffness.shear_modulus:.1f}, table {one.shear_modulus:.1f}, {100 * shears[-1]:+.1f} %; "
                f"K of the tensor {stiffness.bulk_modulus:.1f}"
            )
        print("; ".join(line))
    for name, off_by, scale, unit in (
        ("K", errors, 100.0, "%"),
        ("distance from the hull", distances, 1.0, "eV/atom"),
        ("G", shears, 100.0, "%"),
    ):
        if off_by:
            values = scale * np.array(off_by)
            print(
                f"{name}: MAE {np.abs(values).mean():.3f} {unit}, bias {values.mean():+.3f}, "
                f"largest {np.abs(values).max():.3f} (n {len(values)})"
            )
    return {"bulk_modulus_vrh": errors, "energy_above_hull": distances, "shear_modulus_vrh": shears}


def _softening(bulk: BulkModulus) -> str:
    return "?" if bulk.reuss is None else f"{bulk.voigt - bulk.reuss:.1f}"


def _distance(
    one: Any, own: Crystal, shares: Any, competitors: Any, found: Any
) -> tuple[float, float] | None:
    parts = shares.get(one.name)
    if not parts or any(not isinstance(found.get(f"phase {n}"), Crystal) for n in parts):
        return None
    phases = {n: found[f"phase {n}"] for n in parts}
    by_dft = energy_above(_phase(own), {n: _phase(c) for n, c in phases.items()}, parts)
    row = _same(one.structure)
    if row is None:
        return None
    by_table = row["formation_energy_per_atom"] - sum(
        share * competitors[n]["formation_energy_per_atom"] for n, share in parts.items()
    )
    return by_dft, by_table


def _phase(one: Crystal) -> Phase:
    return Phase(one.cell.to_structure(), one.energy)


def _same(structure: Structure) -> dict[str, Any] | None:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    formula = structure.composition.reduced_formula
    alike = [
        r
        for r in rows("mp_structures")
        if r["formula"] == formula and r["formation_energy_per_atom"] is not None
    ]
    return next((r for r in alike if StructureMatcher().fit(structure, structure_of(r))), None)


def _mp(table: Iterable[dict[str, Any]], formula: str, group: int) -> dict[str, Any]:
    found = [
        r
        for r in table
        if r["source"].startswith("mp_") and r["formula"] == formula and r["space_group"] == group
    ]
    return found[0] if found else {}


def _has_reaction(formula: str, structure: Structure) -> bool:
    own = _same(structure)
    shares = ReferenceHull.packaged().energy_above_hull(formula, 0.0, exclude_itself=True).decomposition
    parts = lowest_phases()
    if own is None or any(name not in parts for name in shares):
        return False
    return sum(len(SymmetricCell.from_structure(structure_of(parts[name])).numbers) for name in shares) <= 14


@cache
def lowest_phases() -> dict[str, dict[str, Any]]:
    """Return the lowest row of each formula of Materials Project's structures."""
    by_formula: dict[str, list[dict[str, Any]]] = {}
    for row in rows("mp_structures"):
        if row["formation_energy_per_atom"] is not None:
            by_formula.setdefault(row["formula"], []).append(row)
    return {formula: _lowest(found) for formula, found in by_formula.items()}


def _lowest(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return min(
        found, key=lambda r: (r["formation_energy_per_atom"] is None, r["formation_energy_per_atom"] or 0.0)
    )


def _is_wanted(row: Mapping[str, Any], elements: frozenset[str]) -> bool:
    bulk, shear, species = row["bulk_modulus_vrh"], row["shear_modulus_vrh"], set(row["species"])
    return bool(
        bulk
        and shear
        and bulk >= 200
        and shear >= 50
        and len(row["species"]) <= 6
        and 1 < len(species) <= 3
        and not species & LEFT_OUT
        and species <= elements
        and Composition(row["formula"]).num_atoms <= 6
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
