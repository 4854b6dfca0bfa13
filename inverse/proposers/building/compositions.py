"""Which compositions are worth a structure: stoichiometries of the templates x promising elements, ranked."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations

import numpy as np
import torch
from pymatgen.core import Composition
from scipy.special import expit
from torch import Tensor

from inverse.inputs.constraints import MOST_ELEMENTS
from inverse.prediction.evaluation import join
from inverse.proposers.search_space import SearchSpace
from inverse.reference.structure_types import Stoichiometry
from surrogates.crystals.batch import N_ELEMENTS, element_index
from surrogates.physics.properties import FORMATION_ENERGY, VOLUME
from surrogates.protocol import CompositionBatch, CompositionSurrogate, Prediction

CHUNK = 8192
"""Compositions predicted at once."""

N_PROMISING = {1: 90, 2: 90, 3: 24, 4: 12, 5: 10, 6: 9, 7: 9, 8: 9}
"""Elements that compositions of so many elements are built from, the most promising first."""

MOST_PROMISING = {1: 103, 2: 103, 3: 32, 4: 16}
"""The same when a search looks farther, for want of anything else."""

N_PROMISING_BESIDE = {0: 1, 1: 90, 2: 40, 3: 24, 4: 12, 5: 10, 6: 9, 7: 9, 8: 9}
"""The same where some elements are given (`include_all`), by the number of those still to choose."""

N_PATTERNS = {1: 1, 2: 20, 3: 16, 4: 6, 5: 6, 6: 4, 7: 3, 8: 2}
"""Stoichiometries tried for so many elements, the most frequent first."""

MOST_WIDTH = 2
"""How many times as many stoichiometries such a search tries at most."""

N_TELLING_PATTERNS = 4
"""Stoichiometries of pairs that only tell which elements are promising, where pairs are not asked for."""

HULL_CANDIDATES = 4000
"""Compositions whose distance to the hull is looked up, the most promising first."""

TYPICAL_ENERGY_ERROR = 0.15
"""eV/atom: how far a composition may lie above the hull on account of the predicted energy alone."""

NEARNESS = 1e-4
"""Probability that nearness to the targets adds at most: it tells only where probabilities do not."""

N_BEST = 8
"""Compositions of an element, the best, whose mean says how promising it is."""

LOGISTIC_SLOPE = 1.7
"""At which a logistic lies within 0.01 of the normal distribution."""


@dataclass(frozen=True)
class RankedComposition:
    """A composition with what the composition surrogate expects of it.

    Attributes:
        amounts: element -> atoms in the reduced formula.
        worth: expected share of a hit.
        volume_per_atom: Å³; NaN when the surrogate has no volume.
        is_known: formula stands in a carried table.
    """

    amounts: dict[str, int]
    worth: float
    volume_per_atom: float
    is_known: bool

    @cached_property
    def formula(self) -> str:
        """Reduced formula; asked for by every sort."""
        return str(Composition(self.amounts).reduced_formula)


def ranked_compositions(
    space: SearchSpace,
    surrogate: CompositionSurrogate,
    patterns: Sequence[Stoichiometry],
    n: int,
    width: int = 1,
) -> list[RankedComposition]:
    """Return at most n compositions the config allows, most promising first, two thirds not in any table.

    Deterministic. Elements for ternaries and beyond are chosen by how well they do in binaries; the larger
    the compositions, the fewer elements they are built from, so that there are never too many.

    Args:
        space: wishes and hull.
        surrogate: at composition level.
        patterns: stoichiometries that have a structure template, the most frequent first.
        n: how many.
        width: how many times as many elements, stoichiometries and hull distances as usual are looked at, as
            far as their number stays bounded.
    """
    elements = [e for e in space.allowed_elements if e in surrogate.elements]
    low, high = space.constraints.n_elements
    pool: list[_Predicted] = []
    telling: list[_Predicted] = []
    if low > 2:
        pairs = [p for p in patterns if len(p) == 2][:N_TELLING_PATTERNS] or [(1, 1)]
        parts = [c for c in combinations(sorted(elements), 2) if _may_be_part(space, c)]
        telling = _predicted(space, surrogate, list(_enumerated(parts, pairs)))
    for size in range(low, min(high, MOST_ELEMENTS) + 1):
        own = [p for p in patterns if len(p) == size][: min(width, MOST_WIDTH) * N_PATTERNS[size]]
        sets = _element_sets(space, _by_promise([*telling, *pool], elements), size, width)
        pool += _predicted(space, surrogate, list(_enumerated(sets, own)))
    pool.sort(key=lambda item: (-item[0], sorted(item[1].items())))
    return _with_hull(space, surrogate, pool[: width * HULL_CANDIDATES], n)


_Predicted = tuple[float, dict[str, int], float]
"""Probability that the structure-free targets are met, amounts, volume per atom."""


def _enumerated(sets: Iterable[Sequence[str]], patterns: Sequence[Stoichiometry]) -> Iterator[dict[str, int]]:
    """Yield every way to put the amounts of the patterns on the elements of the sets."""
    amounts = [own for pattern in patterns for own in sorted(set(permutations(pattern)))]
    for chosen in sets:
        for own in amounts:
            yield dict(zip(chosen, own, strict=True))


def _element_sets(
    space: SearchSpace, by_promise: Sequence[str], size: int, width: int
) -> Iterator[tuple[str, ...]]:
    """Yield sets of so many elements that the config allows, in alphabetical order, of the promising ones.

    Elements that must occur are always among them; listed chemical systems are taken one by one.
    """
    systems = [frozenset(system.split("-")) for system in space.constraints.chemical_systems]
    seen: set[tuple[str, ...]] = set()
    for within in systems or [frozenset(by_promise)]:
        needed = frozenset(space.constraints.elements.include_all)
        if systems and not space.constraints.subsystems:
            needed = within
        if len(needed) > size or not needed <= within.intersection(by_promise):
            continue
        others = [e for e in by_promise if e in within - needed]
        promising = _most_promising(space, others, size, len(needed), width)
        for more in combinations(promising, size - len(needed)):
            chosen = tuple(sorted({*needed, *more}))
            if chosen not in seen and not space.composition_reason(Composition(Counter(chosen))):
                seen.add(chosen)
                yield chosen


def _most_promising(
    space: SearchSpace, others: Sequence[str], size: int, n_needed: int, width: int
) -> list[str]:
    """Return the elements to choose from beside those that must occur; one of `include_any` is among them."""
    n = N_PROMISING_BESIDE[size - n_needed] if n_needed else N_PROMISING[size]
    if width > 1:
        # the number of sets grows with a power of the number of elements
        n = max(n, MOST_PROMISING.get(size, n + (width - 1).bit_length()))
    chosen = sorted(others[:n])
    any_of = [e for e in others if e in space.constraints.elements.include_any]
    if any_of and not set(any_of) & set(chosen):
        chosen.append(any_of[0])
    return chosen


def _may_be_part(space: SearchSpace, symbols: Sequence[str]) -> bool:
    """Return whether a pair tells of compositions that the config allows.

    It holds one of `include_any` and lies within a listed chemical system, where there are such.
    """
    any_of, systems = space.constraints.elements.include_any, space.constraints.chemical_systems
    if any_of and not set(symbols) & set(any_of):
        return False
    return not systems or any(set(symbols) <= set(system.split("-")) for system in systems)


def _predicted(
    space: SearchSpace, surrogate: CompositionSurrogate, compositions: Sequence[dict[str, int]]
) -> list[_Predicted]:
    """Return what the composition surrogate expects of each."""
    properties = [p for p in surrogate.properties if p in space.objective.properties]
    asked = [*properties, *[p for p in (VOLUME,) if p in surrogate.properties]]
    objective = space.objective.only(properties)
    result = []
    for start in range(0, len(compositions), CHUNK):
        part = compositions[start : start + CHUNK]
        with torch.no_grad():
            predictions = surrogate.predict(_batch(part), asked)
        met = np.ones(len(part))
        if objective is not None:
            met = objective.probability_met(predictions).numpy()
            met = met + NEARNESS * torch.sigmoid(-objective.loss(predictions).double()).numpy()
        volume = predictions[VOLUME].mean.numpy() if VOLUME in predictions else np.full(len(part), np.nan)
        result += [(float(m), c, float(v)) for m, c, v in zip(met, part, volume, strict=True)]
    return result


def _with_hull(
    space: SearchSpace,
    surrogate: CompositionSurrogate,
    pool: Sequence[_Predicted],
    n: int,
) -> list[RankedComposition]:
    """Multiply by the probability of lying near the hull; keep n, most of them not in any table."""
    energy = _formation_energy(surrogate, [amounts for _, amounts, _ in pool])
    ranked = []
    for row, (met, amounts, volume) in enumerate(pool):
        formula = Composition(amounts).reduced_formula
        stable = 1.0
        if energy is not None:
            hull = space.base.hull_energy(formula)
            above = float(energy.mean[row]) - hull if np.isfinite(hull) else 1.0
            # no structure yet: the error of the energy and what a worse structure would cost
            stable = _logistic(
                (space.objective.hull.upper - above) / max(float(energy.std[row]), TYPICAL_ENERGY_ERROR / 2)
            )
        ranked.append(RankedComposition(amounts, met * stable, volume, space.is_known_formula(formula)))
    ranked.sort(key=lambda r: (-r.worth, r.formula))
    known = [r for r in ranked if r.is_known]
    unknown = [r for r in ranked if not r.is_known][: max(n - n // 3, n - len(known))]
    known = known[: n - len(unknown)]
    return sorted([*unknown, *known], key=lambda r: (-r.worth, r.formula))


def _formation_energy(
    surrogate: CompositionSurrogate, compositions: Sequence[dict[str, int]]
) -> Prediction | None:
    if FORMATION_ENERGY not in surrogate.properties or not compositions:
        return None
    parts = []
    with torch.no_grad():
        for start in range(0, len(compositions), CHUNK):
            part = compositions[start : start + CHUNK]
            parts.append(surrogate.predict(_batch(part), [FORMATION_ENERGY])[FORMATION_ENERGY])
    return join(parts)


def _by_promise(pool: Sequence[_Predicted], elements: Sequence[str]) -> list[str]:
    """Return the elements, those first whose best few compositions promise most; as they are without any."""
    best: dict[str, list[float]] = {e: [] for e in elements}
    for met, amounts, _ in pool:
        for symbol in amounts:
            best[symbol].append(met)
    worth = {
        e: float(np.mean(sorted(values, reverse=True)[:N_BEST])) if values else 0.0
        for e, values in best.items()
    }
    return sorted(elements, key=lambda e: (-worth[e], e))


def predicted_volumes(space: SearchSpace, compositions: Sequence[dict[str, int]]) -> np.ndarray:
    """Return (C,) volumes per atom, Å³, that the composition surrogate expects; NaN where it cannot say."""
    surrogate, volumes = space.compositions, np.full(len(compositions), np.nan)
    if surrogate is None or VOLUME not in surrogate.properties:
        return volumes
    known = [k for k, amounts in enumerate(compositions) if set(amounts) <= surrogate.elements]
    if known:
        batch = _batch([compositions[k] for k in known])
        with torch.no_grad():
            volumes[known] = surrogate.predict(batch, [VOLUME])[VOLUME].mean.numpy()
    return volumes


def promise_of(space: SearchSpace, compositions: Sequence[dict[str, int]]) -> np.ndarray:
    """Return (C,) how much compositions promise before a structure is built; 0 where nothing can say."""
    promise, surrogate = np.zeros(len(compositions)), space.compositions
    if surrogate is None:
        return promise
    known = [k for k, amounts in enumerate(compositions) if set(amounts) <= surrogate.elements]
    promise[known] = [met for met, _, _ in _predicted(space, surrogate, [compositions[k] for k in known])]
    return promise


def fractions(compositions: Sequence[dict[str, int]]) -> Tensor:
    """Return (C, Z) atomic fractions."""
    table = np.zeros((len(compositions), N_ELEMENTS), dtype=np.float32)
    for row, amounts in enumerate(compositions):
        for symbol, amount in amounts.items():
            table[row, _column(symbol)] = amount
    return torch.from_numpy(table / table.sum(axis=1, keepdims=True))


_COLUMNS: dict[str, int] = {}


def _column(symbol: str) -> int:
    if symbol not in _COLUMNS:
        _COLUMNS[symbol] = element_index(symbol)
    return _COLUMNS[symbol]


def _batch(compositions: Sequence[dict[str, int]]) -> CompositionBatch:
    return CompositionBatch(fractions(compositions), torch.zeros(len(compositions), dtype=torch.long))


def _logistic(x: float) -> float:
    return float(expit(LOGISTIC_SLOPE * x))
