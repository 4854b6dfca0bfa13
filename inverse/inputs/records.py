"""Candidate and Verification as JSON: the one lossless serialisation that run folders and reports share.

Numbers in a record are finite or null; a null where a number is required reads back as NaN.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.candidates.failures import failure_of_old_reason
from inverse.candidates.types import (
    Candidate,
    Confirmation,
    Failure,
    FunctionalHull,
    HitClass,
    HullMargin,
    KnownPhase,
    OrderDisorder,
    Origin,
    Outcome,
    PredictedValue,
    Rule,
    Stage,
    Status,
    StructureType,
    Triaged,
    TypeNovelty,
    Verification,
    VerifiedValue,
)
from inverse.inputs.formats.plain_data import structure_of
from surrogates.errors import DataError

_Record = TypeVar("_Record")

RECORD_VERSION = 1
"""Format of a candidate record; readers accept this version and older ones."""


def finite_or_none(value: float | None) -> float | None:
    """Return the number as a Python float, None when it is missing, NaN or infinite.

    >>> finite_or_none(float("nan")), finite_or_none(2)
    (None, 2.0)
    """
    if value is None or not math.isfinite(value):
        return None
    return float(value)


def significant(value: float, digits: int = 6) -> float:
    """Return a number with so many significant digits: a property of the user's may be 1e-7 everywhere.

    >>> significant(3.00000049e-8), significant(1234567.8), significant(float("nan"))
    (3e-08, 1234570.0, nan)
    """
    return float(f"{float(value):.{digits}g}")


def plain(value: Any) -> Any:
    """Return plain JSON data: numpy and tensors become lists, non-finite numbers None, the rest text.

    >>> plain({"steps": (1, float("inf"))})
    {'steps': [1, None]}
    """
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return finite_or_none(float(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value, key=str)]
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return str(value)


def structure_to_record(structure: Structure) -> dict[str, Any]:
    """Return lattice (rows are vectors, Å), species and fractional coordinates, every digit kept.

    A structure with partial occupancy becomes its pymatgen dict.
    """
    if not structure.is_ordered:
        return plain(structure.as_dict())
    return {
        "lattice": structure.lattice.matrix.tolist(),
        "species": [site.specie.symbol for site in structure],
        "frac_coords": structure.frac_coords.tolist(),
    }


def structure_from_record(record: Mapping[str, Any]) -> Structure:
    """Return the structure of a record of `structure_to_record`, or of a pymatgen dict.

    Raises:
        DataError: neither of them.
    """
    try:
        if "species" in record:
            return Structure(Lattice(record["lattice"]), record["species"], record["frac_coords"])
        return structure_of(record)[0]
    except Exception as error:
        raise DataError(
            f"the record of a structure cannot be read: {type(error).__name__}: {error}"
        ) from None


def verification_to_record(verification: Verification) -> dict[str, Any]:
    """Return a verification as plain JSON, made once: afterwards, or where it came as one, it is kept."""
    if verification.record is None:
        object.__setattr__(verification, "record", _verification_record(verification))
    return dict(verification.record or {})


def verification_received(record: Mapping[str, Any]) -> Verification:
    """Return the verification of a record of `verification_to_record`, which keeps it.

    What was received so is what a reader of the record finds, and is not made into a record again.

    Raises:
        DataError: a field is missing or is not what it should be.
    """
    found = verification_from_record(record)
    object.__setattr__(found, "record", record)
    return found


def _verification_record(verification: Verification) -> dict[str, Any]:
    structure = verification.structure
    by_dft = verification.first_principles
    return {
        **({"first_principles": dict(by_dft)} if by_dft else {}),
        "potential": verification.potential,
        "converged": bool(verification.converged),
        "reason": verification.reason,
        "failure": None if verification.failure is None else str(verification.failure),
        "values": {name: _verified_to_record(value) for name, value in verification.values.items()},
        "second_opinion": {
            name: _verified_to_record(value) for name, value in verification.second_opinion.items()
        },
        "flags": list(verification.flags),
        "is_stable": None if verification.is_stable is None else bool(verification.is_stable),
        "structure": None if structure is None else structure_to_record(structure),
        "ladder": [stage_to_record(stage) for stage in verification.ladder],
        "seconds": finite_or_none(verification.seconds),
        "elasticity": dict(verification.elasticity),
        "other_cells": {name: structure_to_record(cell) for name, cell in verification.other_cells.items()},
    }


def verification_from_record(record: Mapping[str, Any]) -> Verification:
    """Return the verification of a record.

    Raises:
        DataError: a field is missing or is not what it should be.
    """
    structure = record.get("structure")
    try:
        return _typed(
            Verification(
                potential=record["potential"],
                converged=record["converged"],
                reason=record.get("reason", ""),
                values={name: _verified_from_record(value) for name, value in record["values"].items()},
                second_opinion={
                    name: _verified_from_record(value)
                    for name, value in (record.get("second_opinion") or {}).items()
                },
                flags=tuple(record.get("flags", ())),
                is_stable=record.get("is_stable"),
                structure=None if structure is None else structure_from_record(structure),
                ladder=tuple(_stage_from_record(stage) for stage in record.get("ladder", ())),
                seconds=_number(record.get("seconds")),
                elasticity=dict(record.get("elasticity") or {}),
                failure=failure_from_record(record),
                other_cells={
                    name: structure_from_record(cell)
                    for name, cell in (record.get("other_cells") or {}).items()
                },
                first_principles=dict(record.get("first_principles") or {}),
            )
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"a verification record is damaged: {type(error).__name__}: {error}") from None


def failure_from_record(record: Mapping[str, Any]) -> Failure | None:
    """Return the failure that a record of a verification or a stored verdict names, None without one.

    The one place that reads words: those of records that were written before failures had names.

    Raises:
        ValueError: a failure that this program does not know.
    """
    if record.get("failure"):
        return Failure(record["failure"])
    reason = record.get("reason") or ""
    has_failed = not record.get("converged", not reason)
    return failure_of_old_reason(reason) if has_failed and "failure" not in record else None


def candidate_to_record(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate with its whole history as plain JSON; `candidate_from_record` undoes it."""
    verdict = candidate.verification
    return {
        "version": RECORD_VERSION,
        "id": candidate.id,
        "structure": structure_to_record(candidate.structure),
        "proposer": candidate.proposer,
        "seed": int(candidate.seed),
        "history": plain(candidate.history),
        "log_likelihood": finite_or_none(candidate.log_likelihood),
        "origin": str(candidate.origin),
        "key": candidate.key,
        "trust": finite_or_none(candidate.trust),
        "expected_prototype": candidate.expected_prototype,
        "remarks": list(candidate.remarks),
        "status": str(candidate.status),
        "reason": candidate.reason,
        "rule": None if candidate.rule is None else str(candidate.rule),
        "predictions": {name: _predicted_to_record(value) for name, value in candidate.predictions.items()},
        "probability_target_met": finite_or_none(candidate.probability_target_met),
        "verification": None if verdict is None else verification_to_record(verdict),
        "probability_after": finite_or_none(candidate.probability_after),
        "hit_class": None if candidate.hit_class is None else str(candidate.hit_class),
        "derivative_of": candidate.derivative_of,
        "nearest_known": candidate.nearest_known,
        "known_phase": None if candidate.known_phase is None else vars(candidate.known_phase),
        "unclassified": candidate.unclassified,
        "vacancy_of": candidate.vacancy_of,
        "duplicate_of": candidate.duplicate_of,
        "parent_prototype": candidate.parent_prototype,
        "score": finite_or_none(candidate.score),
        **_confirmation_to_record(candidate.confirmation),
        "structure_type": None if candidate.structure_type is None else vars(candidate.structure_type),
        "order": None if candidate.order is None else _order_to_record(candidate.order),
        "hull_margin": None if candidate.hull_margin is None else plain(vars(candidate.hull_margin)),
        **({} if candidate.triaged is None else {"triaged": triaged_to_record(candidate.triaged)}),
        **({"functionals": _functionals_to_record(candidate.functionals)} if candidate.functionals else {}),
    }


def candidate_from_record(record: Mapping[str, Any]) -> Candidate:
    """Return the candidate of a record.

    Raises:
        DataError: a newer format, or a field that is missing or is not what it should be.
    """
    if record.get("version", RECORD_VERSION) > RECORD_VERSION:
        raise DataError(
            f"candidate {record.get('id')!r} has record version {record['version']}; "
            f"this program reads up to {RECORD_VERSION}"
        )
    try:
        return _typed(_candidate(record))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"the record of candidate {record.get('id')!r} is damaged: {type(error).__name__}: {error}"
        ) from None


def _candidate(record: Mapping[str, Any]) -> Candidate:
    verdict = record.get("verification")
    hit_class, phase = record.get("hit_class"), record.get("known_phase")
    return Candidate(
        id=record["id"],
        structure=structure_from_record(record["structure"]),
        proposer=record["proposer"],
        seed=record["seed"],
        history=record.get("history", {}),
        log_likelihood=record.get("log_likelihood"),
        origin=Origin(record.get("origin", Origin.SEARCH)),
        key=str(record.get("key", _formerly(record, "", *_FORMER_KEYS))),
        trust=record.get("trust", _formerly(record, None, "trust")),
        expected_prototype=record.get("expected_prototype", _formerly(record, "", "expected_prototype")),
        remarks=tuple(record.get("remarks", ())),
        status=Status(record["status"]),
        reason=record.get("reason", ""),
        rule=_rule(record),
        predictions={name: _predicted_from_record(value) for name, value in record["predictions"].items()},
        probability_target_met=record.get("probability_target_met"),
        verification=None if verdict is None else verification_from_record(verdict),
        probability_after=record.get("probability_after"),
        hit_class=None if hit_class is None else HitClass(hit_class),
        derivative_of=record.get("derivative_of", ""),
        nearest_known=record.get("nearest_known", ""),
        known_phase=None if phase is None else _typed(KnownPhase(phase["database_id"])),
        unclassified=record.get("unclassified", ""),
        vacancy_of=record.get("vacancy_of", ""),
        duplicate_of=record.get("duplicate_of", ""),
        parent_prototype=record.get("parent_prototype", ""),
        score=record.get("score"),
        confirmation=_confirmation_from_record(record.get("confirmation")),
        structure_type=_structure_type(record.get("structure_type")),
        order=_order(record.get("order")),
        hull_margin=_hull_margin(record.get("hull_margin")),
        triaged=None if record.get("triaged") is None else triaged_from_record(record["triaged"]),
        functionals=_functionals(record.get("functionals") or {}),
    )


def _functionals_to_record(found: Mapping[str, FunctionalHull]) -> dict[str, Any]:
    return {name: plain(vars(one)) for name, one in found.items()}


def _functionals(record: Mapping[str, Any]) -> dict[str, FunctionalHull]:
    return {
        name: _typed(FunctionalHull(one["potential"], _number(one["above_hull"]), one["reason"]))
        for name, one in record.items()
    }


def _order_to_record(found: OrderDisorder) -> dict[str, Any]:
    numbers = {name: finite_or_none(getattr(found, name)) for name in ("temperature", "std", "entropy")}
    return {**numbers, "n": found.n, "elements": list(found.elements), "reason": found.reason}


def _order(record: Mapping[str, Any] | None) -> OrderDisorder | None:
    if record is None:
        return None
    numbers = {name: _number(record[name]) for name in ("temperature", "std", "entropy")}
    elements = tuple(record["elements"])
    return _typed(OrderDisorder(**numbers, n=record["n"], elements=elements, reason=record["reason"]))


def _hull_margin(record: Mapping[str, Any] | None) -> HullMargin | None:
    if record is None:
        return None
    return _typed(HullMargin(record["phase"], record["margin"], dict(record["margins"])))


def _structure_type(record: Mapping[str, Any] | None) -> StructureType | None:
    return None if record is None else _typed(StructureType(TypeNovelty(record["novelty"]), record["name"]))


def triaged_to_record(triaged: Triaged) -> dict[str, Any]:
    """Return what a cheap potential said as plain JSON; `triaged_from_record` undoes it."""
    structure = triaged.structure
    return {
        "potential": triaged.potential,
        **{name: finite_or_none(getattr(triaged, name)) for name in _ENERGIES},
        "structure": None if structure is None else structure_to_record(structure),
        "steps": triaged.steps,
        "seconds": finite_or_none(triaged.seconds),
        "reason": triaged.reason,
        "failure": None if triaged.failure is None else str(triaged.failure),
    }


def triaged_from_record(record: Mapping[str, Any]) -> Triaged:
    """Return what a cheap potential said.

    Raises:
        DataError: a field is missing or is not what it should be.
    """
    try:
        structure, failure = record["structure"], record["failure"]
        return _typed(
            Triaged(
                potential=record["potential"],
                **{name: _number(record[name]) for name in _ENERGIES},
                structure=None if structure is None else structure_from_record(structure),
                steps=record["steps"],
                seconds=_number(record["seconds"]),
                reason=record["reason"],
                failure=None if failure is None else Failure(failure),
            )
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"the record of a triage is damaged: {type(error).__name__}: {error}") from None


_ENERGIES = ("energy", "std", "above_hull")


def _confirmation_to_record(found: Confirmation | None) -> dict[str, Any]:
    """Return the part of a candidate's record that first principles fill; nothing before they were asked."""
    if found is None:
        return {}
    return {
        "confirmation": {
            "outcome": str(found.outcome),
            "values": {name: _verified_to_record(value) for name, value in found.values.items()},
            **{name: list(getattr(found, name)) for name in _DECIDED},
            "reason": found.reason,
            "code": found.code,
            "protocol": found.protocol,
            "details": plain(found.details),
            "computing": finite_or_none(found.computing),
            "structure": None if found.structure is None else structure_to_record(found.structure),
        }
    }


_DECIDED = ("met", "missed", "open", "uncomputed")


def _confirmation_from_record(record: Mapping[str, Any] | None) -> Confirmation | None:
    if record is None:
        return None
    structure = record["structure"]
    return _typed(
        Confirmation(
            outcome=Outcome(record["outcome"]),
            values={name: _verified_from_record(value) for name, value in record["values"].items()},
            **{name: tuple(record[name]) for name in _DECIDED},
            reason=record["reason"],
            code=record["code"],
            protocol=record["protocol"],
            details=dict(record["details"]),
            computing=_number(record["computing"]),
            structure=None if structure is None else structure_from_record(structure),
        )
    )


def _rule(record: Mapping[str, Any]) -> Rule | None:
    """Return the rule of a record; of one older than such names, what its reason began with."""
    if "rule" in record:
        return None if record["rule"] is None else Rule(record["rule"])
    name = record.get("reason", "").removeprefix("after relaxation: ").partition(":")[0]
    return Rule(name) if name in set(Rule) else None


_FORMER_KEYS = ("key", "place", "pool", "seed_pool")
"""Names in the history of older records of what became `Candidate.key`."""


def _formerly(record: Mapping[str, Any], default: Any, *names: str) -> Any:
    """Return a field that older records keep in the history, under the first of the names that is there."""
    history = record.get("history") or {}
    return next((history[name] for name in names if name in history), default)


_kinds = cache(get_type_hints)


def _typed(record: _Record) -> _Record:
    """Return a record whose every field is what its annotation says, however it was stored.

    Raises:
        TypeError: a field is something else.
    """
    for name, kind in _kinds(record.__class__).items():  # type: ignore[arg-type]
        value = getattr(record, name)
        if not _is(value, kind):
            raise TypeError(f"{name} is a {type(value).__name__}")
    return record


def _is(value: Any, kind: Any) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_is(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and all(_is(item, parts[0]) for item in value)
    if origin is Mapping:
        is_mapping = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        return is_mapping and all(_is(item, parts[1]) for item in value.values())
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _predicted_to_record(value: PredictedValue) -> dict[str, Any]:
    numbers = {name: finite_or_none(getattr(value, name)) for name in ("mean", "std", "lower", "upper")}
    return {**numbers, "in_domain": bool(value.in_domain)}


def _predicted_from_record(record: Mapping[str, Any]) -> PredictedValue:
    numbers = {name: _number(record[name]) for name in ("mean", "std", "lower", "upper")}
    return _typed(PredictedValue(**numbers, in_domain=record.get("in_domain", True)))


def _verified_to_record(value: VerifiedValue) -> dict[str, Any]:
    names = ("mean", "std", "lower", "upper", "raw")
    numbers = {name: finite_or_none(getattr(value, name)) for name in names}
    return {**numbers, "potential": value.potential, "unit": value.unit}


def _verified_from_record(record: Mapping[str, Any]) -> VerifiedValue:
    numbers = {name: _number(record[name]) for name in ("mean", "std", "lower", "upper", "raw")}
    return _typed(VerifiedValue(**numbers, potential=record["potential"], unit=record["unit"]))


def stage_to_record(stage: Stage) -> dict[str, Any]:
    """Return one rung of a ladder as plain JSON."""
    return {
        "name": stage.name,
        "passed": None if stage.passed is None else bool(stage.passed),
        "reason": stage.reason,
        "seconds": finite_or_none(stage.seconds),
        "versions": {str(name): str(version) for name, version in stage.versions.items()},
    }


def _stage_from_record(record: Mapping[str, Any]) -> Stage:
    return _typed(
        Stage(
            record["name"],
            record["passed"],
            record.get("reason", ""),
            _number(record.get("seconds")),
            dict(record.get("versions") or {}),
        )
    )
