"""Structures -> predictions of all a campaign asks about, hull distance and derived properties included."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan

import numpy as np
import torch
from pymatgen.core import Composition, Structure
from torch import Tensor

from inverse.candidates.types import KnownPhase, PredictedValue
from inverse.reference.known_energies import GivenEnergy, KnownEnergies, with_known
from surrogates.crystals.batch import ELEMENT_SYMBOLS, N_ELEMENTS, CrystalBatch
from surrogates.derived import derived_predictions
from surrogates.errors import ConfigError, EngineError, SurrogateError, nearest
from surrogates.physics.properties import ENERGY_ABOVE_HULL, FORMATION_ENERGY, PROPERTIES, Property
from surrogates.protocol import Prediction, Surrogate, far_from_hull, widening_of
from surrogates.tiers.spread import moved, widened

Predictions = Mapping[Property, Prediction]

HullBelow = Callable[[str], float]
"""Formula -> formation energy of the hull of known phases there, eV/atom; EngineError where it is unknown."""

HullPotentials = Callable[[np.ndarray], np.ndarray]
"""Atomic fractions (C, Z) -> chemical potentials (C, Z) of the hull there, eV/atom; NaN where unknown."""

MODULUS_ERROR = 0.10
"""Relative std, for lack of relaxation alone, of K and G, which fall with about the 2.3th power of the
volume: `python -m experiments.studies.as_proposed`. That of density and volume is `GEOMETRY_ERROR`.
"""

LOWEST_ABOVE_HULL = -0.25
"""eV/atom, the lowest distance from the hull of known phases that a prediction may claim. Of 2,144 crystals
of WBM whose formula is in no table, DFT puts 2.5 % below -0.1 and 0.1 % below this, most of these with
actinides: what is predicted below is far likelier an error, and its distance says how large a one.
"""

WIDENED_OUT_OF_DOMAIN, LEAST_ENERGY_STD = 2.0, 0.2
"""Factor on the error bars of what lies outside a surrogate's domain, and the smallest std of an energy
there, eV/atom. A convention: with all compounds of one anion left out of the training the bars are 1.2 times
too narrow, and of crystals outside the domain there are hardly any labels (7 of 3,248).
"""

CHUNK = 128
"""Crystals that are asked about at once."""

TRACE = 1e-6
"""Atomic fraction up to which an element stands in no formula."""

LEAST_STD, LEAST_RELATIVE_STD = 1e-9, 1e-6
"""Error bars that nothing is divided by: of an energy, eV/atom, and of a modulus, relative."""

FARTHEST_IN_DOMAIN = 0.25
"""eV/atom predicted above the hull beyond which K and G are out of domain: of adversarial ascents that end
there the claims are off by 17 % in the median and 45 % at the 90th percentile, of the others by 7 and 24 %.
"""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluator says of crystals.

    Attributes:
        predictions: of all its properties; empty without crystals.
        phases: the tabulated phase that each crystal is, whose energy its prediction is; None for others.
    """

    predictions: Predictions
    phases: tuple[KnownPhase | None, ...]


class Evaluator:
    """Asks the surrogate once per batch and adds what follows from its answers.

    Attributes:
        properties: everything it answers, in a fixed order.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        hull_energy: HullBelow,
        wanted: Sequence[Property],
        chunk: int = CHUNK,
        beside: "Evaluator | None" = None,
        potentials: HullPotentials | None = None,
        known: KnownEnergies | None = None,
    ) -> None:
        """Check that everything wanted can be predicted.

        Args:
            surrogate: who answers.
            hull_energy: the hull below a formula.
            wanted: properties of the targets.
            chunk: crystals asked about at once.
            beside: an evaluator with which to share the count, the hull and the energies already looked up.
            potentials: the hull below mixtures, with its slopes; None takes it as flat, at the energy below
                the mixture's formula.
            known: energies of known phases, which count instead of the predicted ones; None looks nothing up,
                as whoever measures the surrogate's errors wants it.

        Raises:
            ConfigError: a wanted property that neither the surrogate nor a formula gives.
        """
        self._surrogate, self._hull_energy, self._chunk = surrogate, hull_energy, chunk
        self._potentials: HullPotentials | None = potentials
        if potentials is None and beside is not None:
            self._potentials = beside._potentials
        self._known: KnownEnergies | None = known
        if known is None and beside is not None:
            self._known = beside._known
        self._hull_cache: dict[str, float] = {} if beside is None else beside._hull_cache
        self._count: list[int] = [0] if beside is None else beside._count
        self._widening = widening_of(surrogate)
        has = set(surrogate.properties)
        if FORMATION_ENERGY in has:
            has.add(ENERGY_ABOVE_HULL)
        possible = has | {p for p in PROPERTIES.values() if p.learned_inputs <= has}
        for prop in wanted:
            if prop not in possible:
                hint = nearest(prop.name, [p.name for p in possible])
                raise ConfigError(f"targets.{prop.name}: no surrogate predicts it; {hint}")
        always = [p for p in (*surrogate.properties, ENERGY_ABOVE_HULL) if p in possible]
        self.properties = tuple(dict.fromkeys([*wanted, *always]))

    @property
    def n_evaluated(self) -> int:
        """Crystals evaluated so far, for the funnel."""
        return self._count[0]

    def hull_energy(self, formula: str) -> float:
        """Return the hull's formation energy at a formula, eV/atom; NaN where the hull knows no answer."""
        reduced = Composition(formula).reduced_formula
        if reduced not in self._hull_cache:
            try:
                self._hull_cache[reduced] = float(self._hull_energy(reduced))
            except EngineError:
                self._hull_cache[reduced] = float("nan")
        return self._hull_cache[reduced]

    def hull_of_formulas(self, formulas: Sequence[str]) -> Tensor:
        """Return (C, Z) planes that hold the hull's energy below each formula, without its slopes."""
        energies = torch.tensor([self.hull_energy(formula) for formula in formulas])
        return energies[:, None].expand(-1, N_ELEMENTS)

    def hull_of_mixtures(self, fractions: Tensor) -> Tensor:
        """Return (C, Z) chemical potentials of the hull below mixtures: its energy and its slopes.

        `(fractions * potentials).sum(1)` is the energy there, also where species are soft; the potentials are
        its gradient, constant inside a facet of the hull.

        Args:
            fractions: (C, Z) atomic fractions.
        """
        mixtures = fractions.detach().cpu().double().numpy()
        if self._potentials is None:
            return self.hull_of_formulas([_formula_of(row) for row in mixtures])
        return torch.as_tensor(self._potentials(mixtures), dtype=torch.float32)

    def supported(self, elements: Sequence[str]) -> frozenset[str]:
        """Return those elements that the surrogate was trained on and the hull has a reference for.

        And that everything wanted has a value for: without a price nothing is known of a compound's cost.
        """
        known = [e for e in elements if e in self._surrogate.elements]
        valued = [e for e in known if not any(prop.why_unknown([e]) for prop in self.properties)]
        return frozenset(e for e in valued if not isnan(self.hull_energy(e)))

    def predict(self, structures: Sequence[Structure]) -> Predictions:
        """Return detached predictions of all `properties` for structures, evaluated in chunks by size."""
        return self.evaluate(structures).predictions

    def evaluate(
        self, structures: Sequence[Structure], given: Sequence[GivenEnergy | None] | None = None
    ) -> Evaluation:
        """Return the predictions of `predict`, and which tabulated phase each structure is.

        Args:
            structures: C crystals.
            given: C energies that count instead of the predicted ones where a crystal is no tabulated phase;
                None, or None for a crystal, takes what is predicted.
        """
        energies = [None] * len(structures) if given is None else list(given)
        parts: list[Evaluation | None] = []
        with torch.no_grad():
            for start in range(0, len(structures), self._chunk):
                chunk = slice(start, start + self._chunk)
                parts += self._evaluated(structures[chunk], energies[chunk])
        if not parts:
            return Evaluation({}, ())
        unknown = self._unknown(next((part for part in parts if part is not None), None))
        told = [unknown if part is None else part for part in parts]
        joined = {p: join([part.predictions[p] for part in told]) for p in self.properties}
        return Evaluation(joined, tuple(phase for part in told for phase in part.phases))

    def _evaluated(
        self, structures: Sequence[Structure], given: Sequence[GivenEnergy | None]
    ) -> list[Evaluation | None]:
        """Return evaluations part by part, None for a crystal that the surrogate refuses."""
        hull = self.hull_of_formulas([s.composition.reduced_formula for s in structures])
        try:
            known = [None for _ in structures] if self._known is None else self._known.of(structures)
            energies = [of_table or own for of_table, own in zip(known, given, strict=True)]
            found = self.predict_crystals(CrystalBatch.from_structures(structures), hull, energies)
            return [Evaluation(found, tuple(None if one is None else one.phase for one in known))]
        except SurrogateError:  # no crystal is to blame
            raise
        except EngineError:
            if len(structures) == 1:
                return [None]
        half = len(structures) // 2
        return [
            *self._evaluated(structures[:half], given[:half]),
            *self._evaluated(structures[half:], given[half:]),
        ]

    def _unknown(self, other: Evaluation | None) -> Evaluation:
        """Return NaN, out of domain, for one crystal, with as many draws as another evaluation has."""
        members = 1 if other is None else len(next(iter(other.predictions.values())).samples)
        nan, none = torch.full((1,), float("nan")), torch.zeros(1, dtype=torch.bool)
        samples = nan.expand(members, 1)
        predictions = {p: Prediction(p, nan, nan, nan, nan, samples, none) for p in self.properties}
        return Evaluation(predictions, (None,))

    def predict_crystals(
        self, crystals: CrystalBatch, hull: Tensor, energies: Sequence[GivenEnergy | None] | None = None
    ) -> Predictions:
        """Return predictions of all `properties`; differentiable in lattice, coordinates and occupancy.

        Args:
            crystals: C crystals.
            hull: (C, Z) chemical potentials of the hull below each, from `hull_of_mixtures` where species are
                soft or their gradients count, else from `hull_of_formulas`; NaN where unknown.
            energies: known ones, None for crystals that are no known phase; without gradients. A descent asks
                without them: inside one phase they differ from the surrogate's by a constant.
        """
        self._count[0] += crystals.n_crystals
        # a surrogate knows density and volume of the cell as proposed; what counts is the relaxed one. What
        # follows from the moduli follows here, from those with the error of the geometry in them
        asked = [p for p in self._surrogate.properties if not self._follows(p)]
        found = self._surrogate.predict(crystals, asked)
        known = {prop: _as_sure_as_its_domain(prediction) for prop, prediction in found.items()}
        if energies is not None and FORMATION_ENERGY in known:
            known[FORMATION_ENERGY] = with_known(known[FORMATION_ENERGY], energies)
        if FORMATION_ENERGY in known:
            known[ENERGY_ABOVE_HULL] = _above_hull(
                known[FORMATION_ENERGY], (crystals.composition * hull.to(crystals.occupancy)).sum(dim=1)
            )
            above = known[ENERGY_ABOVE_HULL].mean.detach()
            for prop in known.keys() & self._widening.keys():
                known[prop] = _as_proposed(known[prop], far_from_hull(self._widening[prop], above), above)
        members = len(next(iter(known.values())).samples)
        others = [p for p in self.properties if p not in known]
        known |= derived_predictions(crystals, known, others, members)
        return {p: known[p] for p in self.properties}

    def _follows(self, prop: Property) -> bool:
        has = {*self._surrogate.properties, ENERGY_ABOVE_HULL}
        return prop.formula is not None and prop.learned_inputs <= has


def join(parts: Sequence[Prediction]) -> Prediction:
    """Return one prediction of all crystals of several."""
    first = parts[0]
    fields = {
        name: torch.cat([getattr(p, name) for p in parts])
        for name in ("mean", "std", "lower", "upper", "in_domain")
    }
    return Prediction(first.property, samples=torch.cat([p.samples for p in parts], dim=1), **fields)


def predicted_values(predictions: Predictions, row: int) -> dict[str, PredictedValue]:
    """Return one crystal's predictions by property name, as stored with a candidate.

    What the composition decides and an element has no value of is left out.
    """
    return {
        p.name: PredictedValue(
            float(v.mean[row]),
            float(v.std[row]),
            float(v.lower[row]),
            float(v.upper[row]),
            bool(v.in_domain[row]),
        )
        for p, v in predictions.items()
        if not p.is_exact or bool(v.in_domain[row])
    }


def is_finite(predictions: Predictions) -> Tensor:
    """Return (C,) bool: every mean and std is a number."""
    return torch.stack([torch.isfinite(v.mean) & torch.isfinite(v.std) for v in predictions.values()]).all(
        dim=0
    )


def in_domain(predictions: Predictions) -> Tensor:
    """Return (C,) bool: every prediction is inside its surrogate's domain."""
    return torch.stack([v.in_domain for v in predictions.values()]).all(dim=0)


def _formula_of(fractions: np.ndarray) -> str:
    amounts = {ELEMENT_SYMBOLS[z]: float(fractions[z]) for z in np.flatnonzero(fractions > TRACE)}
    return str(Composition(amounts).reduced_formula)


def _as_sure_as_its_domain(prediction: Prediction) -> Prediction:
    """Return a prediction with wider error bars where it lies outside its surrogate's domain."""
    outside = ~prediction.in_domain
    if not bool(outside.any()):
        return prediction
    factor = torch.full_like(prediction.std, WIDENED_OUT_OF_DOMAIN)
    if prediction.property == FORMATION_ENERGY:
        factor = (LEAST_ENERGY_STD / prediction.std.detach().clamp(min=LEAST_STD)).clamp(
            min=WIDENED_OUT_OF_DOMAIN
        )
    return widened(prediction, torch.where(outside, factor, torch.ones_like(factor)))


def _above_hull(energy: Prediction, hull: Tensor) -> Prediction:
    """Return the energy above hull; what is claimed below the floor is moved up to it.

    It is less sure by as much as it was moved. The slope of the mean stays the energy's, so that a descent
    does not see the floor.
    """
    distance = energy.mean - hull.to(energy.mean)
    excess = (LOWEST_ABOVE_HULL - distance).detach().clamp(min=0.0)
    is_too_low = excess > 0
    factor = (energy.std.square() + excess.square()).sqrt() / energy.std.clamp(min=LEAST_STD)
    wide = widened(energy, torch.where(is_too_low, factor, torch.ones_like(factor)))
    found = replace(moved(wide, excess - hull.to(energy.mean)), property=ENERGY_ABOVE_HULL)
    return replace(found, in_domain=found.in_domain & ~is_too_low)


def _as_proposed(prediction: Prediction, far: Tensor, above: Tensor) -> Prediction:
    """Return a modulus with its error bar `far` (C,) times as wide, and the error of the geometry in it.

    It is out of domain `above` (C,) FARTHEST_IN_DOMAIN; where no hull is known (NaN), that is no reason.
    """
    relative = (prediction.std / prediction.mean).clamp(min=LEAST_RELATIVE_STD)
    factor = (far.square() + (MODULUS_ERROR / relative).square()).sqrt()
    return replace(
        widened(prediction, factor), in_domain=prediction.in_domain & ~(above > FARTHEST_IN_DOMAIN)
    )
