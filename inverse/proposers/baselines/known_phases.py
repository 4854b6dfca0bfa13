"""Known phases that meet the targets by their tabulated values, as crystals: the look-up as a source.

What a structure is carried of is rebuilt from its signature; a formula of which none is carried is given the
structure types that explain its energy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, zip_longest
from typing import Any

from pymatgen.core import Composition, Structure

from inverse.candidates.registry import PROPOSERS
from inverse.candidates.types import Candidate, Origin
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines.assigned_types import TypedCell, assigned_types
from inverse.proposers.baselines.ground_states import lowest_first
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

MOST_TYPES = 2
"""Structure types in which a formula is proposed of which none is carried: stackings of one coordination
differ by less than the surrogate can tell, and the judge decides."""

Assign = Callable[[str, float, tuple[int, int]], Sequence[TypedCell]]
"""(formula, tabulated energy in eV/atom, least and most atoms) -> cells in types that fit, the best first."""

LowestFirst = Callable[[str, Sequence[Signature], int], Sequence[Signature]]
"""(formula, its carried structures, seed) -> the same, lowest in energy first."""


@dataclass(frozen=True)
class _Choice:
    """A row in one of its structures.

    Attributes:
        row: of the look-up.
        rank: which of its structures, or of the types assigned to it.
        carried: its structures as they are known; () where none is carried.
    """

    row: LookupRow
    rank: int
    carried: tuple[Signature, ...]


@dataclass
class Lookup(Proposer):
    """Proposes known formulas that meet the targets, where a structure can be built.

    Attributes:
        config: of the campaign.
        complete: a decoder's `complete`, for structure types of which no shape is known.
        known: where the signatures come from.
        facts: where the values come from.
        best_known_first: formulas with most carried structures first, as the textbook has them, and of each
            one structure before any second; else best margin first, as the baseline has them.
        assign: structures for a formula of which none is carried; without it such formulas are left out.
        lowest_first: the order of a formula's structures where the best known come first; without it the most
            symmetric comes first.
    """

    config: CampaignConfig
    complete: Complete | None = None
    known: KnownMaterials = field(default_factory=KnownMaterials.packaged)
    facts: Facts = field(default_factory=Facts.packaged)
    best_known_first: bool = False
    assign: Assign | None = None
    lowest_first: LowestFirst | None = None
    name: str = "lookup"
    seeding: Seeding = Seeding.LIST
    _choices: list[_Choice] | None = None
    _next: int = 0
    _built: dict[tuple[int, int], Proposal | None] = field(default_factory=dict)
    _in_order: dict[tuple[str, int], Sequence[Signature]] = field(default_factory=dict)
    _assigned: dict[str, Sequence[TypedCell]] = field(default_factory=dict)

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
        turns = zip_longest(*([c for c in own if c.carried] for own in each))
        carried = [choice for turn in turns for choice in turn if choice is not None]
        return _mixed(carried, [own for own in each if own and not own[0].carried])

    def _choices_of(self, row: LookupRow) -> list[_Choice]:
        found = self._structures(row)
        if not found:
            return [_Choice(row, rank, ()) for rank in range(MOST_TYPES if self.assign is not None else 0)]
        usable = tuple(s for s in found if self._usable(row, s))
        return [_Choice(row, rank, usable) for rank in range(len(usable))]

    def _proposal(self, place: int, choice: _Choice, seed: int) -> Proposal | None:
        row = choice.row
        history: dict[str, Any] = {"formula": row.formula, "values": dict(row.values)}
        if not choice.carried:
            cells = self._cells_of(row)[:MOST_TYPES]
            if choice.rank >= len(cells):
                return None
            structure: Structure | None = cells[choice.rank].structure
            history["assigned_type"] = cells[choice.rank].plan.prototype.text
        else:
            found = self._order(choice, seed)[choice.rank]
            structure = structure_of(found, self.complete, seed)
            history["signature"] = found.text
        if structure is None:
            return None
        return Proposal(structure, self.name, seed, history, key=str(place), origin=Origin.TEXTBOOK)

    def _order(self, choice: _Choice, seed: int) -> Sequence[Signature]:
        """Return the carried structures of a row in the order in which they are proposed."""
        if not self.best_known_first or self.lowest_first is None:
            return choice.carried
        key = choice.row.formula, seed
        if key not in self._in_order:
            self._in_order[key] = self.lowest_first(choice.row.formula, choice.carried, seed)
        return self._in_order[key]

    def _cells_of(self, row: LookupRow) -> Sequence[TypedCell]:
        """Return the types assigned to a formula of which no structure is carried."""
        if row.formula not in self._assigned:
            energy = self.facts.formation_energy_of(Composition(row.formula))
            n_atoms = (row.n_atoms, row.n_atoms) if row.n_atoms else self.config.constraints.n_atoms
            if self.assign is None or energy is None:
                return ()
            self._assigned[row.formula] = self.assign(row.formula, energy, n_atoms)
        return self._assigned[row.formula]

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


def _mixed(carried: Sequence[_Choice], unseen: Sequence[Sequence[_Choice]]) -> list[_Choice]:
    """Return both as one list: after so many carried ones a formula of the others, as far as they go."""
    own = ONE_UNSEEN_IN - 1
    parts = [carried[k : k + own] for k in range(0, len(carried), own)]
    pairs = zip_longest(parts, unseen)
    return [c for part, other in pairs for c in (*(part or ()), *(other or ()))]


@PROPOSERS.register("lookup")
def of_space(space: SearchSpace) -> Lookup:
    """Return the baseline as a search method."""
    return Lookup(space.config, space.complete, assign=assignment(space))


def textbook_answers(space: SearchSpace) -> Lookup:
    """Return the known phases that meet the targets, best known first, each in its ground state first."""
    return Lookup(
        space.config,
        space.complete,
        best_known_first=True,
        assign=assignment(space),
        lowest_first=partial(lowest_first, space),
    )


def assignment(space: SearchSpace) -> Assign | None:
    """Return who assigns structures to formulas of which none is carried; None where no known one counts."""
    if space.constraints.novelty != "any" or space.compositions is None:
        return None
    return partial(assigned_types, space)
