"""Order or solid solution: asked of a campaign's hits at its end, while time is left."""

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from pymatgen.core import Structure

from inverse.candidates.types import Candidate, Status, Verification
from inverse.reference.random_orderings import (
    has_room,
    order_disorder,
    random_orderings,
    shared_sublattices,
)
from inverse.verification.ladder import ENERGY_PER_ATOM

MOST_HITS = 20
"""Hits that are asked about, best first: those that the terminal shows."""

AskRelaxed = Callable[[Sequence[Structure], Callable[[], bool]], Iterator[tuple[int, Verification]]]
"""(structures, should it stop?) -> (position, relaxation by the energy judge) as they finish."""


def hits_that_may_mix(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the hits with alike elements on their sites that were not asked about, best first."""
    hits = [c for c in candidates if c.status is Status.HIT and _relaxed(c) is not None]
    best = sorted(hits, key=lambda c: (-(c.score or 0.0), c.id))[:MOST_HITS]
    return [c for c in best if c.order is None and shared_sublattices(_relaxed(c) or c.structure)]


def with_order(
    candidate: Candidate, ask: AskRelaxed, should_stop: Callable[[], bool] = lambda: False
) -> Candidate:
    """Return the candidate with its `order`; unchanged where there was no time to finish.

    The ordered crystal and its random arrangements are relaxed by the same judge: at most ten relaxations,
    which the store remembers. The arrangements are drawn by the candidate's own seed. Where a crystal has no
    room for disorder nothing is computed, and it stays open.
    """
    structure = _relaxed(candidate)
    if structure is None:
        return candidate
    if not has_room(structure):
        return replace(candidate, order=order_disorder(structure, math.nan, []))
    random = random_orderings(structure, zlib.crc32(f"{candidate.seed} {candidate.id}".encode()))
    asked = [structure, *random]
    energies = [float("nan")] * len(asked)
    n_answered = 0
    for position, verdict in ask(asked, should_stop):
        n_answered += 1
        if ENERGY_PER_ATOM in verdict.values:
            energies[position] = verdict.values[ENERGY_PER_ATOM].mean
    if n_answered < len(asked):
        return candidate
    return replace(candidate, order=order_disorder(structure, energies[0], energies[1:]))


def _relaxed(candidate: Candidate) -> Structure | None:
    return None if candidate.verification is None else candidate.verification.structure
