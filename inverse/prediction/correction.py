"""This campaign's correction of the surrogate: a Gaussian process on composition, fitted to verdicts."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from pymatgen.core import Structure
from torch import Tensor

from inverse.candidates.types import Candidate
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import EngineError, SurrogateError
from surrogates.physics.properties import Judged, Property
from surrogates.protocol import Prediction, Surrogate, widening_of
from surrogates.tiers.spread import moved, widened

LOGGER = logging.getLogger(__name__)

LENGTH = 0.25
"""Length scale in composition space (Euclidean distance of atomic fractions)."""

MOST_VERDICTS = 512
"""Verdicts that the fit rests on, the last told ones: its cost does not grow with the campaign."""


@dataclass(frozen=True)
class Prior:
    """What is expected of residuals before any verdict: natural log (positive properties) or natural units.

    Attributes:
        offset: std of what all compositions share.
        local: std of what only near ones do.
        noise: std of what not even the same composition shares.
        farthest: larger residuals count as this large.
    """

    offset: float
    local: float
    noise: float
    farthest: float


PRIORS: Mapping[Judged, Prior] = {
    Judged.TENSOR: Prior(0.02, 0.06, 0.05, 0.7),
    Judged.ENERGY: Prior(0.05, 0.06, 0.03, 0.7),
}
"""By what judges read a property from. Moduli hardly share an error that a few verdicts could reveal;
energies of hypothetical crystals do. Every other property has its prior from the error bars and the residuals
themselves, see `prior_of`.
"""

UNKNOWN_PRIOR = Prior(0.5, 1.0, 0.2, 6.0)
"""Prior of any other property, in units of its scale."""

LEAST_ERROR = {True: 0.02, False: 0.01}
"""Smallest error of a verdict: of positive properties relative, of the energy in eV/atom."""

PSEUDO_VERDICTS, WORST_Z = 8.0, 6.0
"""Verdicts that the surrogate's own std counts for; the largest deviation (in std) one verdict may claim."""

LEAST_RATIO = 1e-3
"""A verdict on a positive property counts as at least this share of the prediction: zero says "far below"."""

LEAST_SCALE = 1e-9
"""Error bars and scales of residuals that nothing is divided by."""

MAD_TO_STD = 1.4826
"""Std of a normal distribution over its median absolute deviation."""

HALF_BELIEVED = 2.0
"""Verdicts at which half of the typical residual counts as the scale of a property without a prior."""


@dataclass(frozen=True)
class _Fit:
    """Told compositions (N, Z), GP weights (N,), prior, and the factor on the std, of one property."""

    fractions: Tensor
    weights: Tensor
    prior: Prior
    widening: float


@dataclass
class _Evidence:
    """What verdicts said of one property, one entry for each verdict, in the order told.

    Attributes:
        fractions: (Z,) of each.
        residuals: verdict minus prediction; natural log of their ratio for a positive property.
        errors: std of the verdict.
        spreads: std of the prediction.
        seen: summed squared deviations in std, those of verdicts long told included.
        n: verdicts in all.
    """

    fractions: list[Tensor] = field(default_factory=list)
    residuals: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    seen: float = 0.0
    n: int = 0

    def add(self, fractions: Tensor, residual: float, error: float, spread: float) -> None:
        """Take one verdict in; the oldest make room."""
        self.seen += min(WORST_Z, abs(residual) / max(math.hypot(error, spread), LEAST_SCALE)) ** 2
        self.n += 1
        for values, value in ((self.residuals, residual), (self.errors, error), (self.spreads, spread)):
            values.append(value)
            del values[:-MOST_VERDICTS]
        self.fractions.append(fractions)
        del self.fractions[:-MOST_VERDICTS]


class Correction:
    """What verdicts taught of a surrogate's residuals, by property; deterministic."""

    def __init__(self) -> None:
        self._evidence: dict[Property, _Evidence] = {}
        self._fits: dict[Property, _Fit] = {}

    def take_in(
        self, prop: Property, fractions: Tensor, predicted: tuple[float, float], verdict: tuple[float, float]
    ) -> None:
        """Take one verdict in, if all of it is finite.

        Args:
            prop: of which.
            fractions: (Z,) of the crystal.
            predicted: mean and std, by the surrogate itself.
            verdict: mean and std.
        """
        (mean, std), (value, error) = predicted, verdict
        if not all(map(math.isfinite, (value, error, mean, std))):
            return
        residual, spread = value - mean, std
        if prop.is_positive:
            if mean <= 0.0:
                return
            low = max(value, LEAST_RATIO * mean)
            residual, error, spread = math.log(low / mean), error / low, std / mean
        if prop.judged in PRIORS:
            error = max(error, LEAST_ERROR[prop.is_positive])
        self._evidence.setdefault(prop, _Evidence()).add(fractions, residual, error, spread)
        self._fits.pop(prop, None)

    def corrected(self, prop: Property, base: Prediction, fractions: Tensor) -> Prediction:
        """Return a prediction of crystals with (C, Z) fractions, corrected; itself without any verdict."""
        if prop not in self._evidence:
            return base
        if prop not in self._fits:
            self._fits[prop] = _fit(prop, self._evidence[prop])
        fit = self._fits[prop]
        shift = _kernel(fractions, fit.fractions, fit.prior) @ fit.weights
        return moved(widened(base, fit.widening), shift.to(base.mean))


class CorrectedSurrogate:
    """A surrogate plus the residuals of this campaign's verdicts; before any verdict the surrogate itself.

    Each verdict is predicted once, when it is told; the fit is made when it is first asked for.
    Deterministic; differentiable where the surrogate is. Shipped weights are never touched.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        beside: Sequence["CorrectedSurrogate"] = (),
        cell_of: Callable[[Candidate], Structure] = lambda candidate: candidate.structure,
    ) -> None:
        """Wrap a surrogate.

        Args:
            surrogate: whose predictions are corrected.
            beside: others (the fast tier, which searches) that are told the same verdicts.
            cell_of: the cell that this surrogate was asked about when a candidate was predicted.
        """
        self._base, self._beside, self._cell_of = surrogate, tuple(beside), cell_of
        self.name = f"{surrogate.name}+correction"
        self.properties, self.widening = surrogate.properties, widening_of(surrogate)
        self.level, self.elements = surrogate.level, surrogate.elements
        self._correction = Correction()

    def predict(
        self, crystals: CrystalBatch, properties: Sequence[Property]
    ) -> Mapping[Property, Prediction]:
        """Return corrected predictions; errors as the surrogate's own."""
        base = self._base.predict(crystals, properties)
        fractions = crystals.composition.double()
        return {p: self._correction.corrected(p, base[p], fractions) for p in properties}

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Take verified candidates into the fit, in the order given; those without a verdict are left out."""
        for other in self._beside:
            other.tell(candidates)
        told = [c for c in candidates if c.verification is not None and c.verification.values]
        for some, fractions, base in self._predicted(told):
            for row, candidate in enumerate(some):
                self._take_in(candidate, fractions[row], base, row)

    def _predicted(
        self, told: Sequence[Candidate]
    ) -> list[tuple[Sequence[Candidate], Tensor, Mapping[Property, Prediction]]]:
        """Return candidates, compositions and the surrogate's own predictions, part by part.

        A crystal that it refuses teaches nothing.
        """
        if not told:
            return []
        try:
            crystals = CrystalBatch.from_structures([self._cell_of(c) for c in told])
            with torch.no_grad():
                base = self._base.predict(crystals, list(self.properties))
            return [(told, crystals.composition.double(), base)]
        except SurrogateError:  # no crystal is to blame
            raise
        except EngineError as error:
            if len(told) == 1:
                LOGGER.warning("%s: its verdict teaches nothing (%s)", told[0].id, error)
                return []
        half = len(told) // 2
        return [*self._predicted(told[:half]), *self._predicted(told[half:])]

    def _take_in(
        self, candidate: Candidate, fractions: Tensor, base: Mapping[Property, Prediction], row: int
    ) -> None:
        values = candidate.values
        for prop in self.properties:
            if (value := values.get(prop.name)) is not None:
                said = float(base[prop].mean[row]), float(base[prop].std[row])
                self._correction.take_in(prop, fractions, said, (value.mean, value.std))


def prior_of(prop: Property, residuals: Sequence[float], spreads: Sequence[float]) -> Prior:
    """Return the prior of a property's residuals, whatever its unit.

    The scale of a property that has none of its own is the median error bar of the predictions, or the median
    residual where that is larger and verdicts bear it out: one counts for a third, ten for most of it.
    """
    if prop.judged in PRIORS:
        return PRIORS[prop.judged]
    n = len(residuals)
    typical = MAD_TO_STD * float(torch.tensor(residuals, dtype=torch.float64).abs().median())
    own = float(torch.tensor(spreads, dtype=torch.float64).median())
    scale = max(own, typical * n / (n + HALF_BELIEVED), LEAST_SCALE)
    unit = UNKNOWN_PRIOR
    return Prior(unit.offset * scale, unit.local * scale, unit.noise * scale, unit.farthest * scale)


def _kernel(a: Tensor, b: Tensor, prior: Prior) -> Tensor:
    """Return the (N, M) prior covariance of residuals at compositions (N, Z) and (M, Z); differentiable."""
    squared = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2.0 * a @ b.T
    return prior.offset**2 + prior.local**2 * torch.exp(-0.5 * squared.clamp(min=0.0) / LENGTH**2)


def _fit(prop: Property, evidence: _Evidence) -> _Fit:
    prior = prior_of(prop, evidence.residuals, evidence.spreads)
    residuals = torch.tensor(evidence.residuals, dtype=torch.float64).clamp(-prior.farthest, prior.farthest)
    errors, spreads = (torch.tensor(v, dtype=torch.float64) for v in (evidence.errors, evidence.spreads))
    noise = errors.square() + 0.25 * spreads.square() + prior.noise**2
    x = torch.stack(evidence.fractions)
    factor = torch.linalg.cholesky(_kernel(x, x, prior) + torch.diag(noise))
    weights = torch.cholesky_solve(residuals[:, None], factor)[:, 0]
    widening = max(1.0, math.sqrt((PSEUDO_VERDICTS + evidence.seen) / (PSEUDO_VERDICTS + evidence.n)))
    return _Fit(x, weights, prior, widening)
