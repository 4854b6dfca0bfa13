"""What follows from K and G of an isotropic aggregate; differentiable, of floats, arrays or tensors alike."""

import math
from typing import Any

Values = Any
"""Float, array or tensor; all arguments of a call are of one kind and shape, and so is what comes back."""

KELVIN_ANGSTROM_PER_KM_PER_S = 76.3823258
"""hbar / k_B times 1 km/s over 1 Å, K (CODATA 2018)."""


def young_modulus(bulk: Values, shear: Values) -> Values:
    """Return Young's modulus of the isotropic aggregate, in the unit of `bulk` and `shear`."""
    return 9.0 * bulk * shear / (3.0 * bulk + shear)


def poisson_ratio(bulk: Values, shear: Values) -> Values:
    """Return Poisson's ratio of the isotropic aggregate, in (-1, 0.5)."""
    return (3.0 * bulk - 2.0 * shear) / (2.0 * (3.0 * bulk + shear))


def pugh_ratio(bulk: Values, shear: Values) -> Values:
    """Return G/K; above about 0.57 a material tends to be brittle (Pugh 1954)."""
    return shear / bulk


def chen_hardness(bulk: Values, shear: Values) -> Values:
    """Return the Vickers hardness, GPa, by Chen's formula 2 (k² G)^0.585 - 3 with k = G/K.

    Negative for soft materials, where the formula has no meaning.

    Args:
        bulk: K, GPa, positive.
        shear: G, GPa, positive.

    References:
        Chen, Niu, Li, Li, Intermetallics 19, 1275 (2011), doi:10.1016/j.intermet.2011.03.026
    """
    return 2.0 * ((shear / bulk) ** 2 * shear) ** 0.585 - 3.0


def tian_hardness(bulk: Values, shear: Values) -> Values:
    """Return the Vickers hardness, GPa, by Tian's formula 0.92 k^1.137 G^0.708 with k = G/K.

    Args:
        bulk: K, GPa, positive.
        shear: G, GPa, positive.

    References:
        Tian, Xu, Zhao, Int. J. Refract. Met. Hard Mater. 33, 93 (2012), doi:10.1016/j.ijrmhm.2012.02.021
    """
    return 0.92 * (shear / bulk) ** 1.137 * shear**0.708


def teter_hardness(bulk: Values, shear: Values) -> Values:
    """Return the Vickers hardness, GPa, by Teter's rule 0.151 G; K does not enter.

    References:
        Teter, MRS Bull. 23, 22 (1998), doi:10.1557/S0883769400031420
    """
    return 0.151 * shear


def debye_temperature(bulk: Values, shear: Values, density: Values, volume_per_atom: Values) -> Values:
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
