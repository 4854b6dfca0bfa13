"""Where pools and labels lie, and how their lines are read and written."""

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

WORK = Path(__file__).resolve().parents[2] / ".work" / "reference_set"
"""Scratch folder of pools and labels; git-ignored."""


def pools(folder: Path = WORK) -> list[Path]:
    """Return the pool files in order of their numbers."""
    return sorted(folder.glob("pool-*.jsonl.gz"), key=lambda p: int(p.name.split("-")[1].split(".")[0]))


def shards(folder: Path = WORK) -> list[Path]:
    """Return the files of labels."""
    return sorted((folder / "labels").glob("*.jsonl"))


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
    part = path.with_suffix(".part")
    part.write_bytes(gzip.compress(text.encode(), mtime=0))
    os.replace(part, path)


def labelled(folder: Path = WORK) -> dict[str, dict[str, Any]]:
    """Return the labels of every shard by id; of a repeated id the first."""
    found: dict[str, dict[str, Any]] = {}
    for path in shards(folder):
        for row in read_lines(path):
            found.setdefault(row["id"], row)
    return found
