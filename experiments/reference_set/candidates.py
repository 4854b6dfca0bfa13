"""Structure types x elements -> crystals to choose from; decoder samples beside them.

A type is decorated with kinds of elements that known crystals put there, and with the elements of stiff
crystals. Cells are small and symmetric: the cost of a label grows steeply with atoms and lost symmetry.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pymatgen.core import Structure

from experiments.reference_set.elements import FEW, LANTHANIDES, STIFF_LIGHTS, STIFF_METALS, allowed_elements
from inverse.proposers.building.compositions import fractions
from inverse.reference.geometries import Geometry, built, packaged_geometries
from inverse.reference.signatures import Cell, parse_signature, signature_text
from inverse.reference.skeletons import LABELS, anonymous
from inverse.reference.structure_types import Prototype, alike_class
from surrogates.crystals.wyckoff import wyckoff_positions
from surrogates.physics.properties import VOLUME
from surrogates.protocol import CompositionBatch, CompositionSurrogate

MOST_ATOMS, LARGE, LEAST_OPERATIONS, MOST_FREE = 8, 6, 8, 4
"""Atoms of the primitive cell; those from which twice the operations are asked for; free coordinates."""

RARE = 0.3
"""Weight of a lanthanide beyond La, or of U and Th, beside any other element of its class."""


@dataclass(frozen=True)
class Type:
    """A structure type that can be decorated.

    Attributes:
        text: signature with labels for elements.
        origin: aflow or signature.
        n_atoms: of the primitive cell.
        kinds: classes of alike elements on the labels -> weight.
        shapes: learned geometries; () where `template` is the geometry.
        template: an AFLOW prototype's own primitive cell.
    """

    text: str
    origin: str
    n_atoms: int
    kinds: Mapping[tuple[str, ...], float]
    shapes: tuple[Geometry, ...] = ()
    template: Structure | None = None

    @property
    def n_labels(self) -> int:
        """Distinct elements."""
        return len(next(iter(self.kinds)))


@dataclass(frozen=True)
class Decorated:
    """A crystal to choose from: its structure, where it came from and its structure type."""

    structure: Structure
    origin: str
    prototype: str
    signature: str

    @property
    def formula(self) -> str:
        """Reduced formula."""
        return str(self.structure.composition.reduced_formula)


def types(known: Sequence[Prototype]) -> list[Type]:
    """Return the types of pymatgen's AFLOW library and of known structures that are cheap to label.

    A type of both counts as AFLOW's, with the learned geometry.
    """
    by_text = {p.text: p for p in known}
    found: dict[str, Type] = {}
    for text, structure, elements in _aflow_templates():
        prototype, shapes = by_text.get(text), packaged_geometries().get(text, ())
        own = {tuple(alike_class(e) for e in elements): 1.0}
        kinds = {k: n**0.5 for k, n in prototype.kinds.items()} if prototype else own
        template = None if shapes else structure
        found.setdefault(text, Type(text, "aflow", len(structure), kinds, shapes, template))
    for text, shapes in packaged_geometries().items():
        if text in by_text and text not in found and len(shapes[0].labels):
            kinds = {k: n**0.5 for k, n in by_text[text].kinds.items()}
            found[text] = Type(text, "signature", by_text[text].n_atoms, kinds, shapes)
    return [t for t in found.values() if _is_cheap(t)]


def n_operations(text: str) -> int:
    """Return the order of the point group of a signature."""
    positions = wyckoff_positions(int(text.partition("|")[0]))
    return int(max(p.primitive_multiplicity for p in positions))


def _is_cheap(one: Type) -> bool:
    least = LEAST_OPERATIONS * (2 if one.n_atoms > LARGE else 1)
    return one.n_atoms <= MOST_ATOMS and n_operations(one.text) >= least and _n_free(one) <= MOST_FREE


def _n_free(one: Type) -> int:
    if not one.shapes:
        return 0
    free = {p.letter: p.n_free for p in wyckoff_positions(one.shapes[0].space_group)}
    return sum(free[letter] for letter in one.shapes[0].letters)


def _aflow_templates() -> Iterator[tuple[str, Structure, tuple[str, ...]]]:
    """Yield (type, primitive cell, elements on its labels) of pymatgen's AFLOW prototypes."""
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    for entry in AFLOW_PROTOTYPE_LIBRARY:
        primitive = _primitive(entry["snl"].structure)
        if primitive is not None and len(primitive) <= MOST_ATOMS:
            text = signature_text(Cell.from_structure(primitive))
            if text is not None:
                yield (anonymous(text)[0], primitive, anonymous(text)[1])


def _primitive(structure: Structure) -> Structure | None:
    """Return the standardised primitive cell; None for cells too large for a small one."""
    import spglib

    if len(structure) > 8 * MOST_ATOMS:
        return None
    cell: Any = (structure.lattice.matrix, structure.frac_coords, [site.specie.Z for site in structure])
    found = spglib.standardize_cell(cell, to_primitive=True, symprec=0.01)
    return None if found is None else Structure(found[0], found[2], found[1])


def decorations(one: Type, n: int, rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Return distinct tuples of elements on the labels: half familiar kinds, half elements of stiff crystals.

    Args:
        one: what is decorated.
        n: tries; repetitions and equal elements drop out.
        rng: draws.
    """
    classes: dict[str, list[str]] = {}
    for symbol in allowed_elements():
        classes.setdefault(alike_class(symbol), []).append(symbol)
    kinds = [k for k in one.kinds if all(c in classes for c in k)]
    weights = np.array([one.kinds[k] for k in kinds])
    found: dict[tuple[str, ...], None] = {}
    for k in range(n):
        if k % 2 and one.n_labels > 1:
            elements = _stiff_draw(one.n_labels, rng)
        elif kinds:
            own = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
            elements = tuple(_drawn(classes[c], rng) for c in own)
        else:
            elements = tuple(rng.choice(allowed_elements(), one.n_labels).tolist())
        if len(set(elements)) == one.n_labels:
            found[elements] = None
    return list(found)


def _drawn(members: Sequence[str], rng: np.random.Generator) -> str:
    weights = np.array([RARE if m in LANTHANIDES | FEW else 1.0 for m in members])
    return str(rng.choice(members, p=weights / weights.sum()))


def _stiff_draw(n: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Return n elements of stiff crystals in any order, one light element at least."""
    n_lights = 1 if n == 2 else int(rng.integers(1, n))
    drawn = [*rng.choice(STIFF_LIGHTS, n_lights), *rng.choice(STIFF_METALS, n - n_lights)]
    return tuple(str(e) for e in rng.permutation(drawn))


def decorated(found: Sequence[Type], n: int, volumes: CompositionSurrogate, seed: int) -> list[Decorated]:
    """Return crystals of every type at the volume that the composition surrogate expects.

    Args:
        found: structure types.
        n: decorations tried for each.
        volumes: knows the volume per atom.
        seed: of the draws; each type has its own stream.
    """
    plans = [
        (one, elements)
        for k, one in enumerate(found)
        for elements in decorations(one, n, np.random.default_rng([seed, k]))
    ]
    amounts = [_amounts(one, elements) for one, elements in plans]
    sizes = expected_volumes(volumes, amounts)
    learned = [k for k, (one, _) in enumerate(plans) if one.shapes]
    shapes = [_shape(*plans[k]) for k in learned]
    crystals = built(shapes, [plans[k][1] for k in learned], [float(sizes[k]) for k in learned])
    structures = dict(zip(learned, crystals.to_structures(), strict=True))
    out = []
    for k, (one, elements) in enumerate(plans):
        structure = structures.get(k) or _renamed(one, elements, float(sizes[k]))
        out.append(_described(structure, one.origin))
    return [d for d in out if d is not None]


def decoded(decoder: object, conditions: Sequence[object], n: int, seed: int) -> list[Decorated]:
    """Return n samples of the decoder for each condition."""
    out = []
    for k, condition in enumerate(conditions):
        sampled = decoder.sample(n, condition, seed + k)  # type: ignore[attr-defined]
        out += [_described(s, "decoder") for s in sampled.to_structures()]
    return [d for d in out if d is not None and n_operations(d.prototype) >= LEAST_OPERATIONS]


def expected_volumes(surrogate: CompositionSurrogate, amounts: Sequence[dict[str, int]]) -> np.ndarray:
    """Return (C,) volumes per atom, Å³."""
    parts = []
    for start in range(0, len(amounts), 8192):
        part = amounts[start : start + 8192]
        batch = CompositionBatch(fractions(part), torch.zeros(len(part), dtype=torch.long))
        with torch.no_grad():
            parts.append(surrogate.predict(batch, [VOLUME])[VOLUME].mean.numpy())
    return np.concatenate(parts) if parts else np.zeros(0)


def _shape(one: Type, elements: tuple[str, ...]) -> Geometry:
    """Return the shape seen most with such kinds of elements."""
    kinds = tuple(alike_class(e) for e in elements)
    return min(one.shapes, key=lambda g: (-g.kinds.get(kinds, 0), -g.count))


def _amounts(one: Type, elements: tuple[str, ...]) -> dict[str, int]:
    names, amounts = dict(zip(LABELS[: len(elements)], elements, strict=True)), Counter[str]()
    for orbit in parse_signature(one.text)[1]:
        amounts[names[orbit.element]] += orbit.multiplicity
    return dict(amounts)


def _renamed(one: Type, elements: tuple[str, ...], volume: float) -> Structure:
    structure = one.template
    if structure is None:
        raise ValueError(f"structure type {one.text} has neither a shape nor a template")
    labels = anonymous(signature_text(Cell.from_structure(structure)) or "")[1]
    names = dict(zip(labels, elements, strict=True))
    species = [names[site.specie.symbol] for site in structure]
    scaled = structure.copy()
    scaled.scale_lattice(volume * len(structure))
    return Structure(scaled.lattice, species, structure.frac_coords)


def _described(structure: Structure, origin: str) -> Decorated | None:
    text = signature_text(Cell.from_structure(structure))
    return None if text is None else Decorated(structure, origin, anonymous(text)[0], text)
