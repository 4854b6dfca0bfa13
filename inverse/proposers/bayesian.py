"""Outer search by Optuna over few numbers: which elements, which stoichiometry, which type, how dense.

A trial is one structure; its value is the surrogate's. Each number of elements is searched by itself. The
first trials are blind, of the compositions that promise most. Then Optuna's TPE draws: a tenth of the trials
whole, the others one or two parts of a good trial anew (an element, the amounts with the type, the type, the
density), since a needle is hit when one part after the other falls into place, not all at once. No crystal is
tried twice in one tenth of the range of densities. Where all that was drawn was tried or offered before, what
is left is gone through in order: the source is dry when no crystal is. Draws follow from the seed, the step,
the round and the number of trials, so a resumed run draws the same; finished trials lie in the run folder's
trials.db.
"""

import logging
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Element

from inverse.candidates.registry import PROPOSERS
from inverse.candidates.types import Candidate
from inverse.proposers.building.cells import shapes_of
from inverse.proposers.building.compositions import predicted_volumes, promise_of
from inverse.proposers.protocol import Proposal, Proposer, happens
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.trial_space import Chosen, Numbers, TrialSpace, bounded, middle_of, place_of, volume_at
from inverse.reference.geometries import Geometry, built
from inverse.reference.structure_types import Prototype
from surrogates.errors import RunFolderError
from surrogates.platform.process_settings import ProcessSetting
from surrogates.platform.whole_files import replacing

LOGGER = logging.getLogger(__name__)

STUDY = "parts"
"""Name in trials.db; trials of older studies ("outer"), whose numbers meant other crystals, are not read."""

TRIALS_PER_PROPOSAL = 3
ROUND = 32
"""Trials drawn before their values come back: one batch of the surrogate, one generation of the genetic."""

BLIND_TRIALS = 64
"""Trials drawn blindly to begin with, shared among the numbers of elements."""

DRAWN_FOR_ONE = 16
"""Compositions drawn for each blind trial; those that promise most are tried."""

BEST_KEPT, RECENT_KEPT = 48, 96
"""Trials of each number of elements that Optuna is told: the best of so many crystals, and the latest."""

WHOLE_SHARE = 0.1
"""Share of the trials that are drawn whole."""

PARENTS = 16
"""Best crystals of which parts are drawn anew."""

TWO_PARTS = 0.3
"""Chance that two parts of a trial are drawn anew, not one."""

DENSITY_BINS = 10
"""Parts of the range of densities; a crystal is tried once in each."""

PLACE_BYTES = 8
"""Of the number of a crystal in a part of the densities: millions may be kept."""

LEADERS = 8
"""One in so many of the crystals asked for, the best, is tried at more volumes before it is offered."""

VOLUME_SHIFTS = (-0.12, -0.06, 0.06, 0.12)
"""How far away these are: 1.8 and 3.6 % of the volume."""

GIVEN_UP = 8
"""Draws for every trial wanted after which blind ones fill a round, and as many of these after which repeats
and forbidden compositions leave it short."""

BARREN = 10_000
"""Untried crystals and densities gone through in one ask, none of them sound and new, after which no more is
expected of the rest."""

GOOD_SHARE, MOST_GOOD = 0.2, 25
"""Share of the trials told that TPE takes for good ones, and how many at most."""

SEEDS = 2**31
"""Seeds that its draws may have."""

EI_CANDIDATES = 4
"""Draws of which TPE takes the likeliest to be good: with Optuna's 24, and its few good trials, all fall on
the best crystal (log of 2026-11-30)."""

LEAST_WORTH = 1e-300
"""Less is valued like this: 0 has no logarithm."""

CUBED_RADII, SMALLEST_ATOM, UNKNOWN_RADIUS = 4.6, 5.0, 1.5
"""Rough volume of an atom in cubes of its radius; the least, Å³; and the radius, Å, where it is unknown."""

WORST = -800.0
"""Value of a trial that makes no sound structure: less than the logarithm of any worth."""


@dataclass(frozen=True)
class Trial:
    """A crystal that was tried.

    Attributes:
        numbers: what it is, written the canonical way.
        crystal: structure type and elements.
        value: logarithm of its worth.
        step: of the campaign.
    """

    numbers: Numbers
    crystal: str
    value: float
    step: int


@dataclass(frozen=True)
class Tried:
    """A trial of this step that made a sound structure: its worth, its numbers, and it as a proposal."""

    value: float
    numbers: Numbers
    proposal: Proposal


class Memory:
    """The best trial of each of the best crystals, and the latest trials: as many however long it runs."""

    def __init__(self) -> None:
        self.n_seen = 0
        self._best: dict[str, Trial] = {}
        self._recent: deque[Trial] = deque()

    def add(self, trial: Trial) -> None:
        """Take a trial in."""
        self.n_seen += 1
        self._recent.append(trial)
        if len(self._recent) > RECENT_KEPT:
            oldest = self._recent.popleft()
            held = self._best.get(oldest.crystal)
            if held is None or oldest.value > held.value:
                self._best[oldest.crystal] = oldest
            if len(self._best) > BEST_KEPT:
                del self._best[min(self._best, key=lambda crystal: self._best[crystal].value)]

    def told(self) -> list[Trial]:
        """Return what is kept, the latest last."""
        return [*self._best.values(), *self._recent]

    def parents(self) -> list[Trial]:
        """Return the best trial of each of the best crystals, best first."""
        best: dict[str, Trial] = {}
        for trial in self.told():
            if trial.crystal not in best or trial.value > best[trial.crystal].value:
                best[trial.crystal] = trial
        return sorted(best.values(), key=lambda t: -t.value)


class OuterSearch(Proposer):
    """Optuna's TPE over a few numbers; other samplers of the same trials are made from it."""

    def __init__(
        self, space: SearchSpace, known: Callable[[], Sequence[Prototype]], name: str = "tpe"
    ) -> None:
        """Remember what is searched; nothing is drawn before the first ask.

        Args:
            space: models and wishes.
            known: structure types of known materials.
            name: of the method.
        """
        self.name, self._space = name, space
        self._trial_space = TrialSpace(space, known)
        self._trials: list[Trial] = []
        self._memories: dict[int, Memory] = {}
        self._done: set[int] = set()
        self._remaining = self._not_offered()
        self._saved = 0
        self._path: Path | None = None
        self._tried: set[str] = set()

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return the n best distinct structures of this step's trials."""
        if n < 1:
            return []
        found: list[Tried] = []
        for turn in range(ceil(TRIALS_PER_PROPOSAL * n / ROUND)):
            drawn = self._drawn(seed, step, turn)
            if not drawn:
                break
            found += self._tried_now(drawn, step, seed)
        # what is offered once is not offered again at a better volume
        leaders = self._at_other_volumes(self._fresh(found), ceil(n / LEADERS))
        found += self._tried_now(leaders, step, seed)
        return self._best(found, n) or self._rest(n, step, seed)

    def _best(self, found: Sequence["Tried"], n: int) -> list[Proposal]:
        """Return the n best new crystals."""
        return self._space.offered.fresh([t.proposal for t in self._fresh(found)], n)

    def _rest(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return crystals not offered before where draws find none: untried ones first, none when dry."""
        rounds = iter(lambda: self._new(self._remaining, ROUND), [])
        for drawn in islice(rounds, BARREN // ROUND):
            if offered := self._best(self._tried_now(drawn, step, seed), n):
                return offered
        return self._left_over(n, seed)

    def _left_over(self, n: int, seed: int) -> list[Proposal]:
        """Return crystals that others of their round kept from being offered, best first."""
        best: dict[str, Trial] = {}
        for trial in self._trials:
            held = best.get(trial.crystal)
            if trial.value > (held.value if held else WORST) and trial.crystal not in self._tried:
                best[trial.crystal] = trial
        ranked = [t.numbers for t in sorted(best.values(), key=lambda t: -t.value)]
        parts = (self._proposals(ranked[k : k + ROUND], seed) for k in range(0, len(ranked), ROUND))
        return self._space.offered.fresh((p for part in parts for p in part if p is not None), n)

    def _not_offered(self) -> Iterator[Numbers]:
        """Yield every crystal at every density, the middle ones first, but crystals that were offered.

        What is yielded is tried at once, so a resumed run, which begins anew, comes to the same place.
        """
        bins = sorted(range(DENSITY_BINS), key=lambda k: abs(2 * k + 1 - DENSITY_BINS))
        for numbers in self._trial_space.every([middle_of(k, DENSITY_BINS) for k in bins]):
            if self._trial_space.chosen(numbers).key not in self._tried:
                yield numbers

    def _fresh(self, tried: Sequence["Tried"]) -> list["Tried"]:
        """Return what was not proposed before, best first."""
        return sorted((t for t in tried if t.proposal.key not in self._tried), key=lambda t: -t.value)

    def _at_other_volumes(self, tried: Sequence["Tried"], n: int) -> list[dict[str, float]]:
        """Return the first n distinct crystals as trials a little denser and a little less dense.

        Densities at which they were tried are left out.
        """
        best: dict[str, Tried] = {}
        for one in tried:
            best.setdefault(one.proposal.key, one)
        leaders = list(best.values())[:n]
        changed = [
            {**one.numbers, "density": bounded(one.numbers["density"] + change)}
            for one in leaders
            for change in VOLUME_SHIFTS
        ]
        return self._new(changed, len(changed))

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Cross out what was proposed; the corrected surrogate that values new trials has learned already."""
        self._tried |= {c.key for c in candidates if c.key}
        self._space.offered.remember(candidates)

    # -- trials on disk --------------------------------------------------------------------------------------

    def open_trials(self, path: Path, before_step: int) -> None:
        """Read the trials of earlier steps.

        Raises:
            RunFolderError: trials.db is damaged.
        """
        self._path = path
        if not path.exists():
            return
        try:
            study = _stored_study(path)
            rows = [(t.user_attrs, t.params, t.value) for t in study.get_trials(deepcopy=False)]
        except Exception as error:  # SQLAlchemy wraps SQLite's errors in many classes
            raise RunFolderError(
                f"{path}: cannot be read ({type(error).__name__}); delete it to go on"
            ) from None
        for attributes, numbers, value in rows:
            if attributes["step"] < before_step and attributes["source"] == self.name:
                self._remember(numbers, value, attributes["step"])
        if len(rows) != len(self._trials):
            _rewrite(path, self._trials, self.name)
        self._saved = len(self._trials)

    def save_trials(self) -> None:
        """Add new trials to trials.db; a kill half-way leaves some that the next opening drops."""
        if self._path is None:
            return
        study = _stored_study(self._path)
        study.add_trials([_frozen(trial, self.name) for trial in self._trials[self._saved :]])
        self._saved = len(self._trials)

    # -- one round -------------------------------------------------------------------------------------------

    def _tried_now(self, drawn: Sequence[Numbers], step: int, seed: int) -> list["Tried"]:
        """Try trials, remember them and return those that make a sound structure."""
        proposals = self._proposals(drawn, seed)
        sound = [
            k for k, p in enumerate(proposals) if p is not None and not self._space.screening(p.structure)
        ]
        values = self._space.scored([p.structure for k in sound if (p := proposals[k]) is not None])
        worth = dict(zip(sound, values.tolist(), strict=True))
        for k, numbers in enumerate(drawn):
            value = float(np.log(max(worth[k], LEAST_WORTH))) if k in worth else WORST
            self._remember(numbers, value, step)
        return [Tried(value, drawn[k], p) for k, value in worth.items() if (p := proposals[k]) is not None]

    def _remember(self, numbers: Numbers, value: float, step: int) -> None:
        trial = Trial(dict(numbers), self._trial_space.chosen(numbers).key, value, step)
        self._trials.append(trial)
        self._memory(self._trial_space.size_of(numbers)).add(trial)
        self._done.add(_place(trial.crystal, numbers))

    def _memory(self, size: int) -> Memory:
        return self._memories.setdefault(size, Memory())

    def _drawn(self, seed: int, step: int, turn: int) -> list[dict[str, float]]:
        """Return the numbers of the next round: as many of each number of elements, while they last."""
        sizes = self._trial_space.sizes
        drawn: list[dict[str, float]] = []
        for k, size in enumerate(sizes):
            n = ROUND * (k + 1) // len(sizes) - ROUND * k // len(sizes)
            # a round of repeats adds no trial: without step and turn the next would be the same
            rng = np.random.default_rng([seed, step, turn, size, len(self._trials)])
            is_begun = self._memory(size).n_seen >= ceil(BLIND_TRIALS / len(sizes))
            draws = self._draws(size, rng) if is_begun else self._promising(size, n, rng)
            most = GIVEN_UP * n
            drawn += self._new(chain(islice(draws, most), islice(self._blind(size, rng), most)), n)
        return drawn

    def _promising(self, size: int, n: int, rng: np.random.Generator) -> Iterator[Numbers]:
        """Yield blind trials, those of the compositions that promise most first."""
        space = self._trial_space
        drawn = list(islice(self._blind(size, rng), DRAWN_FOR_ONE * n))
        formulas = [space.formula_of(numbers) for numbers in drawn]
        allowed = [k for k, formula in enumerate(formulas) if space.is_allowed(formula)]
        promise = promise_of(self._space, [formulas[k] for k in allowed])
        yield from (drawn[allowed[k]] for k in np.argsort(-promise, kind="stable"))

    def _blind(self, size: int, rng: np.random.Generator) -> Iterator[Numbers]:
        """Yield trials of so many elements, drawn evenly."""
        names, sizes = self._trial_space.names, self._trial_space.sizes
        which = middle_of(sizes.index(size), len(sizes))
        while True:
            yield {
                **{name: rng.uniform() for name in names},
                "n_elements": which,
            }

    def _new(self, draws: Iterable[Numbers], n: int) -> list[dict[str, float]]:
        """Return the first n draws that the config allows and that were not tried."""
        found: dict[int, dict[str, float]] = {}
        for numbers in draws:
            if not self._trial_space.is_allowed(self._trial_space.formula_of(numbers)):
                continue
            canonical = self._trial_space.canonical(numbers)
            place = _place(self._trial_space.chosen(canonical).key, canonical)
            if place not in self._done:
                found.setdefault(place, canonical)
            if len(found) == n:
                break
        return list(found.values())

    def _draws(self, size: int, rng: np.random.Generator) -> Iterator[Numbers]:
        """Yield what TPE draws for so many elements, from what was tried so far."""
        memory, space = self._memory(size), self._trial_space
        parts = space.parts_of(size)
        whole = tuple(dict.fromkeys(name for part in parts for name in part))
        sampler = PartSampler(memory.told(), whole, len(space.amounts_of(size)), int(rng.integers(SEEDS)))
        parents = memory.parents()[:PARENTS]
        while True:
            if happens(rng, WHOLE_SHARE):
                yield {**parents[0].numbers, **sampler.draw(whole)}
                continue
            # the better of two
            parent = parents[int(rng.integers(len(parents), size=2).min())]
            n_parts = 2 if happens(rng, TWO_PARTS) else 1
            fresh: dict[str, float] = {}
            for k in rng.choice(len(parts), n_parts, replace=False):
                fresh |= sampler.draw(parts[k])
            yield {**parent.numbers, **fresh}

    def _proposals(self, drawn: Sequence[Numbers], seed: int) -> list[Proposal | None]:
        """Return a crystal for each trial's numbers; None where the config allows none such."""
        found: list[Proposal | None] = [None] * len(drawn)
        made: list[tuple[int, Chosen, Geometry]] = []
        for k, numbers in enumerate(drawn):
            if self._trial_space.is_allowed(self._trial_space.formula_of(numbers)):
                chosen = self._trial_space.chosen(numbers)
                (shape,) = shapes_of(chosen.prototype, chosen.elements, 1)
                made.append((k, chosen, shape))
        if not made:
            return found
        expected = self._volumes([chosen for _, chosen, _ in made])
        sizes = [volume_at(drawn[k]["density"]) for k, *_ in made]
        volumes = (expected * np.array(sizes)).tolist()
        crystals = built([shape for *_, shape in made], [c.elements for _, c, _ in made], volumes)
        for (k, chosen, _), structure in zip(made, crystals.to_structures(), strict=True):
            history = {
                "trial": len(self._trials) + k,
                "template": chosen.prototype.text,
                "elements": list(chosen.elements),
            }
            trust = chosen.prototype.trust(chosen.elements)
            found[k] = Proposal(structure, self.name, seed, history, key=chosen.key, trust=trust)
        return found

    def _volumes(self, chosen: Sequence[Chosen]) -> np.ndarray:
        """Return (C,) volumes per atom, Å³: as the composition surrogate expects, else from radii."""
        amounts = [dict(zip(c.elements, c.prototype.counts, strict=True)) for c in chosen]
        expected = predicted_volumes(self._space, amounts)
        return np.where(np.isfinite(expected), expected, [_rough_volume(own) for own in amounts])


@PROPOSERS.register("tpe")
def tpe(space: SearchSpace) -> OuterSearch:
    """Return the outer search over the structure types of known materials."""
    return OuterSearch(space, space.structure_types)


class PartSampler:
    """Optuna's TPE for some of the numbers of a trial at a time, from what it is told once."""

    def __init__(self, told: Sequence[Trial], names: Sequence[str], n_amounts: int, seed: int) -> None:
        """Tell Optuna of trials.

        Args:
            told: at least one.
            names: of the numbers that matter.
            n_amounts: choices of `stoichiometry`, which have no order; the other numbers have one.
            seed: of the draws.
        """
        import optuna

        self._n_amounts = n_amounts
        self._distributions = _distributions(names)
        if "stoichiometry" in names:
            choices = optuna.distributions.CategoricalDistribution(tuple(range(n_amounts)))
            self._distributions["stoichiometry"] = choices
        with _quiet():
            self._study = optuna.create_study(direction="maximize")
        self._study.add_trials(
            [
                optuna.trial.create_trial(
                    params={name: self._told(name, trial.numbers[name]) for name in names},
                    distributions=self._distributions,
                    value=trial.value,
                )
                for trial in told
            ]
        )
        self._sampler = _sampler(seed)
        self._next = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)

    def draw(self, names: Sequence[str]) -> dict[str, float]:
        """Return a draw of these numbers, whatever the others are."""
        space = {name: self._distributions[name] for name in names}
        drawn = self._sampler.sample_relative(self._study, self._next, space)
        n = self._n_amounts
        return {k: middle_of(int(v), n) if k == "stoichiometry" else float(v) for k, v in drawn.items()}

    def _told(self, name: str, number: float) -> float | int:
        return place_of(number, self._n_amounts) if name == "stoichiometry" else number


def _place(crystal: str, numbers: Numbers) -> int:
    """Return a number of a crystal in its part of the densities."""
    text = f"{crystal} {place_of(numbers['density'], DENSITY_BINS)}"
    return int.from_bytes(blake2b(text.encode(), digest_size=PLACE_BYTES).digest())


def _rough_volume(amounts: Mapping[str, int]) -> float:
    """Return a volume per atom, Å³, from atomic radii."""
    radii = {e: float(Element(e).atomic_radius or UNKNOWN_RADIUS) for e in amounts}
    atoms = {e: max(SMALLEST_ATOM, CUBED_RADII * radius**3) for e, radius in radii.items()}
    return sum(n * atoms[e] for e, n in amounts.items()) / sum(amounts.values())


def _sampler(seed: int) -> Any:
    import optuna

    with warnings.catch_warnings():
        # Optuna would give up `gamma`; its own choice, four good trials of 200, is too few to spread from
        warnings.simplefilter("ignore", FutureWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            multivariate=True,
            constant_liar=False,
            n_startup_trials=1,
            n_ei_candidates=EI_CANDIDATES,
            gamma=lambda n: min(ceil(GOOD_SHARE * n), MOST_GOOD),
        )


def _distributions(numbers: Sequence[str]) -> dict[str, Any]:
    import optuna

    return {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in numbers}


def _frozen(trial: Trial, source: str) -> Any:
    """Return a trial as Optuna's."""
    import optuna

    return optuna.trial.create_trial(
        params=dict(trial.numbers),
        distributions=_distributions(tuple(trial.numbers)),
        value=trial.value,
        user_attrs={"step": trial.step, "source": source},
    )


def _rewrite(path: Path, trials: Sequence[Trial], source: str) -> None:
    """Replace trials.db by one with these trials, whole or not at all: a kill meanwhile loses none."""
    with replacing(path) as fresh:
        study = _stored_study(fresh)
        study.add_trials([_frozen(trial, source) for trial in trials])


def _stored_study(path: Path) -> Any:
    import optuna

    with _quiet():
        return optuna.create_study(
            study_name=STUDY, storage=f"sqlite:///{path}", direction="maximize", load_if_exists=True
        )


def _verbosity() -> int:
    import optuna

    return optuna.logging.get_verbosity()


def _set_verbosity(level: int) -> None:
    import optuna

    optuna.logging.set_verbosity(level)


_VERBOSITY = ProcessSetting(_verbosity, _set_verbosity)


def _quiet() -> AbstractContextManager[None]:
    """Keep Optuna from telling of every study while inside; its verbosity is the caller's otherwise."""
    return _VERBOSITY.changed(lambda level: max(level, logging.WARNING))
