"""This campaign's correction of the surrogate: a Gaussian process on composition, fitted to verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inverse.types import Candidate
from surrogates.crystal import CrystalBatch
from surrogates.properties import FORMATION_ENERGY, Property
from surrogates.protocol import Prediction, Surrogate, widening_of

LENGTH = 0.25
"""Length scale in composition space (Euclidean distance of atomic fractions)."""


@dataclass(frozen=True)
class Prior:
    """Prior std of the residual, everywhere and locally: natural log (positive properties) or eV/atom."""

    offset: float
    local: float


MODULI, ENERGY = Prior(0.02, 0.06), Prior(0.05, 0.06)
"""Moduli hardly share an error that a few verdicts could reveal; energies of hypothetical crystals do."""

PSEUDO_VERDICTS, WORST_Z = 8.0, 6.0
"""Verdicts that the surrogate's own std counts for; the largest deviation (in std) one verdict may claim."""


@dataclass(frozen=True)
class _Fit:
    """Told compositions (N, Z), GP weights (N,), prior, and the factor on the std, of one property."""

    fractions: Tensor
    weights: Tensor
    prior: Prior
    widening: float


class CorrectedSurrogate:
    """A surrogate plus the residuals of this campaign's verdicts; before any verdict the surrogate itself.

    Deterministic; differentiable where the surrogate is. Shipped weights are never touched.
    """

    def __init__(self, surrogate: Surrogate, beside: Sequence["CorrectedSurrogate"] = ()) -> None:
        """Wrap a surrogate; those `beside` it (the fast tier, which searches) are told the same verdicts."""
        self._base, self._beside = surrogate, tuple(beside)
        self.name = f"{surrogate.name}+correction"
        self.properties, self.widening = surrogate.properties, widening_of(surrogate)
        self._told: list[Candidate] = []
        self._fits: dict[Property, _Fit] = {}

    @property
    def n_told(self) -> int:
        """Verdicts that the correction rests on."""
        return len(self._told)

    def predict(
        self, crystals: CrystalBatch, properties: Sequence[Property]
    ) -> Mapping[Property, Prediction]:
        """Return corrected predictions; errors as the surrogate's own."""
        base = self._base.predict(crystals, properties)
        fractions = crystals.composition.double()
        return {p: self._corrected(p, base[p], fractions) for p in properties}

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Take verified candidates into the fit, in the order given; those without a verdict are left out."""
        for other in self._beside:
            other.tell(candidates)
        self._told += [c for c in candidates if c.verification is not None and c.verification.values]
        if not self._told:
            return
        crystals = CrystalBatch.from_structures([c.structure for c in self._told])
        with torch.no_grad():
            base = self._base.predict(crystals, list(self.properties))
        fractions = crystals.composition.double()
        for prop in self.properties:
            fit = _fit(prop, base[prop], fractions, self._told)
            if fit is not None:
                self._fits[prop] = fit

    def _corrected(self, prop: Property, base: Prediction, fractions: Tensor) -> Prediction:
        fit = self._fits.get(prop)
        if fit is None:
            return base
        shift = (_kernel(fractions, fit.fractions, fit.prior) @ fit.weights).to(base.mean)
        return _shifted(base, shift, fit.widening, prop.is_positive)


def _kernel(a: Tensor, b: Tensor, prior: Prior) -> Tensor:
    squared = (a[:, None, :] - b[None, :, :]).pow(2).sum(dim=-1)
    return prior.offset**2 + prior.local**2 * torch.exp(-0.5 * squared / LENGTH**2)


def _fit(prop: Property, base: Prediction, fractions: Tensor, told: Sequence[Candidate]) -> _Fit | None:
    rows, residuals, noise, deviations = [], [], [], []
    for row, candidate in enumerate(told):
        value = candidate.verification.values.get(prop.name) if candidate.verification is not None else None
        if value is None or not (value.mean == value.mean and value.std == value.std):
            continue
        mean, std = float(base.mean[row]), float(base.std[row])
        if prop.is_positive:
            if value.mean <= 1.0 or mean <= 1.0:
                continue
            residual = float(torch.log(torch.tensor(value.mean / mean)))
            error = max(value.std / value.mean, 0.02)
        else:
            residual, error = value.mean - mean, max(value.std, 0.01)
        spread = std / mean if prop.is_positive else std
        rows.append(row)
        residuals.append(max(-0.7, min(0.7, residual)))
        deviations.append(min(WORST_Z, abs(residual) / max((error**2 + spread**2) ** 0.5, 1e-9)))
        noise.append(error**2 + 0.25 * spread**2 + (0.05**2 if prop != FORMATION_ENERGY else 0.03**2))
    if not rows:
        return None
    x = fractions[rows]
    prior = MODULI if prop.is_positive else ENERGY
    matrix = _kernel(x, x, prior) + torch.diag(torch.tensor(noise, dtype=torch.float64))
    factor = torch.linalg.cholesky(matrix)
    target = torch.tensor(residuals, dtype=torch.float64)[:, None]
    seen = sum(z * z for z in deviations)
    widening = max(1.0, ((PSEUDO_VERDICTS + seen) / (PSEUDO_VERDICTS + len(deviations))) ** 0.5)
    return _Fit(x, torch.cholesky_solve(target, factor)[:, 0], prior, widening)


def _shifted(base: Prediction, shift: Tensor, widening: float, is_positive: bool) -> Prediction:
    scale = torch.exp(shift) if is_positive else torch.ones_like(shift)
    offset = torch.zeros_like(shift) if is_positive else shift
    mean = base.mean * scale + offset

    def moved(value: Tensor) -> Tensor:
        return mean + (value - base.mean) * scale * widening

    return replace(
        base,
        mean=mean,
        std=base.std * scale * widening,
        lower=moved(base.lower),
        upper=moved(base.upper),
        samples=moved(base.samples),
    )
