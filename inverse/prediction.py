"""`inverse predict`: surrogate values of crystals and formulas as records of the command-line contract."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from surrogates.protocol import CompositionSurrogate, Surrogate


def predict(
    structures: Iterable[str | Path | Structure] = (),
    formulas: Sequence[str] = (),
    surrogate: Surrogate | None = None,
    composition_surrogate: CompositionSurrogate | None = None,
) -> list[dict[str, Any]]:
    """Return the records of `iterate_predictions` as a list."""
    return list(iterate_predictions(structures, formulas, surrogate, composition_surrogate))


def iterate_predictions(
    structures: Iterable[str | Path | Structure] = (),
    formulas: Sequence[str] = (),
    surrogate: Surrogate | None = None,
    composition_surrogate: CompositionSurrogate | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield one JSON-able record per structure, in input order, then one per formula.

    A record is `id, formula, level, model, scale, in_domain, predictions{name: {mean, std, lower, upper, unit}}`
    or, for what cannot be read or handled, `id, file, error{type, message}`. Numbers are finite or None.
    Without surrogates the shipped ones are loaded.

    Raises:
        DataError: a path that does not exist.
    """
    raise NotImplementedError
