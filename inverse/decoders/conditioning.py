"""Wanted property values as network inputs; a value that is not wanted is masked."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

CONDITIONED: tuple[str, ...] = (
    "bulk_modulus_vrh",
    "shear_modulus_vrh",
    "formation_energy_per_atom",
    "energy_above_hull",
)
"""Properties the decoder can be asked for."""

N_CONDITIONS = 2 * len(CONDITIONED)
"""Width of a condition vector: the values, then 1 where a value is given."""


def condition_vectors(values: np.ndarray) -> Tensor:
    """Return (C, 8) network inputs of (C, 4) values in natural units; NaN means not wanted."""
    with np.errstate(invalid="ignore"):
        columns = [
            (np.log(np.clip(values[:, 0], 1.0, 1000.0)) - 4.5) / 0.8,
            (np.log(np.clip(values[:, 1], 1.0, 1000.0)) - 3.8) / 0.9,
            np.clip(values[:, 2], -5.0, 5.0) + 0.8,
            2.0 * np.sqrt(np.clip(values[:, 3], 0.0, 1.0)) - 0.4,
        ]
    scaled = np.stack(columns, axis=1)
    is_given = ~np.isnan(scaled)
    return torch.as_tensor(
        np.concatenate([np.where(is_given, scaled, 0.0), is_given], axis=1), dtype=torch.float32
    )


def wanted_vector(targets: Mapping[str, float]) -> Tensor:
    """Return the (1, 8) network input of wanted values; properties not in CONDITIONED are ignored.

    >>> wanted_vector({"bulk_modulus_vrh": 350.0})[0, 4:].tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    return condition_vectors(np.array([[targets.get(name, np.nan) for name in CONDITIONED]], dtype=float))
