"""Which compositions are worth a structure: stoichiometries of the templates x promising elements, ranked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, permutations
from math import gcd

import numpy as np
import torch
from pymatgen.core import Composition
from torch import Tensor

from inverse.evaluation import join
from inverse.proposers.search_space import SearchSpace
from inverse.types import Rule
from surrogates.crystal import N_ELEMENTS, element_index
from surrogates.errors import UnsupportedElementError
from surrogates.properties import FORMATION_ENERGY, VOLUME
from surrogates.protocol import CompositionBatch, CompositionSurrogate, Prediction

CHUNK = 8192
"""Compositions predicted at once."""

N_PROMISING = {1: 90, 2: 90, 3: 24, 4: 12}
"""Elements that compositions of so many elements are built from, the most promising first."""

N_PATTERNS = {1: 1, 2: 20, 3: 16, 4: 6}
"""Stoichiometries tried for so many elements, the most frequent first."""

HULL_CANDIDATES = 4000
"""Compositions whose distance to the hull is looked up, the most promising first."""

TYPICAL_ENERGY_ERROR = 0.15
"""eV/atom: how far a composition may lie above the hull on account of the predicted energy alone."""


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

    @property
    def formula(self) -> str:
        """Reduced formula."""
        return str(Composition(self.amounts).reduced_formula)


Stoichiometry = tuple[int, ...]
"""Sorted amounts of a reduced formula: (1, 1, 2) for ABC2."""


def stoichiometry(counts: Sequence[int]) -> Stoichiometry:
    """Return the reduced, sorted amounts.

    >>> stoichiometry([4, 2, 2])
    (1, 1, 2)
    """
    divisor = reduce(gcd, counts)
    return tuple(sorted(c // divisor for c in counts))


def ranked_compositions(
    space: SearchSpace, surrogate: CompositionSurrogate, patterns: Sequence[Stoichiometry], n: int
) -> list[RankedComposition]:
    """Return at most n compositions the config allows, most promising first, half of them not in any table.

    Deterministic. Elements for ternaries and beyond are chosen by how well they do in binaries.

    Args:
        space: wishes and hull.
        surrogate: at composition level.
        patterns: stoichiometries that have a structure template, the most frequent first.
        n: how many.
    """
    elements = [e for e in space.allowed_elements if e in surrogate.elements]
    pool: list[tuple[float, dict[str, int], float]] = []
    for size in (1, 2, 3, 4):
        low, high = space.constraints.n_elements
        if size > max(high, 2):
            break
        own = [p for p in patterns if len(p) == size][: N_PATTERNS[size]]
        wanted = elements[: N_PROMISING[size]] if size < 3 else _promising(pool, elements, N_PROMISING[size])
        found = _predicted(space, surrogate, list(_enumerated(wanted, own, size, space)))
        if low <= size <= high:
            pool += found
        elif size == 2:
            elements = _promising(found, elements, N_PROMISING[3])
    pool.sort(key=lambda item: (-item[0], sorted(item[1].items())))
    return _with_hull(space, surrogate, pool[:HULL_CANDIDATES], n)


def _enumerated(
    elements: Sequence[str], patterns: Sequence[Stoichiometry], size: int, space: SearchSpace
) -> Iterator[dict[str, int]]:
    for chosen in combinations(sorted(elements), size):
        if not _is_allowed(space, chosen):
            continue
        for pattern in patterns:
            for amounts in sorted(set(permutations(pattern))):
                yield dict(zip(chosen, amounts, strict=True))


def _is_allowed(space: SearchSpace, symbols: Sequence[str]) -> bool:
    breach = space.composition_reason(Composition(dict.fromkeys(symbols, 1)))
    # pairs are looked at even where only ternaries are allowed: they tell which elements are promising
    return breach is None or breach.rule is Rule.N_ELEMENTS


def _predicted(
    space: SearchSpace, surrogate: CompositionSurrogate, compositions: Sequence[dict[str, int]]
) -> list[tuple[float, dict[str, int], float]]:
    """Return (probability that the structure-free targets are met, amounts, volume per atom)."""
    properties = [p for p in surrogate.properties if p in space.objective.properties]
    asked = [*properties, *[p for p in (VOLUME,) if p in surrogate.properties]]
    objective = space.objective.only(properties)
    result = []
    for start in range(0, len(compositions), CHUNK):
        part = compositions[start : start + CHUNK]
        with torch.no_grad():
            predictions = surrogate.predict(CompositionBatch(fractions(part), _zeros(len(part))), asked)
        met = np.ones(len(part))
        if objective is not None:
            met = objective.probability_met(predictions).numpy()
            met = met + 1e-4 / (1.0 + np.exp(objective.loss(predictions).numpy().clip(-50, 50)))
        volume = predictions[VOLUME].mean.numpy() if VOLUME in predictions else np.full(len(part), np.nan)
        result += [(float(m), c, float(v)) for m, c, v in zip(met, part, volume, strict=True)]
    return result


def _with_hull(
    space: SearchSpace,
    surrogate: CompositionSurrogate,
    pool: Sequence[tuple[float, dict[str, int], float]],
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
    unknown = [r for r in ranked if not r.is_known][: n - n // 3]
    known = [r for r in ranked if r.is_known][: n - len(unknown)]
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
            batch = CompositionBatch(fractions(part), _zeros(len(part)))
            parts.append(surrogate.predict(batch, [FORMATION_ENERGY])[FORMATION_ENERGY])
    return join(parts)


def _promising(
    pool: Sequence[tuple[float, dict[str, int], float]], elements: Sequence[str], n: int
) -> list[str]:
    """Return the n elements whose best few binaries promise most, in alphabetical order."""
    best: dict[str, list[float]] = {e: [] for e in elements}
    for met, amounts, _ in pool:
        for symbol in amounts:
            if symbol in best:
                best[symbol].append(met)
    worth = {
        e: float(np.mean(sorted(values, reverse=True)[:8])) if values else 0.0 for e, values in best.items()
    }
    return sorted(sorted(elements, key=lambda e: (-worth[e], e))[:n])


def predicted_volume(space: SearchSpace, amounts: dict[str, int], rough: float) -> float:
    """Return the volume per atom, Å³, that the composition surrogate expects; `rough` where it cannot say."""
    volume = float(predicted_volumes(space, [amounts])[0])
    return volume if np.isfinite(volume) else rough


def predicted_volumes(space: SearchSpace, compositions: Sequence[dict[str, int]]) -> np.ndarray:
    """Return (C,) volumes per atom, Å³, that the composition surrogate expects; NaN where it cannot say."""
    surrogate, unknown = space.compositions, np.full(len(compositions), np.nan)
    if surrogate is None or VOLUME not in surrogate.properties or not compositions:
        return unknown
    try:
        with torch.no_grad():
            batch = CompositionBatch(fractions(compositions), _zeros(len(compositions)))
            return np.asarray(surrogate.predict(batch, [VOLUME])[VOLUME].mean.numpy())
    except UnsupportedElementError:
        return unknown


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


def _zeros(n: int) -> Tensor:
    return torch.zeros(n, dtype=torch.long)


def _logistic(x: float) -> float:
    return float(1.0 / (1.0 + np.exp(-1.7 * np.clip(x, -30, 30))))
