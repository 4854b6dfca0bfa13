"""What `inverse verify` answers: one JSON record per structure that was read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pymatgen.core import Structure

from inverse.candidates.derived import with_derived
from inverse.candidates.ladder import completed
from inverse.candidates.types import Verification
from inverse.inputs.records import finite_or_none, plain, stage_to_record, verification_to_record
from inverse.inputs.structure_files import ReadStructure
from inverse.verification.plan import VerificationPlan
from inverse.verification.protocol import StreamingVerifier
from surrogates.crystals.formulas import display_formula
from surrogates.errors import EngineError
from surrogates.physics.properties import Basis, of_basis

Classify = Callable[[Structure], Any]
"""Structure -> `inverse.reference.Classification`."""


def verification_records(
    read: Sequence[ReadStructure], verifier: StreamingVerifier, classify: Classify | None = None
) -> Iterator[dict[str, Any]]:
    """Yield one record per structure read, in order, each as soon as it and all before it are known.

    Args:
        read: from `inverse.inputs.structure_files.read_structures`.
        verifier: from `open_verifier`; the caller closes it.
        classify: known, derivative or new, see `packaged_classifier`; None calls none of them anything.
    """
    usable = [i for i, item in enumerate(read) if item.structure is not None]
    verdicts = verifier.verify_each([read[i].structure for i in usable])  # type: ignore[misc]
    done: dict[int, dict[str, Any]] = {
        i: error_record(item) for i, item in enumerate(read) if item.structure is None
    }
    following = 0
    while following in done:
        yield done.pop(following)
        following += 1
    for position, verdict in verdicts:
        item = read[usable[position]]
        done[usable[position]] = verification_record(item, verdict, classify)
        while following in done:
            yield done.pop(following)
            following += 1


def verification_record(
    item: ReadStructure, verdict: Verification, classify: Classify | None = None
) -> dict[str, Any]:
    """Return the contract's record of one verdict; numbers are finite or null."""
    values = with_derived(verdict.values, verdict.structure, of_basis(Basis.OF_COMPOSITION))
    record = verification_to_record(replace(verdict, values=values))
    structure = verdict.structure if verdict.structure is not None else item.structure
    known = _classified(structure, classify)
    return {
        "id": item.id,
        "file": item.file,
        "formula": "" if structure is None else structure.composition.reduced_formula,
        "formula_display": "" if structure is None else display_formula(structure.composition),
        "converged": record["converged"],
        "reason": record["reason"],
        "failure": record["failure"],
        "potential": record["potential"],
        "values": record["values"],
        "second_opinion": record["second_opinion"],
        "hit_class": None if known is None else str(known.hit_class),
        "derivative_of": "" if known is None else known.derivative_of,
        "nearest_known": "" if known is None else known.nearest_known,
        "is_stable": record["is_stable"],
        "flags": [
            *item.flags,
            *record["flags"],
            *(["unclassified"] if known is None and structure is not None else []),
        ],
        "ladder": [stage_to_record(stage) for stage in completed(verdict.ladder, "given, not generated")],
        "elasticity": record["elasticity"] or None,
        **({"first_principles": record["first_principles"]} if "first_principles" in record else {}),
        "seconds": finite_or_none(verdict.seconds),
        "structure": None if verdict.structure is None else plain(verdict.structure.as_dict()),
    }


def error_record(item: ReadStructure) -> dict[str, Any]:
    """Return the record of a structure that could not be read."""
    error = item.error
    name = "StructureError" if error is None else type(error).__name__
    return {"id": item.id, "file": item.file, "error": {"type": name, "message": str(error or "unreadable")}}


def packaged_classifier(plan: VerificationPlan) -> Classify:
    """Return the classification against everything the package knows, as in campaigns with this plan."""
    from inverse.verification.classification import classifier_by_energy

    return classifier_by_energy(plan.panel, plan.reuse, plan.device).classify


def _classified(structure: Structure | None, classify: Classify | None) -> Any:
    if structure is None or classify is None:
        return None
    try:
        return classify(structure)
    except (EngineError, ValueError):
        return None
