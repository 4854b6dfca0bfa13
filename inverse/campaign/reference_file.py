"""What the reference data say of a run's crystals: written when a run ends, read by whoever shows it.

Whoever reads the file needs no table: nearest known material with its entry, who knows a known formula,
competing phases in moles, and the phases that the hull diagram of each chemical system shows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pymatgen.core import Composition, Structure

from inverse.candidates.types import Candidate, HitClass, Status
from inverse.reference.hull import SAME_HULL, ReferenceHull
from inverse.reference.known_entries import KnownEntry, entry_of
from inverse.reference.signatures import Cell, signature_text
from surrogates.errors import DataError, EngineError, RunFolderError
from surrogates.platform.whole_files import write_atomically

REFERENCE_FILE = "reference.json"
"""In the run folder."""

REFERENCE_FORMAT = 1

MOST_SHOWN = 150
"""Best verified candidates that are looked up."""

NEAR_HULL = 0.1
"""eV/atom above the hull up to which a phase is kept for the diagram of its system."""

MOST_PHASES = 160
"""Of one chemical system that are kept, the lowest above the hull."""


@dataclass(frozen=True)
class CompetingPhase:
    """A phase that a crystal competes with.

    Attributes:
        formula: reduced.
        moles: formula units of it for one formula unit of the crystal.
        energy: formation energy, eV/atom.
    """

    formula: str
    moles: float
    energy: float


@dataclass(frozen=True)
class SystemPhase:
    """A known phase of a chemical system, for its hull diagram.

    Attributes:
        formula: reduced.
        energy: formation energy, eV/atom.
        above_hull: eV/atom above the hull of the known phases; 0 on it.
        source: table.
    """

    formula: str
    energy: float
    above_hull: float
    source: str


@dataclass(frozen=True)
class Surroundings:
    """What is known around one crystal.

    Attributes:
        nearest: the nearest known material; None where no elements of it occur in any.
        known_as: who knows its formula; None where nobody does.
        competing: what it would fall apart into, or, below the hull, what it is measured against; () where
            its distance was measured from another hull than the packaged one.
    """

    nearest: KnownEntry | None = None
    known_as: KnownEntry | None = None
    competing: tuple[CompetingPhase, ...] = ()


@dataclass(frozen=True)
class Reference:
    """What a run folder holds of the reference data.

    Attributes:
        around: by candidate id.
        systems: phases by chemical system ("B-C-W").
    """

    around: Mapping[str, Surroundings] = field(default_factory=dict)
    systems: Mapping[str, tuple[SystemPhase, ...]] = field(default_factory=dict)


def write_reference(folder: Path, candidates: Sequence[Candidate]) -> Reference:
    """Look the best verified candidates up and write what is known around them; return it.

    A crystal of which the tables cannot say anything is left out.

    Args:
        folder: of the run.
        candidates: in the order of the table.

    Raises:
        RunFolderError: the folder cannot be written.
        DataError: the reference data are missing or damaged.
    """
    reference = reference_of(candidates)
    record = {
        "format_version": REFERENCE_FORMAT,
        "candidates": {name: asdict(one) for name, one in reference.around.items()},
        "systems": {name: [asdict(one) for one in phases] for name, phases in reference.systems.items()},
    }
    path = folder / REFERENCE_FILE
    try:
        write_atomically(path, json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written ({error})") from None
    return reference


def read_reference(folder: Path) -> Reference | None:
    """Return what a run folder holds of the reference data; None before it was written (older runs).

    Raises:
        DataError: the file is damaged.
    """
    path = folder / REFERENCE_FILE
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        around = {str(name): _surroundings(one) for name, one in record["candidates"].items()}
        systems = {
            str(name): tuple(SystemPhase(**phase) for phase in phases)
            for name, phases in record["systems"].items()
        }
        for phase in (phase for phases in systems.values() for phase in phases):
            Composition(phase.formula)
            float(phase.energy), float(phase.above_hull)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}); remove it, `inverse report` writes it again") from None
    return Reference(around, systems)


def reference_of(candidates: Sequence[Candidate]) -> Reference:
    """Return what the packaged tables say of the best verified candidates.

    Raises:
        DataError: the reference data are missing or damaged.
    """
    chosen = [(c, structure) for c in candidates if (structure := _relaxed(c)) is not None][:MOST_SHOWN]
    if not chosen:
        return Reference()
    hull = ReferenceHull.packaged()
    around, systems = {}, {}
    for candidate, structure in chosen:
        around[candidate.id] = _around(candidate, structure, hull)
        composition = structure.composition
        name = "-".join(sorted(element.symbol for element in composition.elements))
        if name not in systems and len(composition.elements) > 1:
            systems[name] = _phases(hull, composition)
    return Reference(around, systems)


def _relaxed(candidate: Candidate) -> Structure | None:
    """Return the cell that the judges relaxed; None of what did not come through its verification."""
    is_judged = candidate.status in (Status.HIT, Status.VERIFIED) and candidate.verification is not None
    return candidate.verification.structure if is_judged and candidate.verification is not None else None


def _around(candidate: Candidate, structure: Structure, hull: ReferenceHull) -> Surroundings:
    known_as = None
    if candidate.hit_class is HitClass.KNOWN or candidate.known_phase is not None:
        known_as = _entry(structure.composition.reduced_formula, _signature(structure))
    if known_as is not None and candidate.known_phase is not None and candidate.known_phase.database_id:
        known_as = replace(known_as, database_id=candidate.known_phase.database_id)
    nearest = _entry(candidate.nearest_known) if candidate.nearest_known else None
    return Surroundings(nearest, known_as, _competing(candidate, structure, hull))


def _signature(structure: Structure) -> str:
    try:
        return signature_text(Cell.from_structure(structure)) or ""
    except EngineError:
        return ""


def _entry(formula: str, signature: str = "") -> KnownEntry | None:
    """Return what a formula is known by; None where the text is no formula, or nobody knows it."""
    try:
        return entry_of(formula, signature)
    except DataError:
        raise
    except EngineError:
        return None


def _competing(candidate: Candidate, structure: Structure, hull: ReferenceHull) -> tuple[CompetingPhase, ...]:
    """Return the phases beside a distance that was measured from the packaged hull; () beside another."""
    values = {} if candidate.verification is None else candidate.verification.values
    energy, distance = values.get("formation_energy_per_atom"), values.get("energy_above_hull")
    if energy is None or distance is None:
        return ()
    composition = structure.composition.reduced_composition
    try:
        below = hull.energy_above_hull(composition, energy.mean)
    except EngineError:
        return ()
    if abs(below.energy_above_hull - distance.mean) > SAME_HULL:
        return ()
    found = []
    for formula, share in below.decomposition.items():
        phase = hull.phases.phase(formula)
        if phase is not None and phase.formation_energy_per_atom is not None:
            moles = share * composition.num_atoms / Composition(formula).num_atoms
            found.append(CompetingPhase(formula, round(moles, 4), phase.formation_energy_per_atom))
    return tuple(found)


def _phases(hull: ReferenceHull, composition: Composition) -> tuple[SystemPhase, ...]:
    """Return the known phases of a system that lie near its hull, lowest above it first."""
    elements = tuple(sorted(element.symbol for element in composition.elements))
    found = []
    for phase in hull.phases.phases_within(elements):
        energy = phase.formation_energy_per_atom
        if energy is None:
            continue
        try:
            above = 0.0 if len(Composition(phase.formula)) == 1 else energy - hull.below(phase.formula)
        except EngineError:
            continue
        if above <= NEAR_HULL:
            found.append(SystemPhase(phase.formula, energy, round(max(above, 0.0), 4), phase.source))
    return tuple(sorted(found, key=lambda phase: (phase.above_hull, phase.formula))[:MOST_PHASES])


def _surroundings(record: Mapping[str, Any]) -> Surroundings:
    nearest, known_as = record["nearest"], record["known_as"]
    return Surroundings(
        None if nearest is None else _read_entry(nearest),
        None if known_as is None else _read_entry(known_as),
        tuple(CompetingPhase(**phase) for phase in record["competing"]),
    )


def _read_entry(record: Mapping[str, Any]) -> KnownEntry:
    found = KnownEntry(**record)
    _ = found.url  # an address that is none is refused here
    return found
