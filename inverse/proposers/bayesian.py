"""Outer search by Optuna over few numbers: which elements, which stoichiometry, which type, how dense.

A trial is one structure; its value is the surrogate's. The sampler is re-seeded from (seed, trial number), so
a resumed run draws the same trials; finished trials lie in the run folder's trials.db.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Composition, Element

from inverse.constraints import MOST_ELEMENTS
from inverse.process_settings import ProcessSetting
from inverse.proposers.building import built, shapes_of
from inverse.proposers.compositions import predicted_volumes
from inverse.proposers.geometries import Geometry
from inverse.proposers.protocol import Proposal
from inverse.proposers.prototypes import Prototype
from inverse.proposers.search_space import SearchSpace
from inverse.types import Candidate
from surrogates.errors import RunFolderError
from surrogates.whole_files import replacing

LOGGER = logging.getLogger(__name__)

STUDY = "outer"
TRIALS_PER_PROPOSAL = 3
ROUND = 32
"""Trials drawn before their values come back: one batch of the surrogate, one generation of the genetic."""

MOST_TRIALS = 2000
"""Trials of one study; then a new one begins, warm-started from the best: TPE slows down as they grow."""

WARM_START = 200
"""Best trials that a new study begins with."""

WORST = -20.0
"""Value of a trial that makes no sound structure."""

FEWEST_PLACES = 4
"""Numbers that choose elements, at least; more where the config allows more elements."""


def numbers_for(most_elements: int) -> tuple[str, ...]:
    """Return the names of what a trial is: numbers between 0 and 1, eight for up to four elements.

    >>> numbers_for(5)[5:7]
    ('element_5', 'stoichiometry')
    """
    places = range(1, max(FEWEST_PLACES, min(most_elements, MOST_ELEMENTS)) + 1)
    return ("n_elements", *(f"element_{k}" for k in places), "stoichiometry", "type", "density")


class OuterSearch:
    """Optuna over a few numbers: TPE, or blind draws from the same space."""

    def __init__(
        self, space: SearchSpace, known: Callable[[], Sequence[Prototype]], name: str = "tpe"
    ) -> None:
        """Choose the sampler.

        Args:
            space: models and wishes.
            known: structure types of known materials.
            name: tpe, or blind.
        """
        self.name, self._space, self._known = name, space, known
        self._numbers = numbers_for(space.constraints.n_elements[1])
        self._trials: list[dict[str, Any]] = []
        self._saved = 0
        self._path: Path | None = None
        self._tried: set[str] = set()
        self._elements = _by_chemistry(space.allowed_elements)
        self._types: dict[int, list[tuple[tuple[int, ...], list[Prototype]]]] | None = None

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return the n best distinct structures of this step's trials."""
        found: list[tuple[float, Proposal]] = []
        for _ in range(max(1, -(-TRIALS_PER_PROPOSAL * n // ROUND))):
            found += self._round(step, seed)
        found.sort(key=lambda item: -item[0])
        fresh = [p for _, p in found if p.key not in self._tried]
        return self._space.offered.fresh(fresh, n)

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
            rows = [{**t.params, **t.user_attrs, "value": t.value} for t in study.get_trials(deepcopy=False)]
        except Exception as error:  # SQLAlchemy wraps SQLite's errors in many classes
            raise RunFolderError(
                f"{path}: cannot be read ({type(error).__name__}); delete it to go on"
            ) from None
        self._trials = [r for r in rows if r["step"] < before_step and r["source"] == self.name]
        if len(rows) != len(self._trials):
            _rewrite(path, self._trials, self._numbers)
        self._saved = len(self._trials)

    def save_trials(self) -> None:
        """Add new trials to trials.db; a kill half-way leaves some that the next opening drops."""
        if self._path is None:
            return
        study = _stored_study(self._path)
        study.add_trials([_frozen(row, self._numbers) for row in self._trials[self._saved :]])
        self._saved = len(self._trials)

    # -- one round -------------------------------------------------------------------------------------------

    def _round(self, step: int, seed: int) -> list[tuple[float, Proposal]]:
        drawn = self._drawn(seed)
        proposals = self._proposals(drawn, seed)
        sound = [
            k for k, p in enumerate(proposals) if p is not None and not self._space.screening(p.structure)
        ]
        values = self._space.scored([p.structure for k, p in enumerate(proposals) if k in set(sound) and p])
        worth = dict(zip(sound, values.tolist(), strict=True))
        for k, numbers in enumerate(drawn):
            value = max(WORST, float(np.log(max(worth[k], 1e-9)))) if k in worth else WORST
            self._trials.append({**numbers, "step": step, "source": self.name, "value": value})
        return [(value, p) for k, value in worth.items() if (p := proposals[k]) is not None]

    def _drawn(self, seed: int) -> list[dict[str, float]]:
        """Return the numbers of the next round."""
        import optuna

        told = self._recent()
        with _quiet():
            study = optuna.create_study(direction="maximize")
        study.add_trials([_frozen(row, self._numbers) for row in told])
        distributions = _distributions(self._numbers)
        numbers = []
        for k in range(ROUND):
            study.sampler = _sampler(self.name, (seed * 1_000_003 + len(self._trials) + k) % 2**31)
            trial = study.ask(distributions)
            numbers.append({name: float(trial.params[name]) for name in self._numbers})
        return numbers

    def _recent(self) -> list[dict[str, Any]]:
        n_old = len(self._trials) // MOST_TRIALS * MOST_TRIALS
        best = sorted(self._trials[:n_old], key=lambda row: -row["value"])[: WARM_START if n_old else 0]
        return [*best, *self._trials[n_old:]]

    def _proposals(self, drawn: Sequence[Mapping[str, float]], seed: int) -> list[Proposal | None]:
        """Return a crystal for each trial's numbers; None where they name none that the config allows."""
        found: list[Proposal | None] = [None] * len(drawn)
        made: list[tuple[int, tuple[str, ...], Prototype, Geometry]] = []
        for k, numbers in enumerate(drawn):
            elements, prototype = self._choice(numbers)
            shapes = () if prototype is None else shapes_of(prototype, elements, 1)
            if prototype is not None and shapes:
                made.append((k, elements, prototype, shapes[0]))
        if not made:
            return found
        expected = self._volumes([(elements, prototype) for _, elements, prototype, _ in made])
        densities = [0.85 + 0.3 * drawn[k]["density"] for k, *_ in made]
        volumes = (expected * np.array(densities)).tolist()
        crystals = built([shape for *_, shape in made], [elements for _, elements, *_ in made], volumes)
        for (k, elements, prototype, _), structure in zip(made, crystals.to_structures(), strict=True):
            history = {
                "trial": len(self._trials) + k,
                "template": prototype.text,
                "elements": list(elements),
            }
            key, trust = f"{prototype.text} {' '.join(elements)}", prototype.trust(elements)
            found[k] = Proposal(structure, self.name, seed, history, key=key, trust=trust)
        return found

    def _choice(self, numbers: Mapping[str, float]) -> tuple[tuple[str, ...], Prototype | None]:
        types = self._grouped()
        low, high = self._space.constraints.n_elements
        sizes = [size for size in sorted(types) if low <= size <= high]
        if not sizes:
            return (), None
        groups = types[_pick(sizes, numbers["n_elements"])]
        elements = []
        left = list(self._elements)
        for k in range(len(groups[0][0])):
            elements.append(_pick(left, numbers[f"element_{k + 1}"]))
            left.remove(elements[-1])
            if not left:
                break
        _, listed = groups[min(len(groups) - 1, int(len(groups) * numbers["stoichiometry"] ** 2))]
        prototype = listed[min(len(listed) - 1, int(len(listed) * numbers["type"] ** 2))]
        is_full = len(elements) == len(prototype.counts)
        allowed = is_full and not self._space.composition_reason(
            Composition(dict(zip(elements, prototype.counts, strict=True)))
        )
        return tuple(elements), prototype if allowed else None

    def _grouped(self) -> dict[int, list[tuple[tuple[int, ...], list[Prototype]]]]:
        """Return, by number of elements, the stoichiometries and their types, most frequent first."""
        if self._types is None:
            low, high = self._space.constraints.n_atoms
            groups: dict[int, dict[tuple[int, ...], list[Prototype]]] = {}
            for p in self._known():
                if low <= p.n_atoms <= high and shapes_of(p, ["X"] * len(p.counts), 1):
                    groups.setdefault(len(p.counts), {}).setdefault(p.counts, []).append(p)
            self._types = {
                size: sorted(own.items(), key=lambda item: (-sum(p.total for p in item[1]), item[0]))
                for size, own in groups.items()
            }
        return self._types

    def _volumes(self, chosen: Sequence[tuple[Sequence[str], Prototype]]) -> np.ndarray:
        """Return (C,) volumes per atom, Å³: as the composition surrogate expects, else from radii."""
        amounts = [dict(zip(elements, p.counts, strict=True)) for elements, p in chosen]
        expected = predicted_volumes(self._space, amounts)
        return np.where(np.isfinite(expected), expected, [_rough_volume(own) for own in amounts])


def _rough_volume(amounts: Mapping[str, int]) -> float:
    """Return a volume per atom, Å³, from atomic radii."""
    radii = {e: float(Element(e).atomic_radius or 1.5) for e in amounts}
    return sum(n * max(5.0, 4.6 * radii[e] ** 3) for e, n in amounts.items()) / sum(amounts.values())


def _by_chemistry(symbols: Sequence[str]) -> list[str]:
    """Return elements in Pettifor's order, so that neighbours behave alike."""
    return sorted(symbols, key=lambda s: (float(Element(s).mendeleev_no or 200), s))


def _pick(options: Sequence[Any], number: float) -> Any:
    return options[min(len(options) - 1, int(len(options) * number))]


def _sampler(name: str, seed: int) -> Any:
    import optuna

    if name == "blind":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=2 * ROUND)


def _distributions(numbers: Sequence[str]) -> dict[str, Any]:
    import optuna

    return {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in numbers}


def _frozen(row: Mapping[str, Any], numbers: Sequence[str]) -> Any:
    """Return a row as Optuna's trial; trials of older folders lack the numbers of a fifth element."""
    import optuna

    return optuna.trial.create_trial(
        params={name: row.get(name, 0.5) for name in numbers},
        distributions=_distributions(numbers),
        value=row["value"],
        user_attrs={"step": row["step"], "source": row["source"]},
    )


def _rewrite(path: Path, rows: Sequence[Mapping[str, Any]], numbers: Sequence[str]) -> None:
    """Replace trials.db by one with these trials, whole or not at all: a kill meanwhile loses none."""
    with replacing(path) as fresh:
        study = _stored_study(fresh)
        study.add_trials([_frozen(row, numbers) for row in rows])


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
