"""What a verification of a candidate is worth, by what the surrogate predicts of it."""

import torch
from torch import Tensor

from inverse.prediction.evaluation import Predictions, in_domain, is_finite

OUT_OF_DOMAIN = 0.5
"""Factor on the worth of a candidate whose predictions lie outside the surrogate's domain."""


def worth(predictions: Predictions, probability_met: Tensor, loss: Tensor) -> Tensor:
    """Return (C,) the expected share of a hit: P(all that decides a hit is met).

    A little of the loss breaks ties. Not finite predictions are worth nothing; those outside the domain half.
    """
    value = probability_met.double().clamp(0.0, 1.0)
    finite_loss = torch.nan_to_num(loss.double(), nan=1e6, posinf=1e6, neginf=-1e6)
    value = value + 1e-3 * torch.sigmoid(-finite_loss)
    value = torch.where(in_domain(predictions), value, OUT_OF_DOMAIN * value)
    return torch.where(is_finite(predictions), value, torch.zeros_like(value))
