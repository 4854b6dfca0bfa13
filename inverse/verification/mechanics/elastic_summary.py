"""Everything a tensor says about a crystal, in one record: averages, stability, sound, hardness."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pymatgen.analysis.elasticity import ElasticTensor
from pymatgen.core import Structure

from inverse.candidates.elastic_constants import CONVENTION, cauchy_pressures
from inverse.candidates.types import VerifiedValue
from inverse.verification.calibration.readings import is_sensible
from inverse.verification.judge import TensorVerdict
from inverse.verification.mechanics.stiffness import VOIGT_OF_MANDEL
from surrogates import derived
from surrogates.physics import elasticity, isotropic
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS
from surrogates.protocol import Z90

ISOTROPIC_LIMIT = 1.0
"""Universal anisotropy above which one K and one G say little about a grain."""

OfModuli = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class HardnessFormula:
    """A hardness of K and G, and where it means something.

    Attributes:
        formula: of K and G, GPa.
        domain: in words.
        holds: (K, G, H) -> whether it is inside.
    """

    formula: OfModuli
    domain: str
    holds: Callable[[float, float, float], bool]


HARDNESS_FORMULAS: Mapping[str, HardnessFormula] = {
    "chen": HardnessFormula(
        isotropic.chen_hardness,
        "H >= 5 GPa (below it the constant of -3 GPa decides) and 0.3 <= G/K <= 1.3",
        lambda k, g, h: h >= 5.0 and 0.3 <= g / k <= 1.3,
    ),
    "tian": HardnessFormula(
        isotropic.tian_hardness,
        "0.3 <= G/K <= 1.3, polycrystals",
        lambda k, g, h: 0.3 <= g / k <= 1.3,
    ),
    "teter": HardnessFormula(
        isotropic.teter_hardness,
        "brittle solids, G/K >= 0.57; too high for ductile metals",
        lambda k, g, h: g / k >= 0.57,
    ),
}
"""All need a crystal that is not too anisotropic as well (universal anisotropy below 1)."""


def summary_of_judges(
    verdict: TensorVerdict,
    structure: Structure,
    values: Mapping[str, VerifiedValue],
    judged: Mapping[str, TensorVerdict],
) -> dict[str, Any]:
    """Return what the tensor says, its K not averaged where another judges K: that is the referee's.

    The tensor itself, which implies it, stands in the record and decides nothing. The averages of K are
    those of the judge of K.

    Args:
        verdict: of the judge of stability, or of appeal.
        structure: the cell of that tensor.
        values: see `elastic_summary`.
        judged: property name -> tensor of its judge.
    """
    bulk = judged.get(BULK_MODULUS.name, verdict)
    if verdict.potential == bulk.potential:
        return elastic_summary(verdict, structure, values)
    summary = elastic_summary(replace(verdict, bulk_modulus=math.nan), structure, values, bulk)
    for part in ("relaxed_ion", "clamped_ion"):
        summary[part] = {n: v for n, v in summary[part].items() if not n.startswith("bulk_modulus")}
    return summary


def elastic_summary(
    verdict: TensorVerdict,
    structure: Structure,
    values: Mapping[str, VerifiedValue],
    bulk: TensorVerdict | None = None,
) -> dict[str, Any]:
    """Return the tensor, its averages and what follows from K and G; numbers are finite or None.

    Args:
        verdict: of the judge whose tensor it is; the averages are its own, raw.
        structure: the cell of that tensor.
        values: K and G on the DFT scale, from which the rest follows, errors carried (K and G are two
            judges', taken as independent); without them the raw moduli are used, without errors.
        bulk: of the judge of K, whose averages of K these are; None when it is the same.
    """
    relaxed, clamped = (np.array(tensor, dtype=float) for tensor in (verdict.relaxed, verdict.clamped))
    turned = in_ieee_frame(relaxed, structure)
    out: dict[str, Any] = {
        "potential": verdict.potential,
        "convention": CONVENTION,
        "stiffness": _rows(relaxed),
        "stiffness_ieee": _rows(turned),
        "stiffness_clamped_ion": _rows(clamped),
        "is_born_stable": verdict.is_stable,
        "is_near_unstable": verdict.is_near_unstable,
        "lowest_eigenvalue": _finite(verdict.lowest_eigenvalue),
        "relaxed_ion": averages(relaxed),
        "clamped_ion": averages(clamped),
        "bulk": bulk_averages(verdict if bulk is None else bulk),
        "cauchy_pressure": cauchy_pressures(turned) if len(turned) == 6 else {},
    }
    anisotropy = out["relaxed_ion"].get("universal_anisotropy")
    return {**out, **_derived(verdict, structure, values, anisotropy)}


def in_ieee_frame(tensor: np.ndarray, structure: Structure) -> np.ndarray:
    """Return a (6, 6) stiffness in the frame of IEEE 176 for the crystal's system; () stays ().

    Args:
        tensor: in the frame of the structure's lattice vectors.
        structure: the cell of that tensor.
    """
    if tensor.shape != (6, 6):
        return tensor
    turned = ElasticTensor.from_voigt(0.5 * (tensor + tensor.T)).convert_to_ieee(structure, initial_fit=False)
    return np.asarray(turned.voigt, dtype=float)


def bulk_averages(verdict: TensorVerdict) -> dict[str, Any]:
    """Return whose they are, and Voigt, Reuss and Hill K of a tensor, GPa; of one measured for K alone, too.

    What is not measured then is zero and answers no change of volume: the pseudo-inverse leaves it out.
    """
    tensor = np.array(verdict.relaxed, dtype=float)
    if tensor.shape != (6, 6) or not math.isfinite(verdict.bulk_modulus):
        return {"potential": verdict.potential}
    voigt = float(tensor[:3, :3].sum() / 9.0)
    compliance = np.linalg.pinv(tensor * VOIGT_OF_MANDEL, rcond=1e-6)
    reuss = 1.0 / float(compliance[:3, :3].sum())
    found = {"voigt": voigt, "reuss": reuss, "hill": 0.5 * (voigt + reuss)}
    named = {f"bulk_modulus_{name}": _finite(value) for name, value in found.items()}
    return {"potential": verdict.potential, **named}


def averages(tensor: Any) -> dict[str, float | None]:
    """Return Voigt, Reuss and Hill moduli (GPa) and the universal anisotropy of a (6, 6) stiffness."""
    if len(tensor) != 6:
        return {}
    stacked = torch.as_tensor(np.array(tensor, dtype=float))[None]
    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "bulk_modulus_voigt": elasticity.voigt_bulk_modulus,
        "shear_modulus_voigt": elasticity.voigt_shear_modulus,
    }
    if bool(elasticity.is_born_stable(stacked)):
        functions |= {
            "bulk_modulus_reuss": elasticity.reuss_bulk_modulus,
            "shear_modulus_reuss": elasticity.reuss_shear_modulus,
            "bulk_modulus_hill": elasticity.hill_bulk_modulus,
            "shear_modulus_hill": elasticity.hill_shear_modulus,
            "universal_anisotropy": elasticity.universal_anisotropy,
        }
    return {name: _finite(float(function(stacked))) for name, function in functions.items()}


def propagated_from_moduli(
    formula: OfModuli, bulk: tuple[float, float], shear: tuple[float, float]
) -> dict[str, Any]:
    """Return mean, std and 90 % interval of a function of K and G; (mean, std) each, independent errors.

    >>> propagated_from_moduli(lambda k, g: k + g, (3.0, 0.3), (4.0, 0.4))["std"]
    0.5
    """
    mean, std = derived.propagated(formula, bulk, shear)
    bounds = {"lower": mean - Z90 * std, "upper": mean + Z90 * std}
    return {"mean": _finite(mean), "std": _finite(std), **{k: _finite(v) for k, v in bounds.items()}}


def _derived(
    verdict: TensorVerdict,
    structure: Structure,
    values: Mapping[str, VerifiedValue],
    anisotropy: float | None,
) -> dict[str, Any]:
    raw_bulk, raw_shear = verdict.bulk_modulus, verdict.shear_modulus
    if not (is_sensible(BULK_MODULUS.name, raw_bulk) and is_sensible(SHEAR_MODULUS.name, raw_shear)):
        return {}
    bulk = _value(values.get(BULK_MODULUS.name), raw_bulk)
    shear = _value(values.get(SHEAR_MODULUS.name), raw_shear)
    if bulk is None or shear is None:
        return {}
    density, volume = float(structure.density), float(structure.volume / len(structure))

    def debye(k: float, g: float) -> float:
        return float(isotropic.debye_temperature(k, g, density, volume))  # type: ignore[arg-type]

    hardness = {}
    for name, known in HARDNESS_FORMULAS.items():
        value = propagated_from_moduli(known.formula, bulk, shear)
        inside = known.holds(bulk[0], shear[0], value["mean"])
        inside = inside and anisotropy is not None and anisotropy < ISOTROPIC_LIMIT
        hardness[name] = {**value, "unit": "GPa", "in_domain": inside, "domain": known.domain}
    return {
        "young_modulus": {**propagated_from_moduli(isotropic.young_modulus, bulk, shear), "unit": "GPa"},
        "poisson_ratio": {**propagated_from_moduli(isotropic.poisson_ratio, bulk, shear), "unit": ""},
        "pugh_ratio": {**propagated_from_moduli(isotropic.pugh_ratio, bulk, shear), "unit": ""},
        "debye_temperature": {**propagated_from_moduli(debye, bulk, shear), "unit": "K"},
        "hardness": hardness,
    }


def _value(value: VerifiedValue | None, raw: float) -> tuple[float, float] | None:
    """Return mean and std, of the raw number without an error where there is no calibrated one."""
    mean, std = (raw, 0.0) if value is None else (value.mean, value.std)
    return (mean, std) if math.isfinite(mean) and mean > 0 else None


def _rows(tensor: Any) -> list[list[float]]:
    return [[round(float(value), 3) for value in row] for row in tensor]


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
