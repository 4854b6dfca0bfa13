"""Would the hits survive another functional? Asked at a campaign's end, while time is left."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from inverse.campaign.ordering import MOST_HITS
from inverse.campaign.parts import AskFunctionals
from inverse.candidates.types import Candidate, Status


def hits_without_functionals(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the hits that were not asked about, best first, as many as the terminal shows at most."""
    hits = [c for c in candidates if c.status is Status.HIT and c.verification is not None]
    best = sorted(hits, key=lambda c: (-(c.score or 0.0), c.id))[:MOST_HITS]
    return [c for c in best if not c.functionals]


def with_functionals(
    candidate: Candidate, ask: AskFunctionals, should_stop: Callable[[], bool] = lambda: False
) -> Candidate:
    """Return the candidate with its distances by other functionals; unchanged where there was no time."""
    verification = candidate.verification
    if verification is None or verification.structure is None:
        return candidate
    found = ask(verification.structure, should_stop)
    return candidate if found is None else replace(candidate, functionals=dict(found))
