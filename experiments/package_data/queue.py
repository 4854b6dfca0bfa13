"""Queues that several short, resumable processes drain: `python -m experiments.package_data.queue NAME`.

Every answer goes into the verification store (INVERSE_STORE) as it is known; what is there costs nothing, so
a shard that was killed, or ran out of its seconds, goes on where it stopped. NAME is `elasticity`,
`calibration` or `rows FILE` (JSON lines with `id, lattice, species, frac_coords`, such as the pool of a
reference set). `pack FOLDER` writes such a file of what the store still lacks, `merge STORE` takes in the
answers of another machine.
"""

import argparse
import gzip
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from inverse.benchmarks.dft_rows import calibration_rows, structure_of
from inverse.potentials.inquiry import Inquiry, answered_together
from inverse.potentials.loading import limit_threads
from inverse.potentials.machine import Patience
from inverse.verification.judge import Judge, JudgeSettings
from inverse.verification.store import VerificationStore
from surrogates.errors import MachineError, VerificationError
from surrogates.platform.whole_files import write_atomically

LOGGER = logging.getLogger(__name__)

SECONDS_PER_CRYSTAL = 600.0
"""Wall time after which a crystal that is worked on side by side with others is given up."""


@dataclass(frozen=True)
class Job:
    """One piece of work of at most a few minutes: its name, and what puts its answers into a store."""

    name: str
    work: Callable[[VerificationStore], object]


def drain(jobs: Sequence[Job], store: VerificationStore, seconds: float, part: str = "1/1") -> int:
    """Work through every n-th job from the k-th until they, or the seconds, are used up; return how many.

    A job that fails is logged and passed over.

    Args:
        jobs: all of the queue, the same list in every process.
        store: where the answers go.
        seconds: no job is begun after them.
        part: k/n.

    Raises:
        MachineError: the machine failed `FAILURES_IN_A_ROW` times in a row.
    """
    stop = time.monotonic() + seconds
    n_done, patience = 0, Patience()
    for job in share(jobs, part):
        if time.monotonic() > stop:
            break
        started = time.monotonic()
        try:
            job.work(store)
            patience.worked()
        except MachineError as error:
            LOGGER.warning("%s", job.name, exc_info=True)
            patience.failed(str(error))
        except Exception:  # one crystal never ends a queue
            LOGGER.exception("%s failed", job.name)
        n_done += 1
        LOGGER.info("%d %s %.1f s", n_done, job.name, time.monotonic() - started)
    return n_done


def drain_together(
    rows: Sequence[dict[str, Any]],
    store: VerificationStore,
    seconds: float,
    ask: str = "7net-0",
    part: str = "1/1",
    device: str = "auto",
    width: int = 64,
) -> int:
    """Relax rows and compute their tensors, `width` of them side by side in shared passes; return how many.

    Args:
        rows: with `id`, `lattice`, `species`, `frac_coords`.
        store: where the answers go.
        seconds: no crystal is begun after them.
        ask: a potential's name, "auto" for the judges of record, or "referee" for what it has beside theirs.
        part: k/n.
        device: auto, cpu or cuda.
        width: crystals at once; 1 is best on a CPU.

    Raises:
        MachineError: the machine failed `FAILURES_IN_A_ROW` times in a row.
    """
    stop, mine = time.monotonic() + seconds, share(rows, part)

    def inquiries() -> Iterator[Inquiry[str]]:
        for row in mine:
            if time.monotonic() > stop:
                return
            yield _guarded(structure_of(row), store, ask, device)

    n_done, patience = 0, Patience()
    for position, outcome in answered_together(inquiries(), width):
        n_done += 1
        if isinstance(outcome, MachineError):
            patience.failed(str(outcome))
        else:
            patience.worked()
        LOGGER.info("%d %s: %s", n_done, mine[position].get("id", position), outcome or "done")
    return n_done


def share(items: Sequence[Any], part: str) -> Sequence[Any]:
    """Return the items of part k/n."""
    k, n = map(int, part.split("/"))
    return items[k - 1 :: n]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a (gzipped) JSON-lines file."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def pack(folder: Path, rows: Sequence[dict[str, Any]], store: VerificationStore, limit: int) -> int:
    """Write the geometry of the first rows without a 7net-0 verdict to `rows.jsonl.gz`; return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    judge = Judge("7net-0", store=store)
    wanted: list[dict[str, Any]] = []
    for row in rows:
        if len(wanted) < limit and not judge.remembers(structure_of(row)):
            wanted.append({key: row[key] for key in ("id", "lattice", "species", "frac_coords")})
    text = "".join(json.dumps(row) + "\n" for row in wanted)
    write_atomically(folder / "rows.jsonl.gz", gzip.compress(text.encode()))
    return len(wanted)


def merge(other: Path, store: VerificationStore) -> int:
    """Copy another store's rows that this one lacks; return how many."""
    before = len(store)
    VerificationStore(other).close()  # an older or foreign file is refused here
    with sqlite3.connect(store.path, timeout=60.0) as connection:
        connection.execute("ATTACH DATABASE ? AS other", (str(other),))
        connection.execute("INSERT OR IGNORE INTO main.verification SELECT * FROM other.verification")
    connection.close()
    return len(store) - before


def _guarded(structure: Structure, store: VerificationStore, ask: str, device: str) -> Inquiry[str]:
    """Return an inquiry that puts a crystal's verdicts into the store and says why it could not, if so.

    Raises:
        MachineError: memory, device or disk failed.
    """
    deadline = time.monotonic() + SECONDS_PER_CRYSTAL
    try:
        return (yield from _asked(structure, store, ask, device, deadline))
    except MachineError:
        raise
    except VerificationError as error:
        return str(error)
    except Exception as error:  # one crystal never ends a queue
        LOGGER.exception("failed")
        return f"{type(error).__name__}: {error}"


def _asked(
    structure: Structure, store: VerificationStore, ask: str, device: str, deadline: float
) -> Inquiry[str]:
    """Return why a crystal has no tensor: by one potential, or as `ladder.LadderVerifier` asks the panel."""
    settings = JudgeSettings()
    if ask not in ("auto", "referee"):
        alone = Judge(ask, settings, store, device=device)
        relaxed = yield from alone.relaxing(structure, deadline)
        if relaxed.structure is None:
            return relaxed.reason
        return (yield from alone.tensor_inquiry(relaxed.structure, deadline)).reason
    energy = Judge("7net-l3i5", settings, store, prerelax_by="7net-0", device=device)
    relaxed = yield from energy.relaxing(structure, deadline)
    if relaxed.structure is None:
        return relaxed.reason
    bulk = yield from energy.tensor_inquiry(relaxed.structure, deadline, only_bulk=True)
    if bulk.reason:
        return bulk.reason
    if ask == "referee":  # K comes of diep's tensor, which auto asks for
        return (yield from energy.tensor_inquiry(relaxed.structure, deadline)).reason
    shear = Judge("diep", settings, store, device=device)
    own = yield from shear.relaxing(relaxed.structure, deadline)
    if own.structure is None and not own.is_stalled:
        return own.reason
    cell = relaxed.structure if own.structure is None else own.structure
    return (yield from shear.tensor_inquiry(cell, deadline)).reason


def elasticity_jobs() -> list[Job]:
    """Return the crystals of `inverse bench verify-elasticity`."""
    from inverse.benchmarks.verification.elasticity import crystals, measure

    def job(row: dict[str, Any]) -> Job:
        return Job(f"{row['id']} {row['formula']}", lambda store: measure(row, store))

    return [job(row) for row in crystals()]


def main() -> None:
    """Drain, pack or merge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("queue", choices=["elasticity", "calibration", "rows", "pack", "merge"])
    parser.add_argument("path", nargs="?", type=Path, help="rows: the file; pack: a folder; merge: a store")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--part", default="1/1", help="k/n, for several processes")
    parser.add_argument("--ask", default="7net-0", help="a potential, auto: the judges of record, or referee")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--width", type=int, default=1, help="crystals side by side")
    parser.add_argument("--limit", type=int, default=100_000, help="rows at most")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    limit_threads()
    store = VerificationStore()
    if options.queue == "elasticity":
        done = drain(elasticity_jobs(), store, options.seconds, options.part)
    elif options.queue == "pack":
        done = pack(options.path, calibration_rows(), store, options.limit)
    elif options.queue == "merge":
        done = merge(options.path, store)
    else:
        rows = calibration_rows() if options.queue == "calibration" else read_rows(options.path)
        done = drain_together(
            rows[: options.limit],
            store,
            options.seconds,
            ask=options.ask,
            part=options.part,
            device=options.device,
            width=options.width,
        )
    LOGGER.info("%s: %d", options.queue, done)


if __name__ == "__main__":
    main()
