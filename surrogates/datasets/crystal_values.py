"""Values of any property that crystal rows carry, from the files and sources that a training config names."""

import builtins
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from surrogates.crystals.batch import SCALES
from surrogates.datasets.elasticity import Labels
from surrogates.datasets.shared import crystal_rows
from surrogates.errors import ConfigError, DataError
from surrogates.physics.properties import Property, property_named
from surrogates.settings import Count, NotNegative

FILES = ("mp_structures", "elasticity", "wbm")
"""Of crystal rows, in the order in which they are read: of equal rows the first counts."""


@dataclass(frozen=True)
class TargetConfig:
    """One property to learn, and the crystal rows that say it.

    Attributes:
        property: name of it.
        column: of the rows; the property's name by default.
        sources: weights in the loss by file and by source within a file, whose own weight counts before the
            file's; 0 leaves a source out, and only files that are named are read.
        scored: files and sources whose rows count in the reported errors; all by default.
        max_atoms: larger cells are left out.
        censored: a value at the least of the property's range says only that it is not above: a network may
            go below unpunished (a metal's gap is 0 however far its bands overlap).
    """

    property: str
    column: str = ""
    sources: Mapping[str, NotNegative] = field(default_factory=lambda: dict.fromkeys(FILES, 1.0))
    scored: tuple[str, ...] = ()
    max_atoms: Count = 24
    censored: bool = False

    @builtins.property
    def learned(self) -> Property:
        """The record of the property; UnknownNameError where there is none."""
        return property_named(self.property, "targets")

    def value(self, row: Mapping[str, Any]) -> float | None:
        """Return the value of a row; None where it has none or none that is physical."""
        value = row.get(self.column or self.property)
        if value is None or not self.learned.minimum <= value <= self.learned.maximum:
            return None
        return None if self.learned.is_positive and value <= 0 else float(value)

    def weight(self, row: Mapping[str, Any]) -> float:
        """Return the weight of a row of `value_rows`."""
        return self.sources.get(row["source"], self.sources.get(row["file"], 0.0))

    def scores(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row of `value_rows` counts in the errors."""
        return not self.scored or row["file"] in self.scored or row["source"] in self.scored


def value_rows(target: TargetConfig) -> list[dict[str, Any]]:
    """Return the rows that say the property, with the `file` of each.

    Of rows with equal formula, space group and value to a hundredth the first counts.

    Raises:
        ConfigError: a file that does not exist, or none.
        DataError: the shared data is missing, or holds no such row.
    """
    if not any(name in FILES for name in target.sources):
        raise ConfigError(f"targets: sources of {target.property}: none of the files {', '.join(FILES)}")
    found = list(_rows(target))
    if not found:
        raise DataError(f"targets: no row has {target.column or target.property!r}")
    return found


def _rows(target: TargetConfig) -> Iterator[dict[str, Any]]:
    seen: set[tuple[str, int | None, float]] = set()
    for name in FILES:
        if name not in target.sources:
            continue
        for row in crystal_rows(name):
            value, named = target.value(row), {**row, "file": name}
            if value is None or len(row["species"]) > target.max_atoms or target.weight(named) <= 0:
                continue
            key = (row["formula"], row["space_group"], round(value, 2))
            if key not in seen:
                seen.add(key)
                yield named


def value_labels(target: TargetConfig, rows: Sequence[Mapping[str, Any]]) -> Labels:
    """Return the values (C, 1) of `value_rows`, as log10 where the property is positive."""
    values = torch.tensor([[target.value(row)] for row in rows], dtype=torch.float32)
    return Labels(
        ids=tuple(row["id"] for row in rows),
        formulas=tuple(row["formula"] for row in rows),
        sources=tuple(row["source"] for row in rows),
        scale=torch.full((len(rows),), SCALES.index(SCALES[0])),
        targets=values.log10() if target.learned.is_positive else values,
        weight=torch.tensor([target.weight(row) for row in rows], dtype=torch.float32),
        is_scored=torch.tensor([target.scores(row) for row in rows]),
        properties=(target.learned,),
        censored=target.censored,
    )
