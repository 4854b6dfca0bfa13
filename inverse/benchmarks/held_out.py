"""Predictions of rows that a model never saw, as `python -m experiments.surrogates.compare` wrote them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surrogates.errors import DataError
from surrogates.properties import BULK_MODULUS, SHEAR_MODULUS, Property
from surrogates.protocol import Prediction


@dataclass(frozen=True)
class HeldOut:
    """R rows: what a model said and what DFT says, natural units.

    Attributes:
        formulas: (R,) reduced.
        sources: (R,).
        n_elements: (R,).
        truth: (R,) by property; NaN where unknown.
        predictions: by property.
        weight: (R,) rows of the whole set that each stands for.
        notes: what the file says of the model.
        ids: (R,) of the rows; () in files that do not say.
    """

    formulas: np.ndarray
    sources: np.ndarray
    n_elements: np.ndarray
    truth: Mapping[Property, np.ndarray]
    predictions: Mapping[Property, Prediction]
    weight: np.ndarray
    notes: Mapping[str, Any]
    ids: np.ndarray

    @property
    def is_mp(self) -> np.ndarray:
        """(R,) bool: Materials Project rows."""
        return np.isin(self.sources, ("mp_matcalc_binary", "mp_matbench_match", "matten_n100", "megnet_100"))


def read_held_out(path: Path) -> HeldOut | None:
    """Return the predictions in a file; None where there is no such file.

    Raises:
        DataError: a file that cannot be read.
    """
    from safetensors import safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        n = len(about["formulas"])
        predictions, truth = {}, {}
        for prop in (BULK_MODULUS, SHEAR_MODULUS):
            mean, std, lower, upper, samples = (
                tensors[f"{prop.name}.{name}"] for name in ("mean", "std", "lower", "upper", "samples")
            )
            is_in = torch.ones(n, dtype=torch.bool)
            predictions[prop] = Prediction(prop, mean, std, lower, upper, samples, is_in)
            truth[prop] = tensors[f"{prop.name}.truth"].numpy().astype(float)
    except Exception as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    notes = about["notes"]
    return HeldOut(
        np.array(about["formulas"]),
        np.array(about["sources"]),
        np.array(about["n_elements"]),
        truth,
        predictions,
        np.array(notes.pop("weight", [1.0] * n), dtype=float),
        notes,
        np.array(about.get("ids", ())),
    )
