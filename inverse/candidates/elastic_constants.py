"""What a verified crystal's tensor says as flat, named numbers: for tables, databases and JSON lines alike.

All raw, as the potentials gave them: values on the DFT scale stand among the verified ones.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from inverse.candidates.types import Verification

CONVENTION = (
    "GPa, Voigt order xx yy zz yz xz xy, engineering shear; stiffness: in the frame of the relaxed primitive "
    "cell as spglib standardises it; stiffness_ieee: in the IEEE 176 frame of the crystal system"
)

PAIRS = tuple((i, j) for i in range(6) for j in range(i, 6))
"""Places of the 21 entries of a symmetric (6, 6) tensor."""

CONSTANTS = tuple(f"elastic_c{i + 1}{j + 1}" for i, j in PAIRS)
"""Names of the entries, IEEE frame."""

AVERAGES = (
    "bulk_modulus_voigt",
    "bulk_modulus_reuss",
    "bulk_modulus_hill",
    "shear_modulus_voigt",
    "shear_modulus_reuss",
    "shear_modulus_hill",
)

SCALARS = (
    *(f"elastic_{name}" for name in AVERAGES),
    "elastic_universal_anisotropy",
    "elastic_pugh_ratio",
    "elastic_cauchy_pressure",
)
"""Names of the numbers that follow from the tensor."""

COLUMNS = (*SCALARS, *CONSTANTS, "elastic_potential")


def cauchy_pressures(stiffness: Any) -> dict[str, float]:
    """Return C12 - C66, C13 - C55 and C23 - C44 of a (6, 6) stiffness, GPa; equal in a cubic crystal.

    Negative where bonds are directed (covalent), positive in metals.

    References:
        Pettifor, Mater. Sci. Technol. 8, 345 (1992), doi:10.1179/mst.1992.8.4.345
    """
    c = np.asarray(stiffness, dtype=float)
    pairs = {"c12_c66": (0, 1, 5), "c13_c55": (0, 2, 4), "c23_c44": (1, 2, 3)}
    return {name: round(float(c[i, j] - c[k, k]), 3) for name, (i, j, k) in pairs.items()}


def tensor_of(verification: Verification | None) -> list[list[float]] | None:
    """Return the relaxed-ion (6, 6) stiffness in the IEEE frame, GPa; None where there is none."""
    rows = {} if verification is None else verification.elasticity
    tensor = rows.get("stiffness_ieee")
    return None if not tensor else [[float(x) for x in line] for line in tensor]


def elastic_numbers(verification: Verification | None) -> dict[str, float]:
    """Return the numbers of `SCALARS` and `CONSTANTS` that are known, by name.

    The averages of K are those of the judge of K, the others those of the judge whose tensor it is; the Pugh
    ratio is G/K of the two on the DFT scale, the Cauchy pressure the mean of the three.
    """
    if verification is None or not verification.elasticity:
        return {}
    said = verification.elasticity
    averages = {**_part(said, "relaxed_ion"), **_part(said, "bulk")}
    found = {f"elastic_{name}": averages.get(name) for name in AVERAGES}
    found["elastic_universal_anisotropy"] = averages.get("universal_anisotropy")
    found["elastic_pugh_ratio"] = _part(said, "pugh_ratio").get("mean")
    pressures = list(_part(said, "cauchy_pressure").values())
    found["elastic_cauchy_pressure"] = sum(pressures) / len(pressures) if pressures else None
    tensor: Sequence[Sequence[float]] = tensor_of(verification) or ()
    if tensor:
        found |= {name: tensor[i][j] for name, (i, j) in zip(CONSTANTS, PAIRS, strict=True)}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _part(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return said.get(name) or {}
