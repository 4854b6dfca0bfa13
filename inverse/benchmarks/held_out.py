"""Predictions of rows that a model never saw, as `python -m experiments.studies.compare` wrote them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from inverse.benchmarks.dft_rows import ScoredRows
from surrogates.errors import DataError
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS, Property
from surrogates.protocol import Z90, Prediction

FOLDER = Path(__file__).with_name("predictions")
"""What comes with the package: one file a model, nothing of the DFT rows in it but their places."""

MATERIALS_PROJECT = ("mp_matcalc_binary", "mp_matbench_match", "matten_n100", "megnet_100")
"""Sources of its rows."""


@dataclass(frozen=True)
class HeldOutPredictions:
    """R rows: what a model said and what DFT says, natural units.

    Attributes:
        ids: (R,) of the rows.
        formulas: (R,) reduced.
        sources: (R,).
        n_elements: (R,).
        truth: (R,) by property; NaN where unknown.
        predictions: by property.
        weight: (R,) rows of the whole set that each stands for.
        notes: what the file says of the model.
    """

    ids: np.ndarray
    formulas: np.ndarray
    sources: np.ndarray
    n_elements: np.ndarray
    truth: Mapping[Property, np.ndarray]
    predictions: Mapping[Property, Prediction]
    weight: np.ndarray
    notes: Mapping[str, Any]

    @property
    def is_mp(self) -> np.ndarray:
        """(R,) bool: Materials Project rows."""
        return np.isin(self.sources, MATERIALS_PROJECT)


def read_held_out(path: Path, rows: ScoredRows) -> HeldOutPredictions | None:
    """Return the predictions in a file beside the DFT rows; None without such a file, or if of other rows.

    Raises:
        DataError: a file that cannot be read.
    """
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[b"about"])
        columns = {name: table[name].to_numpy() for name in table.column_names}
        noise, step = torch.tensor(about["noise"]), about["step"]
        said = {
            prop: _prediction(prop, columns, step, noise[:, :, t])
            for t, prop in enumerate((BULK_MODULUS, SHEAR_MODULUS))
        }
        made_of, notes, place, weight = about["rows"], about["notes"], columns["row"], columns["weight"]
    except Exception as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if made_of != rows.digest:
        return None
    return HeldOutPredictions(
        rows.ids[place],
        rows.formulas[place],
        rows.sources[place],
        rows.n_elements[place],
        {prop: truth[place] for prop, truth in rows.truth.items()},
        said,
        weight.astype(float),
        notes,
    )


def _prediction(
    prop: Property, columns: Mapping[str, np.ndarray], step: float, noise: torch.Tensor
) -> Prediction:
    """Return what a file says of a property; noise (F, M) are the standardised residuals of each fit."""
    value, std = (
        torch.tensor(columns[f"{prop.name}.{field}"] * step, dtype=torch.float32)
        for field in ("value", "std")
    )
    samples = value + noise[torch.tensor(columns["fit"], dtype=torch.long)].T * std
    mean = torch.pow(10.0, value)
    return Prediction(
        property=prop,
        mean=mean,
        std=mean * float(np.log(10.0)) * std,
        lower=torch.pow(10.0, value - Z90 * std),
        upper=torch.pow(10.0, value + Z90 * std),
        samples=torch.pow(10.0, samples),
        in_domain=torch.ones(len(mean), dtype=torch.bool),
    )
