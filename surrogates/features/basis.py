"""What an edge looks like to a network: Gaussians in its length, spherical harmonics of its direction.

Nothing here is learned, so the features of a crystal are made once and serve every member of an ensemble.
"""

from functools import lru_cache

import torch
from torch import Tensor

REDUCED_CENTRES: tuple[float, ...] = tuple(0.35 + 0.6 * k / 11 for k in range(12))
"""Centres of Gaussians in distance / cutoff."""

BOND_CENTRES: tuple[float, ...] = tuple(0.6 + 1.8 * k / 15 for k in range(16))
"""Centres of Gaussians in distance / sum of covalent radii."""

SHELL_CENTRES: tuple[float, ...] = (0.8, 1.0, 1.2, 1.45, 1.75, 2.1)
"""Centres, in distance / sum of covalent radii, of the shells whose angular order is measured."""

SHELL_WIDTHS: tuple[float, ...] = (0.13, 0.13, 0.15, 0.2, 0.22, 0.25)
"""Standard deviations of the shells."""

N_RADIAL = len(REDUCED_CENTRES) + len(BOND_CENTRES)
N_SHELLS = len(SHELL_CENTRES)

N_HARMONICS = 24

DEGREES: tuple[int, ...] = (1, 2, 3, 4)
"""Degrees returned, in order; 2l + 1 columns each."""


def spherical_harmonics(unit: Tensor) -> Tensor:
    """Return (E, 24) real harmonics of degrees 1 to 4 of (E, 3) unit vectors; differentiable.

    Normalised so that the squares of one degree sum to 1; by the addition theorem the squared norm of a sum
    over neighbours is then the sum over pairs of the Legendre polynomial of the angle between them.
    """
    x, y, z = unit.unbind(dim=1)
    xx, yy, zz, xy, yz, xz = x * x, y * y, z * z, x * y, y * z, x * z
    difference = xx - yy
    r3, r5, r6, r10 = 3**0.5, 5**0.5, 6**0.5, 10**0.5
    r15, r35, r70 = 15**0.5, 35**0.5, 70**0.5
    rows = [
        *(x, y, z),
        *(r3 * xy, r3 * yz, 0.5 * (3 * zz - 1), r3 * xz, 0.5 * r3 * difference),
        r10 / 4 * y * (3 * xx - yy),
        r15 * xy * z,
        r6 / 4 * y * (5 * zz - 1),
        0.5 * z * (5 * zz - 3),
        r6 / 4 * x * (5 * zz - 1),
        r15 / 2 * z * difference,
        r10 / 4 * x * (xx - 3 * yy),
        r35 / 2 * xy * difference,
        r70 / 4 * yz * (3 * xx - yy),
        r5 / 2 * xy * (7 * zz - 1),
        r10 / 4 * yz * (7 * zz - 3),
        (35 * zz * zz - 30 * zz + 3) / 8,
        r10 / 4 * xz * (7 * zz - 3),
        r5 / 4 * difference * (7 * zz - 1),
        r70 / 4 * xz * (xx - 3 * yy),
        r35 / 8 * (xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
    ]
    return torch.stack(rows, dim=1)


def envelope(reduced: Tensor) -> Tensor:
    """Return (1 - x²)² for x < 1, else 0: value and slope vanish at the cutoff.

    Args:
        reduced: (E,) distance / cutoff.
    """
    return (1.0 - reduced.square()).clamp(min=0.0).square()


def length_features(reduced: Tensor, bond: Tensor) -> tuple[Tensor, Tensor]:
    """Return (E, N_RADIAL) Gaussians, and (E, N_SHELLS) soft membership of the shells; differentiable.

    Args:
        reduced: (E,) distance / cutoff, of which the first Gaussians are made.
        bond: (E,) distance / sum of covalent radii, of which the others and the shells are made.
    """
    slope, start = (values.to(reduced) for values in _gaussian_lines())
    # one pass over all columns: exp(-(slope x - start)²)
    every = torch.addmm(start, torch.stack([reduced, bond], dim=1), slope).square().neg().exp()
    radial, shells = every.split([N_RADIAL, N_SHELLS], dim=1)
    return radial, shells


@lru_cache(maxsize=1)
def _gaussian_lines() -> tuple[Tensor, Tensor]:
    """Return slopes (2, columns) and starts (columns,) whose line squared is minus a Gaussian's exponent."""
    narrow, wide = [1.2 * 0.6 / 11] * len(REDUCED_CENTRES), [1.2 * 1.8 / 15] * len(BOND_CENTRES)
    centre = torch.tensor([*REDUCED_CENTRES, *BOND_CENTRES, *SHELL_CENTRES], dtype=torch.float64)
    steep = 0.5**0.5 / torch.tensor([*narrow, *wide, *SHELL_WIDTHS], dtype=torch.float64)
    is_reduced = torch.arange(len(centre)) < len(REDUCED_CENTRES)
    return torch.stack([steep * is_reduced, steep * ~is_reduced]), -steep * centre
