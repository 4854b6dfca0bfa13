"""Known phases that meet the targets by their tabulated values, as crystals: the look-up as a source.

What a structure is carried of is rebuilt from its signature; a formula of which none is carried is given the
structure type that explains its energy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any

from pymatgen.core import Composition, Structure

from inverse.candidates.registry import PROPOSERS
from inverse.candidates.types import Candidate, Origin
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines.assigned_types import TypedCell, assigned_type
from inverse.proposers.baselines.lookup import LookupRow, lookup, simplicity
from inverse.proposers.protocol import Proposal, Proposer, Seeding, next_place
from inverse.proposers.search_space import SearchSpace
from inverse.reference.construction import Complete, is_buildable, structure_of
from inverse.reference.facts import Facts
from inverse.reference.known import KnownMaterials
from inverse.reference.signatures import Signature
from inverse.reference.skeletons import n_atoms_of

ONE_UNSEEN_IN = 4
"""Places of which one is for a formula of which no structure is carried, where the best known come first."""

Assign = Callable[[str, float, tuple[int, int]], TypedCell | None]
"""(formula, tabulated energy in eV/atom, least and most atoms) -> a cell in a type, None where none fits."""


_Choice = tuple[LookupRow, Signature | None]
"""A row with one of its carried structures, None where none is carried."""


@dataclass
class Lookup(Proposer):
    """Proposes known formulas that meet the targets, where a structure can be built.

    Attributes:
        config: of the campaign.
        complete: a decoder's `complete`, for structure types of which no shape is known.
        known: where the signatures come from.
        facts: where the values come from.
        best_known_first: formulas with most carried structures first, as the textbook has them, and of each
            its most symmetric one before any second; else best margin first, as the baseline has them.
        assign: a structure for a formula of which none is carried; without it such formulas are left out.
    """

    config: CampaignConfig
    complete: Complete | None = None
    known: KnownMaterials = field(default_factory=KnownMaterials.packaged)
    facts: Facts = field(default_factory=Facts.packaged)
    best_known_first: bool = False
    assign: Assign | None = None
    name: str = "lookup"
    seeding: Seeding = Seeding.LIST
    _choices: list[_Choice] | None = None
    _next: int = 0
    _built: dict[tuple[int, int], Proposal | None] = field(default_factory=dict)

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return the next `n` known structures that can be built; [] when the table is used up."""
        if self._choices is None:
            self._choices = self._ordered()
        proposals: list[Proposal] = []
        for place in range(self._next, len(self._choices)):
            if len(proposals) == n:
                break
            if (place, seed) not in self._built:
                self._built[place, seed] = self._proposal(place, self._choices[place], seed)
            if (proposal := self._built[place, seed]) is not None:
                proposals.append(proposal)
        return proposals

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Go on after the last place that was tried; the table itself does not change."""
        self._next = max(self._next, next_place(self.name, candidates))
        self._built = {key: made for key, made in self._built.items() if key[0] >= self._next}

    def _ordered(self) -> list[_Choice]:
        """Return the rows with their structures, in the order in which they are proposed."""
        rows = self._rows()
        each = [self._choices_of(row) for row in rows]
        if not self.best_known_first:
            return list(chain.from_iterable(each))
        turns = zip_longest(*([c for c in own if c[1] is not None] for own in each))
        carried = [choice for turn in turns for choice in turn if choice is not None]
        unseen = [choice for own in each for choice in own if choice[1] is None]
        return _mixed(carried, unseen)

    def _choices_of(self, row: LookupRow) -> list[_Choice]:
        found = self._structures(row)
        if not found:
            return [] if self.assign is None else [(row, None)]
        return [(row, s) for s in found if self._usable(row, s)]

    def _proposal(self, place: int, choice: _Choice, seed: int) -> Proposal | None:
        row, found = choice
        history: dict[str, Any] = {"formula": row.formula, "values": dict(row.values)}
        if found is None:
            assigned = self._assigned(row)
            if assigned is None:
                return None
            structure: Structure | None = assigned.structure
            history["assigned_type"] = assigned.plan.prototype.text
        else:
            structure = structure_of(found, self.complete, seed)
            history["signature"] = found.text
        if structure is None:
            return None
        return Proposal(structure, self.name, seed, history, key=str(place), origin=Origin.TEXTBOOK)

    def _assigned(self, row: LookupRow) -> TypedCell | None:
        energy = self.facts.formation_energy_of(Composition(row.formula))
        if self.assign is None or energy is None:
            return None
        n_atoms = (row.n_atoms, row.n_atoms) if row.n_atoms else self.config.constraints.n_atoms
        return self.assign(row.formula, energy, n_atoms)

    def _rows(self) -> list[LookupRow]:
        rows = lookup(self.config, self.facts, self.known, any_polymorph=self.best_known_first)
        if not self.best_known_first:
            return rows
        return sorted(
            rows, key=lambda r: (-len(self.known.signatures_of_reduced(r.formula)), *simplicity(r.formula))
        )

    def _structures(self, row: LookupRow) -> list[Signature]:
        found = self.known.signatures_of_reduced(row.formula)
        return sorted(found, key=lambda s: -s.space_group) if self.best_known_first else found

    def _usable(self, row: LookupRow, found: Signature) -> bool:
        least, most = self.config.constraints.n_atoms
        n_atoms = n_atoms_of(found.text)
        is_the_entry = row.n_atoms in (0, n_atoms)
        can_build = self.complete is not None or is_buildable(found.text)
        return least <= n_atoms <= most and is_the_entry and can_build


def _mixed(carried: Sequence[_Choice], unseen: Sequence[_Choice]) -> list[_Choice]:
    """Return both lists as one, `ONE_UNSEEN_IN` places for each of the second as far as the first goes."""
    own = ONE_UNSEEN_IN - 1
    parts = [carried[k : k + own] for k in range(0, len(carried), own)]
    pairs = zip_longest(parts, unseen)
    return [c for part, other in pairs for c in (*(part or ()), *(() if other is None else (other,)))]


@PROPOSERS.register("lookup")
def of_space(space: SearchSpace) -> Lookup:
    """Return the baseline as a search method."""
    return Lookup(space.config, space.complete, assign=assignment(space))


def textbook_answers(space: SearchSpace) -> Lookup:
    """Return the known phases that meet the targets, best known first."""
    return Lookup(space.config, space.complete, best_known_first=True, assign=assignment(space))


def assignment(space: SearchSpace) -> Assign | None:
    """Return who assigns structures to formulas of which none is carried; None where no known one counts."""
    if space.constraints.novelty != "any" or space.compositions is None:
        return None

    def assign(formula: str, energy: float, n_atoms: tuple[int, int]) -> TypedCell | None:
        return assigned_type(space, formula, energy, n_atoms)

    return assign
