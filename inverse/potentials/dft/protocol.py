"""The protocol of record of every DFT value: functional, basis, mesh, smearing, convergence."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from inverse.potentials.loading import PeriodicCell
from surrogates.errors import StructureError

FINER = 3
"""Divisions from the coarsest on that are tried along each vector."""

SAME_LENGTH = 1e-3
"""Relative difference below which two reciprocal vectors get the same divisions."""


@dataclass(frozen=True)
class DftProtocol:
    """How a calculation is made; the defaults are the settings of record (experiments/log/dft.md).

    Attributes:
        functional: exchange and correlation.
        cutoff: of the plane waves, eV.
        spacing: largest distance of k-points along each reciprocal vector, 2 pi included, 1/Å; the mesh is
            centred on Gamma and has equal divisions along vectors of equal length, so that the crystal's
            symmetry leaves few points.
        smearing: width of Marzari-Vanderbilt's cold smearing, eV; energies are free energies, which it
            keeps within third order of those at zero width.
        density: change of the density at which a calculation has converged, electrons per electron.
        mixing: share of the new density in each step; 0.4 halves the steps that 0.05 takes (TiB2 17, 30).
        steps: of self-consistency allowed.
    """

    functional: str = "PBE"
    cutoff: float = 500.0
    spacing: float = 0.3
    smearing: float = 0.1
    density: float = 1e-5
    mixing: float = 0.4
    steps: int = 120

    def gentler(self) -> "DftProtocol":
        """Return the protocol for a calculation that did not converge: smaller steps, more of them."""
        return DftProtocol(**{**asdict(self), "mixing": self.mixing / 8.0, "steps": 3 * self.steps})

    def to_record(self) -> dict[str, Any]:
        """Return the settings, JSON-ready."""
        return asdict(self)

    @property
    def fingerprint(self) -> str:
        """What decides a converged value, as a short hash: not how it was reached."""
        decisive = {k: v for k, v in asdict(self).items() if k not in ("mixing", "steps")}
        return sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        """Return the settings in words."""
        return (
            f"{self.functional}, plane waves to {self.cutoff:g} eV, k-points {self.spacing:g}/Å apart, "
            f"cold smearing {self.smearing:g} eV"
        )


PROTOCOL = DftProtocol()
"""The settings of record."""


@dataclass(frozen=True)
class Sampling:
    """Lattice vectors and k-points that a crystal is computed with, fixed for all its strained cells.

    Attributes:
        basis: (3, 3) integers of determinant ±1; the vectors are basis @ lattice.
        mesh: divisions of their reciprocal vectors, centred on Gamma.
        n_k_points: that symmetry and time reversal leave.
        lattice: (3, 3) Å, rows are the vectors of the crystal itself.
    """

    basis: tuple[tuple[int, ...], ...]
    mesh: tuple[int, int, int]
    n_k_points: int
    lattice: tuple[tuple[float, ...], ...]


def sampling_of(cell: PeriodicCell, spacing: float) -> Sampling:
    """Return the vectors and the mesh that leave fewest k-points, none further apart than asked.

    Standard primitive vectors of centred crystals meet at sharp angles: a mesh along them has far more points
    than reduced vectors need, and whether symmetry joins them depends on the divisions: 7 atoms of a centred
    orthorhombic boride have 414 points along the standard vectors at 0.25/Å, 144 along reduced ones.

    Args:
        cell: with its symmetry.
        spacing: largest distance of points along each reciprocal vector, 2 pi included, 1/Å.
    """
    best: tuple[int, int, Sampling] | None = None
    for basis in _bases(cell.lattice):
        lattice = basis @ cell.lattice
        frac_coords = cell.frac_coords @ np.linalg.inv(basis)
        for mesh in _meshes(lattice, spacing):
            n = irreducible_points(lattice, frac_coords, cell.numbers, mesh)
            rows = tuple(tuple(float(x) for x in row) for row in lattice)
            found = Sampling(tuple(tuple(int(x) for x in row) for row in basis), mesh, n, rows)
            rank = (n, int(np.prod(mesh)))
            if best is None or rank < best[:2]:
                best = (*rank, found)
    if best is None:
        raise StructureError("a lattice without a mesh")
    return best[2]


def mesh_of(lattice: np.ndarray, spacing: float) -> tuple[int, int, int]:
    """Return the fewest divisions of the reciprocal vectors, equal along vectors of equal length.

    Args:
        lattice: (3, 3) Å, rows are vectors.
        spacing: largest distance of points, 1/Å.

    >>> mesh_of(np.diag([4.0, 4.0, 8.0]), 0.25)
    (7, 7, 4)
    """
    lengths = 2.0 * np.pi * np.linalg.norm(np.linalg.inv(lattice).T, axis=1)
    divisions = [0, 0, 0]
    for k, j in enumerate(_alike(lengths)):
        divisions[k] = max(1, int(np.ceil(lengths[k] / spacing - 1e-6))) if j == k else divisions[j]
    return divisions[0], divisions[1], divisions[2]


def irreducible_points(
    lattice: np.ndarray, frac_coords: np.ndarray, numbers: np.ndarray, mesh: Sequence[int]
) -> int:
    """Return how many k-points of a mesh centred on Gamma symmetry and time reversal leave."""
    import spglib

    arrays: Any = (lattice, frac_coords, numbers)
    mapping, _ = spglib.get_ir_reciprocal_mesh(list(mesh), arrays, is_shift=(0, 0, 0), symprec=1e-4)
    return len(np.unique(mapping))


def _bases(lattice: np.ndarray) -> list[np.ndarray]:
    """Return the vectors as they are and, where these are others, reduced ones; those as they are first."""
    from pymatgen.core import Lattice

    reduced = Lattice(lattice).get_lll_reduced_lattice().matrix
    basis = np.round(reduced @ np.linalg.inv(lattice)).astype(int)
    own = np.eye(3, dtype=int)
    return [own] if np.array_equal(basis, own) else [own, basis]


def _meshes(lattice: np.ndarray, spacing: float) -> Iterator[tuple[int, int, int]]:
    """Yield the coarsest mesh that is fine enough, then finer ones, equal along vectors of equal length."""
    first = mesh_of(lattice, spacing)
    alike = _alike(2.0 * np.pi * np.linalg.norm(np.linalg.inv(lattice).T, axis=1))
    for more in itertools.product(range(FINER), repeat=3):
        if all(more[k] == more[j] for k, j in enumerate(alike)):
            yield first[0] + more[0], first[1] + more[1], first[2] + more[2]


def _alike(lengths: np.ndarray) -> list[int]:
    """Return for each length the place of the first one equal to it."""
    return [
        next(j for j in range(k + 1) if abs(lengths[j] / lengths[k] - 1.0) < SAME_LENGTH) for k in range(3)
    ]
