"""The protocol of record of every DFT value: functional, basis, mesh, smearing, convergence."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np

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
    spacing: float = 0.25
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


def mesh_of(lattice: np.ndarray, spacing: float) -> tuple[int, int, int]:
    """Return the divisions of the reciprocal vectors, equal along vectors of equal length.

    Args:
        lattice: (3, 3) Å, rows are vectors.
        spacing: largest distance of points, 1/Å.

    >>> mesh_of(np.diag([4.0, 4.0, 8.0]), 0.25)
    (7, 7, 4)
    """
    lengths = 2.0 * np.pi * np.linalg.norm(np.linalg.inv(lattice).T, axis=1)
    divisions = [0, 0, 0]
    for k, length in enumerate(lengths):
        alike = [j for j in range(k) if abs(lengths[j] / length - 1.0) < SAME_LENGTH]
        divisions[k] = divisions[alike[0]] if alike else max(1, int(np.ceil(length / spacing - 1e-6)))
    return divisions[0], divisions[1], divisions[2]
