"""The referee's word in a run folder: written by `refereeing`, read by whoever shows the run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from inverse.candidates.types import Candidate, Stage
from surrogates.errors import DataError, RunFolderError
from surrogates.platform.whole_files import write_atomically

REFEREE_FILE = "referee.jsonl"
"""In the run folder: one line a candidate."""


def write_referee(folder: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the referee's records, all at once.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    path = folder / REFEREE_FILE
    try:
        write_atomically(path, "".join(json.dumps(r) + "\n" for r in records))
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written ({error})") from None


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
        for line in lines:
            _require_parts(line)
        return {line["id"]: line for line in lines}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}); remove it or let the referee run again") from None


def _require_parts(line: Any) -> None:
    """Raise ValueError, KeyError or TypeError where a line of the referee's file is not what it wrote."""
    if not isinstance(line["id"], str) or not isinstance(line["reason"], str):
        raise ValueError("an id or a reason is no text")
    for value in dict(line["values"]).values():
        numbers = [value[name] for name in ("mean", "std")]
        if not all(n is None or isinstance(n, int | float) for n in numbers):
            raise ValueError("a value is no number")
        if not isinstance(value["unit"], str) or not isinstance(value["potential"], str):
            raise ValueError("a unit or a potential is no text")
    if not isinstance(line["agrees"], bool | None):
        raise ValueError("agrees is neither true nor false")


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
