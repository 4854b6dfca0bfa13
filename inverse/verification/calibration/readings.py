"""What the judges measured on one crystal, each on its own scale, and which of it to doubt."""

import math
from dataclasses import dataclass, replace

import numpy as np
from pymatgen.core import Structure

from inverse.potentials.loading import KINKED
from inverse.verification.judge import TensorVerdict

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
"""Relative change of a modulus where the tensor at the larger strain is not positive definite."""

AMPLITUDE = "amplitude_dependent"
"""Flag of a tensor that changes with the strain; in a reading, of G alone."""

ABSURD = "absurd_tensor"
"""Flag of moduli that no crystal has: they are named, and are no numbers."""

LARGEST_MODULUS, SMALLEST_BULK = 1000.0, 0.1
"""GPa; diamond has K = 443 and G = 535, caesium K = 1.6."""

MAGNETIC_COLLAPSE = "magnetic_collapse"
BULK_AMPLITUDE = "bulk_amplitude_dependent"
"""Doubts: flags that set K aside from the stated errors; its error is stated apart and is larger."""


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
        doubts: MAGNETIC_COLLAPSE, BULK_AMPLITUDE.
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
    """Return K and its change with the strain, GPa."""
    return verdict.bulk_modulus, _change(verdict, verdict.bulk_modulus, verdict.bulk_amplitude)


def _change(verdict: TensorVerdict, modulus: float, amplitude: float) -> float:
    """Return by how much a modulus changes with the strain, GPa; NaN where it was not repeated."""
    is_repeated = bool(verdict.repeated) and bool(np.isfinite(np.array(verdict.repeated, dtype=float)).all())
    return UNSURE * modulus if is_repeated and not math.isfinite(amplitude) else amplitude


def _is_collapsed(bulk_by: str, shear_by: str, bulk_cell: Structure, shear_cell: Structure) -> bool:
    """Return whether two judges put a crystal with open shells into different magnetic states."""
    if (bulk_by in KINKED) == (shear_by in KINKED):
        return False
    ratio = (shear_cell.volume / len(shear_cell)) / (bulk_cell.volume / len(bulk_cell))
    ratio = ratio if shear_by in KINKED else 1 / ratio
    return bool({site.specie.symbol for site in bulk_cell} & OPEN_SHELLS) and ratio > LARGER_BY_KINKED


def read_shear(verdict: TensorVerdict) -> ShearReading:
    """Return G and stability of a tensor; its flags without what they say of the tensor's K."""
    flags = tuple(flag for flag in verdict.flags if flag != AMPLITUDE)
    shear = verdict.shear_modulus
    is_stable = bool(verdict.is_stable) and math.isfinite(shear)
    change = _change(verdict, shear, verdict.shear_amplitude)
    if is_stable and math.isfinite(change) and change > SHEAR_CHANGE * shear:
        flags = (*flags, AMPLITUDE)
    return ShearReading(shear, change, is_stable, flags)


def anion_class(structure: Structure) -> str:
    """Return the anion class of a crystal, "none" for intermetallics and elements.

    >>> from pymatgen.core import Lattice
    >>> anion_class(Structure(Lattice.cubic(4.2), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    'carbide'
    """
    symbols = {site.specie.symbol for site in structure}
    return next((name for name, members in ANIONS if symbols & members), "none")
