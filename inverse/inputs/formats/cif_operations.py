"""Which operations a CIF means: those that it lists, else those of the setting named that fits all else."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.core import Structure

from inverse.inputs.formats.cif_formula import FormulaFacts, hold_against_formula
from inverse.inputs.formats.cif_orbits import CifOrbit, expand, structure_of
from inverse.inputs.formats.cif_sites import Site
from inverse.inputs.formats.cif_symmetry import Statements
from inverse.inputs.formats.contacts import (
    COLLIDING,
    CROWDED,
    LONELY,
    SAME_PLACE,
    closest_contact,
    loneliest_contact,
)
from inverse.inputs.formats.space_groups import (
    Setting,
    codes,
    fits_cell,
    is_standard,
    settings_of,
    symbols_of,
    symmetry_number,
)
from inverse.inputs.remarks import Remark, RemarkKind, some
from surrogates.errors import StructureError


@dataclass(frozen=True, eq=False)
class _Reading:
    setting: Setting
    structure: Structure
    orbits: tuple[CifOrbit, ...]


def read_crystal(
    matrix: np.ndarray, sites: Sequence[Site], stated: Statements, facts: FormulaFacts, remarks: list[Remark]
) -> tuple[Structure, tuple[CifOrbit, ...]]:
    """Return the crystal by the operations that the file lists, or by those that it names."""
    if stated.listed is not None:
        reading = _by_listed(matrix, sites, stated.listed, stated, remarks)
    else:
        reading = _by_named(matrix, sites, stated, facts, remarks)
    for orbit in reading.orbits:
        full = [site.label for site in orbit.sites if site.occupancy == 1]
        if len(full) > 1:
            text = f"{some(full)} are images of one another, read as one site"
            remarks.append(Remark(RemarkKind.REPEATED_SITES, text))
    return reading.structure, reading.orbits


def _read_by(chosen: Setting, sites: Sequence[Site], matrix: np.ndarray) -> _Reading:
    orbits = expand(sites, chosen, matrix)
    return _Reading(chosen, structure_of(orbits, matrix), orbits)


def _by_listed(
    matrix: np.ndarray, sites: Sequence[Site], listed: Setting, stated: Statements, remarks: list[Remark]
) -> _Reading:
    """Return the crystal by the listed operations, which must not contradict what the file names."""
    if not fits_cell(listed, matrix):
        raise StructureError("the symmetry operations listed do not fit the cell")
    reading = _read_by(listed, sites, matrix)
    own = symmetry_number(listed, matrix)
    if stated.contradiction:
        remarks.append(
            Remark(
                RemarkKind.SYMMETRY, f"{stated.contradiction}; the operations listed are used (number {own})"
            )
        )
        return reading
    if not stated.settings or own is None:
        return reading
    named = stated.settings[0].number
    if own == named:
        if stated.has_symbol and not any(_is_same_group(listed, one) for one in stated.settings):
            remarks.append(
                Remark(
                    RemarkKind.SYMMETRY,
                    f"the operations listed are of another setting than {stated.said}; they are used",
                )
            )
        return reading
    if not _has_symmetry(reading, sites, stated.settings, matrix):
        raise StructureError(
            f"the operations listed (number {own}) and {stated.said} (number {named}) disagree, "
            f"and the sites have not the symmetry of {symbols_of(stated.settings)}"
        )
    if own > 2:
        remarks.append(
            Remark(
                RemarkKind.SYMMETRY,
                f"the operations listed are of number {own}, the file says {stated.said}; they are used",
            )
        )
    return reading


def _is_same_group(one: Setting, other: Setting) -> bool:
    own, others = (codes(group.rotations, group.translations) for group in (one, other))
    return set(own.tolist()) == set(others.tolist())


def _has_symmetry(
    reading: _Reading, sites: Sequence[Site], settings: Sequence[Setting], matrix: np.ndarray
) -> bool:
    """Return whether a crystal, all of whose atoms are listed, has the symmetry that its file names."""
    for one in settings:
        if fits_cell(one, matrix):
            try:
                if len(_read_by(one, sites, matrix).structure) == len(reading.structure):
                    return True
            except StructureError:
                continue
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    if not reading.structure.is_ordered:
        return False
    try:
        found = SpacegroupAnalyzer(reading.structure, symprec=SAME_PLACE).get_space_group_number()
    except Exception:  # spglib finds no symmetry: atoms on one another
        return False
    return found == settings[0].number


def _by_named(
    matrix: np.ndarray, sites: Sequence[Site], stated: Statements, facts: FormulaFacts, remarks: list[Remark]
) -> _Reading:
    """Return the crystal by the one setting named that fits cell, sites and everything stated."""
    if stated.contradiction:
        raise StructureError(f"space group: {stated.contradiction}, and no operations listed")
    if not stated.settings:
        if stated.is_stated:
            raise StructureError(f"space group {stated.said!r} not known and no operations listed")
        return _without_symmetry(matrix, sites, remarks)
    fitting = [one for one in stated.settings if fits_cell(one, matrix)]
    if not fitting:
        raise StructureError(
            f"the operations of {symbols_of(stated.settings)} do not fit the cell, and the file lists none"
        )
    readings: list[_Reading] = []
    problem = StructureError("no reading")
    for one in fitting:
        try:
            readings.append(_read_by(one, sites, matrix))
        except StructureError as error:
            problem = error
    if not readings:
        raise problem
    if len(fitting) > 1:
        return _decided(readings, stated, facts, remarks)
    if stated.unknown:
        text = f"{', '.join(stated.unknown)} not known; read as {fitting[0].symbol}"
        remarks.append(Remark(RemarkKind.SYMMETRY, text))
    if closest_contact(readings[0].structure) < COLLIDING:
        raise StructureError(_collision(readings[0], sites, matrix))
    return readings[0]


def _collision(reading: _Reading, sites: Sequence[Site], matrix: np.ndarray) -> str:
    """Return in words that the setting named cannot be meant, and which other setting of its group can."""
    chosen = reading.setting
    text = f"by {chosen.symbol}, which the file names without listing operations, atoms collide"
    for other in settings_of(chosen.number):
        if other.symbol != chosen.symbol and fits_cell(other, matrix):
            try:
                found = _read_by(other, sites, matrix)
            except StructureError:
                continue
            if closest_contact(found.structure) >= COLLIDING:
                return f"{text}; by {other.symbol} they would not"
    return text


def _without_symmetry(matrix: np.ndarray, sites: Sequence[Site], remarks: list[Remark]) -> _Reading:
    identity = Setting("P 1", 1, "", np.eye(3, dtype=int)[None], np.zeros((1, 3)))
    reading = _read_by(identity, sites, matrix)
    if loneliest_contact(reading.structure) > LONELY:
        raise StructureError(
            "no space group named and no operations listed, and the sites by themselves are no crystal: "
            "an atom has no neighbour"
        )
    text = "no space group named and no operations listed: read as P 1, the sites as they are"
    remarks.append(Remark(RemarkKind.SYMMETRY, text))
    return reading


def _decided(
    readings: list[_Reading], stated: Statements, facts: FormulaFacts, remarks: list[Remark]
) -> _Reading:
    """Return the one reading, of several settings that the file may mean, that all else agrees with."""
    said = f"{stated.said} has several settings ({symbols_of([r.setting for r in readings])})"
    agreeing = [r for r in readings if _has_formula(r, facts)]
    agreeing = [r for r in agreeing if _has_multiplicities(r)] or agreeing
    possible = [r for r in agreeing if closest_contact(r.structure) >= COLLIDING]
    if not possible:
        raise StructureError(f"{said}; none gives a crystal that formula and contacts allow")
    standard = [r for r in possible if is_standard(r.setting)]
    crystals = _different(possible)
    if len(crystals) > 1 and not standard:
        uncrowded = [r for r in crystals if closest_contact(r.structure) >= CROWDED]
        crystals = uncrowded or crystals
    if len(crystals) > 1 and not standard:
        counts = " or ".join(f"{r.structure.composition.formula} by {r.setting.symbol}" for r in crystals[:4])
        raise StructureError(f"{said} and lists no operations: {counts}? Add the operations or the choice")
    chosen = standard[0] if standard else crystals[0]
    if len(_different(readings)) > 1 and (len(crystals) > 1 or len(agreeing) > 1):
        remarks.append(Remark(RemarkKind.SYMMETRY, f"{said}; read as {chosen.setting.symbol}"))
    return chosen


def _different(readings: Sequence[_Reading]) -> list[_Reading]:
    """Return readings that are not the same crystal as one before."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(ltol=0.05, stol=0.05, angle_tol=1, scale=False, primitive_cell=True)
    found: list[_Reading] = []
    for reading in readings:
        for other in found:
            same_size = len(other.structure) == len(reading.structure)
            if same_size and matcher.fit(other.structure, reading.structure):
                break
        else:
            found.append(reading)
    return found


def _has_multiplicities(reading: _Reading) -> bool:
    """Return whether the multiplicities that the file states are those of a reading."""
    return all(
        site.multiplicity in (None, len(orbit.images)) for orbit in reading.orbits for site in orbit.sites
    )


def _has_formula(reading: _Reading, facts: FormulaFacts) -> bool:
    """Return whether formula and formula units of the file fit a reading."""
    try:
        hold_against_formula(reading.structure.composition, facts, True, [])
    except StructureError:
        return False
    return True
