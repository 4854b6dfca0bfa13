"""The honest zero line: the decoder's draws under the hard constraints alone, nothing wanted or ranked."""

from collections.abc import Sequence

from inverse.candidates.registry import PROPOSERS
from inverse.candidates.types import Candidate
from inverse.proposers.decoder_draws import Draw, drawn
from inverse.proposers.protocol import Proposal, Proposer
from inverse.proposers.search_space import SearchSpace


@PROPOSERS.register("random")
class RandomSearch(Proposer):
    """Decoder samples without targets."""

    name = "random"

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return n unconditioned draws, those left out that the campaign was offered before."""
        condition = self._space.wanted_condition(targets={})
        found = drawn(self._space, condition, n, seed, step, Draw.RANDOM, self.name)
        return self._space.offered.fresh(found, n)

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Learn nothing but what was offered."""
        self._space.offered.remember(candidates)
