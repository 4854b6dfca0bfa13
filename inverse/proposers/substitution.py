"""Structure types of known materials x promising compositions: built, scored, relaxed by the surrogate."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pymatgen.core import Structure

from inverse.progress import tell
from inverse.proposers.building import built, scaled, shapes_of, skeleton
from inverse.proposers.compositions import ranked_compositions
from inverse.proposers.descent import DescentSettings, relaxed
from inverse.proposers.plans import Plan, planned
from inverse.proposers.protocol import Proposal, generator
from inverse.proposers.prototypes import Prototype
from inverse.proposers.search_space import SearchSpace
from inverse.types import Candidate
from surrogates.errors import EngineError, MissingExtraError
from surrogates.symmetry import SymmetricCrystals


@dataclass(frozen=True)
class SubstitutionSettings:
    """How wide the net is cast.

    Attributes:
        n_compositions: compositions that get structures.
        per_composition: structure types tried for each.
        n_structures: plans (composition in a structure type) built and scored in all.
        shapes: learned shapes tried for each plan.
        n_decoded: plans without a learned shape that the decoder completes.
        n_relaxed: of these relaxed on the surrogate, the best ones. None by default: predictions of
            structures moved to please the surrogate agree less with the judges (experiments/LOG.md).
        steps: of that relaxation.
    """

    n_compositions: int = 1200
    per_composition: int = 6
    n_structures: int = 2400
    shapes: int = 2
    n_decoded: int = 160
    n_relaxed: int = 0
    steps: int = 16


@dataclass(frozen=True)
class _Entry:
    """One structure of the pool."""

    structure: Structure
    history: dict[str, object]
    log_likelihood: float | None
    value: float


class Substitution:
    """A pool made once from the shipped surrogate; every ask hands out the best not tried yet.

    The pool rests on (config, seed) alone and the order on what was told, so a resumed run agrees.
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
        self._pool: list[_Entry] | None = None
        self._tried: set[int] = set()

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return the n entries of the pool worth most now, most of them in no table if there are such."""
        pool = self._made(seed)
        free = [k for k in range(len(pool)) if k not in self._tried]
        if not free:
            return []
        values = self._space.scored([pool[k].structure for k in free])
        ranked = [free[i] for i in np.argsort(-values, kind="stable")]
        copies: set[int] = set()
        while True:
            left = [k for k in ranked if k not in copies]
            chosen = _mixed(left, [self._is_known(pool[k]) for k in left], n)
            proposals = [self._proposal(k, pool[k], seed) for k in chosen]
            found = self._space.offered.fresh(proposals, n)
            if len(found) == len(proposals):
                return found
            fresh = {id(p) for p in found}
            copies |= {k for k, p in zip(chosen, proposals, strict=True) if id(p) not in fresh}

    def _proposal(self, k: int, entry: _Entry, seed: int) -> Proposal:
        history = {**entry.history, "pool": k}
        return Proposal(entry.structure, self.name, seed, history, entry.log_likelihood)

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Cross out what was proposed from the pool, whatever became of it."""
        self._space.offered.remember(candidates)
        self._tried |= {
            int(c.history["pool"]) for c in candidates if c.proposer == self.name and "pool" in c.history
        }

    def _is_known(self, entry: _Entry) -> bool:
        return bool(entry.history["is_known"])

    def _made(self, seed: int) -> list[_Entry]:
        if self._pool is None:
            self._pool = self._build(seed)
        return self._pool

    def _build(self, seed: int) -> list[_Entry]:
        space, settings = self._space, self._settings
        if space.compositions is None:
            raise MissingExtraError("search method 'substitution' needs the composition surrogate")
        prototypes = [p for p in self._known() if p.skeleton is not None]
        frequency: Counter[tuple[int, ...]] = Counter()
        for prototype in prototypes:
            frequency[prototype.stoichiometry] += prototype.total
        tell("substitution: ranking compositions of %d stoichiometries", len(frequency))
        patterns = sorted(frequency, key=lambda p: (-frequency[p], p))
        compositions = ranked_compositions(space, space.compositions, patterns, settings.n_compositions)
        tell("substitution: %d compositions in %d structure types", len(compositions), len(prototypes))
        found = planned(
            compositions, prototypes, settings.per_composition, space.constraints.n_atoms, self._types_of
        )
        plans = sorted(found, key=lambda p: (-p.promise, p.composition.formula, p.prototype.text, p.elements))
        entries = self._completed(plans[: settings.n_structures], seed)
        entries = sorted(entries, key=lambda e: -e.value)
        tell("substitution: %d of %d structures are sound", len(entries), len(plans))
        return self._refined(entries)

    def _completed(self, plans: Sequence[Plan], seed: int) -> list[_Entry]:
        """Return plans as sound structures with their worth; the best shape of each plan is kept."""
        space = self._space
        shapes = [shapes_of(p.prototype, p.elements, self._settings.shapes) for p in plans]
        owners = [k for k, own in enumerate(shapes) for _ in own]
        crystals = built(
            [shape for own in shapes for shape in own],
            [plans[k].elements for k in owners],
            [plans[k].volume_per_atom for k in owners],
        )
        structures = crystals.to_structures() if owners else []
        structures, owners = self._with_decoded(plans, structures, owners, seed)
        tell("substitution: %d structures built; screening them", len(structures))
        sound = [k for k, s in enumerate(structures) if not space.screening(s)]
        tell("substitution: predicting %d structures", len(sound))
        values = space.scored([structures[k] for k in sound], corrected=False)
        best: dict[int, _Entry] = {}
        for k, value in zip(sound, values, strict=True):
            owner = owners[k]
            if owner not in best or value > best[owner].value:
                best[owner] = _Entry(structures[k], _history(plans[owner]), None, float(value))
        return list(best.values())

    def _with_decoded(
        self, plans: Sequence[Plan], structures: list[Structure], owners: list[int], seed: int
    ) -> tuple[list[Structure], list[int]]:
        """Add what the decoder makes of types without a learned shape, the most promising plans first."""
        decoder = self._space.decoder
        missing = [k for k, plan in enumerate(plans) if not shapes_of(plan.prototype, plan.elements, 1)]
        missing = missing[: self._settings.n_decoded]
        if decoder is None or not missing:
            return structures, owners
        volumes = torch.tensor([plans[k].composition.volume_per_atom for k in missing])
        parts = [
            skeleton(plans[k].prototype, plans[k].elements, plans[k].composition.volume_per_atom)
            for k in missing
        ]
        own_seed = int(generator(seed, 0, 7).integers(2**31 - 1))
        crystals = scaled(decoder.complete(SymmetricCrystals.concatenate(parts), own_seed), volumes)
        return [*structures, *crystals.to_structures()], [*owners, *missing]

    def _refined(self, entries: Sequence[_Entry]) -> list[_Entry]:
        """Return the pool with its best entries relaxed on the surrogate, as far as they stay sound."""
        space, settings = self._space, self._settings
        head = list(entries[: settings.n_relaxed])
        crystals, kept = [], []
        for k, entry in enumerate(head):
            try:
                crystals.append(SymmetricCrystals.from_structures([entry.structure]))
            except EngineError:
                continue
            kept.append(k)
        for start in range(0, len(kept), 64):
            index = kept[start : start + 64]
            batch = SymmetricCrystals.concatenate(crystals[start : start + 64])
            result = relaxed(space.base, batch, DescentSettings(steps=settings.steps))
            structures = result.to_structures()
            values = space.scored(structures, corrected=False)
            likelihood = (
                space.decoder.log_likelihood(result).tolist() if space.decoder else [None] * len(index)
            )
            for k, structure, value, own in zip(index, structures, values, likelihood, strict=True):
                if not space.screening(structure):
                    history = {
                        **head[k].history,
                        "relaxed_steps": settings.steps,
                        "worth_before": head[k].value,
                    }
                    head[k] = _Entry(structure, history, own, float(value))
        return sorted([*head, *entries[settings.n_relaxed :]], key=lambda e: -e.value)


def _history(plan: Plan) -> dict[str, object]:
    return {
        "template": plan.prototype.text,
        "elements": list(plan.elements),
        "template_count": plan.prototype.total,
        "is_known": plan.composition.is_known,
        "worth_of_composition": plan.composition.worth,
        "trust": plan.prototype.trust(plan.elements),
    }


def _mixed(ranked: Sequence[int], is_known: Sequence[bool], n: int) -> list[int]:
    """Return n of the ranked, at least half of them not known as far as there are such, in rank order."""
    unknown = [k for k, known in zip(ranked, is_known, strict=True) if not known]
    known = [k for k, known in zip(ranked, is_known, strict=True) if known]
    n_unknown = max(n - len(known), min(len(unknown), n - n // 3))
    chosen = set(unknown[:n_unknown]) | set(known[: n - n_unknown])
    return [k for k in ranked if k in chosen]
