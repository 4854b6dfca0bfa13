"""The look-up baseline: known formulas whose tabulated DFT values already meet the targets; costs nothing."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from pymatgen.core import Composition

from inverse.candidates.derived import with_followed
from inverse.candidates.objective import Objective
from inverse.candidates.types import Target
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.screening import Screen
from inverse.reference.facts import Facts
from inverse.reference.known import KnownMaterials
from inverse.reference.phases import NO_ENERGY
from inverse.reference.skeletons import n_atoms_of
from surrogates.derived import exact
from surrogates.errors import EngineError
from surrogates.physics.mass import density
from surrogates.physics.properties import (
    BAND_GAP,
    DENSITY,
    ENERGY_ABOVE_HULL,
    FORMATION_ENERGY,
    MODULI,
    VOLUME,
    OfProperties,
    Property,
)
from surrogates.protocol import CompositionBatch

LOGGER = logging.getLogger(__name__)

_MODULI = tuple(prop.name for prop in MODULI)

_FACTS: Mapping[Property, Callable[[Facts, Composition], float | None]] = {
    BAND_GAP: lambda facts, composition: facts.band_gap_of(composition),
    FORMATION_ENERGY: lambda facts, composition: facts.formation_energy_of(composition),
    ENERGY_ABOVE_HULL: lambda facts, composition: facts.energy_above_hull_of(composition),
}
"""What the tables say of a formula, by property."""

POLYMORPHS = 1.0
"""eV by which the gap of one structure may lie from the tabulated median over its formula's: that of MgO is
3.3, of rock salt alone 4.6.
"""

MAX_HULLS = 3000
"""Most formulas that are looked into when no target on moduli narrows the tables down."""

DECIMALS = 4
"""Of the values of a row."""

SMALLEST_CEILING = 1.0
"""Upper bounds up to here say nothing of a margin: a share of 0.1 eV/atom is no matter of more or less."""

MOST_NAMED = 20
"""Rows that a record names."""


@dataclass(frozen=True)
class LookupRow:
    """A known formula that meets the targets by tabulated DFT values.

    Attributes:
        formula: reduced formula.
        values: by property name, natural units; what decided.
        n_atoms: atoms of the computed cell; 0 where the table does not say.
        source: of the moduli, or of the energy.
    """

    formula: str
    values: Mapping[str, float]
    n_atoms: int
    source: str


@dataclass(frozen=True)
class Survey:
    """What the tables answered.

    Attributes:
        rows: formulas that meet the targets, best margin first.
        n_considered: entries of the table that holds the facts asked for; 0 where it was not asked.
        is_cut: more formulas may qualify than the `MAX_HULLS` that were looked into.
        is_asked: False where no table knows anything of the config's own targets.
    """

    rows: tuple[LookupRow, ...] = ()
    n_considered: int = 0
    is_cut: bool = False
    is_asked: bool = True


def lookup(
    config: CampaignConfig,
    facts: Facts | None = None,
    known: KnownMaterials | None = None,
    any_polymorph: bool = False,
) -> list[LookupRow]:
    """Return the rows of `survey`."""
    return list(survey(config, facts, known, any_polymorph).rows)


def survey(
    config: CampaignConfig,
    facts: Facts | None = None,
    known: KnownMaterials | None = None,
    any_polymorph: bool = False,
) -> Survey:
    """Return known formulas whose DFT facts meet what decides a hit and the constraints, and out of how many.

    A formula without a fact that a deciding target asks for is left out; targets that no table has, which
    `unchecked` names, are not asked, and where there is no other but the default bound on the hull the list
    is empty. `novelty` does not apply. One row a formula: its stiffest entry that qualifies. Without a target
    on moduli only the first `MAX_HULLS` formulas that may qualify are looked into, of few elements first.
    With `any_polymorph` formulas count of which one structure may meet what their median gap misses.
    """
    facts = facts or Facts.packaged()
    known = known or KnownMaterials.packaged()
    hard = [t for t in Objective.of(config).deciding if is_tabulated(t.property)]
    if not any(t in config.targets for t in hard):
        return Survey(is_asked=False)
    if any_polymorph:
        hard = [_of_some_polymorph(t) for t in hard]
    screen = Screen(config.constraints)
    rows: dict[str, LookupRow] = {}
    pool = _pool(hard, facts, screen)
    fitting = (row for row in pool if row.formula not in rows and _fits(row, config, screen, known))
    for row in islice(fitting, None if asks_for_moduli(hard) else MAX_HULLS):
        try:
            values = tabulated_values(row.formula, row.values, hard, facts, known)
        except EngineError as error:  # one odd entry loses itself alone
            LOGGER.warning("look-up: %s is left out: %s", row.formula, error)
            continue
        if values is not None:
            rows[row.formula] = replace(row, values=values)
    ranked = sorted(rows.values(), key=lambda r: (-_margin(r.values, hard), *simplicity(r.formula)))
    return Survey(tuple(ranked), _n_entries(hard, facts), next(fitting, None) is not None)


def _n_entries(targets: Sequence[Target], facts: Facts) -> int:
    """Return the entries of the table that `_pool` goes through: moduli, gaps or formation energies."""
    if asks_for_moduli(targets):
        return len(facts.bulk_modulus_vrh)
    if any(t.property == BAND_GAP for t in targets):
        return len(facts.band_gaps)
    return int((facts.hull.phases.energies != NO_ENERGY).sum())


def unchecked(config: CampaignConfig) -> tuple[str, ...]:
    """Return the deciding targets that no table knows anything of, by property name."""
    return tuple(t.property.name for t in Objective.of(config).deciding if not is_tabulated(t.property))


def is_tabulated(prop: Property) -> bool:
    """Return whether the carried facts know a property of some formulas, or what it follows from."""
    return follows_from_moduli(prop) or prop.is_exact or prop in (*_FACTS, VOLUME, DENSITY)


def follows_from_moduli(prop: Property) -> bool:
    """Return whether a property is one of the tabulated moduli or follows from them."""
    if isinstance(prop.formula, OfProperties):
        return all(follows_from_moduli(other) for other in prop.formula.inputs)
    return prop in MODULI


def baseline_record(found: Survey, not_checked: Sequence[str] = ()) -> dict[str, Any]:
    """Return the look-up as the manifest and the report want it.

    Args:
        found: of `survey`.
        not_checked: properties of the targets that these rows were not asked for.
    """
    named = found.rows[:MOST_NAMED]
    best = [{"formula": r.formula, "values": dict(r.values), "note": r.source} for r in named]
    return {
        "asked": found.is_asked,
        "n_hits": len(found.rows),
        "n_considered": found.n_considered,
        "n_started": 0,
        "basis": "dft",
        "best": best,
        "unchecked": list(not_checked),
        "note": f"only the first {MAX_HULLS:,} that may qualify were looked into" if found.is_cut else "",
    }


def moduli_values(bulk: float, shear: float) -> dict[str, float]:
    """Return K, G and everything that follows from them, by property name."""
    return with_followed(dict(zip(_MODULI, (bulk, shear), strict=True)))


def asks_for_moduli(targets: Sequence[Target]) -> bool:
    """Return whether a target is on K, G or what follows from them."""
    return any(follows_from_moduli(t.property) for t in targets)


def _pool(targets: Sequence[Target], facts: Facts, screen: Screen) -> Iterator[LookupRow]:
    """Yield entries with the facts that cost nothing, those that already miss a target left out."""
    if asks_for_moduli(targets):
        entries = facts.entries(range(len(facts.bulk_modulus_vrh)))
        for entry in sorted(entries, key=lambda e: (-e.bulk_modulus_vrh, e.formula)):
            values = moduli_values(entry.bulk_modulus_vrh, entry.shear_modulus_vrh)
            if _met(values, targets):
                yield LookupRow(entry.formula, values, entry.n_atoms, entry.source)
        return
    asks_for_gap = any(t.property == BAND_GAP for t in targets)
    # the simple ones first: no more than `MAX_HULLS` will be looked into, and they are what people know
    for system in sorted(facts.hull.phases.rows, key=lambda s: (s.count("-"), s)):
        found = []
        for phase in facts.hull.phases.phases_of(system):
            gap = facts.band_gaps.get(phase.formula)
            if phase.formation_energy_per_atom is None or (asks_for_gap and gap is None):
                continue
            values = {FORMATION_ENERGY.name: phase.formation_energy_per_atom}
            values |= {} if gap is None else {BAND_GAP.name: gap}
            if _met(values, targets):
                found.append(LookupRow(phase.formula, values, 0, phase.source))
        if found and screen.composition_breach(Composition(found[0].formula)) is None:
            yield from found


def _of_some_polymorph(target: Target) -> Target:
    """Return the target on a formula's median that one of its structures may meet."""
    if target.property != BAND_GAP:
        return target
    least, most = target.minimum, target.maximum
    return replace(
        target,
        minimum=None if least is None else least - POLYMORPHS,
        maximum=None if most is None else most + POLYMORPHS,
    )


def _met(values: Mapping[str, float], targets: Sequence[Target]) -> bool:
    return all(t.is_met(values[t.property.name]) for t in targets if t.property.name in values)


def _fits(row: LookupRow, config: CampaignConfig, screen: Screen, known: KnownMaterials) -> bool:
    least, most = config.constraints.n_atoms
    is_asked_for = screen.composition_breach(Composition(row.formula)) is None
    return is_asked_for and any(least <= n <= most for n in _sizes(row, known))


def _sizes(row: LookupRow, known: KnownMaterials) -> list[int]:
    """Return the atoms of the computed cell, else of every carried one, else of one formula unit."""
    if row.n_atoms:
        return [row.n_atoms]
    carried = [n_atoms_of(s.text) for s in known.signatures_of_reduced(row.formula)]
    return carried or [round(Composition(row.formula).num_atoms)]


def tabulated_values(
    formula: str, values: Mapping[str, float], targets: Sequence[Target], facts: Facts, known: KnownMaterials
) -> dict[str, float] | None:
    """Return the values with every fact the targets ask for; None when one is unknown or misses.

    Args:
        formula: reduced.
        values: facts found before; they are taken as they are.
        targets: what decides a hit, as far as tables know of it.
        facts: the tables.
        known: known structures, for volumes.
    """
    found = dict(values)
    for target in sorted(targets, key=lambda t: t.property == ENERGY_ABOVE_HULL):
        name = target.property.name
        if name not in found:
            value = _fact(formula, target.property, facts, known)
            if value is None or not target.is_met(value):
                return None
            found[name] = value
    asked = {t.property.name for t in targets}
    return {n: round(v, DECIMALS) for n, v in found.items() if n in asked or n in _MODULI}


def _fact(formula: str, prop: Property, facts: Facts, known: KnownMaterials) -> float | None:
    composition = Composition(formula)  # as pymatgen wrote it: nothing to guess of what somebody meant
    if prop in _FACTS:
        return _FACTS[prop](facts, composition)
    if prop.is_exact:
        found = exact(prop, CompositionBatch.from_compositions([composition]).fractions, 1)
        return float(found.mean[0]) if bool(found.in_domain[0]) else None
    volumes = [s.volume_per_atom for s in known.signatures_of_reduced(formula)]
    if not volumes or prop not in (VOLUME, DENSITY):
        return None
    volume = min(volumes)
    return volume if prop == VOLUME else float(density(composition.weight / composition.num_atoms, volume))


def simplicity(formula: str) -> tuple[int, float, str]:
    """Return a key that puts few elements and few atoms first."""
    composition = Composition(formula)
    return len(composition), composition.num_atoms, formula


def _margin(values: Mapping[str, float], targets: Sequence[Target]) -> float:
    """Return how far inside the nearest one-sided bound the values lie, relative to it."""
    margins = [1.0]
    for target in targets:
        value = values[target.property.name]
        if target.minimum is not None and target.minimum > 0:
            margins.append(value / target.minimum - 1.0)
        if target.maximum is not None and target.maximum > SMALLEST_CEILING:
            margins.append(1.0 - value / target.maximum)
    return min(margins)
