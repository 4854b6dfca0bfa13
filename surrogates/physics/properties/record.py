"""What a property is: one frozen record that everything else asks, and the table of those registered."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from surrogates.errors import PropertyError

TABLE_RANGE = 1e3
"""A property of a user's table reaches to this many times the largest value in the table."""

PROPERTY_NAME = r"^[a-z][a-z0-9_]{0,60}$"
"""Of a property that a table brings."""

TRACE = 1e-3
"""Atomic fraction below which an element does not count as part of a composition."""


class Basis(StrEnum):
    """How the values of a property come about."""

    LEARNED = "learned"
    OF_PROPERTIES = "formula of other properties"
    OF_CELL = "formula of the structure"
    OF_COMPOSITION = "formula of the composition"
    HULL = "formation energy and hull"
    TABLE = "user's table"
    JUDGE = "user's judge"


class Judged(StrEnum):
    """From what a judge reads a property; a formula's value follows from those of its inputs."""

    NOWHERE = ""
    TENSOR = "elastic tensor"
    ENERGY = "energy of the relaxed crystal"


class Scale(StrEnum):
    """On which scale differences of a property count."""

    LINEAR = "linear"
    LOGARITHMIC = "logarithmic"


class Crystals(Protocol):
    """What a formula of the structure may ask of C crystals; all differentiable."""

    @property
    def volume(self) -> Any:
        """(C,) of the cell, Å³."""
        ...

    @property
    def n_atoms(self) -> Any:
        """(C,) in the cell."""
        ...

    @property
    def composition(self) -> Any:
        """(C, Z) atomic fractions."""
        ...


@dataclass(frozen=True)
class OfProperties:
    """A formula of other properties.

    Attributes:
        inputs: the other properties.
        function: of their values in that order, floats or tensors, natural units; differentiable.
        rises: for each input, whether the value rises with it (else it falls), where that is so everywhere;
            () where it is not. Targets on inputs and value that contradict each other are found by it.
        seen: values beyond which no crystal is known.
    """

    inputs: "tuple[Property, ...]"
    function: Callable[..., Any]
    rises: tuple[bool, ...] = ()
    seen: tuple[float, float] = (-math.inf, math.inf)


@dataclass(frozen=True)
class OfCell:
    """A formula of the structure.

    Attributes:
        function: crystals -> (C,), natural unit; differentiable.
        error: relative std for lack of relaxation: what is asked for is the relaxed cell's value. That of
            density and volume: `python -m experiments.studies.as_proposed`.
        relaxed_error: relative std of the value of a judge's cell, beside that of DFT.
    """

    function: Callable[[Any], Any]
    error: float = 0.03
    relaxed_error: float = 0.02


@dataclass(frozen=True)
class OfComposition:
    """A formula of the composition alone, which is exact.

    Attributes:
        function: (C, Z) atomic fractions -> (C,), natural unit; differentiable.
        elements: symbols of those that it knows; None for all.
        lacks: what the others have none of, in words: "price".
        is_mean: whether the value is a mean over the elements, weighted by amount or mass: then it lies
            between theirs, and bounds out of reach are refused before a search.
    """

    function: Callable[[Any], Any]
    elements: frozenset[str] | None = None
    lacks: str = "value"
    is_mean: bool = False

    def missing(self, symbols: Iterable[str]) -> list[str]:
        """Return those of some elements for which the formula has no value, in alphabetical order."""
        return [] if self.elements is None else sorted(set(symbols) - self.elements)


Formula = OfProperties | OfCell | OfComposition

_FORMULAS: Mapping[Basis, type] = {
    Basis.OF_PROPERTIES: OfProperties,
    Basis.OF_CELL: OfCell,
    Basis.OF_COMPOSITION: OfComposition,
}


@dataclass(frozen=True)
class Digits:
    """How many digits of a value are shown.

    Attributes:
        significant: digits in all, where `decimals` says nothing.
        decimals: digits behind the point.
        whole_from: size from which on there are none.
    """

    significant: int = 3
    decimals: int | None = None
    whole_from: float = math.inf

    def text(self, value: float) -> str:
        """Return a finite number with these digits.

        >>> Digits(decimals=1, whole_from=20).text(312.44), Digits(decimals=1, whole_from=20).text(9.87)
        ('312', '9.9')
        """
        if abs(value) >= self.whole_from:
            return f"{value:.0f}"
        return f"{value:.{self.significant}g}" if self.decimals is None else f"{value:.{self.decimals}f}"


@dataclass(frozen=True, order=True)
class Property:
    """One property of a crystal; two are the same when the fields up to `is_positive` are.

    Attributes:
        name: the field's name, as in configs and tables.
        symbol: as written in figures, method included.
        unit: of every value of this property, everywhere; "" when dimensionless.
        minimum: smallest physical value; a config that asks for less is refused.
        maximum: largest physical value.
        level_of_theory: what the number on the default scale is; of a table, its source and date.
        is_positive: trained, calibrated and weighed in log space.
        label: in words; "" takes the name.
        short: symbol in table heads; "" takes the label.
        digits: how many are shown.
        typical: size of usual values, the unit in which soft targets are weighed; None takes 1, for a user's
            table the largest value in it.
        basis: how the values come about.
        formula: where `basis` says that there is one.
        judged: from what a judge reads it, where one does.
        also_called: what people call it beside name and symbol, in lower case.
    """

    name: str
    symbol: str
    unit: str
    minimum: float
    maximum: float
    level_of_theory: str
    is_positive: bool = False
    label: str = field(default="", compare=False)
    short: str = field(default="", compare=False)
    digits: Digits = field(default=Digits(), compare=False)
    typical: float | None = field(default=None, compare=False)
    basis: Basis = field(default=Basis.TABLE, compare=False)
    formula: Formula | None = field(default=None, compare=False)
    judged: Judged = field(default=Judged.NOWHERE, compare=False)
    also_called: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Fill in label and short symbol.

        Raises:
            PropertyError: a basis without its formula, or a formula of another kind.
        """
        needed = _FORMULAS.get(self.basis, type(None))
        if not isinstance(self.formula, needed):
            given = "none" if self.formula is None else type(self.formula).__name__
            wanted = "no formula" if needed is type(None) else f"a formula ({needed.__name__})"
            raise PropertyError(f"property {self.name!r}: {self.basis} needs {wanted}, and {given} is given")
        object.__setattr__(self, "label", self.label or self.name.replace("_", " "))
        object.__setattr__(self, "short", self.short or self.label)

    @property
    def scale(self) -> Scale:
        """On which scale its differences count."""
        return Scale.LOGARITHMIC if self.is_positive else Scale.LINEAR

    @property
    def size(self) -> float:
        """Size of usual values, in its unit."""
        if self.typical is not None:
            return self.typical
        return self.maximum / TABLE_RANGE if self.basis is Basis.TABLE else 1.0

    @property
    def is_exact(self) -> bool:
        """Whether the composition alone decides it, without error."""
        return self.basis is Basis.OF_COMPOSITION

    @property
    def is_judged(self) -> bool:
        """Whether judges compute it, or all that it follows from."""
        if isinstance(self.formula, OfProperties):
            return all(prop.is_judged for prop in self.formula.inputs)
        return self.formula is not None or self.judged is not Judged.NOWHERE

    @property
    def learned_inputs(self) -> "frozenset[Property]":
        """The properties without formula that it is made of: itself where it has none."""
        if isinstance(self.formula, OfProperties):
            return frozenset[Property]().union(*(prop.learned_inputs for prop in self.formula.inputs))
        return frozenset() if self.formula is not None else frozenset({self})

    def why_unknown(self, symbols: Collection[str]) -> str:
        """Return why a composition of these elements has no value, "" where it may have one."""
        if not isinstance(self.formula, OfComposition) or not (missing := self.formula.missing(symbols)):
            return ""
        verb = "has" if len(missing) == 1 else "have"
        return f"{', '.join(missing)} {verb} no {self.formula.lacks}"

    def to_record(self) -> dict[str, Any]:
        """Return the fields by which it is known, as weights carry them."""
        return {name: getattr(self, name) for name in Stored.__dataclass_fields__}


@dataclass(frozen=True)
class Stored:
    """A property as weights carry it: see `Property`."""

    name: str
    symbol: str
    unit: str
    minimum: float
    maximum: float
    level_of_theory: str
    is_positive: bool = False

    def to_property(self) -> Property:
        """Return the registered property of that name, else one of a user's table.

        Raises:
            PropertyError: the registered one is in another unit.
        """
        known = PROPERTIES.get(self.name)
        if known is not None:
            if known.unit != self.unit:
                raise PropertyError(f"{self.name} is in {known.unit!r} here, not in {self.unit!r}")
            return known
        return Property(**{name: getattr(self, name) for name in self.__dataclass_fields__})


PROPERTIES: dict[str, Property] = {}
"""Name -> every property that is registered."""


def register(prop: Property) -> Property:
    """Add a property to those that targets may name; return it.

    Raises:
        PropertyError: the name is taken, or the record lacks what a report or a soft target needs.
    """
    if prop.name in PROPERTIES:
        raise PropertyError(f"property {prop.name!r} is registered already")
    if prop.typical is None or not prop.typical > 0 or prop.basis is Basis.TABLE:
        raise PropertyError(f"property {prop.name!r}: a basis and a typical size are needed")
    if not prop.minimum < prop.maximum or not prop.symbol or not prop.level_of_theory:
        raise PropertyError(f"property {prop.name!r}: range, symbol or level of theory is missing")
    PROPERTIES[prop.name] = prop
    return prop


def of_basis(*bases: Basis) -> tuple[Property, ...]:
    """Return the registered properties that come about so, basis by basis."""
    return tuple(prop for basis in bases for prop in PROPERTIES.values() if prop.basis is basis)


def judged_from(*sources: Judged) -> tuple[Property, ...]:
    """Return the registered properties that judges read from these."""
    return tuple(prop for prop in PROPERTIES.values() if prop.judged in sources)


MEASURED = (Judged.TENSOR, Judged.ENERGY)
"""All from which judges read values of their own."""
