"""Which candidates are worth a verification: probability, stability, diversity, exploit against explore."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from inverse.candidates.types import Origin, Standing

SYSTEM_REPEAT = 0.6
"""Factor on the worth for every candidate already chosen of the same chemical system."""

EXPLORE_SHARE = 0.5
"""Share of the verifications reserved for candidates of class new where known ones are allowed too."""

TEXTBOOK_SHARE = 0.125
"""Share of the verifications for known phases whose carried values meet the targets, if they are welcome."""

LEAST_PROBABILITY = 0.01
"""Probability of meeting the targets below which nothing is verified while better candidates wait."""


@dataclass(frozen=True)
class Option:
    """A candidate as the choice sees it.

    Attributes:
        id: of the candidate; ties are broken by it.
        worth: expected share of a hit, in (0, 1).
        chemical_system: "B-C-W".
        probability: that it meets all that decides a hit, whatever diversity and trust make of it.
        origin: a seed, its child, a textbook answer, or a find.
    """

    id: str
    worth: float
    chemical_system: str
    probability: float
    origin: Origin = Origin.SEARCH


@dataclass(frozen=True)
class Places:
    """Verifications to spend, and how many of them are kept for whom; what is left over others get.

    Attributes:
        n: in all.
        new: for class new.
        children: for what was made from the user's own crystals.
        textbook: for known phases whose carried values meet the targets.
    """

    n: int
    new: int = 0
    children: int = 0
    textbook: int = 0


@dataclass
class Choice:
    """Greedy choice with memory of what this campaign verified already; deterministic.

    Attributes:
        standing: id -> Standing; asked only for options that are about to be chosen, since it costs.
        taken_keys: (chemical system, parent prototype) verified in earlier steps.
        taken_systems: how often each chemical system was verified.
        passed_over: ids of what would have been chosen, had its key not been taken.
    """

    standing: Callable[[str], Standing]
    taken_keys: set[tuple[str, str]]
    taken_systems: Counter[str]
    passed_over: set[str] = field(default_factory=set)

    def select(self, options: Sequence[Option], places: Places) -> list[str]:
        """Return at most n ids: the seeds, then who places are kept for, then the others.

        Places kept for somebody who is not there go to the others. Below `LEAST_PROBABILITY` nobody is
        chosen, for whatever share, while there are others: only seeds and textbook answers need none.

        Args:
            options: worth > 0 counts only, but for seeds.
            places: to fill.
        """
        chosen = [o for o in sorted(options, key=lambda o: o.id) if o.origin is Origin.SEED][: places.n]
        n_new = places.new
        for seed in chosen:
            standing = self.standing(seed.id)
            self.take(seed.chemical_system, standing.parent_prototype)
            n_new -= standing.is_new
        found = [o.id for o in chosen]
        alive = [o for o in options if o.worth > 0 and o.origin is not Origin.SEED]
        likely = [o for o in alive if o.probability >= LEAST_PROBABILITY]
        kept = (
            ([o for o in likely if o.origin is Origin.CHILD], places.children),
            ([o for o in alive if o.origin is Origin.TEXTBOOK], places.textbook),
        )
        for pool, n in kept:
            own = self._greedy(pool, min(n, places.n - len(found)), 0)
            n_new -= sum(self.standing(identity).is_new for identity in own)
            found += own
        for pool, new in ((likely, max(n_new, 0)), (alive, 0)):
            rest = [o for o in pool if o.id not in found]
            n = places.n - len(found)
            found += self._greedy(rest, n, min(new, n))
        return found

    def _greedy(self, options: Sequence[Option], n: int, n_new: int) -> list[str]:
        """Return at most n ids, worth most first; `n_new` of class new as far as there are such options."""
        chosen: list[str] = []
        others: list[tuple[Option, tuple[str, str]]] = []
        n_other = 0
        pool = list(options)
        while pool and len(chosen) < n:
            best = min(pool, key=lambda o: (-self.discounted(o), o.id))
            pool.remove(best)
            standing = self.standing(best.id)
            key = (best.chemical_system, standing.parent_prototype)
            if key in self.taken_keys:
                self.passed_over.add(best.id)
                continue
            if not standing.is_new and n_other >= n - n_new:
                others.append((best, key))
                continue
            n_other += not standing.is_new
            chosen.append(best.id)
            self.take(*key)
        for option, key in others:
            if len(chosen) < n and key not in self.taken_keys:
                chosen.append(option.id)
                self.take(*key)
        return chosen

    def take(self, chemical_system: str, parent_prototype: str) -> None:
        """Remember something that is being verified."""
        self.taken_keys.add((chemical_system, parent_prototype))
        self.taken_systems[chemical_system] += 1

    def discounted(self, option: Option) -> float:
        """Return the worth of an option beside what was chosen and verified of its chemical system."""
        return option.worth * SYSTEM_REPEAT ** self.taken_systems[option.chemical_system]
