"""What the known materials say of a structure: its kin, its type, and how far predictions are believed."""

from collections.abc import Mapping
from functools import lru_cache

from pymatgen.core import Structure

from inverse.candidates.ranking import Kinship
from inverse.candidates.types import HitClass, Standing
from inverse.inputs.constraints import MOST_ELEMENTS
from inverse.reference import HitClassifier, KnownMaterials
from inverse.reference.divided_types import KNOWN_ELEMENTS, divided_types
from inverse.reference.known import ORIGINS
from inverse.reference.known_energies import KnownEnergies
from inverse.reference.signatures import Cell, signature_text
from inverse.reference.skeletons import anonymous
from inverse.reference.structure_types import Prototype, prototypes

SECONDS_PER_VERIFICATION = 120.0
"""Of computing, after which one verification is given up and recorded as such."""

LEAST_TRUST = 0.25
"""Trust in predictions of a candidate of a structure type that no known material has."""

TRUST_SYMPREC = 0.1
"""Å, at which a proposed structure is compared with known types."""


@lru_cache(maxsize=4)
def known_prototypes(max_atoms: int) -> list[Prototype]:
    """Return the structure types of known materials up to this size, most frequent first; read once."""
    known = KnownMaterials.packaged()
    computed = ORIGINS.index("WBM (computed, by substitution)")
    rows = zip(known.formulas.to_pylist(), known.texts.to_pylist(), known.origins.tolist(), strict=True)  # type: ignore[attr-defined]
    return prototypes(((f, text) for f, text, origin in rows if origin != computed), max_atoms, MOST_ELEMENTS)


def searched_prototypes(max_atoms: int, n_elements: tuple[int, int]) -> list[Prototype]:
    """Return the structure types that a search tries: the known ones, and divided ones of many elements."""
    low, high = n_elements[0], min(n_elements[1], MOST_ELEMENTS)
    known = [p for p in known_prototypes(max_atoms) if low <= len(p.counts) <= high]
    texts = {p.text for p in known}
    more = [p for n in range(max(low, KNOWN_ELEMENTS + 1), high + 1) for p in divided_types(n, max_atoms)]
    return [*known, *(p for p in more if p.text not in texts)]


@lru_cache(maxsize=1)
def known_formulas() -> frozenset[str]:
    """Return every formula of the carried tables and signatures."""
    known = KnownMaterials.packaged()
    return frozenset(known.phases.formulas.to_pylist()) | frozenset(known.formulas.to_pylist())  # type: ignore[attr-defined]


def types_of(formula: str) -> frozenset[str]:
    """Return the structure types that the carried signatures of a known formula have."""
    found = KnownMaterials.packaged().signatures_of(formula)
    return frozenset(anonymous(s.text)[0] for s in found)


def kinship(classifier: HitClassifier, structure: Structure) -> Kinship:
    """Return where a relaxed structure stands among known materials."""
    cell = Cell.from_structure(structure)
    found = classifier.classify(cell)
    return Kinship(
        found.hit_class,
        found.derivative_of,
        found.nearest_known,
        found.parent_prototype,
        found.vacancy_of,
        KnownEnergies.packaged().phase_of(cell),
    )


def trust(structure: Structure, max_atoms: int) -> float:
    """Return how far predictions are believed: by the known formulas of this type with such elements."""
    text = signature_text(Cell.from_structure(structure), TRUST_SYMPREC)
    if text is None:
        return LEAST_TRUST
    label, elements = anonymous(text)
    found = _types_by_text(max_atoms).get(label)
    return LEAST_TRUST if found is None else found.trust(elements)


@lru_cache(maxsize=4)
def _types_by_text(max_atoms: int) -> Mapping[str, Prototype]:
    return {p.text: p for p in known_prototypes(max_atoms)}


def standing(classifier: HitClassifier, structure: Structure) -> Standing:
    """Return what is known of a proposed structure without relaxing it."""
    found = classifier.classify(structure)
    return Standing(found.parent_prototype, found.hit_class is HitClass.NEW)
