"""The orderings baseline: alike elements on the orbits of known phases, ranked by mixing the end members.

Two or three known formulas that differ by one alike element (WC, MoC, TaC) share a host structure; every way
of dividing its sites, in cells of up to four host cells, is a candidate with linearly mixed moduli and
volume. Energies are mixed too, from the end members' lowest polymorphs: that above the hull is a lower bound.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, combinations, islice
from math import gcd, inf
from typing import Any

import numpy as np
from pymatgen.core import Composition

from inverse.candidates.objective import Objective
from inverse.candidates.registry import PROPOSERS
from inverse.candidates.types import Candidate, Target
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines.lookup import (
    DECIMALS,
    MOST_NAMED,
    asks_for_moduli,
    follows_from_moduli,
    moduli_values,
)
from inverse.proposers.baselines.ordered_cells import Ordering, ordered_structures
from inverse.proposers.protocol import Proposal, Proposer, Seeding, next_place
from inverse.proposers.screening import Screen
from inverse.proposers.search_space import SearchSpace
from inverse.reference.construction import Complete
from inverse.reference.facts import Facts, Moduli
from inverse.reference.known import KnownMaterials
from inverse.reference.signatures import Signature, alike_elements
from inverse.reference.skeletons import n_atoms_of
from surrogates.derived import exact
from surrogates.physics.mass import density
from surrogates.physics.properties import (
    BULK_MODULUS,
    DENSITY,
    ENERGY_ABOVE_HULL,
    SHEAR_MODULUS,
    VOLUME,
    Judged,
    Property,
    judged_from,
)
from surrogates.protocol import CompositionBatch

MAX_CELLS = 4
"""Largest supercell of the host, in primitive cells."""

MAX_PARTS = 3
"""Most elements that share the sites."""

_ENERGIES = tuple(prop.name for prop in judged_from(Judged.ENERGY))

MOST_MET, MOST_TRIED = 40_000, 1_000_000
"""Orderings that meet the targets, and divisions that are tried, before loose targets are cut short: each is
about half a minute of one core.
"""

SMALLEST_BOUND = 1e-3
"""Natural units; a smaller bound counts as this much where a margin is relative to it."""


@dataclass(frozen=True)
class _Member:
    element: str
    moduli: Moduli
    signature: Signature
    n_sites: int

    @cached_property
    def numbers(self) -> tuple[float, float, float, float]:
        """K and G (GPa), volume per atom (Å³) and mass per atom (atomic units): what is mixed linearly."""
        composition = Composition(self.moduli.formula)
        mass = float(composition.weight / composition.num_atoms)
        moduli = self.moduli.bulk_modulus_vrh, self.moduli.shear_modulus_vrh
        return *moduli, self.signature.volume_per_atom, mass


def unchecked(config: CampaignConfig) -> tuple[str, ...]:
    """Return the deciding targets that mixing end members says nothing of, by property name."""
    asked = [t.property for t in Objective.of(config).deciding if not t.property.is_exact]
    return tuple(prop.name for prop in asked if not _is_mixed(prop) and prop.name not in _ENERGIES)


def _is_mixed(prop: Property) -> bool:
    return follows_from_moduli(prop) or prop in (VOLUME, DENSITY)


@dataclass(frozen=True)
class Survey:
    """What mixing answered.

    Attributes:
        rows: orderings that meet the targets, best margin first.
        is_cut: more may; `MOST_MET` or `MOST_TRIED` came first.
        is_asked: False where no target is on moduli, which mixing needs.
    """

    rows: tuple[Ordering, ...] = ()
    is_cut: bool = False
    is_asked: bool = True


def orderings(
    config: CampaignConfig, facts: Facts | None = None, known: KnownMaterials | None = None
) -> list[Ordering]:
    """Return the rows of `survey`."""
    return list(survey(config, facts, known).rows)


def survey(config: CampaignConfig, facts: Facts | None = None, known: KnownMaterials | None = None) -> Survey:
    """Return the orderings whose mixed values meet the targets on them, best margin first.

    Only elements that the config allows. Judged are targets on K, G, what follows from them, volume, density,
    energies and what the composition decides: all but those that `unchecked` names. Without any target on
    moduli there is none. The families with the stiffest member come first, since loose targets are cut short.
    """
    facts = facts or Facts.packaged()
    known = known or KnownMaterials.packaged()
    objective = Objective.of(config)
    targets = [t for t in objective.deciding if _is_mixed(t.property)]
    if not asks_for_moduli(targets):
        return Survey(is_asked=False)
    energies = [t for t in objective.deciding if t.property.name in _ENERGIES]
    screen = Screen(config.constraints)
    mixer = _EnergyMixer(facts)
    found: dict[str, Ordering] = {}
    families = sorted(_families(config, facts, known), key=_stiffest, reverse=True)
    tried = chain.from_iterable(_mixtures(members, config, targets, known) for members in families)
    n_met = 0
    for ordering in islice(tried, MOST_TRIED):
        if ordering is None:
            continue
        n_met += 1
        if n_met > MOST_MET:
            break
        if screen.composition_breach(Composition(ordering.formula)):
            continue
        judged = _with_energies(ordering, energies, mixer)
        if judged is None:
            continue
        best = found.get(judged.formula)
        order = (judged.n_atoms, -_margin(judged, targets))
        if best is None or order < (best.n_atoms, -_margin(best, targets)):
            found[judged.formula] = judged
    is_cut = n_met > MOST_MET or any(True for _ in tried)
    kept = _with_exact(list(found.values()), [t for t in objective.deciding if t.property.is_exact])
    return Survey(tuple(sorted(kept, key=lambda o: (-_margin(o, targets), o.formula))), is_cut)


def _stiffest(members: Mapping[str, _Member]) -> float:
    return max(member.moduli.bulk_modulus_vrh for member in members.values())


def _with_exact(rows: Sequence[Ordering], targets: Sequence[Target]) -> Sequence[Ordering]:
    """Return the orderings whose composition meets what it alone decides, with those values."""
    if not targets or not rows:
        return rows
    fractions = CompositionBatch.from_compositions([Composition(row.formula) for row in rows]).fractions
    for target in targets:
        name, values = target.property.name, exact(target.property, fractions, 1).mean.tolist()
        rows = [
            replace(row, values={**row.values, name: round(value, 4)})
            for row, value in zip(rows, values, strict=True)
        ]
    return [row for row in rows if all(t.is_met(row.values[t.property.name]) for t in targets)]


@dataclass
class _EnergyMixer:
    """Formation energies of end members and their distances to the hull, each worked out once."""

    facts: Facts
    _distances: dict[str, float] = field(default_factory=dict)

    def mixed(self, shares: Mapping[str, float], name: str) -> float | None:
        """Return the mean of the end members, eV/atom; None where one has no formation energy.

        A distance to the hull that is unknown or negative counts 0.
        """
        if name == ENERGY_ABOVE_HULL.name:
            return sum(share * self._distance(formula) for formula, share in shares.items())
        each = [
            (share, self.facts.formation_energy_of(Composition(formula))) for formula, share in shares.items()
        ]
        known = [share * energy for share, energy in each if energy is not None]
        return sum(known) if len(known) == len(each) else None

    def _distance(self, formula: str) -> float:
        if formula not in self._distances:
            self._distances[formula] = max(0.0, self.facts.energy_above_hull_of(Composition(formula)) or 0.0)
        return self._distances[formula]


def _with_energies(ordering: Ordering, targets: Sequence[Target], mixer: _EnergyMixer) -> Ordering | None:
    """Return the ordering with the mixed energies that are asked for; None when one is unknown or misses."""
    found = {}
    for target in targets:
        energy = mixer.mixed(ordering.end_members, target.property.name)
        # what lies below the hull of its end members may lie on that of all phases
        low = -np.inf if target.property == ENERGY_ABOVE_HULL else target.lower
        if energy is None or not low <= energy <= target.upper:
            return None
        found[target.property.name] = round(energy, DECIMALS)
    return replace(ordering, values={**ordering.values, **found})


def baseline_record(mixed: Survey, not_checked: Sequence[str] = ()) -> dict[str, Any]:
    """Return the orderings as the manifest and the report want them.

    Args:
        mixed: of `survey`.
        not_checked: properties of the targets that these rows were not asked for.
    """
    best = [
        {
            "formula": r.formula,
            "values": {name: float(f"{value:.4g}") for name, value in r.values.items()},
            "note": " + ".join(r.end_members) + (", known formula" if r.is_known else ""),
        }
        for r in mixed.rows[:MOST_NAMED]
    ]
    return {
        "asked": mixed.is_asked,
        "n_hits": len(mixed.rows),
        "n_started": 0,
        "basis": "predicted",
        "best": best,
        "unchecked": list(not_checked),
        "note": "cut short for loose targets: there are more" if mixed.is_cut else "",
    }


def _mixed_values(bulk: float, shear: float, volume: float, mass: float) -> dict[str, float]:
    """Return K, G, what follows from them, volume per atom and density of a mixture, by property name."""
    return moduli_values(bulk, shear) | {VOLUME.name: volume, DENSITY.name: density(mass, volume)}


def _families(config: CampaignConfig, facts: Facts, known: KnownMaterials) -> Iterator[dict[str, _Member]]:
    """Yield sets of known phases that differ by one alike element: element -> phase."""
    allowed = config.constraints.allowed_elements()
    most = config.constraints.n_atoms[1]
    groups: dict[tuple[object, ...], dict[str, _Member]] = defaultdict(dict)
    for entry in facts.entries(range(len(facts.bulk_modulus_vrh))):
        amounts = Composition(entry.formula).get_el_amt_dict()
        if not allowed.issuperset(amounts) or sum(amounts.values()) > most:
            continue
        signature = _smallest(known.signatures_of_reduced(entry.formula), entry.n_atoms)
        if signature is None or n_atoms_of(signature.text) > most:
            continue
        for element, count in amounts.items():
            rest = tuple(sorted((e, n) for e, n in amounts.items() if e != element))
            key = (alike_elements(element), count, rest)
            n_sites = round(n_atoms_of(signature.text) * count / sum(amounts.values()))
            member = _Member(element, entry, signature, n_sites)
            current = groups[key].get(element)
            if current is None or entry.bulk_modulus_vrh > current.moduli.bulk_modulus_vrh:
                groups[key][element] = member
    yield from groups.values()


def _smallest(signatures: Sequence[Signature], n_atoms: int) -> Signature | None:
    """Return the signature with the cell size of the computed entry, else the densest."""
    return min(
        signatures, key=lambda s: (n_atoms_of(s.text) != n_atoms, s.volume_per_atom, s.text), default=None
    )


def _mixtures(
    members: Mapping[str, _Member], config: CampaignConfig, targets: Sequence[Target], known: KnownMaterials
) -> Iterator[Ordering | None]:
    """Yield what `_divided` yields, of every set of members that may reach the bounds."""
    for size in range(2, MAX_PARTS + 1):
        for elements in combinations(sorted(members), size):
            parts = [members[e] for e in elements]
            stiffest = {
                BULK_MODULUS: max(p.moduli.bulk_modulus_vrh for p in parts),
                SHEAR_MODULUS: max(p.moduli.shear_modulus_vrh for p in parts),
            }
            if all(stiffest.get(t.property, inf) >= t.lower for t in targets):
                yield from _divided(parts, config, targets, known)


def _divided(
    parts: Sequence[_Member], config: CampaignConfig, targets: Sequence[Target], known: KnownMaterials
) -> Iterator[Ordering | None]:
    """Yield every division of the sites among the parts that fits the cell sizes; None misses the targets."""
    seen: set[tuple[int, ...]] = set()
    of_each = np.array([p.numbers for p in parts])
    for n_cells in range(1, MAX_CELLS + 1):
        for host in parts:
            n_atoms = n_atoms_of(host.signature.text) * n_cells
            least, most = config.constraints.n_atoms
            if not least <= n_atoms <= most:
                continue
            for counts in _compositions(host.n_sites * n_cells, len(parts)):
                shares = np.array(counts) / sum(counts)
                key = tuple(count // gcd(*counts) for count in counts)
                if key in seen or host is not parts[int(shares.argmax())]:
                    continue
                values = _mixed_values(*(shares @ of_each).tolist())
                if all(t.is_met(values[t.property.name]) for t in targets):
                    seen.add(key)
                    yield _ordering(parts, counts, host, n_cells, values, known)
                else:
                    yield None


def _compositions(total: int, n_parts: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to write `total` as an ordered sum of `n_parts` positive numbers."""
    if n_parts == 1:
        yield (total,)
        return
    for first in range(1, total - n_parts + 2):
        for rest in _compositions(total - first, n_parts - 1):
            yield (first, *rest)


def _ordering(
    parts: Sequence[_Member],
    counts: Sequence[int],
    host: _Member,
    n_cells: int,
    values: Mapping[str, float],
    known: KnownMaterials,
) -> Ordering:
    end_members = {p.moduli.formula: c / sum(counts) for p, c in zip(parts, counts, strict=True)}
    n_atoms = n_atoms_of(host.signature.text) * n_cells
    amounts: dict[str, float] = defaultdict(float)
    for member, share in end_members.items():
        for element, fraction in Composition(member).fractional_composition.get_el_amt_dict().items():
            amounts[element] += fraction * share * n_atoms
    formula = Composition({e: round(amount) for e, amount in amounts.items()}).reduced_formula
    return Ordering(
        formula=formula,
        end_members=end_members,
        host=host.moduli.formula,
        element=host.element,
        n_cells=n_cells,
        n_atoms=n_atoms,
        values=values,
        is_known=known.is_known_formula(Composition(formula)),
    )


def _margin(ordering: Ordering, targets: Sequence[Target]) -> float:
    margins = []
    for target in targets:
        value = ordering.values[target.property.name]
        if target.minimum is not None:
            margins.append(value / max(target.minimum, SMALLEST_BOUND) - 1.0)
        if target.maximum is not None:
            margins.append(1.0 - value / max(target.maximum, SMALLEST_BOUND))
        if target.tolerance is not None:
            margins.append(min(value - target.lower, target.upper - value) / target.tolerance)
    return min(margins)


@dataclass
class Orderings(Proposer):
    """Proposes orderings of known phases, best mixed moduli first.

    Attributes:
        config: of the campaign.
        complete: a decoder's `complete`; without it only hosts fixed by symmetry can be built.
        known: where the signatures come from.
        facts: where the end members' moduli come from.
    """

    config: CampaignConfig
    complete: Complete | None = None
    known: KnownMaterials = field(default_factory=KnownMaterials.packaged)
    facts: Facts = field(default_factory=Facts.packaged)
    name: str = "orderings"
    seeding: Seeding = Seeding.LIST
    _ranked: list[Ordering] | None = None
    _next: int = 0

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return one ordered crystal of each of the next `n` orderings that can be built."""
        if self._ranked is None:
            self._ranked = orderings(self.config, self.facts, self.known)
        proposals: list[Proposal] = []
        for place in range(self._next, len(self._ranked)):
            if len(proposals) == n:
                break
            ordering = self._ranked[place]
            for structure in ordered_structures(ordering, self.known, self.complete, seed, limit=1):
                history = {"end_members": dict(ordering.end_members), "mixed": dict(ordering.values)}
                proposals.append(Proposal(structure, self.name, seed, history, key=str(place)))
        return proposals

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Go on after the last place that was tried; the ranking is by mixing alone."""
        self._next = max(self._next, next_place(self.name, candidates))


@PROPOSERS.register("orderings")
def of_space(space: SearchSpace) -> Orderings:
    """Return the baseline as a search method."""
    return Orderings(space.config, space.complete)
