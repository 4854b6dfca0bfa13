"""All sources behind one ask: known types, decoder, gradients, TPE; shares follow verified success."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from inverse.candidates.types import Candidate, Status
from inverse.proposers.distinct import distinct
from inverse.proposers.news import tell
from inverse.proposers.protocol import Proposal, Proposer, Seeding, completed
from surrogates.errors import EngineError, SurrogateError

LOGGER = logging.getLogger(__name__)

PRIOR_TRIES = 6.0
"""Verifications that a source's first share counts for."""

LEAST_SHARE = 0.08
"""Share that every source keeps, so that a late bloomer can show itself."""


class Hybrid(Proposer):
    """Shares every ask among sources in proportion to their verified success so far.

    Success is hits per verification started, near misses (verified, no hit) counting a quarter, smoothed by
    the first shares. Deterministic: it depends on what was told alone.
    """

    seeding = Seeding.OWN

    def __init__(
        self,
        sources: Sequence[Proposer],
        first_shares: Mapping[str, float],
        filler: str = "",
        name: str = "hybrid",
    ) -> None:
        """Join sources.

        Args:
            sources: their proposals come in this order.
            first_shares: source's name -> expected success before any verdict.
            filler: name of the source that fills what the others leave; "" for the first.
            name: of the method.
        """
        self.name = name
        self._sources, self._first = [completed(source) for source in sources], dict(first_shares)
        self._filler = filler or self._sources[0].name
        self._started: Counter[str] = Counter()
        self._success: Counter[str] = Counter()
        self._silent: set[str] = set()

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources, in their order."""
        return tuple(source.name for source in self._sources)

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return at most n proposals of all sources; what one cannot deliver the others do.

        Who begins with a list of the user's is asked first, for as much of it as n allows; the filler is
        asked last, for all that is missing then. When the filler is short itself, whoever delivered in full
        is asked for more, the most successful first.
        """
        wanted = self.shares(n)
        first = {source.name: source.n_first for source in self._sources}
        found: dict[str, list[Proposal]] = {source.name: [] for source in self._sources}
        filling = [source for source in self._sources if source.name == self._filler]
        others = [source for source in reversed(self._sources) if source.name != self._filler]
        others.sort(key=lambda source: not first.get(source.name))
        able: list[tuple[Proposer, int]] = []
        for source in [*others, *filling]:
            missing = n - len(self._joined(found))
            share = max(wanted[source.name], first.get(source.name, 0))
            count = missing if source.name == self._filler else min(share, missing)
            found[source.name] = self._asked(source, count, step, seed)
            if count and len(found[source.name]) >= count:
                able.append((source, count))
        for source, count in sorted(able, key=lambda item: -wanted[item[0].name]):
            missing = n - len(self._joined(found))
            if missing > 0:
                found[source.name] += self._asked(source, count + missing, step, seed)
        shares = {name: round(count / max(n, 1), 3) for name, count in wanted.items()}
        return [
            replace(p, history={**p.history, "share": shares.get(p.proposer)})
            for p in self._joined(found)[:n]
        ]

    def _joined(self, found: Mapping[str, Sequence[Proposal]]) -> list[Proposal]:
        """Return the distinct proposals of all sources, in the order of the sources."""
        return distinct([p for source in self._sources for p in found[source.name]])

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Count successes by source and let every source learn."""
        for candidate in candidates:
            if candidate.verification is not None:
                self._started[candidate.proposer] += 1
                near = candidate.status is Status.VERIFIED and not candidate.duplicate_of
                self._success[candidate.proposer] += (4 if candidate.status is Status.HIT else 0) + int(near)
        for source in self._sources:
            source.tell(candidates)

    def shares(self, n: int) -> dict[str, int]:
        """Return how many of n proposals each source is asked for."""
        rates = {}
        for source in self._sources:
            prior = self._first.get(source.name, 0.1)
            good = 0.25 * self._success[source.name] + PRIOR_TRIES * prior
            rates[source.name] = good / (self._started[source.name] + PRIOR_TRIES)
        total = sum(rates.values())
        free = 1.0 - LEAST_SHARE * len(rates)
        return {name: round(n * (LEAST_SHARE + free * rate / total)) for name, rate in rates.items()}

    def state(self) -> dict[str, Any]:
        """Return the states of the sources that have one, by name."""
        return {source.name: dict(state) for source in self._sources if (state := source.state())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Hand every source its own state."""
        for source in self._sources:
            if source.name in state:
                source.restore(state[source.name])

    def open_trials(self, path: Path, before_step: int) -> None:
        """Hand the run folder's trials to the source that keeps them."""
        for source in self._sources:
            source.open_trials(path, before_step)

    def save_trials(self) -> None:
        """Let the source that keeps trials write them."""
        for source in self._sources:
            source.save_trials()

    def _asked(self, source: Proposer, n: int, step: int, seed: int) -> list[Proposal]:
        """Return at most n proposals; the log names a source once that has none or fails.

        A source that says itself that it is finished is not asked.
        """
        if n <= 0 or (source.is_finished):
            return []
        tell("asking %s for %d of the proposals", source.name, n)
        reason = "it has nothing left"
        try:
            if proposals := source.ask(n, step, seed):
                return proposals
        except SurrogateError:  # no source is to blame
            raise
        except EngineError as error:
            reason = str(error)
        if source.name not in self._silent:
            self._silent.add(source.name)
            LOGGER.warning("%s proposes nothing: %s; the other sources fill its place", source.name, reason)
        return []
