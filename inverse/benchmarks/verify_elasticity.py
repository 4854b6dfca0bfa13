"""`inverse bench verify-elasticity`: the internal-strain formula against ions relaxed in every strained cell."""

from typing import Any

import numpy as np

from inverse.benchmarks.dft_rows import is_usable, structure_of
from inverse.benchmarks.strained_cells import stored_strained_cells
from inverse.verification.judge import Judge
from inverse.verification.store import VerificationStore

POTENTIAL = "7net-0"
SYSTEMS = {
    "cubic": 230,
    "hexagonal": 194,
    "trigonal": 167,
    "tetragonal": 142,
    "orthorhombic": 74,
    "monoclinic": 15,
    "triclinic": 2,
}
"""Crystal system -> its last space group's number."""


def crystals(n: int = 100, seed: int = 0) -> list[dict[str, Any]]:
    """Return n DFT rows, the seven crystal systems in turn, one row a formula, in a fixed order.

    Raises:
        DataError: the shared structures are absent.
    """
    from surrogates.datasets.shared import crystal_rows

    rows = [row for row in crystal_rows("elasticity") if is_usable(row) and row["space_group"]]
    order = np.random.default_rng(seed).permutation(len(rows))
    waiting: dict[str, list[dict[str, Any]]] = {system: [] for system in SYSTEMS}
    for i in order[::-1]:
        waiting[crystal_system(int(rows[i]["space_group"]))].append(rows[i])
    chosen: list[dict[str, Any]] = []
    taken: set[str] = set()
    while len(chosen) < n and any(waiting.values()):
        for system in SYSTEMS:
            while waiting[system] and waiting[system][-1]["formula"] in taken:
                waiting[system].pop()
            if waiting[system] and len(chosen) < n:
                chosen.append(waiting[system].pop())
                taken.add(chosen[-1]["formula"])
    return chosen


def crystal_system(space_group: int) -> str:
    """Return the crystal system of a space group's number."""
    return min((last, name) for name, last in SYSTEMS.items() if space_group <= last)[1]


def measure(row: dict[str, Any], store: VerificationStore, compute: bool = True) -> dict[str, Any] | None:
    """Return what both ways say about one crystal; None where the store lacks an answer."""
    judge = Judge(POTENTIAL, store=store)
    relaxed = judge.relax(structure_of(row))
    if relaxed.structure is None:
        return {"formula": row["formula"], "reason": relaxed.reason}
    verdict = judge.tensor(relaxed.structure)
    reference = stored_strained_cells(relaxed.structure, POTENTIAL, store, compute)
    return None if reference is None else {"verdict": verdict, "reference": reference}
