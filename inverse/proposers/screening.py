"""Cheap physics and the config's rules: which one says that a structure is not worth a prediction."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np
from ase.data import atomic_masses, covalent_radii
from pymatgen.core import Composition, Structure

from inverse.candidates.types import Breach, Rule, Target
from inverse.inputs.constraints import Constraints
from inverse.inputs.exact_targets import SLACK
from surrogates.crystals.formulas import display_formula
from surrogates.derived import exact
from surrogates.errors import EngineError
from surrogates.physics.mass import density
from surrogates.protocol import CompositionBatch

MIN_DISTANCE = 0.7
"""Smallest allowed distance, as a part of the sum of covalent radii (Cordero 2008)."""

MAX_NEAREST = 1.7
"""An atom is isolated beyond this many sums of radii from its nearest neighbour (99.9 % of known are not)."""

PACKING = (0.6, 12.0)
"""Cell volume over the volume of the covalent spheres; known crystals: 0.68 to 11.9 (99.9 %)."""

MAX_DENSITY = 30.0
"""g/cm³; osmium has 22.6."""

LENGTHS = (1.0, 100.0)
"""Å: shortest and longest reduced lattice vector."""

SYMPREC = 0.01
"""Å, for the primitive cell."""


class Known(Protocol):
    """What the screen asks of the known materials (`inverse.reference.KnownMaterials`)."""

    def is_known_formula(self, formula: str) -> bool:
        """Return whether the reduced formula is in any carried table."""
        ...

    def has_structure(self, structure: Structure) -> bool:
        """Return whether the structure's signature is carried for its formula."""
        ...

    def signatures_of(self, formula: str) -> Collection[object]:
        """Return the carried signatures of a formula."""
        ...


class Classifier(Protocol):
    """Tells derivatives of known phases (`inverse.reference.HitClassifier`)."""

    def derivative_of(self, structure: Structure, /) -> tuple[str, bool]:
        """Return the end member, "" when there is none, and whether only its energy says so."""
        ...


class Screen:
    """The rules of one campaign.

    Attributes:
        constraints: the config's.
        exact: targets that the composition alone decides.
    """

    def __init__(
        self,
        constraints: Constraints,
        known: Known | None = None,
        classifier: Classifier | None = None,
        targets: Sequence[Target] = (),
    ) -> None:
        """Take the rules; of the `targets` those that the composition alone decides are rules, too."""
        self.constraints = constraints
        self.exact = tuple(t for t in targets if t.property.is_exact)
        self._known, self._classifier = known, classifier
        self._systems = [frozenset(system.split("-")) for system in constraints.chemical_systems]
        self._excluded = constraints.elements.excluded()
        self._noble_gases = constraints.unasked_noble_gases()

    def breach(self, structure: Structure) -> Breach | None:
        """Return the first rule that a generated structure breaks, None when it keeps them all.

        Cheap rules come first; never raises for a structure.
        """
        rules: tuple[Callable[[Structure], Breach | None], ...] = (
            _malformed,
            lambda s: self.composition_breach(s.composition),
            lambda s: self._missed_exactly(s.composition),
            self._wrong_size,
            _bad_geometry,
            self._not_novel,
            self._unwanted_derivative,
        )
        return _first(rules, structure)

    def relaxed_breach(self, structure: Structure) -> Breach | None:
        """Return the rule of the config that a relaxed structure breaks, None when it keeps them all.

        The physics of distances and volumes is then the potential's business.
        """
        rules: tuple[Callable[[Structure], Breach | None], ...] = (
            _malformed,
            lambda s: self.composition_breach(s.composition),
            self._wrong_size,
            self._not_novel,
            self._unwanted_derivative,
        )
        return _first(rules, structure)

    def composition_breach(self, composition: Composition) -> Breach | None:
        """Return which rule on elements a composition breaks, None without; proposers may ask early.

        The number of elements is the last to be asked: who breaks it keeps all others.
        """
        symbols = frozenset(element.symbol for element in composition.elements)
        elements = self.constraints.elements
        if excluded := symbols & self._excluded:
            return Breach(Rule.EXCLUDED, f"{_listed(excluded)} is excluded")
        if noble := symbols & self._noble_gases:
            return Breach(Rule.NOBLE_GAS, f"{_listed(noble)} is searched only where the config names it")
        if elements.only and (foreign := symbols - set(elements.only)):
            return Breach(Rule.ONLY, f"{_listed(foreign)} is not among {_listed(elements.only)}")
        if missing := set(elements.include_all) - symbols:
            return Breach(Rule.INCLUDE_ALL, f"{_listed(missing)} is missing")
        if elements.include_any and not symbols & set(elements.include_any):
            return Breach(Rule.INCLUDE_ANY, f"none of {_listed(elements.include_any)}")
        if self._systems and not self._in_a_system(symbols):
            return Breach(Rule.CHEMICAL_SYSTEMS, f"{'-'.join(sorted(symbols))} is not asked for")
        least, most = self.constraints.n_elements
        if not least <= len(symbols) <= most:
            return Breach(Rule.N_ELEMENTS, f"{len(symbols)} is not within {least} to {most}")
        return None

    def _missed_exactly(self, composition: Composition) -> Breach | None:
        symbols = [element.symbol for element in composition.elements]
        for target in self.exact:
            prop = target.property
            if why := prop.why_unknown(symbols):
                return Breach(Rule.COMPOSITION_TARGET, f"{prop.name}: {why}")
            fractions = CompositionBatch.from_compositions([composition]).fractions
            value = float(exact(prop, fractions, 1).mean[0])
            slack = SLACK * abs(value)
            if target.is_hard and not target.lower - slack <= value <= target.upper + slack:
                bound = f"below {target.lower:g}" if value < target.lower else f"above {target.upper:g}"
                return Breach(
                    Rule.COMPOSITION_TARGET, f"{prop.name} {value:.4g} is {bound} {prop.unit}".rstrip()
                )
        return None

    def _in_a_system(self, symbols: frozenset[str]) -> bool:
        if self.constraints.subsystems:
            return any(symbols <= system for system in self._systems)
        return symbols in self._systems

    def _wrong_size(self, structure: Structure) -> Breach | None:
        least, most = self.constraints.n_atoms
        n_atoms = primitive_size(structure)
        if not least <= n_atoms <= most:
            return Breach(Rule.N_ATOMS, f"{n_atoms} in the primitive cell is not within {least} to {most}")
        return None

    def _not_novel(self, structure: Structure) -> Breach | None:
        novelty = self.constraints.novelty
        if novelty == "any" or self._known is None:
            return None
        formula = structure.composition.reduced_formula
        if not self._known.is_known_formula(formula):
            return None
        shown = display_formula(formula)
        if novelty == "new_composition":
            return Breach(Rule.NOVELTY, f"{shown} is a known composition")
        if not self._known.signatures_of(formula):
            return Breach(
                Rule.NOVELTY, f"{shown} is known, but no structure of it is carried to compare with"
            )
        if self._known.has_structure(structure):
            return Breach(Rule.NOVELTY, f"this structure of {shown} is known")
        return None

    def _unwanted_derivative(self, structure: Structure) -> Breach | None:
        if self.constraints.derivatives or self._classifier is None:
            return None
        if self._known is not None and self._known.is_known_formula(structure.composition.reduced_formula):
            return None
        # what lies nearest is not asked: that takes four times as long, and decides nothing here
        end_member, _ = self._classifier.derivative_of(structure)
        return (
            Breach(Rule.DERIVATIVES, f"an ordering of {display_formula(end_member)}") if end_member else None
        )


def primitive_size(structure: Structure) -> int:
    """Return the number of atoms of the primitive cell: atoms over pure translations within symprec."""
    symbols = np.array([site.specie.symbol for site in structure])
    kinds, counts = np.unique(symbols, return_counts=True)
    if np.gcd.reduce(counts) == 1:
        return len(structure)
    coords = structure.frac_coords
    rarest = coords[symbols == kinds[counts.argmin()]]
    n_translations = sum(_is_translation(structure, symbols, vector) for vector in rarest - rarest[0])
    return len(structure) // n_translations


def _is_translation(structure: Structure, symbols: np.ndarray, vector: np.ndarray) -> bool:
    """Return whether shifting every atom by a fractional vector gives the same crystal within symprec."""
    coords = structure.frac_coords
    shift = coords[None, :, :] - coords[:, None, :] - vector
    gap = np.linalg.norm((shift - np.round(shift)) @ structure.lattice.matrix, axis=-1)
    gap[symbols[:, None] != symbols[None, :]] = np.inf
    return bool((gap.min(axis=1) < SYMPREC).all())


def _first(rules: tuple[Callable[[Structure], Breach | None], ...], structure: Structure) -> Breach | None:
    """Return the first rule that is broken; what a rule cannot judge breaks one, too."""
    for rule in rules:
        try:
            if breach := rule(structure):
                return breach
        except (EngineError, ValueError, ArithmeticError, RuntimeError, np.linalg.LinAlgError) as error:
            return Breach(Rule.UNREADABLE, f"{' '.join(str(error).split())[:200]}")
    return None


def _malformed(structure: Structure) -> Breach | None:
    """Return why a structure is not an ordered crystal with a sane cell."""
    if len(structure) == 0:
        return Breach(Rule.STRUCTURE, "no atoms")
    if not structure.is_ordered:
        return Breach(Rule.STRUCTURE, "partial occupancy")
    if not np.isfinite(structure.lattice.matrix).all() or not np.isfinite(structure.frac_coords).all():
        return Breach(Rule.STRUCTURE, "a coordinate is not a number")
    volume = abs(float(np.linalg.det(structure.lattice.matrix)))
    if volume / len(structure) < 1.0:
        return Breach(Rule.VOLUME, f"{volume / len(structure):.2f} Å³/atom")
    lengths = structure.lattice.get_lll_reduced_lattice().abc
    if min(lengths) < LENGTHS[0] or max(lengths) > LENGTHS[1]:
        return Breach(Rule.LATTICE, f"vectors of {min(lengths):.2f} and {max(lengths):.2f} Å")
    return None


def _bad_geometry(structure: Structure) -> Breach | None:
    """Return which rule of distance, packing, density or isolation is broken."""
    radii = np.array([covalent_radii[site.specie.Z] for site in structure])
    spheres = 4.0 / 3.0 * np.pi * float((radii**3).sum())
    packing = float(structure.volume) / spheres
    if not PACKING[0] <= packing <= PACKING[1]:
        return Breach(
            Rule.VOLUME, f"{packing:.2f} of the covalent spheres' is not within {PACKING[0]} to {PACKING[1]}"
        )
    mass = sum(float(atomic_masses[site.specie.Z]) for site in structure)
    if (found := density(mass, float(structure.volume))) > MAX_DENSITY:
        return Breach(Rule.DENSITY, f"{found:.1f} g/cm³")
    centre, other, _, distance = structure.get_neighbor_list(MAX_NEAREST * 2 * float(radii.max()))
    ratio = distance / (radii[centre] + radii[other])
    nearest = np.full(len(structure), np.inf)
    np.minimum.at(nearest, centre, ratio)
    if nearest.min() < MIN_DISTANCE:
        k = int(ratio.argmin())
        pair = f"{structure[int(centre[k])].specie}-{structure[int(other[k])].specie}"
        return Breach(
            Rule.DISTANCE, f"{pair} {distance[k]:.2f} Å is {ratio[k]:.2f} of the sum of covalent radii"
        )
    if nearest.max() > MAX_NEAREST:
        lonely = structure[int(nearest.argmax())].specie
        return Breach(
            Rule.ISOLATED, f"{lonely} has no neighbour within {MAX_NEAREST} of the sum of covalent radii"
        )
    return None


def _listed(symbols: Collection[str]) -> str:
    return ", ".join(sorted(symbols))
