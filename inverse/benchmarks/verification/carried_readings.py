"""Readings of the DFT rows that come with the package: scale and calibrations need no store and no potential.

One line per DFT row and judge in `readings.parquet`, nothing of the DFT structures or values in it. Filled
from the store by `python -m experiments.package_data.carry_readings`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from inverse.benchmarks.verification.stored_verdicts import StoredRow, alone, stored_row
from inverse.verification.calibration.readings import OF_TENSOR, Reading, Readings
from inverse.verification.judge import JudgeSettings
from inverse.verification.store import VerificationStore
from surrogates.platform.whole_files import replacing

PATH = Path(__file__).with_name("readings.parquet")

JUDGES, REFEREE = "judges", "referee"
"""Who read beside single potentials, which stand under their own names."""


def carried_row(row: dict[str, Any]) -> StoredRow | None:
    """Return what is carried of a DFT row; None when it is not there or was read at other settings."""
    lines = _by_id().get(row["id"])
    if lines is None or lines[0]["settings"] != JudgeSettings().method:
        return None
    read = {line["who"]: _readings(line) for line in lines if line["who"]}
    judges, referee = read.pop(JUDGES, None), read.pop(REFEREE, None)
    return StoredRow(row, False, lines[0]["catastrophe"], lines[0]["reason"], judges, referee, read)


def judged_rows(store: VerificationStore, rows: Iterable[dict[str, Any]]) -> Iterator[StoredRow]:
    """Yield the DFT rows as carried; a store, which is slower to ask, has only those that are not."""
    for row in rows:
        yield carried_row(row) or stored_row(store, row)


def joined_rows(store: VerificationStore, rows: Iterable[dict[str, Any]]) -> Iterator[StoredRow]:
    """Yield what a store holds of each DFT row, with what only the carried one has."""
    for row in rows:
        yield _joined(carried_row(row), stored_row(store, row))


def rows_with(
    store: VerificationStore, rows: Iterable[dict[str, Any]], potential: str
) -> Iterator[StoredRow]:
    """Yield each DFT row as carried, with what a store holds of one potential alone; quicker than all."""
    for row in rows:
        carried = carried_row(row) or StoredRow(row, missing=True)
        yield replace(carried, alone={**carried.alone, **alone(row, store, (potential,))})


def _joined(carried: StoredRow | None, stored: StoredRow) -> StoredRow:
    if carried is None or stored.missing:
        own = {} if carried is None else carried.alone
        return replace(carried or stored, alone={**own, **stored.alone})
    referee = stored.referee or carried.referee
    return replace(stored, referee=referee, alone={**carried.alone, **stored.alone})


def write_readings(rows: Iterable[StoredRow], path: Path = PATH) -> int:
    """Replace the carried readings; return how many DFT rows they cover. Rows not judged are left out."""
    lines: list[dict[str, Any]] = []
    n = 0
    for row in rows:
        if row.missing:
            continue
        n += 1
        head = {"id": row.row["id"], "settings": JudgeSettings().method}
        head |= {"catastrophe": row.catastrophe, "reason": row.reason}
        read = {JUDGES: row.judges, REFEREE: row.referee, **row.alone}
        found = [{**head, "who": who, **_line(q)} for who, q in read.items() if q is not None]
        lines += found or [{**head, "who": "", **_line(Readings())}]
    with replacing(path) as fresh:
        pq.write_table(pa.Table.from_pylist(lines), fresh, compression="zstd")
    _by_id.cache_clear()
    return n


@cache
def _by_id() -> Mapping[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    if PATH.is_file():
        for line in pq.read_table(PATH).to_pylist():
            found.setdefault(line["id"], []).append(line)
    return found


def _line(read: Readings) -> dict[str, Any]:
    """Return the columns of a file's line: of each property read its value, who read it, and its change."""
    terms = {known.term: read[name] for name, known in OF_TENSOR.items()}
    line: dict[str, Any] = {term: round(one.value, 3) for term, one in terms.items()}
    line |= {f"{term}_by": one.by for term, one in terms.items()}
    line |= {f"{term}_change": round(one.change, 3) for term, one in terms.items()}
    return line | {"anion": read.anion, "doubts": ",".join(read.doubts)}


def _readings(line: Mapping[str, Any]) -> Readings:
    of = {
        name: Reading(line[known.term], line[f"{known.term}_by"], line[f"{known.term}_change"])
        for name, known in OF_TENSOR.items()
    }
    return Readings(of, line["anion"], tuple(name for name in line["doubts"].split(",") if name))
