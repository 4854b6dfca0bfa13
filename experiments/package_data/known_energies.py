"""Which carried signatures have a known energy: tabulated cells of `inverse/reference/signatures.parquet`.

    python -m experiments.package_data.known_energies     # errors of the rules below, nothing is written

1. A Materials Project row with a formation energy has that energy; one with its distance above the hull alone
   lies by it above the carried hull, where the surrogate's own error explains the rest (off by 0.001 eV/atom
   in the median, 0.020 at the 90th percentile, of 607 unstable rows that have both).
2. An element's ground state has 0 by definition: that of `experiments.package_data.textbook`, beside any row
   that has 0; a row up to 0.02 eV/atom above 0 in the ground state's structure has 0 as well. A cell of that
   structure without an energy has 0 within 10 % in volume of a textbook or a Materials Project cell, where
   the surrogate does not say that it is another 0.2 eV/atom from a cell that has 0. No cell at 0: H and F,
   whose crystals nothing here holds; He, Ne, Ar, Po, At, Rn, Fr, Ra and all from Am on, which the surrogate
   does not know.
3. The lowest energy that the Materials Project tables know of a formula (of which polymorph, they do not
   say) belongs to the carried cell that the surrogate finds lowest of those without an energy, where that is
   the only one or 0.1 eV/atom below all others, no row of rule 1 has that energy, and the surrogate's own
   error explains the difference to what it says of the cell: else the energy is another polymorph's.
4. Diamond has the energy of the one row of the table with two atoms of carbon that is no graphite.
5. Compounds' phases that `experiments.package_data.textbook` names.
"""

import warnings
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from pymatgen.core import Structure

from experiments.package_data.build_signatures import prototypes, signature_rows
from experiments.package_data.sources import MP_SCALE_SOURCES, read_rows, read_table
from experiments.package_data.textbook import NAMED, VOLUME_WITHIN, ground_states, named_phases
from inverse.reference import ReferenceHull
from inverse.reference.known_energies import NEAR_IN_VOLUME, TIER, TabulatedCell
from inverse.reference.phases import SOURCES, PhaseTable
from inverse.reference.signatures import Cell, signature_text
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import EngineError
from surrogates.physics.properties import FORMATION_ENERGY

MARGIN = 0.1
"""eV/atom that the surrogate must find a cell below all others of its formula to be taken for the lowest."""

MOST_STDS, MOST_DIFFERENCE = 4.0, 0.5
"""Std of the surrogate, and eV/atom, by which the energy of rule 3 and what it says of the cell may differ.

Often one polymorph alone is carried, and the table's energy is another's: AlCrO3's, of corundum type, stood
at the cubic perovskite, 1.1 eV/atom too low; ZrScZn2's 2.8 too high. WC's, which is right, is off by 3.0 std.
"""

SAME = 0.02
"""eV/atom within which a tabulated row counts as the lowest phase of its formula."""

DIAMOND, DIAMOND_ID = "227|8 -34m C", 66

OF_GROUND_STATE = 0.02
"""eV/atom up to which a row in the structure of the ground state is taken for it: hcp Mg stands at 0.009."""

ANOTHER_VOLUME = 0.02
"""Relative difference in volume beyond which a further cell of a ground state is worth carrying."""

MOST_BETWEEN = 0.2
"""eV/atom between what the surrogate says of two cells that may both have an element's 0.

Alpha-plutonium measured, at 20.0 Å³/atom, is 0.23 below the computed entry, at 16.7: their energies on the
one scale are not the same, and the entry's is the known one.
"""

MATERIALS_PROJECT, TEXTBOOK = 0, 3
"""Trust of rows: what comes from a file with a database id comes first, textbook rows last."""

BATCH = 256


@dataclass(frozen=True)
class Row:
    """A cell of the shared files, its energies NaN until known, and the order of trust of its file.

    Attributes:
        surrogate_std: of what the surrogate says of the cell, eV/atom; NaN until asked.
    """

    formula: str
    cell: TabulatedCell
    trust: int
    structure: dict[str, Any]
    surrogate_std: float = np.nan


def rows_with_signature(formulas: Container[str] | None = None) -> list[Row]:
    """Return every row of the shared files that has a signature, pymatgen's prototypes and textbook phases.

    Args:
        formulas: reduced; None stands for all. Prototypes are those of elements and of named phases.
    """
    found = []
    hull = ReferenceHull.packaged()
    for name in ("mp_structures", "elasticity"):
        rows = read_rows(name)
        for index, formula, text, volume in signature_rows(name, formulas):
            row = rows[index]
            is_mp = name == "mp_structures" or row["source"] in MP_SCALE_SOURCES
            energy = energy_of(row, formula, hull) if is_mp else np.nan
            identity = row["id"].removeprefix("mp-")
            number = int(identity) if is_mp and identity.isdigit() else 0
            cell = TabulatedCell(text, volume, energy, np.nan, number)
            found.append(Row(formula, cell, MATERIALS_PROJECT if is_mp else 1, row))
    named = {phase.formula for phase in NAMED}
    own = [(2, row) for row in prototypes() if len(set(row["species"])) == 1 or row["formula"] in named]
    own += [(2, row) for row in named_phases()] + [(TEXTBOOK, row) for row in ground_states()]
    found += [made for trust, row in own if (made := row_of(row, trust)) is not None]
    return [row for row in found if formulas is None or row.formula in formulas]


def energy_of(row: Mapping[str, Any], formula: str, hull: ReferenceHull) -> float:
    """Return the formation energy of a Materials Project row, NaN where it says nothing of it."""
    energy, above = row.get("formation_energy_per_atom"), row.get("energy_above_hull")
    if energy is not None:
        return float(energy)
    if above is None:
        return np.nan
    try:
        return hull.below(formula) + float(above)
    except EngineError:
        return np.nan


def row_of(row: dict[str, Any], trust: int) -> Row | None:
    """Return a row of lattice, species and frac_coords with its signature; None where it has none."""
    own = Cell(np.array(row["lattice"]), np.array(row["frac_coords"]), tuple(row["species"]))
    text = signature_text(own)
    if text is None:
        return None
    return Row(own.reduced_formula, TabulatedCell(text, own.volume_per_atom, np.nan, np.nan, 0), trust, row)


def with_surrogate_energies(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with what the packaged surrogate says of their cells; those it refuses are left out."""
    surrogate = load_surrogate(TIER)
    known = {z + 1 for z, n in enumerate(surrogate.domain.n_rows) if n > 0}
    done: list[Row] = []
    structures = [
        Structure(r.structure["lattice"], r.structure["species"], r.structure["frac_coords"]) for r in rows
    ]
    usable = [i for i, s in enumerate(structures) if {e.Z for e in s.composition.elements} <= known]
    usable.sort(key=lambda i: len(structures[i]))
    for start in range(0, len(usable), BATCH):
        part = usable[start : start + BATCH]
        with torch.no_grad():
            batch = CrystalBatch.from_structures([structures[i] for i in part])
            said = surrogate.predict(batch, [FORMATION_ENERGY])[FORMATION_ENERGY]
        done += [
            replace(rows[i], cell=replace(rows[i].cell, surrogate_energy=energy), surrogate_std=std)
            for i, energy, std in zip(part, said.mean.tolist(), said.std.tolist(), strict=True)
        ]
    return done


def tabulated(rows: Iterable[Row]) -> dict[tuple[str, str], list[TabulatedCell]]:
    """Return the cells with a known energy by (formula, signature), each Materials Project entry once."""
    by_formula: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_formula[row.formula].append(believed(row))
    phases = PhaseTable.packaged()
    found: dict[tuple[str, str], list[TabulatedCell]] = defaultdict(list)
    for formula in sorted(by_formula):
        own = sorted(by_formula[formula], key=lambda r: (r.trust, r.cell.database_id, r.cell.volume_per_atom))
        cells = list({r.cell.database_id: r.cell for r in own if np.isfinite(r.cell.energy)}.values())
        is_element = len(set(own[0].structure["species"])) == 1
        if is_element:
            cells = ground_state(own, cells)
        elif (added := lowest_phase(formula, own, cells, phases)) is not None:
            cells.append(added)
        cells += diamond(own) if formula == "C" else named(own, cells, phases)
        for cell in cells:
            found[formula, cell.signature].append(cell)
    return found


def believed(row: Row) -> Row:
    """Return a row, without the energy by its distance above the hull where the surrogate denies it."""
    is_direct = row.structure.get("formation_energy_per_atom") is not None
    is_element = len(set(row.structure["species"])) == 1
    if is_direct or is_element or agrees(row, row.cell.energy):
        return row
    return replace(row, cell=replace(row.cell, energy=np.nan))


def agrees(row: Row, energy: float) -> bool:
    """Return whether the surrogate's own error explains the difference to what it says of a cell."""
    limit = min(MOST_STDS * row.surrogate_std, MOST_DIFFERENCE)
    return abs(energy - row.cell.surrogate_energy) <= limit


def ground_state(own: Sequence[Row], cells: Sequence[TabulatedCell]) -> list[TabulatedCell]:
    """Return the known cells of an element, those of its ground state at 0 and of one entry."""
    ground = {row.cell.signature for row in own if row.trust == TEXTBOOK}
    found = [
        replace(cell, energy=0.0) if cell.signature in ground and cell.energy <= OF_GROUND_STATE else cell
        for cell in cells
    ]
    without = [row for row in own if row.cell.signature in ground and not np.isfinite(row.cell.energy)]
    further = [row.cell for row in without if is_of_ground_state(row.cell, own, found)]
    entries = {cell.signature: cell.database_id for cell in (*further, *reversed(found)) if cell.database_id}
    further = apart(further, found)
    return found + [replace(c, energy=0.0, database_id=entries.get(c.signature, 0)) for c in further]


def is_of_ground_state(cell: TabulatedCell, own: Sequence[Row], found: Sequence[TabulatedCell]) -> bool:
    """Return whether a cell with the signature of an element's ground state is one of that state.

    Args:
        cell: without an energy.
        own: rows of the element.
        found: its cells with an energy.
    """
    trusted = [r.cell for r in own if r.trust in (MATERIALS_PROJECT, TEXTBOOK)]
    volumes = [c.volume_per_atom for c in trusted if c.signature == cell.signature]
    if all(abs(cell.volume_per_atom / volume - 1) > VOLUME_WITHIN for volume in volumes):
        return False
    at_zero = [c.surrogate_energy for c in found if c.signature == cell.signature and c.energy == 0.0]
    return all(abs(cell.surrogate_energy - said) <= MOST_BETWEEN for said in at_zero)


def apart(further: Iterable[TabulatedCell], found: Sequence[TabulatedCell]) -> list[TabulatedCell]:
    """Return the cells whose volume is not that of one before, or found already, of their signature."""
    kept: list[TabulatedCell] = []
    for cell in further:
        same = [c.volume_per_atom for c in (*found, *kept) if c.signature == cell.signature]
        if all(abs(cell.volume_per_atom / volume - 1) > ANOTHER_VOLUME for volume in same):
            kept.append(cell)
    return kept


def named(own: Sequence[Row], cells: Sequence[TabulatedCell], phases: PhaseTable) -> list[TabulatedCell]:
    """Return the cells of a formula's named phases that have no energy yet."""
    found: list[TabulatedCell] = []
    for known in NAMED:
        phase = phases.phase(known.formula) if known.formula == own[0].formula else None
        if phase is not None and phase.formation_energy_per_atom is not None:
            energy = phase.formation_energy_per_atom + known.above_lowest
            further = [r.cell for r in own if r.cell.signature == known.signature]
            volume = known.volume_per_atom
            further = [
                cell
                for cell in further
                if not np.isfinite(cell.energy) and abs(cell.volume_per_atom / volume - 1) <= VOLUME_WITHIN
            ]
            number = known.database_id
            found += [replace(c, energy=energy, database_id=number) for c in apart(further, cells)]
    return found


def lowest_phase(
    formula: str, own: Sequence[Row], cells: Sequence[TabulatedCell], phases: PhaseTable
) -> TabulatedCell | None:
    """Return the carried cell that the lowest known energy of a formula belongs to; None where it is open."""
    phase = phases.phase(formula)
    if phase is None or phase.formation_energy_per_atom is None or phase.source not in SOURCES[1:3]:
        return None
    energy = phase.formation_energy_per_atom
    if any(cell.energy < energy + SAME for cell in cells):
        return None
    elsewhere = {cell.signature for cell in cells}
    lowest = clearly_lowest([row for row in own if row.cell.signature not in elsewhere])
    if lowest is None:
        return None
    if not agrees(lowest, energy):
        return None
    return replace(lowest.cell, energy=energy)


def clearly_lowest(own: Sequence[Row]) -> Row | None:
    """Return the first row of the signature that the surrogate finds lowest by MARGIN, None without one."""
    lowest: dict[str, float] = {}
    for row in own:
        text = row.cell.signature
        lowest[text] = min(lowest.get(text, np.inf), row.cell.surrogate_energy)
    order = sorted(lowest, key=lambda text: lowest[text])
    if not order or (len(order) > 1 and lowest[order[1]] - lowest[order[0]] < MARGIN):
        return None
    return next(row for row in own if row.cell.signature == order[0])


def diamond(own: Sequence[Row]) -> list[TabulatedCell]:
    """Return diamond, with the energy of the table's row of two atoms of carbon."""
    table = read_table("mp_formation_energy")
    energies = table.formation_energy_per_atom[(table.formula == "C2")]
    cells = [r.cell for r in own if r.cell.signature == DIAMOND][:1]
    return [replace(cell, energy=float(energies.max()), database_id=DIAMOND_ID) for cell in cells]


def errors(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what the look-up errs by between rows of one formula and signature, and how often rule 3."""
    groups: dict[tuple[str, str], dict[int, TabulatedCell]] = defaultdict(dict)
    by_formula: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if np.isfinite(row.cell.energy):
            groups[row.formula, row.cell.signature][row.cell.database_id] = row.cell
            by_formula[row.formula].append(row)
    left, difference, change = [], [], []
    for cells in groups.values():
        for one, other in combinations(cells.values(), 2):
            if abs(one.volume_per_atom / other.volume_per_atom - 1) <= NEAR_IN_VOLUME:
                said = one.surrogate_energy - other.surrogate_energy
                left.append(one.energy - other.energy - said)
                difference.append(said)
                change.append(abs(one.volume_per_atom / other.volume_per_atom - 1))
    right, wrong = 0, []
    for formula, own in by_formula.items():
        chosen = clearly_lowest(own)
        if len({r.cell.signature for r in own}) > 1 and chosen is not None:
            best = min(r.cell.energy for r in own)
            mine = min(r.cell.energy for r in own if r.cell.signature == chosen.cell.signature)
            right += mine < best + SAME
            wrong += [(formula, round(mine - best, 3))] if mine >= best + SAME else []
    size = np.abs(left)
    return {
        "pairs": len(size),
        "error": dict(
            zip((50, 68, 90, 95, 99), np.percentile(size, (50, 68, 90, 95, 99)).round(4), strict=True)
        ),
        "error where the surrogate says 10-50 meV": np.percentile(
            size[(np.abs(difference) > 0.01) & (np.abs(difference) < 0.05)], (50, 68, 90)
        ).round(4),
        "surrogate alone, std of differences": float(np.std(difference)),
        "rule 3": {"right": right, "wrong": wrong},
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    try:
        for name, value in errors(with_surrogate_energies(rows_with_signature())).items():
            print(name, value)
    except EngineError as error:
        raise SystemExit(str(error)) from None
