"""`inverse bench constraints`: what passes the screen is judged again by a second set of rules."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ase.data import covalent_radii
from pymatgen.core import Element, Structure

from inverse.benchmarks.rule_referee import broken_rules
from inverse.inputs.campaign_config import CampaignConfig
from inverse.inputs.element_groups import element_groups
from inverse.proposers.screening import Known, Screen
from inverse.report.progress_bar import progress
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.errors import ConfigError

COMMON = tuple(Element.from_Z(z).symbol for z in (*range(1, 58), *range(72, 84)))
"""Elements that random constraint sets are about."""


def run_constraints(
    n: int = 10_000, n_sets: int = 50, seed: int = 0, known: Known | None = None
) -> dict[str, Any]:
    """Return how many of n candidates that passed the screen break a rule, by rule.

    Args:
        n: candidates that passed, over all constraint sets together.
        n_sets: random constraint sets.
        seed: of sets and candidates.
        known: what novelty is judged by; None uses the packaged known materials.
    """
    if known is None:
        from inverse.reference import KnownMaterials

        known = KnownMaterials.packaged()
    rng = random.Random(seed)
    counts = _Counts()
    with progress("constraint sets", n_sets) as bar:
        while counts.n_sets < n_sets or counts.screened < n:
            if counts.n_sets >= 20 * n_sets:
                break
            share = -(-(n - counts.screened) // max(1, n_sets - counts.n_sets))
            _judge_set(random_constraints(rng), share, known, rng, counts)
            bar.advance(f"{counts.screened} screened")
    return {
        "passed": counts.screened >= n and not counts.broken,
        "constraint_sets": counts.n_sets,
        "tried": counts.tried,
        "screened": counts.screened,
        "violations": sum(counts.broken.values()),
        "violations_by_rule": dict(counts.broken),
        "rejected_by": dict(counts.rejected.most_common()),
        "rejected_although_referee_would_not": dict(counts.rejected_wrongly),
    }


@dataclass
class _Counts:
    """What happened so far."""

    n_sets: int = 0
    tried: int = 0
    screened: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_wrongly: Counter[str] = field(default_factory=Counter)


def _judge_set(
    rules: Mapping[str, Any], wanted: int, known: Known, rng: random.Random, counts: _Counts
) -> None:
    """Screen candidates under one constraint set until `wanted` pass; give up where hardly any does."""
    screen = Screen(CampaignConfig.from_mapping({**_TARGETS, "constraints": rules}).constraints, known)
    counts.n_sets += 1
    done = 0
    for structure in candidates(rules, rng, TRIES * wanted):
        counts.tried += 1
        if breach := screen.breach(structure):
            rule = str(breach.rule)
            counts.rejected[rule] += 1
            if counts.tried % 20 == 0 and not broken_rules(structure, rules, known):
                counts.rejected_wrongly[rule] += 1
            continue
        counts.broken.update(broken_rules(structure, rules, known))
        counts.screened += 1
        done += 1
        if done >= wanted:
            return


TRIES = 8
"""Candidates made for every one that should pass, before a constraint set is given up as too narrow."""

_SUPERCELLS: tuple[list[list[int]], ...] = (
    [[2, 0, 0], [0, 1, 0], [0, 0, 1]],
    [[1, 0, 0], [0, 1, 0], [0, 0, 2]],
    [[1, 1, 0], [0, 1, 0], [0, 0, 2]],
)

_TARGETS: dict[str, Any] = {"targets": {"bulk_modulus_vrh": {"min": 100}}}


def random_constraints(rng: random.Random) -> dict[str, Any]:
    """Return the `constraints` of a config that some crystal can satisfy, with every rule now and then."""
    while True:
        rules = _any_constraints(rng)
        try:
            CampaignConfig.from_mapping({**_TARGETS, "constraints": rules})
        except ConfigError:
            continue
        return rules


def _any_constraints(rng: random.Random) -> dict[str, Any]:
    elements: dict[str, Any] = {}
    if rng.random() < 0.5:
        elements["include_any"] = rng.sample(COMMON, rng.randint(1, 6))
    if rng.random() < 0.2:
        elements["include_all"] = rng.sample(COMMON, rng.randint(1, 2))
    if rng.random() < 0.3:
        elements["only"] = rng.sample(COMMON, rng.randint(4, 20))
    if rng.random() < 0.5:
        elements["exclude"] = rng.sample(COMMON, rng.randint(1, 15))
    if rng.random() < 0.4:
        elements["exclude_groups"] = rng.sample(sorted(element_groups()), rng.randint(1, 3))
    rules: dict[str, Any] = {"elements": elements}
    if rng.random() < 0.2:
        rules["chemical_systems"] = ["-".join(rng.sample(COMMON, rng.randint(2, 4))) for _ in range(3)]
        rules["subsystems"] = rng.random() < 0.5
    if rng.random() < 0.7:
        low = rng.randint(1, 3)
        rules["n_elements"] = [low, low + rng.randint(0, 2)]
    if rng.random() < 0.7:
        low = rng.randint(1, 4)
        rules["n_atoms"] = {"min": low, "max": low + rng.randint(2, 10)}
    else:
        rules["n_atoms"] = {"max": 12}
    rules["novelty"] = rng.choice(["any", "any", "new_composition", "new_structure"])
    return rules


@cache
def prototypes() -> tuple[Structure, ...]:
    """Return AFLOW prototypes of at most 12 atoms, as pymatgen carries them."""
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    structures = [entry["snl"].structure for entry in AFLOW_PROTOTYPE_LIBRARY]
    return tuple(s.remove_oxidation_states() for s in structures if s.is_ordered and len(s) <= 12)


def candidates(rules: Mapping[str, Any], rng: random.Random, limit: int = 200_000) -> Iterator[Structure]:
    """Yield decorated prototypes, most of them near the rules and some far: supercells, squeezed, shaken."""
    pool = _pool(rules)
    for _ in range(limit):
        prototype = rng.choice(prototypes())
        symbols = sorted({site.specie.symbol for site in prototype})
        chosen = _decoration(rules, pool, len(symbols), rng)
        if len(chosen) < len(symbols):
            continue
        structure = prototype.copy()
        structure.replace_species(dict(zip(symbols, chosen, strict=True)))
        spheres = sum(float(covalent_radii[site.specie.Z]) ** 3 for site in structure) * 4.19
        structure.scale_lattice(spheres * rng.uniform(0.7, 2.5))
        if rng.random() < 0.1:
            structure.make_supercell(rng.choice(_SUPERCELLS))
        if rng.random() < 0.2:
            structure.perturb(rng.uniform(0.0, 0.3), seed=rng.randrange(2**31))
        yield structure


def _pool(rules: Mapping[str, Any]) -> list[str]:
    """Return the elements that decorations mostly take."""
    constraints = CampaignConfig.from_mapping({**_TARGETS, "constraints": dict(rules)}).constraints
    return sorted(constraints.allowed_elements() & set(COMMON)) or sorted(constraints.allowed_elements())


def _decoration(rules: Mapping[str, Any], pool: Sequence[str], n: int, rng: random.Random) -> list[str]:
    """Return n elements, usually those that the rules ask for, now and then any."""
    if rng.random() < 0.1:
        return rng.sample(ELEMENT_SYMBOLS, n)
    if systems := rules.get("chemical_systems"):
        members = rng.choice(systems).split("-")
        return rng.sample(members, n) if n <= len(members) else []
    elements = rules["elements"]
    chosen = list(elements.get("include_all", ()))
    if any_of := [s for s in elements.get("include_any", ()) if s in pool and s not in chosen]:
        chosen.append(rng.choice(any_of))
    rest = [s for s in pool if s not in chosen]
    chosen += rng.sample(rest, min(len(rest), max(0, n - len(chosen))))
    rng.shuffle(chosen)
    return chosen if len(chosen) == n else []
