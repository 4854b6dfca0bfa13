"""Structure types of known materials x promising compositions: built, scored, the best handed out first.

With a survey, 10^5 of them are scored as tensors before the first proposal, and the best few thousand come
before everything else.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from pymatgen.core import Structure

from inverse.candidates.registry import PROPOSERS
from inverse.candidates.types import Candidate
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.building.cells import has_shape, shapes_of, skeleton
from inverse.proposers.building.compositions import ranked_compositions
from inverse.proposers.building.plans import Plan, planned
from inverse.proposers.building.survey import Surveyed, survey
from inverse.proposers.news import tell
from inverse.proposers.pool import FEWEST, WIDTHS, Entry, Pool
from inverse.proposers.protocol import Proposal, Proposer, generator
from inverse.proposers.search_space import SearchSpace
from inverse.reference.divided_types import KNOWN_ELEMENTS
from inverse.reference.familiarity import types_of
from inverse.reference.geometries import Geometry, built, scaled
from inverse.reference.structure_types import Prototype, Stoichiometry
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.errors import MissingExtraError

MOST_SHAPES = 8
"""Shapes of a plan that are built in the end, when there is nothing else."""

N_COMPOSITIONS, PER_COMPOSITION = 1200, 6
"""Compositions that get structures, and structure types tried for each, to begin with."""

N_STRUCTURES, N_DECODED = 1600, 160
"""Plans built and scored at once, and those among them without a learned shape."""

SHAPES = 2
"""Learned shapes tried for each plan, to begin with."""

MOST_SURVEYED = 100_000
"""Structures that are built and scored before the first proposal, where the budget is worth it."""

SURVEYED_PER_VERIFICATION = 1000
"""Structures for every verification of the budget: about 2 s of one core beside about 20 s of a verdict."""

SURVEY_SHARE, SURVEYED_PER_SECOND = 0.05, 500
"""Share of a time limit that a survey may take, and structures that one core builds and scores in a second,
on the slow side (`python -m experiments.studies.wide_net`). A convention, so that the same config gives the
same candidates on every machine."""

COMPLETION = (0, 7)
"""Step and index of the generator whose seed the decoder gets."""


@dataclass(frozen=True)
class SubstitutionSettings:
    """How wide the net is cast.

    Attributes:
        n_compositions: compositions that get structures, to begin with.
        per_composition: structure types tried for each, to begin with.
        n_structures: plans (composition in a structure type) built and scored at once.
        shapes: learned shapes tried for each plan.
        n_decoded: of these the plans without a learned shape, which the decoder completes.
        fewest: structures left below which the next batch is made.
        n_surveyed: structures scored before all others; 0 leaves the survey out.
    """

    n_compositions: int = N_COMPOSITIONS
    per_composition: int = PER_COMPOSITION
    n_structures: int = N_STRUCTURES
    shapes: int = SHAPES
    n_decoded: int = N_DECODED
    fewest: int = FEWEST
    n_surveyed: int = 0


class Substitution(Proposer):
    """A pool made from the shipped surrogate, refilled as it empties; the best not tried yet are handed out.

    First the best of the survey, where there is one; then the most promising compositions in their most
    familiar structure types, then more of both, then other shapes. What is made rests on (config, seed) alone
    and the order on what was told, so a resumed run agrees.
    """

    name = "substitution"

    def __init__(
        self,
        space: SearchSpace,
        known: Callable[[], Sequence[Prototype]],
        types_of: Callable[[str], frozenset[str]] = lambda formula: frozenset(),
        settings: SubstitutionSettings | None = None,
    ) -> None:
        """Remember where structure types come from; nothing is computed before the first ask.

        Args:
            space: models and wishes.
            known: structure types of known materials.
            types_of: known formula -> the types that its carried signatures have.
            settings: how wide the net is cast.
        """
        self._space, self._known, self._types_of = space, known, types_of
        self._settings = settings or SubstitutionSettings()
        self._pool = Pool(space, self._batches, self._settings.fewest)

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return the n entries of the pool worth most now, most of them in no table if there are such.

        Raises:
            MissingExtraError: there is no composition surrogate.
        """
        return [entry.proposal for entry in _mixed(self._pool.ranked(n, seed), n)]

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Cross out what was proposed from the pool, whatever became of it."""
        self._space.offered.remember(candidates)
        self._pool.cross_out(self.name, candidates)

    def _batches(self, seed: int) -> Iterator[list[Entry]]:
        """Yield entries, the most promising plans first."""
        settings, done = self._settings, dict[str, Plan]()
        prototypes = [p for p in self._known() if p.skeleton is not None]
        for found in self._surveyed(prototypes):
            done.update((one.plan.key, one.plan) for one in found)
            yield self._entries([one.plan for one in found], [(one.shape,) for one in found], seed)
        for width in WIDTHS:
            plans = [plan for plan in self._planned(prototypes, width) if plan.key not in done]
            if not plans:
                break
            done.update((plan.key, plan) for plan in plans)
            for part in self._parts(plans):
                yield self._entries(part, [_shapes(p)[: settings.shapes] for p in part], seed)
        rest = [plan for plan in done.values() if len(_shapes(plan)) > settings.shapes]
        for start in range(0, len(rest), settings.n_structures):
            part = rest[start : start + settings.n_structures]
            yield self._entries(part, [_shapes(p)[settings.shapes :] for p in part], seed, "other shape")

    def _surveyed(self, prototypes: Sequence[Prototype]) -> Iterator[Sequence[Surveyed]]:
        """Yield the best of the survey in batches, best first."""
        n, at_once = self._settings.n_surveyed, self._settings.n_structures
        if not n:
            return
        tell("substitution: surveying %d structures", n)
        found = survey(self._space, [p for p in prototypes if has_shape(p)], self._types_of, n)
        tell(
            "substitution: %d of %d structures of %d compositions are sound",
            *(found.n_scored, found.n_built, found.n_compositions),
        )
        for start in range(0, len(found.kept), at_once):
            yield found.kept[start : start + at_once]

    def _parts(self, plans: Sequence[Plan]) -> Iterator[list[Plan]]:
        """Yield the plans in batches, those that only the decoder can build in a share of their own."""
        n_decoded = self._settings.n_decoded if self._space.decoder is not None else 0
        n_shaped = self._settings.n_structures - n_decoded
        shaped = [plan for plan in plans if _shapes(plan)]
        bare = [plan for plan in plans if not _shapes(plan)] if n_decoded else []
        while shaped or bare:
            yield [*shaped[:n_shaped], *bare[:n_decoded]]
            shaped, bare = shaped[n_shaped:], bare[n_decoded:]

    def _planned(self, prototypes: Sequence[Prototype], width: int) -> list[Plan]:
        """Return compositions in structure types, most promising first."""
        space, settings = self._space, self._settings
        if space.compositions is None:
            raise MissingExtraError("search method 'substitution' needs the composition surrogate")
        patterns = _by_frequency(prototypes)
        tell("substitution: ranking compositions of %d stoichiometries", len(patterns))
        n = width * settings.n_compositions
        compositions = ranked_compositions(space, space.compositions, patterns, n, width)
        tell("substitution: %d compositions in %d structure types", len(compositions), len(prototypes))
        per_composition, n_atoms = width * settings.per_composition, space.constraints.n_atoms
        found = planned(compositions, prototypes, per_composition, n_atoms, self._types_of)
        return sorted(found, key=lambda p: (-p.promise, p.composition.formula, p.prototype.text, p.elements))

    def _entries(
        self, plans: Sequence[Plan], shapes: Sequence[Sequence[Geometry]], seed: int, suffix: str = ""
    ) -> list[Entry]:
        """Return plans as sound structures with their worth; the best shape of each plan is kept."""
        space = self._space
        owners = [k for k, own in enumerate(shapes) for _ in own]
        crystals = built(
            [shape for own in shapes for shape in own],
            [plans[k].elements for k in owners],
            [plans[k].volume_per_atom for k in owners],
        )
        structures = crystals.to_structures() if owners else []
        structures, owners = self._with_decoded(plans, shapes, structures, owners, seed)
        tell("substitution: %d structures built; screening them", len(structures))
        sound = [k for k, s in enumerate(structures) if not space.screening(s)]
        tell("substitution: predicting %d structures", len(sound))
        values = space.scored([structures[k] for k in sound], corrected=False)
        best: dict[int, Entry] = {}
        for k, value in zip(sound, values.tolist(), strict=True):
            owner = owners[k]
            if owner not in best or value > best[owner].value:
                plan = plans[owner]
                key = f"{plan.key} {suffix}".strip()
                trust = plan.prototype.trust(plan.elements)
                proposal = Proposal(structures[k], self.name, seed, _history(plan), key=key, trust=trust)
                best[owner] = Entry(proposal, value, plan.composition.is_known)
        return sorted(best.values(), key=lambda e: -e.value)

    def _with_decoded(
        self,
        plans: Sequence[Plan],
        shapes: Sequence[Sequence[Geometry]],
        structures: list[Structure],
        owners: list[int],
        seed: int,
    ) -> tuple[list[Structure], list[int]]:
        """Add what the decoder makes of types without a learned shape, the most promising plans first."""
        decoder = self._space.decoder
        missing = [k for k, own in enumerate(shapes) if not own]
        if decoder is None or not missing:
            return structures, owners
        volumes = torch.tensor([plans[k].composition.volume_per_atom for k in missing])
        parts = [
            skeleton(plans[k].prototype, plans[k].elements, plans[k].composition.volume_per_atom)
            for k in missing
        ]
        own_seed = int(generator(seed, *COMPLETION).integers(2**31 - 1))
        crystals = scaled(decoder.complete(SymmetricCrystals.concatenate(parts), own_seed), volumes)
        return [*structures, *crystals.to_structures()], [*owners, *missing]


@PROPOSERS.register("substitution")
def substitution(space: SearchSpace) -> Substitution:
    """Return the substitutions into known structure types, surveyed as widely as the budget is worth."""
    settings = SubstitutionSettings(n_surveyed=n_surveyed(space.config))
    return Substitution(space, space.structure_types, types_of, settings)


def n_surveyed(config: CampaignConfig) -> int:
    """Return how many structures the survey of a campaign scores.

    What the config says; else as many as its budget is worth, by verifications and by time, whichever is
    less.
    """
    if config.search.structures is not None:
        return config.search.structures
    n, budget = MOST_SURVEYED, config.budget
    if budget.verifications is not None:
        n = min(n, SURVEYED_PER_VERIFICATION * budget.verifications)
    if budget.seconds is not None:
        n = min(n, round(SURVEY_SHARE * SURVEYED_PER_SECOND * budget.seconds))
    return n


def _by_frequency(prototypes: Sequence[Prototype]) -> list[Stoichiometry]:
    """Return the stoichiometries, the most frequent first.

    Of many elements, first those of which a shape is known: few real types of such size are, and what the
    decoder makes of the others seldom passes the screen.
    """
    frequency: Counter[Stoichiometry] = Counter()
    shaped: set[Stoichiometry] = set()
    for prototype in prototypes:
        frequency[prototype.stoichiometry] += prototype.total
        if len(prototype.counts) <= KNOWN_ELEMENTS or has_shape(prototype):
            shaped.add(prototype.stoichiometry)
    return sorted(frequency, key=lambda p: (p not in shaped, -frequency[p], p))


def _shapes(plan: Plan) -> tuple[Geometry, ...]:
    return shapes_of(plan.prototype, plan.elements, MOST_SHAPES)


def _history(plan: Plan) -> dict[str, object]:
    return {
        "template": plan.prototype.text,
        "elements": list(plan.elements),
        "template_count": plan.prototype.total,
        "is_known": plan.composition.is_known,
        "worth_of_composition": plan.composition.worth,
    }


def _mixed(ranked: Sequence[Entry], n: int) -> list[Entry]:
    """Return n of the ranked, two in three not known as far as there are such, in rank order."""
    places = range(len(ranked))
    unknown = [k for k in places if not ranked[k].is_known]
    known = [k for k in places if ranked[k].is_known]
    n_unknown = max(n - len(known), min(len(unknown), n - n // 3))
    chosen = sorted([*unknown[:n_unknown], *known[: n - n_unknown]])
    return [ranked[k] for k in chosen]
