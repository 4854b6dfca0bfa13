"""Known, derivative or new: the class of a crystal as docs/glossary.md defines it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pymatgen.core import Lattice, Structure

from inverse.candidates.types import HitClass
from inverse.reference.hull import ReferenceHull
from inverse.reference.known import KnownMaterials
from inverse.reference.signatures import SYMPRECS, Cell, alike_maps, parent_prototype, signature_text
from inverse.reference.vacancies import VOLUME_TOLERANCE, vacancy_of
from surrogates.errors import UnsupportedElementError

ENERGY_LIMIT = 0.05
"""eV/atom above the hull up to which an end member known by formula only makes a derivative "by energy"."""

RelaxEnergy = Callable[[Structure], tuple[Structure, float] | None]
"""Relax with the energy judge: (relaxed structure, formation energy in eV/atom), None when it fails."""


@dataclass(frozen=True)
class Classification:
    """What a crystal is against everything known.

    Attributes:
        hit_class: known, derivative or new.
        derivative_of: the end member's reduced formula whatever the class, "" when there is none.
        nearest_known: formula of the nearest known material.
        parent_prototype: signature with alike elements as one.
        is_known: formula in a carried table or among the carried signatures.
        new_structure: known formula and no carried signature matches; None where nobody can say.
        by_energy: the end member is known by formula only and was relaxed in this skeleton.
        vacancy_of: the known phase whose ordered vacancies this is, "" when none; asked for new ones only.
    """

    hit_class: HitClass
    derivative_of: str
    nearest_known: str
    parent_prototype: str
    is_known: bool
    new_structure: bool | None
    by_energy: bool = False
    vacancy_of: str = ""


@dataclass(frozen=True)
class _EndMember:
    formula: str
    mapping: dict[str, str]
    cell: Cell
    unchanged: float


@dataclass
class HitClassifier:
    """Classifies crystals against the carried signatures.

    Attributes:
        known: formulas and signatures.
        relax_energy: relaxes an end member known by formula only; None leaves "by energy" out.
        hull: where the energy of such an end member is judged; needed with `relax_energy`.
    """

    known: KnownMaterials
    relax_energy: RelaxEnergy | None = None
    hull: ReferenceHull | None = None
    _by_energy: dict[tuple[str, str], bool] = field(default_factory=dict, repr=False)

    def classify(self, crystal: Structure | Cell) -> Classification:
        """Return the class of a crystal.

        Raises:
            StructureError: not an ordered crystal, or spglib finds no symmetry at any tolerance.
        """
        cell = Cell.of(crystal)
        formula = cell.reduced_formula
        is_known = self.known.is_known_formula(formula)
        derivative_of, by_energy = self.derivative_of(cell)
        unknown_class = HitClass.DERIVATIVE if derivative_of else HitClass.NEW
        can_say = bool(self.known.signatures_of(formula))
        return Classification(
            hit_class=HitClass.KNOWN if is_known else unknown_class,
            derivative_of=derivative_of,
            nearest_known=derivative_of or self.known.nearest(cell),
            parent_prototype=parent_prototype(cell),
            is_known=is_known,
            new_structure=not self.known.has_structure(cell) if can_say else None,
            by_energy=by_energy,
            vacancy_of="" if is_known or derivative_of else vacancy_of(cell, self.known),
        )

    def derivative_of(self, crystal: Structure | Cell) -> tuple[str, bool]:
        """Return the end member ("" when none) and whether only its energy says so."""
        members = list(_end_members(Cell.of(crystal)))
        matches = [(self._preference(m), m.formula) for m in members if self._matches_carried(m)]
        if matches:
            return min(matches)[1], False
        if self.relax_energy is not None:
            for member in members:
                if self._matches_by_energy(member, self.relax_energy):
                    return member.formula, True
        return "", False

    def _preference(self, member: _EndMember) -> tuple[int, float, float]:
        """Fewest elements first, then most atoms unchanged, then the most stable end member."""
        phase = self.known.phases.phase(member.formula)
        energy = phase.formation_energy_per_atom if phase is not None else None
        n_elements = len(set(member.cell.species))
        return n_elements, -round(member.unchanged, 6), 10.0 if energy is None else energy

    def _matches_carried(self, member: _EndMember) -> bool:
        carried = self.known.signatures_of_reduced(member.formula)
        volume = member.cell.volume_per_atom
        texts = {
            s.text for s in carried if abs(volume - s.volume_per_atom) <= VOLUME_TOLERANCE * s.volume_per_atom
        }
        return bool(texts) and any(signature_text(member.cell, symprec) in texts for symprec in SYMPRECS)

    def _matches_by_energy(self, member: _EndMember, relax_energy: RelaxEnergy) -> bool:
        """Relax an end member without carried signature in this skeleton: stable enough and still itself?"""
        if self.known.signatures_of(member.formula) or not self.known.is_known_formula(member.formula):
            return False
        skeleton = signature_text(member.cell, SYMPRECS[1])
        key = (member.formula, skeleton or "")
        if key not in self._by_energy:
            self._by_energy[key] = skeleton is not None and self._relaxes_to_itself(
                member, skeleton, relax_energy
            )
        return self._by_energy[key]

    def _relaxes_to_itself(self, member: _EndMember, skeleton: str, relax_energy: RelaxEnergy) -> bool:
        hull = self.hull or ReferenceHull.packaged()
        cell = member.cell
        relaxed = relax_energy(Structure(Lattice(cell.lattice), list(cell.species), cell.frac_coords))
        if relaxed is None:
            return False
        final, energy = relaxed
        try:
            above = hull.energy_above_hull(member.formula, energy).energy_above_hull
        except UnsupportedElementError:
            return False
        return above <= ENERGY_LIMIT and signature_text(Cell.from_structure(final), SYMPRECS[1]) == skeleton


def _end_members(cell: Cell) -> Iterator[_EndMember]:
    """Yield the mapped crystals; those with the crystal's own formula are no end members."""
    formula = cell.reduced_formula
    for mapping in alike_maps(cell.species):
        mapped = cell.mapped(mapping)
        name = mapped.reduced_formula
        if name != formula:
            unchanged = sum(a == b for a, b in zip(cell.species, mapped.species, strict=True)) / len(
                cell.species
            )
            yield _EndMember(name, mapping, mapped, unchanged)
