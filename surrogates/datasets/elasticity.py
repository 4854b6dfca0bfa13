"""Elastic moduli of crystals by DFT, curated by stated rules, split by formula."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surrogates.crystals.batch import SCALE_OF_SOURCE, scale_index
from surrogates.datasets.shared import crystal_rows
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS, Property

TARGETS: tuple[Property, ...] = (BULK_MODULUS, SHEAR_MODULUS)
"""Columns of the targets, as log10 of GPa."""

MAX_ATOMS = 60


@dataclass(frozen=True)
class Labels:
    """Targets of C crystals.

    Attributes:
        ids: (C,) of the rows.
        formulas: (C,) reduced formulas; what is split.
        sources: (C,).
        scale: (C,) long, index into SCALES.
        targets: (C, T), NaN where unknown.
        weight: (C,) in the loss.
        is_scored: (C,) bool; counts in the errors that are reported.
    """

    ids: tuple[str, ...]
    formulas: tuple[str, ...]
    sources: tuple[str, ...]
    scale: Tensor
    targets: Tensor
    weight: Tensor
    is_scored: Tensor

    def fold(self, n_folds: int) -> Tensor:
        """Return (C,) long: the fold of each formula, the same for all its rows and for ever."""
        return torch.tensor([formula_fold(f, n_folds) for f in self.formulas])


def formula_fold(formula: str, n_folds: int) -> int:
    """Return which of `n_folds` folds a reduced formula belongs to (SHA-256, so it never moves).

    >>> formula_fold("WC", 5) == formula_fold("WC", 5)
    True
    """
    return int(hashlib.sha256(formula.encode()).hexdigest()[:12], 16) % n_folds


def is_scored(row: Mapping[str, Any]) -> bool:
    """Return whether a row counts: K >= 5, G null or (G >= 1 and G/K < 1.3), at most 60 atoms.

    Rows with G/K >= 1.3 or K < 5 GPa mostly are failed calculations.
    """
    k, g = row["bulk_modulus_vrh"], row["shear_modulus_vrh"]
    if k is None or k < 5 or len(row["species"]) > MAX_ATOMS:
        return False
    return g is None or (g >= 1 and g / k < 1.3)


def ids_digest(ids: Iterable[str]) -> str:
    """Return a digest of rows' ids in their order: whether two files speak of the same rows."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def scored_rows() -> list[dict[str, Any]]:
    """Return the rows whose errors are reported, in the order of the file.

    Raises:
        DataError: the shared data is missing.
    """
    return [row for row in crystal_rows("elasticity") if is_scored(row)]


def elasticity_rows(eos: bool = True) -> list[dict[str, Any]]:
    """Return the rows that are trained on: the scored ones and, with `eos`, fits of an equation of state.

    Raises:
        DataError: the shared data is missing.
    """
    return [row for row in crystal_rows("elasticity") if is_scored(row) or (eos and _is_eos(row))]


STIFF: tuple[float, float] = (200.0, 100.0)
"""K or G, GPa, from which a row is called stiff."""

UNSURE: Mapping[str, float] = {"formula+sg match B": 0.7, "formula+sg match C": 0.3}
"""Weight of rows whose structure was joined to its moduli less surely."""


def elasticity_labels(
    rows: Sequence[Mapping[str, Any]],
    good_weight: float = 0.5,
    rough_weight: float = 0.05,
    stiff_weight: float = 1.0,
    unsure: bool = False,
) -> Labels:
    """Return log10 moduli and weights; EOS moduli stand on their own scale in the column of K.

    Args:
        rows: of `elasticity_rows`.
        good_weight: of good equation-of-state rows.
        rough_weight: of rough ones.
        stiff_weight: factor on the weight of full tensors beyond STIFF.
        unsure: weigh rows that are joined less surely by UNSURE.
    """
    targets = np.full((len(rows), 2), np.nan)
    weight = np.ones(len(rows))
    for i, row in enumerate(rows):
        k, g = row["bulk_modulus_vrh"], row["shear_modulus_vrh"]
        if _is_eos(row):
            k, g = row["bulk_modulus_eos"], None
            weight[i] = good_weight if str(row["label"]).endswith("good") else rough_weight
        else:
            is_stiff = k > STIFF[0] or (g or 0.0) > STIFF[1]
            weight[i] = (stiff_weight if is_stiff else 1.0) * (
                UNSURE.get(row.get("label", ""), 1.0) if unsure else 1.0
            )
        targets[i] = [np.log10(v) if v and v > 0 else np.nan for v in (k, g)]
    return Labels(
        ids=tuple(row["id"] for row in rows),
        formulas=tuple(row["formula"] for row in rows),
        sources=tuple(row["source"] for row in rows),
        scale=torch.tensor([scale_index(SCALE_OF_SOURCE[row["source"]]) for row in rows]),
        targets=torch.tensor(targets, dtype=torch.float32),
        weight=torch.tensor(weight, dtype=torch.float32),
        is_scored=torch.tensor([is_scored(row) for row in rows]),
    )


def _is_eos(row: Mapping[str, Any]) -> bool:
    value = row.get("bulk_modulus_eos")
    return (
        row["bulk_modulus_vrh"] is None
        and value is not None
        and 5 <= value < 700
        and len(row["species"]) <= MAX_ATOMS
    )
