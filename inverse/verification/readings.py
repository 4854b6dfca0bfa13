"""What the judges measured on one crystal, each on its own scale, and which of it to doubt."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from pymatgen.core import Structure

from inverse.verification.judge import TensorVerdict
from inverse.verification.potentials import KINKED
from surrogates import elasticity

ANIONS: tuple[tuple[str, frozenset[str]], ...] = (
    ("oxide", frozenset({"O"})),
    ("halide", frozenset({"F", "Cl", "Br", "I"})),
    ("nitride", frozenset({"N"})),
    ("carbide", frozenset({"C"})),
    ("boride", frozenset({"B"})),
    ("hydride", frozenset({"H"})),
    ("chalcogenide", frozenset({"S", "Se", "Te"})),
    ("pnictide", frozenset({"P", "As", "Sb", "Si", "Ge"})),
)
"""Anion classes in order: the first that a crystal has an element of; silicides count as pnictides."""

OPEN_SHELLS = frozenset({"Cr", "Mn", "Fe", "Co", "Ni", "U", "Np", "Pu"})
"""Elements whose moments DFT and potentials often place differently."""

LARGER_BY_KINKED = 1.005
"""Ratio of volumes, diep's over 7net-l3i5's, beyond which open shells are doubted (median 0.982)."""

BULK_CHANGE = 0.02
"""Relative change of K between the two strain sizes beyond which K is doubted."""

SHEAR_CHANGE = 0.05
"""Relative change of G between the two strain sizes that is flagged as amplitude-dependent."""

UNSURE = 0.3
"""Relative change of G where only one of the two tensors is positive definite."""

UNSTABLE_MODE = -0.5
"""eV/Å²; the kink also falsifies force constants, by up to its slope over the displacement (0.4 seen)."""

_JUDGED = ("unstable_tensor", "unstable_mode", "amplitude_dependent")

ABSURD = "absurd_tensor"
"""Flag of moduli that no crystal has: they are named, and are no numbers."""

LARGEST_MODULUS, SMALLEST_BULK = 1000.0, 0.1
"""GPa; diamond has K = 443 and G = 535, caesium K = 1.6."""

MAGNETIC_COLLAPSE = "magnetic_collapse"
BULK_AMPLITUDE = "bulk_amplitude_dependent"
DOUBTS = (MAGNETIC_COLLAPSE, BULK_AMPLITUDE)
"""Flags that set K aside from the stated errors: its error is stated apart and is larger."""


@dataclass(frozen=True)
class Readings:
    """Raw moduli of one crystal; NaN where nobody measured.

    Attributes:
        bulk: K, GPa.
        shear: G, GPa.
        bulk_by: potential that measured K; "" for nobody.
        shear_by: potential that measured G.
        bulk_change: difference of K at the two strain sizes, GPa.
        shear_change: the same of G.
        anion: class of `anion_class`.
        doubts: names from `DOUBTS`.
    """

    bulk: float = math.nan
    shear: float = math.nan
    bulk_by: str = ""
    shear_by: str = ""
    bulk_change: float = math.nan
    shear_change: float = math.nan
    anion: str = "none"
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShearReading:
    """How a tensor is read.

    Attributes:
        shear: G, GPa; NaN when unstable.
        change: of G with the size of the strain, GPa.
        is_stable: positive definite, and no mode that couples to strain is unstable.
        flags: unstable_tensor, unstable_mode, amplitude_dependent, soft_mode_dropped.
    """

    shear: float
    change: float
    is_stable: bool
    flags: tuple[str, ...] = ()


def readings(
    bulk: TensorVerdict, shear: TensorVerdict, bulk_cell: Structure, shear_cell: Structure
) -> Readings:
    """Return what counts of two judges' tensors; they may be one and the same.

    Nothing of the shear judge's K, and nothing of the bulk judge's G, enters.

    Args:
        bulk: by the judge of K.
        shear: by the judge of G.
        bulk_cell: relaxed by the energy judge.
        shear_cell: relaxed by the judge of G.
    """
    read = read_shear(shear)
    bulk_value, change = read_bulk(bulk)
    doubts = []
    if _is_collapsed(bulk.potential, shear.potential, bulk_cell, shear_cell):
        doubts.append(MAGNETIC_COLLAPSE)
    if math.isfinite(change) and change > BULK_CHANGE * bulk_value:
        doubts.append(BULK_AMPLITUDE)
    return Readings(
        bulk=bulk_value,
        shear=read.shear,
        bulk_by=bulk.potential,
        shear_by=shear.potential,
        bulk_change=change,
        shear_change=read.change,
        anion=anion_class(bulk_cell),
        doubts=tuple(doubts),
    )


def is_sensible(bulk: float = math.nan, shear: float = math.nan) -> bool:
    """Return whether moduli in GPa are such as crystals have; NaN, which nobody measured, is no offence.

    >>> is_sensible(443.0, 535.0), is_sensible(4300.0)
    (True, False)
    """
    return not (bulk > LARGEST_MODULUS or shear > LARGEST_MODULUS or bulk < SMALLEST_BULK)


def sensible(read: Readings) -> tuple[Readings, list[str]]:
    """Return the readings without those of an absurd tensor, and in words which they were.

    One judge's K and G come from one tensor and go together.
    """
    said, bulk, shear = [], read.bulk, read.shear
    if not is_sensible(bulk=bulk):
        said.append(f"K of {bulk:.4g} GPa by {read.bulk_by} is absurd")
        bulk = math.nan
    if not is_sensible(shear=shear):
        said.append(f"G of {shear:.4g} GPa by {read.shear_by} is absurd")
        shear = math.nan
    if said and read.bulk_by == read.shear_by:
        bulk = shear = math.nan
    return replace(read, bulk=bulk, shear=shear), said


def read_bulk(verdict: TensorVerdict) -> tuple[float, float]:
    """Return K and its change with the strain, GPa: as it stands, or free of the kink as in `read_shear`."""
    if has_kink(verdict):
        free, larger = (_hill(elasticity.hill_bulk_modulus, t) for t in _without_kink(verdict))
        if math.isfinite(free) and math.isfinite(larger):
            return free, abs(free - larger)
        if math.isfinite(free) or math.isfinite(larger):
            known = free if math.isfinite(free) else larger
            return known, UNSURE * known
    return verdict.bulk_modulus, verdict.bulk_amplitude


def has_kink(verdict: TensorVerdict) -> bool:
    """Return whether a tensor has a kink that its repetition at the larger strain lets one take out."""
    return verdict.potential in KINKED and bool(verdict.relaxed) and bool(verdict.repeated)


def read_tensor(verdict: TensorVerdict) -> np.ndarray:
    """Return the (6, 6) stiffness that G is read from, GPa; see `read_shear`."""
    if not has_kink(verdict):
        return np.asarray(verdict.relaxed, dtype=float)
    free, larger = _without_kink(verdict)
    return larger if _is_positive(larger) and not _is_positive(free) else free


def _without_kink(verdict: TensorVerdict) -> tuple[np.ndarray, np.ndarray]:
    """Return the stiffness without the kink and the one at the larger strain, (6, 6) GPa each."""
    once, twice = (np.asarray(t, dtype=float) for t in (verdict.relaxed, verdict.repeated))
    return 2 * twice - once, twice


def _is_collapsed(bulk_by: str, shear_by: str, bulk_cell: Structure, shear_cell: Structure) -> bool:
    """Return whether two judges put a crystal with open shells into different magnetic states."""
    if (bulk_by in KINKED) == (shear_by in KINKED):
        return False
    ratio = (shear_cell.volume / len(shear_cell)) / (bulk_cell.volume / len(bulk_cell))
    ratio = ratio if shear_by in KINKED else 1 / ratio
    return bool({site.specie.symbol for site in bulk_cell} & OPEN_SHELLS) and ratio > LARGER_BY_KINKED


def read_shear(verdict: TensorVerdict) -> ShearReading:
    """Return G and stability of a tensor: as it stands, or free of the kink for potentials that have one.

    Where the tensor without the kink is not positive definite but the one at the larger strain is, that one
    counts. Flags say nothing of the tensor's K.
    """
    others = tuple(flag for flag in verdict.flags if flag not in _JUDGED)
    if not has_kink(verdict):
        stable = bool(verdict.is_stable) and math.isfinite(verdict.shear_modulus)
        kept = tuple(flag for flag in verdict.flags if flag in ("unstable_tensor", "unstable_mode"))
        return _read(verdict.shear_modulus, verdict.shear_amplitude, stable, (*others, *kept))
    free, larger = (_hill(elasticity.hill_shear_modulus, t) for t in _without_kink(verdict))
    shear = free if math.isfinite(free) else larger
    change = abs(free - larger) if math.isfinite(free + larger) else UNSURE * shear
    unstable = () if math.isfinite(shear) else ("unstable_tensor",)
    if verdict.lowest_mode < UNSTABLE_MODE:
        unstable = (*unstable, "unstable_mode")
    return _read(shear if not unstable else math.nan, change, not unstable, (*others, *unstable))


def _read(shear: float, change: float, is_stable: bool, flags: tuple[str, ...]) -> ShearReading:
    if is_stable and math.isfinite(change) and change > SHEAR_CHANGE * shear:
        flags = (*flags, "amplitude_dependent")
    return ShearReading(shear, change, is_stable, flags)


def _hill(average: Callable[[torch.Tensor], torch.Tensor], tensor: np.ndarray) -> float:
    """Return an average of a (6, 6) stiffness, GPa; NaN when it is not positive definite."""
    return float(average(torch.as_tensor(tensor)[None])) if _is_positive(tensor) else math.nan


def _is_positive(tensor: np.ndarray) -> bool:
    return bool(np.isfinite(tensor).all()) and float(np.linalg.eigvalsh(tensor)[0]) > 0


def anion_class(structure: Structure) -> str:
    """Return the anion class of a crystal, "none" for intermetallics and elements.

    >>> from pymatgen.core import Lattice
    >>> anion_class(Structure(Lattice.cubic(4.2), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    'carbide'
    """
    symbols = {site.specie.symbol for site in structure}
    return next((name for name, members in ANIONS if symbols & members), "none")
