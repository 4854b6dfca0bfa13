"""candidates.csv and cifs/: every candidate with its evidence, in the column order of the contract."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from inverse.candidates import elastic_constants
from inverse.candidates.hit_counts import flags_of
from inverse.candidates.types import Candidate, HitClass, Status, Target, Verification
from inverse.decoders.cif_writer import cif_text, symmetrised_cif
from inverse.inputs.records import finite_or_none
from surrogates.crystals.formulas import display_formula
from surrogates.errors import RunFolderError
from surrogates.physics.properties import MEASURED, judged_from
from surrogates.platform.whole_files import replacing, write_atomically

LEADING_COLUMNS = (
    "rank",
    "id",
    "formula",
    "formula_display",
    "chemical_system",
    "space_group",
    "n_atoms",
    "status",
    "hit_class",
    "score",
    "probability_target_met",
    "probability_after",
)
TRAILING_COLUMNS = (
    "energy_above_hull",
    "is_known",
    "nearest_known",
    "derivative_of",
    "duplicate_of",
    "parent_prototype",
    "reason",
    "flags",
    "potential",
    "cif",
    *elastic_constants.COLUMNS,
    "known_phase",
    "confirmed",
    "structure_type",
    "type_name",
    "order_temperature",
    "order_temperature_std",
    "hull_margin",
    "binding_phase",
    "hull_mf_pbe",
    "hull_mf_r2scan",
    "hull_mf_reason",
)
RANKED = (Status.HIT, Status.VERIFIED)
"""Statuses that carry a rank."""

_STATUS_ORDER = {
    Status.HIT: 0,
    Status.VERIFIED: 0,
    Status.FAILED: 1,
    Status.PREDICTED: 2,
    Status.TRIAGED_OUT: 3,
    Status.SCREENED_OUT: 4,
    Status.PROPOSED: 5,
}


class HasTargets(Protocol):
    """The part of a config that tables need."""

    @property
    def targets(self) -> Sequence[Target]:
        """What is wanted."""
        ...


def shown_properties(candidates: Iterable[Candidate], config: HasTargets) -> list[str]:
    """Return the property names of the columns: the targets' first, then the judges', then others."""
    return shown_names(set().union(*map(valued_properties, candidates)), config)


def shown_names(valued: Iterable[str], config: HasTargets) -> list[str]:
    """Return the property names of the columns when these have a value somewhere.

    Asked for or not, every table has what judges measure: they give it anyway.
    """
    names = [target.property.name for target in config.targets]
    measured = [prop.name for prop in judged_from(*MEASURED)]
    return list(dict.fromkeys([*names, *measured, *sorted(valued)]))


def valued_properties(candidate: Candidate) -> set[str]:
    """Return the names of the properties that were predicted or verified."""
    verification = candidate.verification
    return {*candidate.predictions, *(verification.values if verification is not None else ())}


def confirmed_properties(candidate: Candidate) -> set[str]:
    """Return the names of the properties that density functional theory gave."""
    return set() if candidate.confirmation is None else set(candidate.confirmation.values)


def property_columns(name: str) -> list[str]:
    """Return the five columns of one property."""
    return [
        f"predicted_{name}",
        f"predicted_{name}_std",
        f"verified_{name}",
        f"verified_{name}_std",
        f"verified_{name}_raw",
    ]


def dft_columns(name: str) -> list[str]:
    """Return the two columns of one property by density functional theory."""
    return [f"dft_{name}", f"dft_{name}_std"]


def columns(properties: Sequence[str], by_dft: Sequence[str] = ()) -> list[str]:
    """Return all column names of candidates.csv in order; those of `by_dft` come last."""
    middle = [column for name in properties for column in property_columns(name)]
    last = [column for name in by_dft for column in dft_columns(name)]
    return [*LEADING_COLUMNS, *middle, *TRAILING_COLUMNS, *last]


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return candidates in the table's order: verified by score, failed, predicted, screened out, proposed.

    A higher score is better; without one `probability_after`, then `probability_target_met`; then id.
    """
    return sorted(candidates, key=lambda candidate: (*place(candidate), candidate.id))


def place(candidate: Candidate) -> tuple[int, float]:
    """Return what sorts a candidate in the table, before its id; smallest first."""
    for value in (candidate.score, candidate.probability_after, candidate.probability_target_met):
        number = finite_or_none(value)
        if number is not None:
            return _STATUS_ORDER[candidate.status], -number
    return _STATUS_ORDER[candidate.status], float("inf")


def is_ranked(candidate: Candidate) -> bool:
    """Return whether a candidate carries a rank: its verification finished."""
    return candidate.status in RANKED


def best_structure(candidate: Candidate) -> Structure:
    """Return the structure relaxed by the judges, else by the triage, else the one proposed."""
    verification, triaged = candidate.verification, candidate.triaged
    if verification is not None and verification.structure is not None:
        return verification.structure
    if triaged is not None and triaged.structure is not None:
        return triaged.structure
    return candidate.structure


def space_group(structure: Structure, symprec: float = 0.01) -> tuple[str, int] | None:
    """Return the international symbol and number by spglib; None when it finds none."""
    try:
        analyzer = SpacegroupAnalyzer(structure, symprec=symprec)
        return analyzer.get_space_group_symbol(), analyzer.get_space_group_number()
    except Exception:  # spglib's own errors differ between versions; a missing symbol is no reason to stop
        return None


def cif_name(candidate: Candidate) -> str:
    """Return the path of a candidate's CIF relative to the run folder; "" for what was screened out."""
    if candidate.status in (Status.SCREENED_OUT, Status.PROPOSED):
        return ""
    return f"cifs/{candidate.id}.cif"


def cells(candidate: Candidate) -> dict[str, str]:
    """Return a candidate's row of candidates.csv, rank and empty cells left out.

    Numbers that are missing or not finite are empty.
    """
    structure = best_structure(candidate)
    group = space_group(structure)
    verification = candidate.verification
    values = verification.values if verification is not None else {}
    hull = values.get("energy_above_hull")
    row: dict[str, str] = {
        "id": candidate.id,
        "formula": structure.composition.reduced_formula,
        "formula_display": display_formula(structure.composition),
        "chemical_system": structure.composition.chemical_system,
        "space_group": "" if group is None else str(group[1]),
        "n_atoms": str(len(structure)),
        "status": str(candidate.status),
        "hit_class": "" if candidate.hit_class is None else str(candidate.hit_class),
        "score": _text(candidate.score),
        "probability_target_met": _text(candidate.probability_target_met),
        "probability_after": _text(candidate.probability_after),
        "energy_above_hull": _text(hull.mean if hull else None),
        "is_known": "" if candidate.hit_class is None else str(candidate.hit_class is HitClass.KNOWN).lower(),
        "nearest_known": candidate.nearest_known,
        "derivative_of": candidate.derivative_of,
        "duplicate_of": candidate.duplicate_of,
        "parent_prototype": candidate.parent_prototype,
        "reason": reason(candidate),
        "flags": "; ".join(flags_of(candidate)),
        "potential": potentials(candidate),
        "cif": cif_name(candidate),
        **_elastic_cells(verification),
        "known_phase": "" if candidate.known_phase is None else str(candidate.known_phase),
    }
    if candidate.structure_type is not None:
        row["structure_type"] = str(candidate.structure_type.novelty)
        row["type_name"] = candidate.structure_type.name
    if candidate.order is not None:
        row["order_temperature"] = _text(candidate.order.temperature)
        row["order_temperature_std"] = _text(candidate.order.std)
    if candidate.hull_margin is not None:
        row["hull_margin"] = _text(candidate.hull_margin.margin)
        row["binding_phase"] = candidate.hull_margin.phase
    for name, found in candidate.functionals.items():
        row[f"hull_mf_{name}"] = _text(found.above_hull)
    row["hull_mf_reason"] = "; ".join(
        f"{found.potential}: {found.reason}" for found in candidate.functionals.values() if found.reason
    )
    for name in valued_properties(candidate):
        predicted, verified = candidate.predictions.get(name), values.get(name)
        row[f"predicted_{name}"] = _text(predicted.mean if predicted else None)
        row[f"predicted_{name}_std"] = _text(predicted.std if predicted else None)
        row[f"verified_{name}"] = _text(verified.mean if verified else None)
        row[f"verified_{name}_std"] = _text(verified.std if verified else None)
        row[f"verified_{name}_raw"] = _text(verified.raw if verified else None)
    if candidate.confirmation is not None:
        row["confirmed"] = str(candidate.confirmation.outcome)
        for name, by_dft in candidate.confirmation.values.items():
            row[f"dft_{name}"], row[f"dft_{name}_std"] = _text(by_dft.mean), _text(by_dft.std)
    return {column: text for column, text in row.items() if text}


def _elastic_cells(verification: Verification | None) -> dict[str, str]:
    numbers = elastic_constants.elastic_numbers(verification)
    cells = {name: _text(numbers.get(name)) for name in elastic_constants.COLUMNS}
    said = {} if verification is None else verification.elasticity
    return {**cells, "elastic_potential": str(said.get("potential") or "")}


def reason(candidate: Candidate) -> str:
    """Return why a candidate was dropped: its own reason, else the verification's; one line."""
    text = candidate.reason
    if not text and candidate.verification is not None:
        text = candidate.verification.reason
    return " ".join(text.split())


def potentials(candidate: Candidate) -> str:
    """Return the potentials whose values a candidate carries, joined by '+'; what was asked for when none."""
    verification = candidate.verification
    if verification is None:
        return ""
    # what follows from two values names both its potentials already
    named = (name for value in verification.values.values() for name in value.potential.split("+"))
    names = dict.fromkeys(name for name in named if name)
    return "+".join(names) or verification.potential


def write_candidates_csv(candidates: Iterable[Candidate], config: HasTargets, path: str | Path) -> Path:
    """Write candidates.csv whole or not at all (temporary file, then renamed); return its path.

    Raises:
        RunFolderError: the file cannot be written.
    """
    rows = ranked(candidates)
    by_dft = sorted(set().union(*map(confirmed_properties, rows)))
    return write_table(map(cells, rows), shown_properties(rows, config), path, by_dft)


def write_table(
    rows: Iterable[Mapping[str, str]], properties: Sequence[str], path: str | Path, by_dft: Sequence[str] = ()
) -> Path:
    """Write candidates.csv from the cells of its rows, given in order; return its path.

    Whole or not at all (temporary file, then renamed). Memory does not grow with the number of rows.

    Raises:
        RunFolderError: the file cannot be written, or a row has a column that no candidate has.
    """
    path, names = Path(path), columns(properties, by_dft)
    try:
        with replacing(path) as fresh, fresh.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(names)
            known, rank = frozenset(names), 0
            for row in rows:
                if not known.issuperset(row):
                    where = f"a row with column {min(row.keys() - known)!r}"
                    raise RunFolderError(f"{path.parent}: campaign.db is damaged ({where})")
                if row["status"] in RANKED:
                    rank += 1
                    row = {**row, "rank": str(rank)}
                writer.writerow(map(row.get, names))  # a cell that a row lacks is empty
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path


def write_cifs(candidates: Iterable[Candidate], folder: str | Path) -> list[Path]:
    """Write folder/cifs/<id>.cif of every candidate that passed the screen; return the paths.

    Each file has ten digits. One that the judges relaxed holds that cell, conventional and with its space
    group; as proposed, all atoms (P1): finding symmetry for thousands that nobody looks at took two thirds of
    a step's bookkeeping.

    Raises:
        RunFolderError: a file cannot be written.
    """
    folder = Path(folder)
    paths = []
    for candidate in candidates:
        if not cif_name(candidate):
            continue
        path = folder / cif_name(candidate)
        verdict = candidate.verification
        is_relaxed = verdict is not None and verdict.structure is not None
        text = (symmetrised_cif if is_relaxed else cif_text)(best_structure(candidate))
        try:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, text)
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be written: {error.strerror or error}") from None
        paths.append(path)
    return paths


def _text(value: float | None) -> str:
    number = finite_or_none(value)
    return "" if number is None else f"{number:.6g}"
