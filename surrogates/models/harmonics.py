"""Real spherical harmonics up to degree 4 as polynomials of a unit vector."""

import torch
from torch import Tensor

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
