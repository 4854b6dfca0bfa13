"""Candidates that found no place among those to verify: they wait, and may be chosen in a later step.

Sources offer no crystal twice, so what is passed over once comes back this way alone. The journal holds who
waits, so that a resumed run chooses among the same. Their number is bounded: a step costs the same however
many were passed over.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from inverse.campaign.choice import LEAST_PROBABILITY, TEXTBOOK_SHARE, Option
from inverse.candidates.types import Candidate, Origin, Status

MOST = 256
"""Candidates that wait at most."""


class Waiting:
    """Who waits, most promising first; ids are those under which they were proposed."""

    def __init__(self, candidates: Iterable[Candidate] = ()) -> None:
        self._candidates = {c.id: c for c in candidates}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._candidates)

    def __iter__(self) -> Iterator[Candidate]:
        """Yield them in their order."""
        return iter(self._candidates.values())

    def __contains__(self, identity: object) -> bool:
        """Return whether the candidate of an id waits."""
        return identity in self._candidates

    def after(self, ids: Sequence[str], candidates: Iterable[Candidate]) -> "Waiting":
        """Return who waits after a choice.

        Args:
            ids: of those who wait from now on.
            candidates: just proposed; the others waited before.
        """
        known = {**self._candidates, **{c.id: c for c in candidates}}
        return Waiting(known[identity] for identity in ids)


def unpredicted(candidate: Candidate) -> Candidate:
    """Return a candidate as it stood before it was predicted: what the run has learned since may say more."""
    return replace(candidate, status=Status.PROPOSED, reason="")


def to_wait(options: Sequence[Option], gone: Collection[str], worth: Callable[[Option], float]) -> list[str]:
    """Return the ids of the options that wait for the next step, in their order.

    Seeds first, then textbook answers up to their share, then whoever could be chosen there.

    Args:
        options: all that could be chosen.
        gone: ids of those that were, or that are like one verified.
        worth: as the next choice would see it.
    """
    alive = [o for o in options if o.id not in gone]
    alive.sort(key=lambda o: (-worth(o), o.id))
    seeds = [o.id for o in alive if o.origin is Origin.SEED]
    books = [o.id for o in alive if o.origin is Origin.TEXTBOOK and o.worth > 0]
    likely = [o for o in alive if o.worth > 0 and o.probability >= LEAST_PROBABILITY]
    others = [o.id for o in likely if o.origin in (Origin.SEARCH, Origin.CHILD)]
    return [*seeds, *books[: round(TEXTBOOK_SHARE * MOST)], *others][:MOST]
