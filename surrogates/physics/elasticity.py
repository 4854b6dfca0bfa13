"""Stiffness -> moduli, stability and hardness; pure, batched, differentiable torch functions.

Voigt order xx yy zz yz xz xy, engineering shear, GPa. C crystals.
"""

import math

import torch
from torch import Tensor

from surrogates.errors import ShapeError, UnstableCrystalError

KELVIN_ANGSTROM_PER_KM_PER_S = 76.3823258
"""hbar / k_B times 1 km/s over 1 Å, K (CODATA 2018)."""


def voigt_bulk_modulus(stiffness: Tensor) -> Tensor:
    """Return the (C,) bulk modulus at uniform strain: an upper bound; any symmetric tensor will do.

    Raises:
        ShapeError: not (C, 6, 6).
    """
    _check(stiffness)
    return stiffness[:, :3, :3].sum(dim=(1, 2)) / 9.0


def voigt_shear_modulus(stiffness: Tensor) -> Tensor:
    """Return the (C,) shear modulus at uniform strain: an upper bound; any symmetric tensor will do.

    Raises:
        ShapeError: not (C, 6, 6).
    """
    _check(stiffness)
    c = stiffness
    normal = c[:, 0, 0] + c[:, 1, 1] + c[:, 2, 2]
    mixed = c[:, 0, 1] + c[:, 0, 2] + c[:, 1, 2]
    return (normal - mixed + 3.0 * (c[:, 3, 3] + c[:, 4, 4] + c[:, 5, 5])) / 15.0


def reuss_bulk_modulus(stiffness: Tensor) -> Tensor:
    """Return the (C,) bulk modulus at uniform stress: a lower bound, and the response to pressure.

    Raises:
        ShapeError: not (C, 6, 6).
        UnstableCrystalError: not positive definite.
    """
    compliance = compliance_of(stiffness)
    return 1.0 / compliance[:, :3, :3].sum(dim=(1, 2))


def reuss_shear_modulus(stiffness: Tensor) -> Tensor:
    """Return the (C,) shear modulus at uniform stress: a lower bound.

    Raises:
        ShapeError: not (C, 6, 6).
        UnstableCrystalError: not positive definite.
    """
    s = compliance_of(stiffness)
    normal = s[:, 0, 0] + s[:, 1, 1] + s[:, 2, 2]
    mixed = s[:, 0, 1] + s[:, 0, 2] + s[:, 1, 2]
    return 15.0 / (4.0 * (normal - mixed) + 3.0 * (s[:, 3, 3] + s[:, 4, 4] + s[:, 5, 5]))


def hill_bulk_modulus(stiffness: Tensor) -> Tensor:
    """Return the (C,) Hill-average bulk modulus: the mean of Voigt and Reuss.

    Raises:
        ShapeError: not (C, 6, 6).
        UnstableCrystalError: not positive definite; names the crystals and their lowest eigenvalues.

    References:
        Hill, Proc. Phys. Soc. A 65, 349 (1952), doi:10.1088/0370-1298/65/5/307
    """
    return 0.5 * (voigt_bulk_modulus(stiffness) + reuss_bulk_modulus(stiffness))


def hill_shear_modulus(stiffness: Tensor) -> Tensor:
    """Return the (C,) Hill-average shear modulus: the mean of Voigt and Reuss.

    Raises:
        ShapeError: not (C, 6, 6).
        UnstableCrystalError: not positive definite; names the crystals and their lowest eigenvalues.

    References:
        Hill, Proc. Phys. Soc. A 65, 349 (1952), doi:10.1088/0370-1298/65/5/307
    """
    return 0.5 * (voigt_shear_modulus(stiffness) + reuss_shear_modulus(stiffness))


def compliance_of(stiffness: Tensor) -> Tensor:
    """Return the (C, 6, 6) compliance, 1/GPa; an unstable crystal is reported, never clamped.

    Raises:
        ShapeError: not (C, 6, 6).
        UnstableCrystalError: not positive definite; names the crystals and their lowest eigenvalues.
    """
    lowest = lowest_eigenvalue(stiffness)
    bad = (~(lowest > 0)).nonzero().flatten().tolist()
    if bad:
        shown = ", ".join(f"crystal {c}: {float(lowest[c]):.2f} GPa" for c in bad[:5])
        raise UnstableCrystalError(f"stiffness is not positive definite (lowest eigenvalue {shown})")
    return torch.linalg.inv(stiffness)


def lowest_eigenvalue(stiffness: Tensor) -> Tensor:
    """Return the (C,) lowest eigenvalue, GPa; NaN where the tensor is not finite.

    Raises:
        ShapeError: not (C, 6, 6).
    """
    _check(stiffness)
    finite = torch.isfinite(stiffness).all(dim=2).all(dim=1)
    safe = torch.where(finite[:, None, None], stiffness, torch.zeros_like(stiffness))
    lowest = torch.linalg.eigvalsh(0.5 * (safe + safe.transpose(1, 2)))[:, 0]
    return torch.where(finite, lowest, torch.full_like(lowest, float("nan")))


def is_born_stable(stiffness: Tensor) -> Tensor:
    """Return (C,) bool: whether the tensor is positive definite (the necessary and sufficient condition).

    References:
        Mouhat, Coudert, Phys. Rev. B 90, 224104 (2014), doi:10.1103/PhysRevB.90.224104
    """
    return lowest_eigenvalue(stiffness) > 0


def young_modulus(bulk: Tensor, shear: Tensor) -> Tensor:
    """Return Young's modulus of the isotropic aggregate, in the unit of `bulk` and `shear`."""
    return 9.0 * bulk * shear / (3.0 * bulk + shear)


def poisson_ratio(bulk: Tensor, shear: Tensor) -> Tensor:
    """Return Poisson's ratio of the isotropic aggregate, in (-1, 0.5)."""
    return (3.0 * bulk - 2.0 * shear) / (2.0 * (3.0 * bulk + shear))


def pugh_ratio(bulk: Tensor, shear: Tensor) -> Tensor:
    """Return G/K; above about 0.57 a material tends to be brittle (Pugh 1954)."""
    return shear / bulk


def chen_hardness(bulk: Tensor, shear: Tensor) -> Tensor:
    """Return the Vickers hardness, GPa, by Chen's formula 2 (k² G)^0.585 - 3 with k = G/K.

    Negative for soft materials, where the formula has no meaning.

    Args:
        bulk: K, GPa, positive.
        shear: G, GPa, positive.

    References:
        Chen, Niu, Li, Li, Intermetallics 19, 1275 (2011), doi:10.1016/j.intermet.2011.03.026
    """
    return 2.0 * ((shear / bulk) ** 2 * shear) ** 0.585 - 3.0


def tian_hardness(bulk: Tensor, shear: Tensor) -> Tensor:
    """Return the Vickers hardness, GPa, by Tian's formula 0.92 k^1.137 G^0.708 with k = G/K.

    Args:
        bulk: K, GPa, positive.
        shear: G, GPa, positive.

    References:
        Tian, Xu, Zhao, Int. J. Refract. Met. Hard Mater. 33, 93 (2012), doi:10.1016/j.ijrmhm.2012.02.021
    """
    return 0.92 * (shear / bulk) ** 1.137 * shear**0.708


def teter_hardness(bulk: Tensor, shear: Tensor) -> Tensor:
    """Return the Vickers hardness, GPa, by Teter's rule 0.151 G; K does not enter.

    References:
        Teter, MRS Bull. 23, 22 (1998), doi:10.1557/S0883769400031420
    """
    return 0.151 * shear


def debye_temperature(bulk: Tensor, shear: Tensor, density: Tensor, volume_per_atom: Tensor) -> Tensor:
    """Return the Debye temperature of the isotropic aggregate, K.

    Args:
        bulk: K, GPa.
        shear: G, GPa.
        density: g/cm³.
        volume_per_atom: Å³.

    References:
        Anderson, J. Phys. Chem. Solids 24, 909 (1963), doi:10.1016/0022-3697(63)90067-2
    """
    longitudinal = ((bulk + 4.0 / 3.0 * shear) / density) ** 0.5  # km/s
    transverse = (shear / density) ** 0.5
    mean = (3.0 / (longitudinal**-3 + 2.0 * transverse**-3)) ** (1.0 / 3.0)
    return KELVIN_ANGSTROM_PER_KM_PER_S * mean * (6.0 * math.pi**2 / volume_per_atom) ** (1.0 / 3.0)


def universal_anisotropy(stiffness: Tensor) -> Tensor:
    """Return the (C,) universal anisotropy index; 0 for an isotropic crystal.

    Raises:
        ShapeError: not (C, 6, 6).
        UnstableCrystalError: not positive definite.

    References:
        Ranganathan, Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008)
    """
    shear = voigt_shear_modulus(stiffness) / reuss_shear_modulus(stiffness)
    bulk = voigt_bulk_modulus(stiffness) / reuss_bulk_modulus(stiffness)
    return 5.0 * shear + bulk - 6.0


def _check(stiffness: Tensor) -> None:
    if stiffness.ndim != 3 or tuple(stiffness.shape[1:]) != (6, 6):
        raise ShapeError(f"stiffness is {tuple(stiffness.shape)}, not (C, 6, 6)")
