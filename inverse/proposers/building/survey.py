"""A survey: compositions in structure types, built and scored as tensors by the thousand, the best kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from ase.data import covalent_radii

from inverse.proposers.building.cells import shapes_of
from inverse.proposers.building.composition_survey import surveyed_compositions
from inverse.proposers.building.compositions import RankedComposition
from inverse.proposers.building.descent import overlap
from inverse.proposers.building.plans import Plan, planned
from inverse.proposers.screening import PACKING
from inverse.proposers.search_space import SearchSpace
from inverse.reference.geometries import Geometry, built
from inverse.reference.structure_types import Prototype
from surrogates.crystals.batch import N_ELEMENTS, CrystalBatch
from surrogates.errors import EngineError, MissingExtraError, SurrogateError

AT_ONCE = 256
"""Structures built and scored at once; bounds the memory."""

KEPT = 4096
"""Structures kept, the best."""

PER_STRUCTURE = 0.125
"""Compositions for every structure."""

FIRST_TYPES, FIRST_SHARE = 4, 0.6
"""Structure types that every composition is tried in, and the share of the structures that they may take."""

MORE_TYPES, MORE_SHAPES = 24, 3
"""Types, and shapes of each, that the best compositions are tried in with what is left."""

LEAST_GAP = 0.01
"""Summed squared overlap of atoms, Å², from which on a structure is not scored."""


@dataclass(frozen=True)
class Surveyed:
    """A structure that the survey kept.

    Attributes:
        plan: composition and type.
        shape: of the type.
        value: worth by the shipped surrogate, times trust in the type.
    """

    plan: Plan
    shape: Geometry
    value: float


@dataclass
class Survey:
    """What was found, and what was looked at.

    Attributes:
        kept: the best, one shape of a plan, best first.
        n_compositions: that got structures.
        n_built: structures built.
        n_scored: those of them whose atoms do not overlap.
    """

    kept: list[Surveyed]
    n_compositions: int = 0
    n_built: int = 0
    n_scored: int = 0


_Try = tuple[Plan, Geometry]


def survey(
    space: SearchSpace,
    prototypes: Sequence[Prototype],
    types_of: Callable[[str], frozenset[str]],
    n: int,
    kept: int = KEPT,
) -> Survey:
    """Return the best of n structures of compositions and structure types that the config allows.

    First every promising composition in its most familiar types, then the compositions whose best structure
    is worth most in all others. Deterministic; memory does not grow with n but for the list of compositions.

    Args:
        space: models and wishes; the surrogate as shipped scores.
        prototypes: structure types of which shapes are known.
        types_of: known formula -> the types that its carried signatures have.
        n: structures built at most.
        kept: structures returned at most.

    Raises:
        MissingExtraError: there is no composition surrogate.
    """
    if space.compositions is None:
        raise MissingExtraError("search method 'substitution' needs the composition surrogate")
    patterns = sorted({p.stoichiometry for p in prototypes})
    n_compositions = max(1, round(PER_STRUCTURE * n))
    compositions = surveyed_compositions(space, space.compositions, patterns, n_compositions, n)
    found = Survey([], len(compositions))
    n_atoms, best = space.constraints.n_atoms, dict[str, float]()

    def look(tries: Iterator[_Try], most: int) -> None:
        while part := list(islice(tries, min(AT_ONCE, most - found.n_built))):
            found.n_built += len(part)
            rows, values = _valued(space, part)
            found.n_scored += len(rows)
            for k, value in zip(rows, values, strict=True):
                plan, shape = part[k]
                formula = plan.composition.formula
                best[formula] = max(best.get(formula, 0.0), value)
                found.kept.append(Surveyed(plan, shape, value))
            found.kept = _best(found.kept, kept)

    plans = planned(compositions, prototypes, FIRST_TYPES, n_atoms, types_of)
    look(_tries(plans, 0, 1), max(1, round(FIRST_SHARE * n)))
    order = sorted(compositions, key=lambda c: (-best.get(c.formula, 0.0), c.formula))
    look(_others(order, prototypes, n_atoms, types_of), n)
    return found


def _tries(plans: Iterator[Plan], first: int, last: int) -> Iterator[_Try]:
    for plan in plans:
        for shape in shapes_of(plan.prototype, plan.elements, last)[first:]:
            yield plan, shape


def _others(
    compositions: Sequence[RankedComposition],
    prototypes: Sequence[Prototype],
    n_atoms: tuple[int, int],
    types_of: Callable[[str], frozenset[str]],
) -> Iterator[_Try]:
    """Yield what the first look at each composition left out."""
    for composition in compositions:
        plans = list(planned([composition], prototypes, MORE_TYPES, n_atoms, types_of))
        yield from _tries(iter(plans[:FIRST_TYPES]), 1, MORE_SHAPES)
        yield from _tries(iter(plans[FIRST_TYPES:]), 0, MORE_SHAPES)


def _best(found: Sequence[Surveyed], n: int) -> list[Surveyed]:
    """Return the n best, one of each plan, best first; of equals those that came first."""
    kept: dict[str, Surveyed] = {}
    for one in sorted(found, key=lambda f: -f.value):
        if len(kept) == n:
            break
        kept.setdefault(one.plan.key, one)
    return list(kept.values())


def _valued(space: SearchSpace, tries: Sequence[_Try]) -> tuple[list[int], list[float]]:
    """Return the places of those that can be crystals, and what they are worth."""
    symmetric = built(
        [shape for _, shape in tries],
        [plan.elements for plan, _ in tries],
        [plan.volume_per_atom for plan, _ in tries],
    )
    with torch.no_grad():
        crystals = symmetric.to_crystals()
        rows = _sound(crystals).nonzero().flatten()
        values = _worth(space, crystals.select(rows), [tries[k][0] for k in rows.tolist()])
    trust = [plan.prototype.trust(plan.elements) for plan, _ in (tries[k] for k in rows.tolist())]
    return rows.tolist(), (values * np.array(trust)).tolist()


def _worth(space: SearchSpace, crystals: CrystalBatch, plans: Sequence[Plan]) -> np.ndarray:
    """Return (C,) the expected share of a hit; 0 for what the surrogate refuses."""
    if not plans:
        return np.zeros(0)
    try:
        hull = space.base.hull_of_formulas([plan.composition.formula for plan in plans])
        return space.worth_of(space.base.predict_crystals(crystals, hull))
    except SurrogateError:  # no crystal is to blame
        raise
    except EngineError:
        if len(plans) == 1:
            return np.zeros(1)
    half, rows = len(plans) // 2, torch.arange(len(plans))
    parts = ((rows[:half], plans[:half]), (rows[half:], plans[half:]))
    return np.concatenate([_worth(space, crystals.select(own), some) for own, some in parts])


def _sound(crystals: CrystalBatch) -> torch.Tensor:
    """Return (C,) bool: finite, neither too dense nor too dilute, and no atoms that overlap much."""
    radii = torch.tensor(covalent_radii[1 : N_ELEMENTS + 1]).to(crystals.occupancy)
    spheres = crystals.occupancy @ (4.0 / 3.0 * torch.pi * radii**3)
    total = crystals.volume.new_zeros(crystals.n_crystals).index_add(0, crystals.crystal_index, spheres)
    packing = crystals.volume / total
    is_sound = torch.isfinite(packing) & (packing >= PACKING[0]) & (packing <= PACKING[1])
    rows = is_sound.nonzero().flatten()
    if len(rows):
        is_sound[rows] = overlap(crystals.select(rows)) < LEAST_GAP
    return is_sound
