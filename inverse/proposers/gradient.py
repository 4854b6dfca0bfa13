"""Soft-species gradient: many decoder starts in one batch, Adam through the surrogate, harden, re-score."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch

from inverse.candidates.registry import PROPOSERS
from inverse.candidates.types import Candidate
from inverse.proposers.building.descent import DescentSettings, allowed_mask, improved, softened
from inverse.proposers.decoder_draws import Draw, drawn
from inverse.proposers.given import starts
from inverse.proposers.protocol import Proposal, Proposer, generator
from inverse.proposers.search_space import SearchSpace
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.errors import EngineError

LOGGER = logging.getLogger(__name__)

SOFT_WEIGHT = 0.7
"""Weight that a start keeps on its own elements; the rest is shared among the allowed ones."""

STARTS_PER_PROPOSAL = 2
"""Starts for every proposal asked for."""

LIKELIHOOD_DROP = 3.0
"""Nats per atom a result may fall below its start before it is held against it."""

MOST_STARTS = 256
"""Descents of one ask."""

DESCENT = DescentSettings(steps=24, species_rate=0.15)
"""How starts descend: far enough for an element to change."""

HINT_SHAPE = 0.5
"""Of the gamma distribution of the emphasis on elements: below one, a few stand out in each step."""

HINTS = 3
"""Which generator of a step draws the emphasis; no draw of crystals takes it."""


class GradientSearch(Proposer):
    """Descends from the decoder's draws; the draw is the prior that holds a start near known ground.

    The log-likelihood is asked again after hardening: what fell far below its start ranks lower.
    """

    name = "gradient"

    def __init__(
        self,
        space: SearchSpace,
        settings: DescentSettings | None = None,
        most_starts: int = MOST_STARTS,
        starts: Callable[[int], Sequence[Proposal]] = lambda seed: (),
    ) -> None:
        """Choose where descents begin.

        Args:
            space: models and wishes.
            settings: of the descent.
            most_starts: descents of one ask.
            starts: run seed -> crystals that every ask descends beside the draws; the user's seeds.
        """
        self._space, self._starts = space, starts
        self._settings = settings or DESCENT
        self._most_starts = most_starts

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return the n best results of at most `most_starts` descents from seeds and conditional draws."""
        n_starts = min(self._most_starts, STARTS_PER_PROPOSAL * n)
        given = list(self._starts(seed))[:n_starts]
        starts = self._drawn(n_starts - len(given), step, seed)
        starts = [*given, *[p for p in starts if not self._space.screening(p.structure)]]
        if not starts:
            return []
        rng = generator(seed, step, HINTS)
        return descended(self._space, starts, n, self._settings, rng, self.name, given)

    def _drawn(self, n: int, step: int, seed: int) -> list[Proposal]:
        if n <= 0:
            return []
        condition = self._space.wanted_condition()
        return drawn(self._space, condition, n, seed, step, Draw.DESCENDED, self.name)

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Remember what was offered; the corrected surrogate that is descended has learned already."""
        self._space.offered.remember(candidates)


@PROPOSERS.register("gradient")
def gradient(space: SearchSpace) -> GradientSearch:
    """Return the descents of draws and of the user's seeds."""
    return GradientSearch(space, starts=lambda seed: starts(space, space.seeds, GradientSearch.name, seed))


def descended(
    space: SearchSpace,
    starts: Sequence[Proposal],
    n: int,
    settings: DescentSettings,
    rng: np.random.Generator,
    name: str,
    listed: Sequence[Proposal] = (),
) -> list[Proposal]:
    """Return the n proposals worth most after soft descent and hardening, none of them offered before.

    A proposal's history tells its start, the worth while soft and after hardening, and what hardening lost.

    Args:
        space: models and wishes.
        starts: proposals to start from.
        n: results wanted.
        settings: of the descent.
        rng: puts emphasis on elements, so that starts drift to different ones in different steps.
        name: of the proposer.
        listed: starts that are proposals of their own. What keeps their elements is the same crystal in a
            strained cell, whatever it is thought to be worth, and left out.
    """
    crystals, kept = symmetric(starts)
    if not kept:
        return []
    allowed = allowed_mask(frozenset(space.allowed_elements))
    hint = torch.tensor(rng.gamma(HINT_SHAPE, size=len(allowed)), dtype=torch.float32)
    soft = softened(crystals, allowed, SOFT_WEIGHT, hint)
    soft = improved(space.corrected, space.objective, soft, settings, allowed)
    with torch.no_grad():
        mixtures = soft.to_crystals()
        hull = space.corrected.hull_of_mixtures(mixtures.composition)
        soft_worth = space.worth_of(space.corrected.predict_crystals(mixtures, hull))
    hard = soft.harden()
    structures = hard.to_structures()
    values = space.scored(structures)
    likelihood = _likelihood(space, hard)
    copies = _copies(crystals, hard, kept, listed)
    results = []
    for k, (start, structure) in enumerate(zip(kept, structures, strict=True)):
        if copies[k] or space.screening(structure):
            continue
        history = {
            "start": start.structure.composition.reduced_formula,
            "start_history": dict(start.history),
            "steps": settings.steps,
            "worth_soft": float(soft_worth[k]),
            "worth_hard": float(values[k]),
            "lost_by_hardening": float(soft_worth[k] - values[k]),
        }
        drop = 0.0
        if likelihood is not None and start.log_likelihood is not None:
            drop = max(0.0, start.log_likelihood - likelihood[k] - LIKELIHOOD_DROP)
        rank = float(values[k]) * float(np.exp(-drop))
        own = None if likelihood is None else likelihood[k]
        results.append((rank, Proposal(structure, name, start.seed, history, own)))
    results.sort(key=lambda item: -item[0])
    return space.offered.fresh((proposal for _, proposal in results), n)


def _copies(
    starts: SymmetricCrystals,
    ends: SymmetricCrystals,
    proposals: Sequence[Proposal],
    listed: Sequence[Proposal],
) -> list[bool]:
    """Return for each crystal whether it is a listed start with the elements it had."""
    moved = torch.zeros(starts.n_crystals).index_add(
        0, starts.site_index, (starts.species != ends.species).float()
    )
    return [
        any(start is own for own in listed) and not changed
        for start, changed in zip(proposals, moved.tolist(), strict=True)
    ]


def symmetric(proposals: Sequence[Proposal]) -> tuple[SymmetricCrystals, list[Proposal]]:
    """Return the proposals as symmetric crystals, and those that could be read."""
    parts, kept = [], []
    for proposal in proposals:
        try:
            parts.append(SymmetricCrystals.from_structures([proposal.structure]))
        except EngineError as error:
            LOGGER.info("a start has no symmetric form (%s)", error)
            continue
        kept.append(proposal)
    return SymmetricCrystals.concatenate(parts), kept


def _likelihood(space: SearchSpace, crystals: SymmetricCrystals) -> list[float] | None:
    if space.decoder is None:
        return None
    try:
        values: list[float] = space.decoder.log_likelihood(crystals).detach().tolist()
    except EngineError:
        return None
    return values
