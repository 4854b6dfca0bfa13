"""The referee judges a run's hits again, by values that rank, flags, calibration and feedback never saw.

The elastic tensor of the judge of G is in the record: whoever averages it has that judge's own K.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from inverse.records import verification_to_record
from inverse.types import Candidate, Stage, Status, Target, Verification
from surrogates.errors import DataError, RunFolderError
from surrogates.properties import BULK_MODULUS, SHEAR_MODULUS

REFEREE_FILE = "referee.jsonl"
"""In the run folder: one line a hit."""

REFEREED = (BULK_MODULUS, SHEAR_MODULUS)
"""Properties of which the referee has an opinion of its own."""


def referee_run(folder: Path, workers: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the referee's record of each hit, in rank order; all are written to the folder at the end.

    Changes neither rank nor status nor anything that a resumed run reads.

    Args:
        folder: of a run.
        workers: processes beside this one; None takes one per core, at most one per hit.

    Raises:
        RunFolderError: no run there, damaged, or not writable.
        MissingExtraError: the referee's potentials are not installed.
    """
    from inverse.report.run import read_run
    from inverse.verification import load_verifier
    from inverse.verification.workers import default_workers

    run = read_run(folder)
    hits = [c for c in run.candidates if c.status is Status.HIT]
    if workers is None:
        workers = min(default_workers(), len(hits))
    verifier = load_verifier(referee=True, workers=workers, device=run.config.device)
    records: dict[int, dict[str, Any]] = {}
    following = 0
    try:
        for position, verdict in verifier.verify_each([c.structure for c in hits]):
            records[position] = referee_record(hits[position], verdict, run.config.targets)
            while following in records:
                yield records[following]
                following += 1
    finally:
        verifier.close()
    _write(folder / REFEREE_FILE, [records[position] for position in sorted(records)])


def referee_record(candidate: Candidate, verdict: Verification, targets: Sequence[Target]) -> dict[str, Any]:
    """Return what the referee says of one hit and whether it agrees.

    It agrees when every hard target of a property that it judges is met by its calibrated mean; never with a
    crystal that it cannot finish or calls unstable.
    """
    names = {p.name for p in REFEREED}
    record = verification_to_record(verdict)
    asked = [t for t in targets if t.is_hard and t.property.name in names]
    means = {t.property.name: _mean(verdict, t.property.name) for t in asked}
    missed = [t.property.name for t in asked if not t.is_met(means[t.property.name])]
    finished = verdict.converged and verdict.is_stable is not False
    return {
        "id": candidate.id,
        "formula": candidate.structure.composition.reduced_formula,
        "agrees": bool(finished and not missed) if asked else None,
        "missed": missed,
        "reason": verdict.reason or ("" if finished else "mechanically unstable"),
        "values": {name: value for name, value in record["values"].items() if name in names},
    }


def summary(records: Sequence[Mapping[str, Any]]) -> str:
    """Return one line: with how many hits the referee agrees, and what that is worth.

    >>> summary([{"agrees": True}, {"agrees": False}])
    'the referee agrees with 1 of 2 hits (95 % interval 9 to 91 %)'
    """
    from inverse.report.summary import wilson_interval

    asked = [r for r in records if r["agrees"] is not None]
    agreed = sum(bool(r["agrees"]) for r in asked)
    low, high = wilson_interval(agreed, len(asked))
    return (
        f"the referee agrees with {agreed} of {len(asked)} hits "
        f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
    )


def read_referee(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the referee's records by candidate id; none before it has run.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / REFEREE_FILE
    if not path.is_file():
        return {}
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        return {line["id"]: line for line in lines}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); remove it or let the referee run again") from None


def with_referee(candidate: Candidate, record: Mapping[str, Any] | None) -> Candidate:
    """Return the candidate as the report shows it: the referee is the last stage of its ladder."""
    if record is None or candidate.verification is None:
        return candidate
    said = [
        f"{name}: {value['mean']:.0f} ± {value['std']:.0f} {value['unit']} by {value['potential']}"
        for name, value in record["values"].items()
        if value["mean"] is not None and value["std"] is not None
    ]
    reason = "; ".join([*([record["reason"]] if record["reason"] else []), *said])
    stage = Stage("referee", record["agrees"], reason)
    verification = replace(candidate.verification, ladder=(*candidate.verification.ladder, stage))
    return replace(candidate, verification=verification)


def _mean(verdict: Verification, name: str) -> float:
    return verdict.values[name].mean if name in verdict.values else math.nan


def _write(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    temporary = path.with_suffix(".part")
    try:
        temporary.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written ({error})") from None
