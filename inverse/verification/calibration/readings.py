"""What the judges measured on one crystal, each on its own scale, and which of it to doubt."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from itertools import combinations
from operator import attrgetter

import numpy as np
import yaml
from pymatgen.core import Structure

from inverse.potentials.traits import traits_of
from inverse.verification.judge import TensorVerdict
from surrogates.physics.properties import PROPERTIES, Property

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

LARGER_BY_R2SCAN = 1.005
"""Ratio of volumes, by a potential of r2SCAN over one of PBE, beyond which open shells are doubted.

The median of diep's over 7net-l3i5's is 0.982.
"""

UNSURE = 0.3
"""Relative change of a modulus where the tensor at the larger strain is not positive definite."""

AMPLITUDE = "amplitude_dependent"
"""Flag of a tensor that changes with the strain; in a reading, of what has no doubt of its own."""

ABSURD = "absurd_tensor"
"""Flag of moduli that no crystal has: they are named, and are no numbers."""

MAGNETIC_COLLAPSE = "magnetic_collapse"
VOLUME_AMPLITUDE = "bulk_amplitude_dependent"
"""Doubts: flags that set a value aside from the stated errors; its error is stated apart and is larger."""


@dataclass(frozen=True)
class OfTensor:
    """How a property is read from a tensor.

    Attributes:
        property: which.
        term: its name in the files of readings and calibrations.
        value: field of `TensorVerdict`, natural unit.
        amplitude: field of `TensorVerdict`: the difference at twice the strain.
        steady: relative change between the two strain sizes beyond which it is doubted or flagged.
        doubt: named doubt of one that changes more; "" flags the tensor instead.
        sensible: lowest and highest value that a crystal has.
        by_volume: strains of the volume alone give it.
        stiff_from: value above which the errors of the potentials are about half as large, relative to it.
        threshold: recall and precision of exceeding it are stated of a calibration.
    """

    property: Property
    term: str
    value: str
    amplitude: str
    steady: float
    doubt: str = ""
    sensible: tuple[float, float] = (-math.inf, math.inf)
    by_volume: bool = False
    stiff_from: float = math.inf
    threshold: float = math.inf


def read_from_tensors() -> dict[str, OfTensor]:
    """Return what `of_tensor.yaml` says, by property name."""
    text = files("inverse.verification.calibration").joinpath("of_tensor.yaml").read_text(encoding="utf-8")
    return {
        name: OfTensor(PROPERTIES[name], **{**one, "sensible": tuple(one["sensible"])})
        for name, one in yaml.safe_load(text).items()
    }


OF_TENSOR: Mapping[str, OfTensor] = read_from_tensors()
"""By property name, all that is read from tensors."""


@dataclass(frozen=True)
class Reading:
    """What one potential measured of one property; natural unit, on its own scale.

    Attributes:
        value: NaN where it is unstable or nobody measured.
        by: the potential; "" for nobody.
        change: difference at the two strain sizes.
    """

    value: float = math.nan
    by: str = ""
    change: float = math.nan

    @property
    def relative_change(self) -> float:
        """By how much the value changes with the strain, relative to it; 0 where that is unknown."""
        known = math.isfinite(self.change) and math.isfinite(self.value) and self.value > 0
        return self.change / self.value if known else 0.0


NOT_READ = Reading()


@dataclass(frozen=True)
class Readings:
    """What the judges read of one crystal.

    Attributes:
        of: by property name.
        anion: class of `anion_class`.
        doubts: MAGNETIC_COLLAPSE, VOLUME_AMPLITUDE.
    """

    of: Mapping[str, Reading] = field(default_factory=dict)
    anion: str = "none"
    doubts: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Reading:
        """Return the reading of a property, `NOT_READ` where nobody measured."""
        return self.of.get(name, NOT_READ)

    def replaced(self, others: Mapping[str, Reading]) -> "Readings":
        """Return the readings with others in their places; anion class and doubts stay."""
        return replace(self, of={**self.of, **others})


@dataclass(frozen=True)
class Stability:
    """What a tensor says of a crystal's stability.

    Attributes:
        is_stable: positive definite, and no mode that couples to strain is unstable.
        flags: unstable_tensor, unstable_mode, amplitude_dependent, soft_mode_dropped.
    """

    is_stable: bool
    flags: tuple[str, ...] = ()


def readings(measured: Mapping[str, tuple[TensorVerdict, Structure]]) -> Readings:
    """Return what counts of the judges' tensors; several may be one and the same.

    Nothing of what a tensor says of another judge's property enters.

    Args:
        measured: property name -> tensor of its judge, and the cell of that tensor.
    """
    found = {name: reading(name, tensor) for name, (tensor, _) in measured.items()}
    doubts = [MAGNETIC_COLLAPSE] if _is_collapsed(measured) else []
    doubts += [OF_TENSOR[n].doubt for n, one in found.items() if OF_TENSOR[n].doubt and _is_unsteady(n, one)]
    cells = [cell for _, cell in measured.values()]
    return Readings(found, anion_class(cells[0]) if cells else "none", tuple(doubts))


def reading(name: str, verdict: TensorVerdict) -> Reading:
    """Return what a tensor says of a property."""
    known = OF_TENSOR[name]
    value = float(attrgetter(known.value)(verdict))
    change = float(attrgetter(known.amplitude)(verdict))
    tensor = np.array(verdict.repeated, dtype=float) if verdict.repeated else None
    if tensor is not None and np.isfinite(tensor).all() and not math.isfinite(change):
        change = UNSURE * value
    return Reading(value, verdict.potential, change)


def _is_unsteady(name: str, one: Reading) -> bool:
    return math.isfinite(one.change) and one.change > OF_TENSOR[name].steady * one.value


def stability(verdict: TensorVerdict) -> Stability:
    """Return whether a whole tensor is stable; its flags without what they say of doubted properties."""
    flags = tuple(flag for flag in verdict.flags if flag != AMPLITUDE)
    read = {name: reading(name, verdict) for name, known in OF_TENSOR.items() if not known.by_volume}
    is_stable = bool(verdict.is_stable) and all(math.isfinite(one.value) for one in read.values())
    if is_stable and any(_is_unsteady(name, one) for name, one in read.items()):
        flags = (*flags, AMPLITUDE)
    return Stability(is_stable, flags)


def is_by_volume(potential: str, names: Collection[str]) -> bool:
    """Return whether strains of the volume give all that a potential is to say of these properties.

    K of a potential with a kink is calibrated as its whole tensor has it.
    """
    return not traits_of(potential).has_kink and all(OF_TENSOR[name].by_volume for name in names)


def is_sensible(name: str, value: float) -> bool:
    """Return whether a value is such as crystals have; NaN, which nobody measured, is no offence.

    >>> is_sensible("bulk_modulus_vrh", 443.0), is_sensible("shear_modulus_vrh", 4300.0)
    (True, False)
    """
    low, high = OF_TENSOR[name].sensible
    return not (value < low or value > high)


def sensible(read: Readings) -> tuple[Readings, list[str]]:
    """Return the readings without those of an absurd tensor, and in words which they were.

    What one judge says comes from one tensor and goes together.
    """
    absurd = {name: one for name, one in read.of.items() if not is_sensible(name, one.value)}
    said = [
        f"{known.short} of {one.value:.4g} {known.unit} by {one.by} is absurd"
        for known, one in ((OF_TENSOR[name].property, one) for name, one in absurd.items())
    ]
    judges = {one.by for one in absurd.values()}
    gone = {name: replace(one, value=math.nan) for name, one in read.of.items() if one.by in judges}
    return read.replaced(gone), said


def _is_collapsed(measured: Mapping[str, tuple[TensorVerdict, Structure]]) -> bool:
    """Return whether two judges put a crystal with open shells into different magnetic states."""
    by_judge = {tensor.potential: cell for tensor, cell in measured.values()}
    for (first, cell), (second, other) in combinations(by_judge.items(), 2):
        functionals = traits_of(first).functional, traits_of(second).functional
        if len(set(functionals)) == 1 or "r2SCAN" not in functionals:
            continue
        ratio = (other.volume / len(other)) / (cell.volume / len(cell))
        ratio = ratio if functionals[1] == "r2SCAN" else 1 / ratio
        if {site.specie.symbol for site in cell} & OPEN_SHELLS and ratio > LARGER_BY_R2SCAN:
            return True
    return False


def anion_class(structure: Structure) -> str:
    """Return the anion class of a crystal, "none" for intermetallics and elements.

    >>> from pymatgen.core import Lattice
    >>> anion_class(Structure(Lattice.cubic(4.2), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    'carbide'
    """
    symbols = {site.specie.symbol for site in structure}
    return next((name for name, members in ANIONS if symbols & members), "none")
