"""How time and memory of a surrogate grow with the number of crystals."""

import re
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inverse.benchmarks.verification.speed import timed
from inverse.report.progress_bar import progress
from surrogates.crystals.batch import CrystalBatch
from surrogates.physics.properties import Property
from surrogates.protocol import Surrogate

SIZES = (100, 1_000, 10_000, 100_000)
MOST_EXPONENT = 1.1
"""Time may grow with this power of the number of crystals."""

MOST_MEMORY = 500.0
"""MB that a prediction may take beside its crystals and its answers, whatever their number."""


def scaling(
    surrogate: Surrogate, batch: CrystalBatch, properties: Sequence[Property], largest: int
) -> dict[str, Any]:
    """Return CPU seconds and memory at each size up to the largest, crystals repeated; smallest size first.

    Memory is the peak of this process over what it held before, less crystals and answers; where the system
    cannot forget an earlier, higher peak, that peak hides it.
    """
    sizes = [size for size in SIZES if size <= largest] or [largest]
    surrogate.predict(repeated(batch, sizes[0]), properties)  # what a first call costs is nobody's
    rows = []
    with progress("sizes", len(sizes)) as bar:
        for size in sizes:
            rows.append(_measured(surrogate, repeated(batch, size), properties))
            bar.advance(str(size))
    slope = None
    if len(rows) > 1:
        logs = np.log([[row["n"], row["cpu"]] for row in rows])
        slope = round(float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0]), 3)
    within = all(row["working_mb"] <= MOST_MEMORY for row in rows)
    return {
        "passed": within and (slope is None or slope <= MOST_EXPONENT),
        "exponent": slope,
        "most_exponent": MOST_EXPONENT,
        "most_working_mb": MOST_MEMORY,
        "sizes": rows,
    }


def repeated(batch: CrystalBatch, size: int) -> CrystalBatch:
    """Return `size` crystals: those of the batch in turn, again and again."""
    times = -(-size // batch.n_crystals)
    shift = torch.arange(times).repeat_interleave(len(batch.crystal_index)) * batch.n_crystals
    index = batch.crystal_index.repeat(times) + shift
    atoms = index < size
    return CrystalBatch(
        lattice=batch.lattice.repeat(times, 1, 1)[:size],
        frac_coords=batch.frac_coords.repeat(times, 1)[atoms],
        occupancy=batch.occupancy.repeat(times, 1)[atoms],
        crystal_index=index[atoms],
        scale=batch.scale.repeat(times)[:size],
    )


def _measured(surrogate: Surrogate, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[str, Any]:
    forget_peak()
    before = max(resident(), peak())
    found, took = timed(lambda: surrogate.predict(crystals, properties))
    answers = sum(p.samples.nbytes + 5 * p.mean.nbytes for p in found.values()) / 2**20
    return {
        "n": crystals.n_crystals,
        "cpu": took.cpu,
        "wall": took.wall,
        "per_second_cpu": round(crystals.n_crystals / took.cpu, 1),
        "answers_mb": round(answers, 1),
        "working_mb": round(max(0.0, peak() - before - answers), 1),
    }


def forget_peak() -> None:
    """Let `peak` start again from what is held now, where the system can (Linux: proc(5), clear_refs)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak() -> float:
    """Return the most memory that this process held since it began or `forget_peak`, MB."""
    with suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        if found := re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE):
            return int(found[1]) / 2**10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def resident() -> float:
    """Return the memory that this process holds, MB; its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak()
    return pages * resource.getpagesize() / 2**20
