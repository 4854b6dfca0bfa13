"""Conditional samples of the decoder, more than asked for, the most promising kept."""

import logging
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np

from inverse.candidates.registry import PROPOSERS
from inverse.candidates.types import Candidate
from inverse.proposers.protocol import Proposal, Proposer, generator
from inverse.proposers.search_space import SearchSpace
from surrogates.errors import EngineError, MissingExtraError

LOGGER = logging.getLogger(__name__)

OVERSAMPLING = 4
"""Draws for every proposal."""

LARGEST_SEED = 2**31 - 1
"""Below which a decoder's seeds lie."""


class Draw(IntEnum):
    """What a step draws crystals for, each from a generator of its own, so that no two draw the same."""

    RANDOM = 0
    CONDITIONED = 1
    DESCENDED = 2


@PROPOSERS.register("decoder")
class DecoderDraws(Proposer):
    """Decoder samples asked for the wanted values; those that the surrogate thinks least of are dropped."""

    name = "decoder"

    def __init__(self, space: SearchSpace, oversampling: int = OVERSAMPLING) -> None:
        self._space, self._oversampling = space, oversampling

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return the n best of `oversampling` x n draws that pass the screen."""
        condition = self._space.wanted_condition()
        proposals = drawn(
            self._space, condition, n * self._oversampling, seed, step, Draw.CONDITIONED, self.name
        )
        return best_of(self._space, proposals, n)

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Remember what was offered; the corrected surrogate that ranks the draws has learned already."""
        self._space.offered.remember(candidates)


def drawn(
    space: SearchSpace, condition: Any, n: int, seed: int, step: int, draw: Draw, name: str
) -> list[Proposal]:
    """Return at most n decoder samples as proposals; [] when no crystal meets the condition.

    Args:
        space: where the decoder comes from.
        condition: the decoder's.
        n: samples.
        seed: of the run.
        step: of the campaign.
        draw: which of this step.
        name: of the proposer.

    Raises:
        MissingExtraError: there is no decoder.
    """
    if space.decoder is None:
        raise MissingExtraError(
            f"search method {name!r} needs a decoder and none is installed; use substitution"
        )
    own_seed = int(generator(seed, step, draw).integers(LARGEST_SEED))
    try:
        crystals = space.decoder.sample(n, condition, own_seed)
        likelihood = space.decoder.log_likelihood(crystals).detach().tolist()
        structures = crystals.to_structures()
    except EngineError as error:
        LOGGER.warning("%s: the decoder drew nothing (%s)", name, error)
        return []
    groups = crystals.space_group.tolist()
    return [
        Proposal(s, name, own_seed, {"draw": k, "space_group": groups[k]}, likelihood[k])
        for k, s in enumerate(structures)
    ]


def best_of(space: SearchSpace, proposals: Sequence[Proposal], n: int) -> list[Proposal]:
    """Return the n proposals worth most by the corrected surrogate among those that pass the screen.

    Crystals that the campaign was offered before are left out.
    """
    alive = [p for p in proposals if not space.screening(p.structure)]
    if not alive:
        return []
    values = space.scored([p.structure for p in alive])
    return space.offered.fresh((alive[k] for k in np.argsort(-values, kind="stable")), n)
