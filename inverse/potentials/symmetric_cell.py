"""A primitive cell with its symmetry: what lets a judge compute a tensor from a handful of cells."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from surrogates.crystals.batch import ELEMENT_SYMBOLS, element_index
from surrogates.errors import StructureError

SHEAR = float(np.sqrt(2.0))
"""Mandel weight of a shear component; with it strains and stresses turn by orthogonal 6x6 matrices."""

VOIGT_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Cartesian indices of the Voigt order xx yy zz yz xz xy."""


@dataclass(frozen=True)
class SymmetricCell:
    """A crystal in spglib's standardised primitive cell and the point operations that leave it unchanged.

    Attributes:
        numbers: (A,) atomic numbers.
        lattice: (3, 3) Å, rows are vectors.
        frac_coords: (A, 3).
        rotations: (G, 3, 3) Cartesian, orthogonal: v' = rotation @ v.
        permutations: (G, A) the atom that each atom is carried to.
    """

    numbers: np.ndarray
    lattice: np.ndarray
    frac_coords: np.ndarray
    rotations: np.ndarray
    permutations: np.ndarray

    @classmethod
    def from_structure(cls, structure: Structure, symprec: float = 0.01) -> "SymmetricCell":
        """Return the symmetric primitive cell of an ordered structure, in spglib's standard orientation.

        Raises:
            StructureError: partial occupancy, no atoms, coordinates that are not finite, a flat cell.
            UnsupportedElementError: an element beyond Lr.
        """
        numbers = checked_numbers(structure)
        cell = (structure.lattice.matrix, structure.frac_coords, numbers)
        return cls.from_arrays(*_standardised(cell, symprec), symprec=symprec)

    @classmethod
    def from_arrays(
        cls, lattice: np.ndarray, frac_coords: np.ndarray, numbers: np.ndarray, symprec: float = 0.01
    ) -> "SymmetricCell":
        """Return the cell with its operations, as it stands: neither reduced nor turned."""
        import spglib

        arrays: Any = (lattice, frac_coords, numbers)
        found = spglib.get_symmetry(arrays, symprec=symprec)
        identity = (np.eye(3)[None], np.arange(len(numbers))[None])
        rotations, permutations = (
            identity if found is None else _operations(lattice, frac_coords, numbers, found, symprec)
        )
        return cls(np.asarray(numbers), np.array(lattice), np.array(frac_coords), rotations, permutations)

    @property
    def n_atoms(self) -> int:
        """Atoms in the primitive cell."""
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Cell volume, Å³."""
        return float(abs(np.linalg.det(self.lattice)))

    @cached_property
    def strain_operations(self) -> np.ndarray:
        """(G, 6, 6) orthogonal: how each operation turns a strain or stress in Mandel components."""
        return np.array([_mandel_rotation(rotation) for rotation in self.rotations])

    @cached_property
    def displacement_operations(self) -> np.ndarray:
        """(G, 3A, 3A) orthogonal: how each operation carries displacements or forces."""
        n = self.n_atoms
        out = np.zeros((len(self.rotations), 3 * n, 3 * n))
        for g, (rotation, permutation) in enumerate(zip(self.rotations, self.permutations, strict=True)):
            for a, b in enumerate(permutation):
                out[g, 3 * b : 3 * b + 3, 3 * a : 3 * a + 3] = rotation
        return out

    @cached_property
    def free_strains(self) -> np.ndarray:
        """(n, 6) orthonormal Mandel strains that keep the whole symmetry."""
        return _row_space(self.strain_operations.mean(axis=0))

    @cached_property
    def free_displacements(self) -> np.ndarray:
        """(n, 3A) orthonormal displacements that keep the whole symmetry, translations removed."""
        return _row_space(without_translation(self.displacement_operations.mean(axis=0)))

    def moved(self, strain: np.ndarray, displacement: np.ndarray | None = None) -> "SymmetricCell":
        """Return the cell under a (3, 3) symmetric strain, displaced by (A, 3) Å before it is strained.

        The operations are kept: valid as such only for the free strains and displacements.
        """
        frac_coords = self.frac_coords
        if displacement is not None:
            frac_coords = frac_coords + displacement @ np.linalg.inv(self.lattice)
        lattice = self.lattice @ (np.eye(3) + strain)
        return replace(self, lattice=lattice, frac_coords=frac_coords)

    def to_structure(self) -> Structure:
        """Return the pymatgen Structure of this cell."""
        species = [ELEMENT_SYMBOLS[z - 1] for z in self.numbers]
        return Structure(Lattice(self.lattice), species, self.frac_coords, to_unit_cell=True)


def checked_numbers(structure: Structure) -> np.ndarray:
    """Return the (A,) atomic numbers of an ordered structure that a potential can be asked about.

    Raises:
        StructureError: partial occupancy, no atoms, coordinates that are not finite, a flat cell.
        UnsupportedElementError: an element beyond Lr.
    """
    if len(structure) == 0:
        raise StructureError("a structure without atoms")
    if not structure.is_ordered:
        raise StructureError("partial occupancy: a potential needs an ordered crystal")
    if not (np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all()):
        raise StructureError("the lattice or a coordinate is not a finite number")
    if abs(np.linalg.det(structure.lattice.matrix)) < 0.5 * len(structure):
        raise StructureError("the cell is flat: less than 0.5 Å³ per atom")
    return np.array([element_index(_symbol(site)) + 1 for site in structure])


def voigt_to_mandel(strain: np.ndarray) -> np.ndarray:
    """Return (..., 6) Mandel components of (..., 3, 3) symmetric tensors."""
    parts = [strain[..., i, j] * (1.0 if i == j else SHEAR) for i, j in VOIGT_PAIRS]
    return np.stack(parts, axis=-1)


def mandel_to_tensor(mandel: np.ndarray) -> np.ndarray:
    """Return the (3, 3) symmetric tensor of (6,) Mandel components."""
    tensor = np.zeros((3, 3))
    for value, (i, j) in zip(mandel, VOIGT_PAIRS, strict=True):
        tensor[i, j] = tensor[j, i] = value if i == j else value / SHEAR
    return tensor


def without_translation(displacements: np.ndarray) -> np.ndarray:
    """Return (..., 3A) displacements with the common translation of all atoms taken out."""
    shaped = displacements.reshape(*displacements.shape[:-1], -1, 3)
    return (shaped - shaped.mean(axis=-2, keepdims=True)).reshape(displacements.shape)


def _symbol(site: object) -> str:
    specie = site.specie  # type: ignore[attr-defined]
    return str(getattr(specie, "element", specie).symbol)


def _standardised(cell: Any, symprec: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import spglib

    found: Any = spglib.standardize_cell(cell, to_primitive=True, no_idealize=False, symprec=symprec)
    lattice, frac_coords, numbers = cell if found is None else found
    return np.asarray(lattice), np.asarray(frac_coords), np.asarray(numbers)


def _operations(
    lattice: np.ndarray, frac_coords: np.ndarray, numbers: np.ndarray, found: dict, symprec: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return Cartesian rotations (G, 3, 3) and permutations (G, A), one per point operation."""
    columns = np.array(lattice).T
    inverse = np.linalg.inv(columns)
    rotations, permutations, seen = [], [], set()
    for turn, shift in zip(found["rotations"], found["translations"], strict=True):
        permutation = _permutation(lattice, frac_coords, numbers, frac_coords @ turn.T + shift, symprec)
        if turn.tobytes() in seen or permutation is None:
            continue
        seen.add(turn.tobytes())
        left, _, right = np.linalg.svd(columns @ turn @ inverse)
        rotations.append(left @ right)
        permutations.append(permutation)
    return np.array(rotations), np.array(permutations)


def _permutation(
    lattice: np.ndarray, frac_coords: np.ndarray, numbers: np.ndarray, images: np.ndarray, symprec: float
) -> np.ndarray | None:
    """Return the atom each image falls on; None when they do not fall on the atoms one to one."""
    apart = images[:, None, :] - frac_coords[None, :, :]
    distance = np.linalg.norm((apart - np.round(apart)) @ lattice, axis=2)
    distance[numbers[:, None] != numbers[None, :]] = np.inf
    nearest = distance.argmin(axis=1)
    fits = distance.min(axis=1).max() < 5 * symprec and len(set(nearest.tolist())) == len(nearest)
    return nearest if fits else None


def _mandel_rotation(rotation: np.ndarray) -> np.ndarray:
    columns = [voigt_to_mandel(rotation @ mandel_to_tensor(unit) @ rotation.T) for unit in np.eye(6)]
    return np.array(columns).T


def _row_space(projector: np.ndarray) -> np.ndarray:
    """Return orthonormal rows that span the image of a projector."""
    left, values, _ = np.linalg.svd(projector)
    return left[:, values > 1e-6].T
