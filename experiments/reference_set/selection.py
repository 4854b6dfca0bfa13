"""Which candidates are labelled, and in which order: quotas for stiff, uncertain and varied, with caps."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymatgen.core import Composition

from experiments.reference_set.elements import FEW, chemistry

PATTERN = ("stiff", "uncertain", "stiff", "varied")
"""The quota that each next row comes from."""

STIFF_BULK, STIFF_SHEAR = 200.0, 100.0
"""GPa, predicted; above either a candidate belongs to the stiff region."""

RIGID = 3.0
"""Weight of a stiff candidate with a high shear modulus: high bulk moduli alone are common."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Caps:
    """Largest shares of a pool.

    Attributes:
        prototype: share of one structure type.
        system: rows of one chemical system, earlier pools included.
        large: share of cells of more than six atoms.
        few: share of rows with uranium or thorium.
        chemistry: share of one kind of bonding.
        element: share of elements.
    """

    prototype: float = 0.06
    system: int = 4
    large: float = 0.10
    few: float = 0.02
    chemistry: float = 0.25
    element: float = 0.01


class _Count:
    """What has been taken so far, and whether a row still fits under the caps."""

    def __init__(self, n: int, caps: Caps, earlier: Iterable[Row]) -> None:
        self._n, self._caps = n, caps
        self._taken: Counter[str] = Counter()
        self._systems = Counter(Composition(row["formula"]).chemical_system for row in earlier)

    def admits(self, row: Row) -> bool:
        """Return whether a row fits; if so it is counted."""
        system = Composition(row["formula"]).chemical_system
        if self._systems[system] >= self._caps.system:
            return False
        keys = list(self._keys(row, system))
        if any(self._taken[key] >= max(1, math.floor(share * self._n)) for key, share in keys):
            return False
        self._systems[system] += 1
        self._taken.update(key for key, _ in keys)
        return True

    def _keys(self, row: Row, system: str) -> Iterator[tuple[str, float]]:
        yield f"type {row['prototype']}", self._caps.prototype
        kind = chemistry(system.split("-"))
        yield f"chemistry {kind}", self._caps.element if kind == "element" else self._caps.chemistry
        if len(row["species"]) > 6:
            yield "large", self._caps.large
        if FEW & set(system.split("-")):
            yield "few", self._caps.few


def selected(
    rows: Sequence[Row],
    information: Sequence[float],
    chance: Sequence[float],
    n: int,
    seed: int,
    caps: Caps | None = None,
    earlier: Sequence[Row] = (),
) -> list[int]:
    """Return the indices of at most n rows in the order in which they should be labelled.

    Args:
        rows: candidates with formula, prototype, species, cost and predicted moduli.
        information: (C,) what a label is expected to teach; for the stiff and the uncertain quota.
        chance: (C,) that a label gives moduli.
        n: how many.
        seed: of the varied quota.
        caps: largest shares.
        earlier: rows of earlier pools, which count under the cap on chemical systems.
    """
    costs = np.array([float(row["cost"]) for row in rows])
    worth = np.asarray(chance) / costs**0.5
    queues = _queues(rows, worth, worth * np.asarray(information), np.random.default_rng(seed))
    count, chosen = _Count(n, caps or Caps(), earlier), dict[int, None]()
    live, turn = set(queues), 0
    while live and len(chosen) < n:
        name = PATTERN[turn % len(PATTERN)]
        turn += 1
        if name not in live:
            continue
        for k in queues[name]:
            if k not in chosen and count.admits(rows[k]):
                chosen[k] = None
                break
        else:
            live.discard(name)
    return list(chosen)


def _queues(
    rows: Sequence[Row], worth: np.ndarray, informative: np.ndarray, rng: np.random.Generator
) -> dict[str, Iterator[int]]:
    stiff = [k for k, row in enumerate(rows) if is_stiff(row)]
    everything = range(len(rows))
    kinds = [chemistry(Composition(row["formula"]).chemical_system.split("-")) for row in rows]
    types = [str(row["prototype"]) for row in rows]
    rigid = np.array([RIGID if float(row["shear_modulus"]) > STIFF_SHEAR else 1.0 for row in rows])
    return {
        "stiff": iter(_in_turns(stiff, informative * rigid, kinds, types)),
        "uncertain": iter(sorted(everything, key=lambda k: -informative[k])),
        "varied": iter(_in_turns(everything, worth * rng.random(len(rows)), kinds, types)),
    }


def is_stiff(row: Row) -> bool:
    """Return whether a row is predicted in the stiff region."""
    bulk, shear = float(row["bulk_modulus"]), float(row["shear_modulus"])
    return bulk > STIFF_BULK or shear > STIFF_SHEAR


def _in_turns(
    indices: Iterable[int], worth: np.ndarray, kinds: Sequence[str], types: Sequence[str]
) -> list[int]:
    """Return indices so that kinds of bonding take turns, and within each of them structure types."""
    places: list[tuple[int, int, int]] = []
    seen_types: Counter[tuple[str, str]] = Counter()
    by_kind: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for k in sorted(indices, key=lambda k: -worth[k]):
        key = (kinds[k], types[k])
        by_kind[kinds[k]].append((seen_types[key], k))
        seen_types[key] += 1
    for members in by_kind.values():
        for place, (_, k) in enumerate(sorted(members, key=lambda m: (m[0], -worth[m[1]]))):
            places.append((place, -int(1e9 * worth[k]), k))
    return [k for _, _, k in sorted(places)]
