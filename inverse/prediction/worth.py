"""What a verification of a candidate is worth, by what the surrogate predicts of it."""

import torch
from torch import Tensor

from inverse.prediction.evaluation import Predictions, in_domain, is_finite

OUT_OF_DOMAIN = 0.5
"""Factor on the worth of a candidate whose predictions lie outside the surrogate's domain."""

TIE_BREAK = 1e-3
"""Worth that the loss may add at most, so that it decides between equal probabilities alone."""


def worth(predictions: Predictions, probability_met: Tensor, loss: Tensor) -> Tensor:
    """Return (C,) the expected share of a hit: P(all that decides a hit is met).

    A little of the loss breaks ties. Not finite predictions are worth nothing; those outside the domain half.
    """
    known_loss = torch.nan_to_num(loss.double(), nan=torch.inf)
    value = probability_met.double() + TIE_BREAK * torch.sigmoid(-known_loss)
    value = torch.where(in_domain(predictions), value, OUT_OF_DOMAIN * value)
    return torch.where(is_finite(predictions), value, torch.zeros_like(value))
