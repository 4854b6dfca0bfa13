"""Predictions of a normal distribution, with wider error bars, or moved; positive ones stay positive."""

from dataclasses import replace

import torch
from torch import Tensor

from surrogates.derived import within_range
from surrogates.physics.properties import Property
from surrogates.protocol import Z90, Prediction

N_SAMPLES = 80
"""Joint draws of a prediction that has none of its own."""

LEAST_SHARE = 1e-6
"""Share of the mean below which no value of a positive property is read: logarithms need more than zero."""


def normal(prop: Property, mean: Tensor, std: Tensor, in_domain: Tensor | None = None) -> Prediction:
    """Return the prediction of a normal distribution, within the physical range; differentiable.

    Samples are the same quantiles for every crystal, so that they rise together. A mean outside the range is
    out of domain; the distribution then stands on the end of the range, as wide as before.

    Args:
        prop: what is predicted.
        mean: (C,) natural units.
        std: (C,) of the whole error.
        in_domain: (C,) bool; all by default.
    """
    middle = within_range(prop, mean)
    values = (middle - Z90 * std, middle + Z90 * std, middle + _levels(mean)[:, None] * std)
    lower, upper, samples = (within_range(prop, v) for v in values)
    possible = (mean >= prop.minimum) & (mean <= prop.maximum)
    trusted = possible if in_domain is None else possible & in_domain
    return Prediction(prop, middle, std, lower, upper, samples, trusted)


def lognormal(
    prop: Property, log_mean: Tensor, log_std: Tensor, in_domain: Tensor | None = None
) -> Prediction:
    """Return the prediction of a value whose natural logarithm is normal; its mean is the median.

    Else as `normal`, with (C,) mean and standard deviation of the logarithm; the std is that of small errors.
    """
    told = log_mean + _levels(log_mean)[:, None] * log_std
    middle = within_range(prop, log_mean.exp())
    ends = (log_mean - Z90 * log_std, log_mean + Z90 * log_std, told)
    lower, upper, samples = (within_range(prop, end.exp()) for end in ends)
    possible = (log_mean.exp() >= prop.minimum) & (log_mean.exp() <= prop.maximum)
    trusted = possible if in_domain is None else possible & in_domain
    return Prediction(prop, middle, middle * log_std, lower, upper, samples, trusted)


def _levels(like: Tensor) -> Tensor:
    """Return (M,) standard normal quantiles, evenly many."""
    return torch.special.ndtri((torch.arange(N_SAMPLES) + 0.5) / N_SAMPLES).to(like)


def widened(prediction: Prediction, factor: Tensor | float) -> Prediction:
    """Return a prediction whose error bar is `factor` times as wide; means and domain stay.

    A positive property keeps its median and is widened in logarithms: bounds and samples stay positive and in
    order, whatever the factor; none leaves the physical range unless the mean does. Differentiable.

    Args:
        prediction: of C crystals.
        factor: (C,) or one for all, positive.
    """
    mean = prediction.mean

    def apart(values: Tensor) -> Tensor:
        if not prediction.property.is_positive:
            return mean + (values - mean) * factor
        return mean * (values / mean).clamp(min=LEAST_SHARE).pow(factor)

    return replace(
        prediction,
        std=prediction.std * factor,
        lower=torch.minimum(within_range(prediction.property, apart(prediction.lower)), mean),
        upper=torch.maximum(within_range(prediction.property, apart(prediction.upper)), mean),
        samples=within_range(prediction.property, apart(prediction.samples)),
    )


def moved(prediction: Prediction, shift: Tensor) -> Prediction:
    """Return a prediction moved by (C,) `shift`: a positive property by the factor exp(shift)."""
    if prediction.property.is_positive:
        factor = torch.exp(shift)
        return replace(
            prediction,
            mean=prediction.mean * factor,
            std=prediction.std * factor,
            lower=prediction.lower * factor,
            upper=prediction.upper * factor,
            samples=prediction.samples * factor,
        )
    return replace(
        prediction,
        mean=prediction.mean + shift,
        lower=prediction.lower + shift,
        upper=prediction.upper + shift,
        samples=prediction.samples + shift,
    )
