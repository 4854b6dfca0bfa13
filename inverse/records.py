"""Candidates and verifications as JSON-able records and back; values survive the round trip unchanged."""

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.types import (
    Candidate,
    HitClass,
    PredictedValue,
    Stage,
    Status,
    Verification,
    VerifiedValue,
)


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
        return Structure.from_dict(dict(record))
    except Exception as error:
        raise DataError(
            f"the record of a structure cannot be read: {type(error).__name__}: {error}"
        ) from None


def verification_to_record(verification: Verification) -> dict[str, Any]:
    """Return a verification as JSON types."""
    return {
        "potential": verification.potential,
        "converged": verification.converged,
        "reason": verification.reason,
        "values": {name: plain(asdict(value)) for name, value in verification.values.items()},
        "flags": list(verification.flags),
        "is_stable": verification.is_stable,
        "structure": None if verification.structure is None else structure_to_record(verification.structure),
        "ladder": [asdict(stage) for stage in verification.ladder],
        "seconds": verification.seconds,
    }


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def verification_from_record(record: Mapping[str, Any]) -> Verification:
    """Return the verification of a record."""
    values = {
        name: VerifiedValue(
            **{key: item if key in ("potential", "unit") else _number(item) for key, item in value.items()}
        )
        for name, value in record["values"].items()
    }
    return Verification(
        potential=record["potential"],
        converged=record["converged"],
        reason=record["reason"],
        values=MappingProxyType(values),
        flags=tuple(record["flags"]),
        is_stable=record["is_stable"],
        structure=None if record["structure"] is None else structure_from_record(record["structure"]),
        ladder=tuple(Stage(**stage) for stage in record["ladder"]),
        seconds=record["seconds"],
    )


def candidate_to_record(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate, its whole history included, as JSON types."""
    record = {
        name: plain(getattr(candidate, name))
        for name in (
            "id",
            "proposer",
            "seed",
            "history",
            "log_likelihood",
            "reason",
            "probability_target_met",
            "probability_after",
            "derivative_of",
            "nearest_known",
            "duplicate_of",
            "parent_prototype",
            "score",
        )
    }
    record["structure"] = structure_to_record(candidate.structure)
    record["status"] = candidate.status.value
    record["hit_class"] = None if candidate.hit_class is None else candidate.hit_class.value
    record["predictions"] = {name: plain(asdict(value)) for name, value in candidate.predictions.items()}
    record["verification"] = (
        None if candidate.verification is None else verification_to_record(candidate.verification)
    )
    return record


def candidate_from_record(record: Mapping[str, Any]) -> Candidate:
    """Return the candidate of a record."""
    fields = dict(record)
    fields["structure"] = structure_from_record(record["structure"])
    fields["status"] = Status(record["status"])
    fields["hit_class"] = None if record["hit_class"] is None else HitClass(record["hit_class"])
    fields["history"] = MappingProxyType(dict(record["history"]))
    fields["predictions"] = MappingProxyType(
        {
            name: PredictedValue(
                **{key: item if key == "in_domain" else _number(item) for key, item in value.items()}
            )
            for name, value in record["predictions"].items()
        }
    )
    fields["verification"] = (
        None if record["verification"] is None else verification_from_record(record["verification"])
    )
    return Candidate(**fields)
