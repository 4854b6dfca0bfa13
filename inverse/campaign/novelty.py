"""`inverse novelty`: what databases on the network say of a run's best, kept in its folder with the date."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inverse.campaign.candidate_table import best_structure, is_ranked
from inverse.campaign.manifest import now
from inverse.candidates.types import Candidate
from inverse.reference.online_databases import (
    DATABASES,
    Answer,
    Database,
    DatabaseAnswer,
    Entry,
    Get,
    ask_databases,
)
from surrogates.errors import ConfigError, DataError, RunFolderError
from surrogates.platform.whole_files import write_atomically

NOVELTY_FILE = "novelty.json"
"""In the run folder."""

NOVELTY_FORMAT = 1


@dataclass(frozen=True)
class OnlineNovelty:
    """What databases said of one candidate.

    Attributes:
        id: of the candidate.
        formula: reduced, pymatgen's form.
        answers: one of each database that was asked.
    """

    id: str
    formula: str
    answers: tuple[DatabaseAnswer, ...]


@dataclass(frozen=True)
class NoveltyAnswers:
    """What databases said of a run's best, and when.

    Attributes:
        asked: ISO 8601 in UTC; databases grow.
        candidates: in the order of the table.
    """

    asked: str
    candidates: tuple[OnlineNovelty, ...]

    @property
    def by_id(self) -> Mapping[str, OnlineNovelty]:
        """By id of the candidate."""
        return {one.id: one for one in self.candidates}


def best_of(candidates: Sequence[Candidate], top: int) -> list[Candidate]:
    """Return the best that were verified, in the order of the table.

    Raises:
        ConfigError: none was.
    """
    ranked = [c for c in candidates if is_ranked(c)][:top]
    if not ranked:
        raise ConfigError("nothing was verified, so that there is nothing to ask about")
    return ranked


def ask_about(
    folder: Path,
    candidates: Sequence[Candidate],
    databases: Sequence[Database] = DATABASES,
    get: Get | None = None,
    told: Callable[[OnlineNovelty], None] = lambda one: None,
) -> NoveltyAnswers:
    """Return what databases say of candidates, written into the run folder, whole or not at all.

    Args:
        folder: of the run.
        candidates: of it.
        databases: whom to ask.
        get: how; None asks through the `optimade` client.
        told: of each candidate as its answers are there.

    Raises:
        MissingExtraError: the client is not installed.
        DataError: no database answers.
        RunFolderError: the folder cannot be written.
    """
    asked, found = now(), []
    structures = [best_structure(candidate) for candidate in candidates]
    for candidate, answers in zip(candidates, ask_databases(structures, databases, get), strict=True):
        found.append(OnlineNovelty(candidate.id, candidate.formula, answers))
        told(found[-1])
    novelty = NoveltyAnswers(asked, tuple(found))
    path = folder / NOVELTY_FILE
    try:
        write_atomically(path, json.dumps(_to_record(novelty), indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written ({error.strerror or error})") from None
    return novelty


def read_novelty(folder: Path) -> NoveltyAnswers | None:
    """Return what databases said of a run's best; None before they were asked.

    Raises:
        DataError: the file is damaged, or of a newer format.
    """
    path = folder / NOVELTY_FILE
    if not path.is_file():
        return None
    try:
        return _from_record(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}); remove it or ask again") from None


def _to_record(novelty: NoveltyAnswers) -> dict[str, Any]:
    return {"format_version": NOVELTY_FORMAT, **asdict(novelty)}


def _from_record(record: Mapping[str, Any]) -> NoveltyAnswers:
    if record["format_version"] != NOVELTY_FORMAT:
        raise ValueError(f"format {record['format_version']}, not {NOVELTY_FORMAT}")
    return NoveltyAnswers(_text(record["asked"]), tuple(_candidate(one) for one in record["candidates"]))


def _candidate(record: Mapping[str, Any]) -> OnlineNovelty:
    answers = tuple(_answer(one) for one in record["answers"])
    return OnlineNovelty(_text(record["id"]), _text(record["formula"]), answers)


def _answer(record: Mapping[str, Any]) -> DatabaseAnswer:
    entries = tuple(_entry(entry) for entry in record["entries"])
    database, reason = _text(record["database"]), _text(record["reason"])
    return DatabaseAnswer(database, Answer(record["answer"]), entries, reason)


def _entry(record: Mapping[str, Any]) -> Entry:
    url, is_same = _text(record["url"]), record["is_same"]
    if not url.startswith("https://"):  # it becomes a link in reports
        raise ValueError(f"no address: {url[:40]!r}")
    if is_same is not None and not isinstance(is_same, bool):
        raise TypeError("is_same is neither true nor false")
    return Entry(_text(record["id"]), url, is_same)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is no text")
    return value
