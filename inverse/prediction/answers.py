"""`inverse predict`: surrogate values of crystals and formulas as records of the command-line contract."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from pymatgen.core import Structure

from inverse.candidates.types import EnergyFlag
from inverse.inputs.structure_files import Given, ReadStructure, given_structure, read_structures
from inverse.prediction.completion import answering_crystals, of_crystals
from inverse.prediction.evaluation import LOWEST_ABOVE_HULL, Predictions
from inverse.reference import ReferenceHull
from inverse.reference.known_energies import KnownEnergies, KnownEnergy, Strain, with_known
from surrogates.checkpoints.checkpoint import load_manifest, load_surrogate
from surrogates.crystals.batch import SCALE_OF_SOURCE, SCALES, CrystalBatch, scale_index
from surrogates.crystals.formulas import display_formula
from surrogates.crystals.typed_formulas import composition_of
from surrogates.derived import exact
from surrogates.errors import DataError, EngineError, ShapeError, StructureError
from surrogates.physics.properties import BAND_GAP, FORMATION_ENERGY, Basis, of_basis
from surrogates.protocol import (
    OWN_SCALE,
    CompositionBatch,
    CompositionSurrogate,
    Level,
    Surrogate,
    scale_of,
)

LEAST_CONTACT = 0.5
"""Share of the sum of covalent radii; closer atoms are no crystal that any model was trained on."""

WINDOW = 2048
"""Structures that are sorted by size and batched together; results leave in input order window by window."""

ATOMS_PER_BATCH = 4096
"""Atoms predicted together at first; halved for every batch that runs out of memory."""

FLAGGED = 0.1
"""eV/atom below the hull of known phases from which on a prediction says so."""

OF_POLYMORPHS = f"polymorphs: {BAND_GAP.name} is the median over those of the formula; give a structure"
"""Flag of a formula's answer: structures of one formula differ more in their gaps than the error bar says."""

Record = dict[str, Any]


@dataclass(frozen=True)
class KnownPhases:
    """What is known of phases, for predictions to be held against.

    Attributes:
        energies: of known phases.
        hull: of them.
    """

    energies: KnownEnergies
    hull: ReferenceHull

    @classmethod
    @lru_cache(maxsize=1)
    def packaged(cls) -> "KnownPhases":
        """Return what ships with the package, read once per process."""
        return cls(KnownEnergies.packaged(), ReferenceHull.packaged())

    def distance_below(self, formula: str, predictions: Predictions, row: int) -> float:
        """Return how far below the hull of known phases a crystal is predicted, eV/atom; 0 up to FLAGGED."""
        energy = float(predictions[FORMATION_ENERGY].mean[row])
        phase = self.hull.phases.phase(formula)
        own = None if phase is None else phase.formation_energy_per_atom
        # the hull is nowhere above zero, nor above the known phase itself: most crystals need no hull
        if not energy < min(0.0, 0.0 if own is None else own) - FLAGGED:
            return 0.0
        try:
            distance = self.hull.below(formula) - energy
        except EngineError:
            return 0.0  # an element without a reference phase: there is no hull to be below
        return distance if distance > FLAGGED else 0.0


def predict(
    structures: Iterable[Given] = (),
    formulas: Sequence[str] = (),
    surrogate: Surrogate | None = None,
    composition_surrogate: CompositionSurrogate | None = None,
    scale: str | None = None,
    known_energies: bool = True,
) -> list[Record]:
    """Return the records of `iterate_predictions` as a list."""
    return list(
        iterate_predictions(structures, formulas, surrogate, composition_surrogate, scale, known_energies)
    )


def iterate_predictions(
    structures: Iterable[Given] = (),
    formulas: Sequence[str] = (),
    surrogate: Surrogate | None = None,
    composition_surrogate: CompositionSurrogate | None = None,
    scale: str | None = None,
    known_energies: bool = True,
    shipped: Callable[[], Surrogate] | None = None,
) -> Iterator[Record]:
    """Yield one JSON-able record per structure, in input order, then one per formula.

    A record is `id, formula, formula_display, level, model, scale, in_domain, flags, predictions`, the last
    by property name `mean, std, lower, upper, unit`; or, for what cannot be read or handled, `id, file,
    error{type, message}`. Numbers are finite or None.

    The shipped surrogate's formation energy of a known phase is the tabulated one, and a flag says of which;
    an energy far below the hull of known phases is flagged and out of domain.

    Args:
        structures: files, folders, pymatgen structures and ASE Atoms.
        formulas: answered at composition level.
        surrogate: the shipped one when None.
        composition_surrogate: the shipped one when None.
        scale: of all answers; None follows the `source` of each row, Materials Project PBE without one.
        known_energies: False says what the shipped surrogate itself predicts, also of known phases: its
            errors are measured so.
        shipped: loads the shipped one, where it is needed; None takes it on the CPU.

    Raises:
        DataError: no path exists, and no formula is given; at once, before anything is predicted.
        UnknownNameError: no such scale.
    """
    if scale is not None:
        scale_index(scale)
    records = read_inputs(structures, beside_others=bool(formulas))
    return itertools.chain(
        _structure_records(records, surrogate, scale, known_energies, shipped or _shipped),
        _formula_records(formulas, composition_surrogate, scale or SCALES[0]),
    )


def surrogates_of(model: str | Path | None) -> tuple[Surrogate | None, CompositionSurrogate | None]:
    """Return who answers structures and who formulas; None stands for the shipped surrogate.

    Weights of a user's own table answer both, as far as its rows were of that kind: formulas also for
    crystals, crystals for nothing else.

    Args:
        model: folder of weights that `inverse train` wrote.

    Raises:
        UnknownNameError: no weights there.
        CheckpointError: weights that are damaged.
    """
    if model is None:
        return None, None
    folder = Path(model)  # never packaged weights of that name
    found, kind = load_surrogate(folder), load_manifest(folder)["kind"]
    return found if kind != "composition" else None, found if kind != "structure" else None


def read_inputs(inputs: Iterable[Given], beside_others: bool = False) -> Iterator[ReadStructure]:
    """Return the records of paths and structures in order; paths are checked at once.

    A missing path has an error record in its place, unless there is nothing else: then it is bad usage.

    Args:
        inputs: files, folders, pymatgen structures and ASE Atoms.
        beside_others: something else is asked for as well, so that no path need exist.

    Raises:
        DataError: none of the paths exists, or something is neither a path nor a crystal.
    """
    parts: list[Iterable[ReadStructure]] = []
    missing: list[DataError] = []
    for index, given in enumerate(inputs):
        if isinstance(given, Structure | Atoms):
            parts.append([given_structure(given, f"structure#{index}")])
            continue
        if not isinstance(given, str | Path):
            kinds = "a file, a folder, a pymatgen Structure or ASE Atoms"
            raise DataError(f"structures: number {index} is of type {type(given).__name__}; give {kinds}")
        try:
            parts.append(read_structures([given]))
        except DataError as problem:
            error = DataError(f"{problem}{_if_formula(str(given))}")
            parts.append([ReadStructure(Path(given).name, str(given), error=error)])
            missing.append(error)
    if missing and len(missing) == len(parts) and not beside_others:
        raise missing[0]
    return itertools.chain.from_iterable(parts)


def is_formula(text: str) -> bool:
    """Return whether a text is read as a formula.

    >>> is_formula("WC"), is_formula("WC.cif")
    (True, False)
    """
    try:
        composition_of(text)
    except EngineError:
        return False
    return True


def _if_formula(given: str) -> str:
    """Return where a formula goes, for one that stands where a file was expected; else that it is none."""
    if is_formula(given):
        return f"; as a formula it goes to `inverse predict --formula {given}`"
    looks_like_path = "/" in given or "\\" in given or Path(given).suffix
    return "" if looks_like_path else "; nor is it a formula"


def _shipped() -> Surrogate:
    return answering_crystals(load_surrogate("accurate"))


def _structure_records(
    records: Iterator[ReadStructure],
    surrogate: Surrogate | None,
    scale: str | None,
    known_energies: bool,
    shipped: Callable[[], Surrogate],
) -> Iterator[Record]:
    atoms_per_batch = ATOMS_PER_BATCH
    phases: KnownPhases | None = None
    while window := list(itertools.islice(records, WINDOW)):
        readable = [i for i, r in enumerate(window) if r.structure is not None]
        results: dict[int, Record] = {}
        if readable and surrogate is None:
            surrogate = shipped()
            phases = KnownPhases.packaged() if known_energies else None
        for batch in _batches(readable, [_n_atoms(r) for r in window], atoms_per_batch):
            answered, ran_out = _answers(window, batch, surrogate, scale, phases)
            results.update(answered)
            if ran_out:
                atoms_per_batch = max(64, atoms_per_batch // 2)
        for i, record in enumerate(window):
            yield results[i] if i in results else error_record(record.id, record.file, record.error)


def _n_atoms(record: ReadStructure) -> int:
    return 0 if record.structure is None else len(record.structure)


def _batches(rows: Sequence[int], n_atoms: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Yield the rows sorted by size, in batches of at most `limit` atoms (one crystal at least)."""
    batch: list[int] = []
    total = 0
    for row in sorted(rows, key=lambda i: (n_atoms[i], i)):
        if batch and total + n_atoms[row] > limit:
            yield batch
            batch, total = [], 0
        batch.append(row)
        total += n_atoms[row]
    if batch:
        yield batch


def _answers(
    window: Sequence[ReadStructure],
    batch: Sequence[int],
    surrogate: Any,
    scale: str | None,
    phases: KnownPhases | None,
) -> tuple[dict[int, Record], bool]:
    """Return a record for each row of the batch, and whether memory ran out on the way."""
    scales = [scale or SCALE_OF_SOURCE.get(window[i].source or "", SCALES[0]) for i in batch]

    known: dict[int, KnownEnergy | None] = {}

    def run(positions: Sequence[int]) -> Predictions:
        structures = [window[batch[k]].structure for k in positions]
        crystals = CrystalBatch.from_structures(structures, [scales[k] for k in positions])  # type: ignore[arg-type]
        found = dict(of_crystals(surrogate, crystals, surrogate.properties))
        if phases is not None:
            found |= {prop: exact(prop, crystals.composition, 1) for prop in of_basis(Basis.OF_COMPOSITION)}
            same_scale = [
                s if scales[k] == SCALES[0] else None for k, s in zip(positions, structures, strict=True)
            ]
            energies = phases.energies.of(same_scale)
            known.update(zip(positions, energies, strict=True))
            found[FORMATION_ENERGY] = with_known(found[FORMATION_ENERGY], energies)
        return found

    values, ran_out = divided(run, range(len(batch)))
    records = {}
    for k, i in enumerate(batch):
        structure, value = window[i].structure, values[k]
        try:
            if isinstance(value, Exception) or structure is None:
                raise value
            records[i] = _answer(window[i], structure, value, surrogate, scales[k], known.get(k), phases)
        except Exception as error:  # one odd structure never stops a batch
            records[i] = error_record(window[i].id, window[i].file, error)
    return records, ran_out


def _answer(
    read: ReadStructure,
    structure: Structure,
    value: tuple[Predictions, int],
    surrogate: Any,
    scale: str,
    known: KnownEnergy | None,
    phases: KnownPhases | None,
) -> Record:
    """Return the record of one crystal."""
    formula = structure.composition.reduced_formula
    flags = [*read.flags, *_known_phase(known)]
    below = 0.0
    if phases is not None and scale == SCALES[0]:
        flags += _strained_phase(phases.energies.strain_of(structure) if known is None else None)
        below = phases.distance_below(formula, *value)
    if below:
        flags.append(f"{EnergyFlag.BELOW_HULL}: {below:.2f} eV/atom below the hull of known phases")
    own = scale_of(surrogate, scale)
    record = _record(read.id, formula, surrogate.level, surrogate.name, own, flags, *value)
    record["in_domain"] = record["in_domain"] and below <= -LOWEST_ABOVE_HULL
    record["in_domain"] = record["in_domain"] and not _collide(structure)
    return record


def _known_phase(known: KnownEnergy | None) -> list[str]:
    if known is None:
        return []
    if not known.phase.database_id:
        return [f"{EnergyFlag.KNOWN_PHASE}: its tabulated formation energy"]
    return [f"{EnergyFlag.KNOWN_PHASE}: {known.phase}, whose tabulated formation energy this is"]


def _strained_phase(strain: Strain | None) -> list[str]:
    if strain is None:
        return []
    phase = strain.phase.database_id or "the tabulated cell of this phase"
    text = f"the cell is strained by {strain.change:+.1%} in volume from {phase}"
    return [f"{EnergyFlag.STRAINED_PHASE}: {text}: its tabulated energy was not used"]


def _collide(structure: Structure) -> bool:
    """Return whether two atoms stand closer than any crystal's do."""
    from ase.data import covalent_radii

    radii = covalent_radii[list(structure.atomic_numbers)]
    first, second, _, distances = structure.get_neighbor_list(2 * LEAST_CONTACT * float(radii.max()))
    return bool((distances < LEAST_CONTACT * (radii[first] + radii[second])).any())


def divided(
    run: Callable[[Sequence[int]], Predictions], positions: Sequence[int]
) -> tuple[dict[int, Any], bool]:
    """Return, by position, (predictions, row) or the exception of that crystal alone.

    A batch that fails is halved until only the culprits fail. The second value says whether memory ran out,
    by the type of the error or since the halves of a batch that failed have no culprit: torch's CPU allocator
    has no type of its own.
    """
    try:
        with torch.no_grad():
            predictions = run(positions)
        return {position: (predictions, row) for row, position in enumerate(positions)}, False
    except Exception as error:
        ran_out = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if len(positions) == 1:
            return {positions[0]: error}, ran_out
    middle = len(positions) // 2
    first, first_out = divided(run, positions[:middle])
    second, second_out = divided(run, positions[middle:])
    found = {**first, **second}
    has_culprit = any(isinstance(answer, Exception) for answer in found.values())
    return found, ran_out or first_out or second_out or not has_culprit


def _formula_records(
    formulas: Sequence[str], surrogate: CompositionSurrogate | None, scale: str
) -> Iterator[Record]:
    """Yield a record per formula; one that cannot be read or handled is an error record."""
    if formulas and surrogate is None:
        surrogate = load_surrogate("composition")
    answering: Any = surrogate
    for start in range(0, len(formulas), WINDOW):
        part = formulas[start : start + WINDOW]

        def run(positions: Sequence[int], part: Sequence[str] = part) -> Predictions:
            if answering.level is Level.STRUCTURE:
                raise ShapeError(f"{answering.name} needs crystals, not compositions")
            chosen = [part[k] for k in positions]
            compositions = CompositionBatch.from_formulas(chosen, scale_index(scale))
            return answering.predict(compositions, answering.properties)

        values, _ = divided(run, range(len(part)))
        for k, formula in enumerate(part):
            if isinstance(values[k], Exception):
                yield error_record(formula, "", values[k])
            else:
                reduced = reduced_formula(formula)
                own = scale_of(answering, scale)
                flags = [OF_POLYMORPHS] if BAND_GAP in values[k][0] and own != OWN_SCALE else []
                yield _record(formula, reduced, "composition", answering.name, own, flags, *values[k])


def reduced_formula(formula: str) -> str:
    """Return the reduced formula of what was typed, pymatgen's form.

    Raises:
        FormulaError: see `composition_of`.
    """
    return str(composition_of(formula).reduced_formula)


def error_record(identity: str, file: str, error: object) -> Record:
    """Return the record of a structure or formula that cannot be read or handled."""
    if isinstance(error, EngineError):
        kind, message = type(error).__name__, str(error)
    else:
        kind, message = StructureError.__name__, f"cannot be predicted: {type(error).__name__}: {error}"
    return {"id": identity, "file": file, "error": {"type": kind, "message": " ".join(message.split())}}


def _record(
    identity: str,
    formula: str,
    level: str,
    model: str,
    scale: str,
    flags: Sequence[str],
    predictions: Predictions,
    row: int,
) -> Record:
    return {
        "id": identity,
        "formula": formula,
        "formula_display": display_formula(formula),
        "level": level,
        "model": model,
        "scale": scale,
        "in_domain": all(bool(p.in_domain[row]) for prop, p in predictions.items() if not prop.is_exact),
        "flags": list(flags),
        "predictions": {
            prop.name: {
                "mean": _rounded(p.mean[row]),
                "std": _rounded(p.std[row]),
                "lower": _rounded(p.lower[row]),
                "upper": _rounded(p.upper[row]),
                "unit": prop.unit,
            }
            for prop, p in predictions.items()
            if not prop.is_exact or bool(p.in_domain[row])  # without a price, say, there is no value
        },
    }


def _rounded(value: torch.Tensor) -> float | None:
    """Return six significant digits, None when the value is not finite."""
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None
