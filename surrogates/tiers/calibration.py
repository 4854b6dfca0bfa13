"""Is the spread true? Error bars fitted to residuals that no member saw, and joint noise for samples."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from surrogates.checkpoints.strict_records import strict_record
from surrogates.errors import CheckpointError
from surrogates.protocol import Z90, far_from_hull

N_LEVELS = 33
"""Quantiles kept of the standardised residuals."""


DISAGREEMENT = 1.5
"""Factor on the spread of members, which takes over from the error bar where it is larger."""

GAIN_OF_MEMBERS = 0.1
"""By how much less the mean of many members errs than one; five err 0.92 times as much. Measured, as the
factor above, on DFT crystals that no member saw: `python -m experiments.studies.unseen_by_all`.
"""

MOST_WIDENING = 20.0
"""Per eV/atom."""

FEWEST_HELD = 60
"""Crystals held out below which no widening is fitted, and no group a factor of its own."""

RAMP = 0.1
"""From a value that parts two groups of error bars, within which those of one go over to the other's."""


@dataclass(frozen=True)
class Calibration:
    """Error bar of one property from the log-width a network predicts and the value itself.

    log error bar = offset + slope x log-width + bend . (value, value²) + log factor(value); 90 % of residuals
    lie within 1.645 of it, and residuals divided by it have the kept quantiles, whose tails are heavier than
    a normal's.

    Attributes:
        offset: see above.
        slope: see above.
        bend: see above.
        value_range: values are clamped to it first: no extrapolation.
        quantiles: (N_LEVELS,) of |residual| / error bar, made symmetric.
        width_range: log-widths likewise, so that one odd crystal's error bar stays a number to work with.
        largest_disagreement: spread of members over error bar beyond which a crystal is out of domain.
        widening: growth of the error bar per eV/atom above the hull of known phases; see `far_from_hull`.
            Whoever knows the hull applies it.
        knots: values at which the factor is given, linear in between, constant outside; none is a factor 1.
        factors: at the knots.
    """

    offset: float
    slope: float
    bend: tuple[float, float]
    value_range: tuple[float, float]
    quantiles: tuple[float, ...]
    largest_disagreement: float = 1.0
    width_range: tuple[float, float] = (-99.0, 99.0)
    widening: float = 0.0
    knots: tuple[float, ...] = ()
    factors: tuple[float, ...] = ()

    def std(self, log_width: Tensor, value: Tensor) -> Tensor:
        """Return error bars, in the units the residuals had; differentiable."""
        v = value.clamp(*self.value_range)
        width = log_width.clamp(*self.width_range)
        plain = torch.exp(self.offset + self.slope * width + self.bend[0] * v + self.bend[1] * v.square())
        return plain * interpolated(value, self.knots, self.factors) if self.knots else plain

    def of_members(self, values: Tensor, log_widths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean (C,) of members, its error bar, and how far they are apart; differentiable.

        The residuals are those of one member, and the mean of several errs less. What is usual of
        disagreement is in them already; only an unusual one widens the bar.

        Args:
            values: (K, C).
            log_widths: (K, C).
        """
        mean = values.mean(dim=0)
        spread = ((values - mean).square().mean(dim=0) + 1e-12).sqrt()
        of_mean = self.std(log_widths.mean(dim=0), mean) * (1.0 - GAIN_OF_MEMBERS * (1.0 - 1.0 / len(values)))
        return mean, (of_mean.pow(4) + (DISAGREEMENT * spread).pow(4)).pow(0.25), spread

    def noise(self, uniform: Tensor) -> Tensor:
        """Return standardised residuals at uniform (0, 1) levels, by linear interpolation."""
        table = torch.tensor(self.quantiles, dtype=uniform.dtype, device=uniform.device)
        place = (2 * uniform - 1).abs() * (N_LEVELS - 1)
        low = place.floor().clamp(max=N_LEVELS - 2).long()
        size = table[low] + (place - low) * (table[low + 1] - table[low])
        return size * torch.sign(uniform - 0.5)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able record."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Calibration":
        """Return the calibration of a record; older ones lack what was added since.

        Raises:
            CheckpointError: a record that is none.
        """
        everything = (-99.0, 99.0)
        older = {"bend": (0.0, 0.0), "value_range": everything, "width_range": everything}
        if not isinstance(record, Mapping):
            raise CheckpointError(f"calibration: a {type(record).__name__}, not a mapping")
        return strict_record(cls, {**older, **record}, "calibration")


def interpolated(value: Tensor, knots: Sequence[float], values: Sequence[float]) -> Tensor:
    """Return what is `values` at the knots, linear in between, constant outside; differentiable."""
    x, y = value.new_tensor(knots), value.new_tensor(values)
    held = value.clamp(float(x[0]), float(x[-1]))
    left = torch.bucketize(held.detach(), x[1:-1])
    return y[left] + (held - x[left]) / (x[left + 1] - x[left]) * (y[left + 1] - y[left])


def fit_calibration(
    residual: Tensor,
    log_width: Tensor,
    value: Tensor,
    largest_disagreement: float = 1.0,
    groups: Sequence[float] = (),
) -> Calibration:
    """Return the calibration of residuals (R,) made on rows that the network did not see.

    Slope and bend are a least-squares fit to log |residual| (robust to tails), the offset makes 1.645 error
    bars hold 90 % of the residuals (split conformal, doi:10.1007/3-540-36755-1_29), and so in each group.

    Args:
        residual: (R,).
        log_width: (R,).
        value: (R,).
        largest_disagreement: see `Calibration`.
        groups: ascending values that part the groups (Mondrian conformal, doi:10.1007/0-387-25061-1); the
            factor goes from one group's to the next within RAMP of a value.
    """
    size = residual.double().abs().clamp(min=1e-6)
    narrow, wide = torch.quantile(
        log_width.double(), torch.tensor([0.001, 0.999], dtype=torch.float64)
    ).tolist()
    width, plain = log_width.double().clamp(narrow, wide), value.double()
    levels = torch.tensor([0.005, 0.999], dtype=torch.float64)
    low, high = torch.quantile(plain, levels).tolist()
    clamped = plain.clamp(low, high)
    columns = torch.stack([torch.ones_like(width), width, clamped, clamped.square()], dim=1)
    ridge = torch.diag(torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    moments = columns.T @ columns + ridge
    _, slope, first, second = torch.linalg.solve(moments, columns.T @ size.clamp(min=1e-4).log()).tolist()
    scaled = size / torch.exp(slope * width + first * clamped + second * clamped.square())
    knots, factors = _factors(scaled, plain, groups)
    scaled = scaled / interpolated(plain, knots, factors) if knots else scaled
    unit = _held_90(scaled) / Z90
    grid = torch.linspace(0, 1, N_LEVELS, dtype=torch.float64)
    grid[-1] = 0.995
    quantiles = torch.quantile(scaled / unit, grid)
    return Calibration(
        offset=float(unit.log()),
        slope=slope,
        bend=(first, second),
        value_range=(low, high),
        quantiles=tuple(round(float(q), 5) for q in quantiles),
        largest_disagreement=largest_disagreement,
        width_range=(narrow, wide),
        knots=knots,
        factors=factors,
    )


def _factors(
    scaled: Tensor, value: Tensor, groups: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return knots and factors: how much wider than the rest the error bars of each group have to be."""
    if not groups:
        return (), ()
    group = torch.bucketize(value, value.new_tensor(groups))
    whole = _held_90(scaled)
    own = [scaled[group == k] for k in range(len(groups) + 1)]
    of_group = [round(float(_held_90(s) / whole), 5) if len(s) >= FEWEST_HELD else 1.0 for s in own]
    knots = tuple(value + side * RAMP for value in groups for side in (-1, 1))
    return knots, tuple(of_group[(k + 1) // 2] for k in range(len(knots)))


def _held_90(sizes: Tensor) -> Tensor:
    n = len(sizes)
    return torch.quantile(sizes, min(1.0, 0.9 * (n + 1) / n))


def hull_widening(error: Tensor, std: Tensor, label_std: float, above: Tensor) -> float:
    """Return the factor w per eV/atom at which 90 % of errors lie within 1.645 x std x (1 + w x above).

    0 where they do without it, or where there are too few crystals to tell.

    Args:
        error: (C,) of the mean of all members on crystals that none of them saw.
        std: (C,) error bars.
        label_std: standard deviation of the labels, added in quadrature.
        above: (C,) eV/atom above the hull of known phases; see `far_from_hull`.
    """
    if len(error) < FEWEST_HELD:
        return 0.0
    low, high = 0.0, MOST_WIDENING
    for _ in range(40):
        middle = (low + high) / 2
        bar = torch.hypot(std * far_from_hull(middle, above), torch.full_like(std, label_std))
        low, high = (low, middle) if coverage(error, bar) >= 0.9 else (middle, high)
    return round(high, 3) if high > 1e-6 else 0.0


def joint_uniforms(n_samples: int, correlation: Tensor) -> Tensor:
    """Return (M, T) fixed antithetic levels in (0, 1) with the given normal correlation (T, T).

    Sobol points through a Gaussian copula: the same for every call, so samples are differentiable and
    comparable between crystals. Row m and row m + M/2 mirror each other.
    """
    half, columns = n_samples // 2, correlation.shape[0]
    points = torch.quasirandom.SobolEngine(columns, scramble=True, seed=0).draw(half).double()
    normal = torch.special.ndtri(points.clamp(1e-4, 1 - 1e-4))
    factor = torch.linalg.cholesky(correlation.double() + 1e-6 * torch.eye(columns, dtype=torch.float64))
    normal = normal @ factor.T
    return torch.special.ndtr(torch.cat([normal, -normal])).float()


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Return the normal-score correlation of two residual series, NaN pairs left out."""
    both = torch.isfinite(first) & torch.isfinite(second)
    scores = [_normal_scores(values[both]) for values in (first, second)]
    return float((scores[0] * scores[1]).mean() / (scores[0].std() * scores[1].std()))


def coverage(residual: Tensor, std: Tensor, interval: float = Z90) -> float:
    """Return the share of residuals within `interval` error bars."""
    known = torch.isfinite(residual)
    return float((residual[known].abs() <= interval * std[known]).double().mean())


def _normal_scores(values: Tensor) -> Tensor:
    rank = values.argsort().argsort().double()
    return torch.special.ndtri((rank + 0.5) / len(values))
