"""How far DFT values by the protocol of record lie from their table: numerical and model errors.

Numerical errors: that of K is measured (experiments/log/dft.md), the others are allowances. Model errors: `n`
says of how many known crystals one was measured; without any it is an allowance, what is asked of them.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from inverse.candidates.types import VerifiedValue
from surrogates.errors import DataError
from surrogates.physics.properties import Property
from surrogates.protocol import Z90


@dataclass(frozen=True)
class Accuracy:
    """Standard errors of one property.

    Attributes:
        numerical: of cutoff, mesh and smearing: share of the value, or the property's unit.
        model: of known crystals against their table, in the same measure.
        is_relative: shares of the value.
        n: known crystals of which the model error was measured; 0 where it is an allowance.
    """

    numerical: float
    model: float
    is_relative: bool
    n: int

    def error(self, value: float, own: float = 0.0) -> float:
        """Return the standard error of a value, its own (of a fit) in quadrature with the others."""
        scale = abs(value) if self.is_relative else 1.0
        return math.sqrt(own**2 + (self.numerical * scale) ** 2 + (self.model * scale) ** 2)


@cache
def accuracies() -> Mapping[str, Accuracy]:
    """Return the accuracy of each property that DFT is asked for, by name.

    Raises:
        DataError: the packaged file is damaged.
    """
    try:
        text = files("inverse.verification.first_principles").joinpath("accuracy.json").read_text("utf-8")
        return {name: Accuracy(**row) for name, row in json.loads(text)["properties"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"accuracy.json cannot be read: {error}") from None


def valued(prop: Property, value: float, code: str, own: float = 0.0) -> VerifiedValue:
    """Return a DFT value with its error.

    Args:
        prop: one of `accuracies`.
        value: in its unit.
        code: that computed it.
        own: standard error of this very value, of its fit.
    """
    value = float(value)
    std = accuracies()[prop.name].error(value, own)
    return VerifiedValue(value, std, value - Z90 * std, value + Z90 * std, value, code, prop.unit)
