"""Where pools and labels lie, and how their lines are read and written."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from surrogates.platform.whole_files import write_atomically

WORK = Path(__file__).resolve().parents[2] / ".work" / "reference_set"
"""Scratch folder of pools and labels; git-ignored."""

KEPT = Path(__file__).resolve().parent / "kept"
"""Pools and labels that the repository carries, so that labelling goes on from a fresh clone."""


def pools(folder: Path = WORK) -> list[Path]:
    """Return the pool files in order of their numbers; kept ones count as those of the scratch folder."""
    found = {path.name: path for place in _places(folder) for path in place.glob("pool-*.jsonl.gz")}
    return sorted(found.values(), key=lambda path: int(path.name.split("-")[1].split(".")[0]))


def shards(folder: Path = WORK) -> list[Path]:
    """Return the files of labels, kept ones first."""
    return sorted(path for place in _places(folder) for path in (place / "labels").glob("*.jsonl*"))


def keep(folder: Path = WORK, kept: Path = KEPT) -> int:
    """Put pools and labels of the scratch folder among those that the repository carries; return how many."""
    for path in pools(folder):
        if path.parent != kept:
            write_lines(kept / path.name, read_lines(path))
    labels = labelled(folder)
    write_lines(kept / "labels" / "labels.jsonl.gz", labels.values())
    return len(labels)


def _places(folder: Path) -> list[Path]:
    return [KEPT, folder] if folder == WORK else [folder]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a (gzipped) JSON-lines file; a last line cut off by a killed writer is left out."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    lines = text.split("\n")
    for line in lines[:-1]:
        yield json.loads(line)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a gzipped JSON-lines file as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    write_atomically(path, gzip.compress(text.encode(), mtime=0))


def labelled(folder: Path = WORK) -> dict[str, dict[str, Any]]:
    """Return the labels of every shard by id; of a repeated id the first."""
    found: dict[str, dict[str, Any]] = {}
    for path in shards(folder):
        for row in read_lines(path):
            found.setdefault(row["id"], row)
    return found
