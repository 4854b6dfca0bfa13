"""The orderings baseline: alike elements on the orbits of known phases, ranked by mixing the end members.

Two or three known formulas that differ by one alike element (WC, MoC, TaC) share a host structure; every way
of dividing its sites, in cells of up to four host cells, is a candidate with linearly mixed moduli. The
energy above the hull is mixed too, from the end members' lowest polymorphs: a lower bound.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
from pymatgen.core import Composition

from inverse.config import CampaignConfig
from inverse.objective import Objective
from inverse.proposers.lookup import moduli_values
from inverse.proposers.ordered_cells import Ordering, ordered_structures
from inverse.proposers.protocol import PLACE, Proposal, next_place
from inverse.reference.construction import Complete
from inverse.reference.facts import Facts, Moduli
from inverse.reference.known import KnownMaterials
from inverse.reference.signatures import Signature, alike_elements
from inverse.reference.skeletons import n_atoms_of
from inverse.screening import Screen
from inverse.types import Candidate, Target

MAX_CELLS = 4
"""Largest supercell of the host, in primitive cells."""

MAX_PARTS = 3
"""Most elements that share the sites."""


@dataclass(frozen=True)
class _Member:
    element: str
    moduli: Moduli
    signature: Signature
    n_sites: int


def orderings(
    config: CampaignConfig, facts: Facts | None = None, known: KnownMaterials | None = None
) -> list[Ordering]:
    """Return the orderings whose mixed values meet the targets on them, best margin first.

    Only elements that the config allows. Targets on K, G, what follows from them and the energy above the
    hull are judged, others are not. Without any target on moduli the list is empty.
    """
    facts = facts or Facts.packaged()
    known = known or KnownMaterials.packaged()
    objective = Objective.of(config)
    targets = [t for t in objective.deciding if t.property.name in moduli_values(1.0, 1.0)]
    if not targets:
        return []
    screen = Screen(config.constraints)
    mixer = _HullMixer(facts)
    found: dict[str, Ordering] = {}
    for members in _families(config, facts, known):
        for ordering in _mixtures(members, config, targets, known):
            if screen.composition_breach(Composition(ordering.formula)):
                continue
            judged = _with_hull(ordering, objective.hull, mixer)
            if judged is None:
                continue
            best = found.get(judged.formula)
            order = (judged.n_atoms, -_margin(judged, targets))
            if best is None or order < (best.n_atoms, -_margin(best, targets)):
                found[judged.formula] = judged
    return sorted(found.values(), key=lambda o: (-_margin(o, targets), o.formula))


@dataclass
class _HullMixer:
    """Distances to the hull of end members, each worked out once."""

    facts: Facts
    _distances: dict[str, float] = field(default_factory=dict)

    def mixed(self, shares: Mapping[str, float]) -> float:
        """Return the mean distance of the end members, eV/atom; an unknown or negative one counts 0."""
        for formula in shares:
            if formula not in self._distances:
                self._distances[formula] = max(0.0, self.facts.energy_above_hull_of(formula) or 0.0)
        return sum(share * self._distances[formula] for formula, share in shares.items())


def _with_hull(ordering: Ordering, target: Target, mixer: _HullMixer) -> Ordering | None:
    """Return the ordering with its mixed energy above the hull; None when that misses the target on it."""
    energy = mixer.mixed(ordering.end_members)
    if energy > target.upper:
        return None
    return replace(ordering, values={**ordering.values, "energy_above_hull": round(energy, 4)})


def baseline_record(rows: Sequence[Ordering]) -> dict[str, Any]:
    """Return the orderings as the manifest and the report want them."""
    best = [
        {
            "formula": r.formula,
            "values": {n: round(v, 3 if n == "energy_above_hull" else 1) for n, v in _shown(r).items()},
            "note": " + ".join(r.end_members) + (", known formula" if r.is_known else ""),
        }
        for r in rows[:20]
    ]
    return {
        "n_hits": len(rows),
        "n_started": 0,
        "basis": "predicted",
        "best": best,
    }


def _shown(ordering: Ordering) -> dict[str, float]:
    names = ("bulk_modulus_vrh", "shear_modulus_vrh", "energy_above_hull")
    return {n: ordering.values[n] for n in names if n in ordering.values}


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
    yield from (members for members in groups.values() if len(members) > 1)


def _smallest(signatures: Sequence[Signature], n_atoms: int) -> Signature | None:
    """Return the signature with the cell size of the computed entry, else the densest."""
    if not signatures:
        return None
    return min(signatures, key=lambda s: (n_atoms_of(s.text) != n_atoms, s.volume_per_atom, s.text))


def _mixtures(
    members: Mapping[str, _Member], config: CampaignConfig, targets: Sequence[Target], known: KnownMaterials
) -> Iterator[Ordering]:
    for size in range(2, MAX_PARTS + 1):
        for elements in combinations(sorted(members), size):
            parts = [members[e] for e in elements]
            best = moduli_values(
                max(p.moduli.bulk_modulus_vrh for p in parts), max(p.moduli.shear_modulus_vrh for p in parts)
            )
            if any(best[n] < t.lower for t in targets if (n := t.property.name) in list(best)[:2]):
                continue
            yield from _divided(parts, config, targets, known)


def _divided(
    parts: Sequence[_Member], config: CampaignConfig, targets: Sequence[Target], known: KnownMaterials
) -> Iterator[Ordering]:
    """Yield every division of the sites among the parts that fits the cell sizes and meets the targets."""
    seen: set[tuple[float, ...]] = set()
    moduli = np.array([[p.moduli.bulk_modulus_vrh, p.moduli.shear_modulus_vrh] for p in parts])
    for n_cells in range(1, MAX_CELLS + 1):
        for host in parts:
            n_atoms = n_atoms_of(host.signature.text) * n_cells
            least, most = config.constraints.n_atoms
            if not least <= n_atoms <= most:
                continue
            for counts in _compositions(host.n_sites * n_cells, len(parts)):
                shares = np.array(counts) / sum(counts)
                key = tuple(np.round(shares, 6))
                if key in seen or host is not parts[int(shares.argmax())]:
                    continue
                values = moduli_values(*(shares @ moduli).tolist())
                if all(t.is_met(values[t.property.name]) for t in targets):
                    seen.add(key)
                    yield _ordering(parts, counts, host, n_cells, values, known)


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
    composition: dict[str, float] = defaultdict(float)
    for part, count in zip(parts, counts, strict=True):
        for element, amount in Composition(part.moduli.formula).fractional_composition.items():
            composition[element.symbol] += float(amount) * count
    total = sum(counts)
    n_atoms = n_atoms_of(host.signature.text) * n_cells
    scale = n_atoms / sum(composition.values())
    formula = Composition({e: round(x * scale) for e, x in composition.items()}).reduced_formula
    return Ordering(
        formula=formula,
        end_members={p.moduli.formula: c / total for p, c in zip(parts, counts, strict=True)},
        host=host.moduli.formula,
        element=host.element,
        n_cells=n_cells,
        n_atoms=n_atoms,
        values=values,
        is_known=known.is_known_formula(formula),
    )


def _margin(ordering: Ordering, targets: Sequence[Target]) -> float:
    margins = []
    for target in targets:
        value = ordering.values[target.property.name]
        if target.minimum is not None:
            margins.append(value / max(target.minimum, 1e-3) - 1.0)
        if target.maximum is not None:
            margins.append(1.0 - value / max(target.maximum, 1e-3))
        if target.near is not None and target.tolerance is not None:
            margins.append(1.0 - abs(value - target.near) / target.tolerance)
    return min(margins, default=0.0)


@dataclass
class Orderings:
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
    _ranked: list[Ordering] | None = field(default=None, repr=False)
    _next: int = field(default=0, repr=False)

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
                proposals.append(Proposal(structure, self.name, seed, {**history, PLACE: place}))
        return proposals

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Go on after the last place that was tried; the ranking is by mixing alone."""
        self._next = max(self._next, next_place(self.name, candidates))
