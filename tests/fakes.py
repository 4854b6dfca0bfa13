"""Stand-ins with known answers: an analytic surrogate and a verifier that agrees with it."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from inverse.campaign.campaign import Campaign
from inverse.campaign.parts import Parts
from inverse.candidates.objective import Objective
from inverse.candidates.ranking import Kinship
from inverse.candidates.types import Breach, Candidate, HitClass, Rule, Standing, Verification, VerifiedValue
from inverse.decoders.protocol import Condition
from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.completion import CompletedSurrogate
from inverse.prediction.correction import CorrectedSurrogate
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.protocol import Proposal, generator
from inverse.proposers.screening import Screen
from inverse.proposers.search_space import SearchSpace
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.crystals.batch import ELEMENT_SYMBOLS, CrystalBatch, element_index
from surrogates.physics.properties import BULK_MODULUS, FORMATION_ENERGY, SHEAR_MODULUS, VOLUME, Property
from surrogates.protocol import Z90, CompositionBatch, Level, Prediction

BEST_METAL, BEST_LIGHT, BEST_VOLUME = "W", "C", 10.0
"""Where the planted optimum of `AnalyticSurrogate` lies."""

CONFIG: dict[str, Any] = {
    "name": "planted",
    "targets": {
        "bulk_modulus_vrh": {"min": 300},
        "shear_modulus_vrh": {"min": 150},
        "energy_above_hull": {"max": 0.1},
    },
    "constraints": {"elements": {"only": ["W", "Ti", "Al", "C", "N", "O"]}, "n_atoms": {"max": 8}},
    "budget": {"verifications": 12},
    "seed": 3,
}


class AnalyticSurrogate:
    """K, G and E_f from composition and volume alone; best for equal parts of W and C at 10 Å³ per atom."""

    name = "analytic"
    level = Level.STRUCTURE
    elements = frozenset(ELEMENT_SYMBOLS)
    properties: tuple[Property, ...] = (BULK_MODULUS, SHEAR_MODULUS, FORMATION_ENERGY)

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        x = crystals.composition
        volume = crystals.volume / crystals.n_atoms
        metal, light = x[:, element_index(BEST_METAL)], x[:, element_index(BEST_LIGHT)]
        goodness = 4 * metal * light * torch.exp(-((torch.log(volume / BEST_VOLUME) / 0.3) ** 2))
        values = {
            BULK_MODULUS: 60 + 320 * goodness,
            SHEAR_MODULUS: 30 + 200 * goodness,
            FORMATION_ENERGY: 0.3 - 0.5 * goodness,
        }
        return {p: prediction(p, values[p]) for p in properties}


def prediction(prop: Property, mean: torch.Tensor) -> Prediction:
    std = torch.full_like(mean, 0.04) if prop == FORMATION_ENERGY else 0.04 * mean
    z = torch.linspace(-1.3, 1.3, 5)[:, None].to(mean)
    is_in = torch.ones_like(mean).bool()
    return Prediction(prop, mean, std, mean - Z90 * std, mean + Z90 * std, mean + z * std, is_in)


class AnalyticVerifier:
    """Verdicts equal to the surrogate's values within a few percent; every seventh structure fails."""

    potential = "analytic"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.n_asked = 0

    def verify_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Verification]]:
        # completion order differs from proposal order, as with a pool
        order = sorted(range(len(structures)), key=lambda k: (k % 2, k))
        for position in order:
            if should_stop():
                return
            time.sleep(self.seconds)
            self.n_asked += 1
            yield position, self.verdict(structures[position])

    def verdict(self, structure: Structure) -> Verification:
        crystals = CrystalBatch.from_structures([structure])
        if round(structure.volume * 1000) % 7 == 0:
            return Verification("analytic", False, "relaxation did not converge", seconds=1.0)
        predictions = AnalyticSurrogate().predict(crystals, AnalyticSurrogate.properties)
        means = {p.name: float(v.mean[0]) * 1.02 for p, v in predictions.items()}
        means["energy_above_hull"] = max(0.0, means["formation_energy_per_atom"])
        values = {
            name: VerifiedValue(
                m, 0.02, m - 0.03, m + 0.03, m, "analytic", "GPa" if "modulus" in name else "eV/atom"
            )
            for name, m in means.items()
        }
        return Verification(
            "analytic",
            True,
            values=MappingProxyType(values),
            is_stable=True,
            structure=structure,
            seconds=1.0,
        )

    def check(self) -> None:
        return None

    def close(self) -> None:
        return None


class RandomBinaries:
    """Proposes rock-salt-like and caesium-chloride-like cells of random allowed pairs."""

    name = "binaries"

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = sorted(symbols)
        self.told: list[str] = []

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        return [self._one(generator(seed, step, k), seed, k) for k in range(n)]

    def tell(self, candidates: Sequence[Candidate]) -> None:
        self.told += [c.id for c in candidates]

    def _one(self, rng: np.random.Generator, seed: int, k: int) -> Proposal:
        pair = rng.choice(self.symbols, 2, replace=False)
        a = float(rng.uniform(2.4, 3.4))
        coords = [[0, 0, 0], [0.5, 0.5, 0.5]]
        lattice = Lattice.cubic(a) if rng.random() < 0.5 else Lattice.tetragonal(a, 1.1 * a)
        return Proposal(Structure(lattice, list(pair), coords), self.name, seed, {"index": k})


def kinship(structure: Structure) -> Kinship:
    is_cubic = max(structure.lattice.abc) < 1.01 * min(structure.lattice.abc)
    return Kinship(HitClass.NEW, "", "WC", "221" if is_cubic else "123")


def parts(config: CampaignConfig, proposer: Any = None, seconds: float = 0.0) -> Parts:
    own = [load_surrogate(trained.folder) for trained in config.trained]
    surrogate = CorrectedSurrogate(CompletedSurrogate(AnalyticSurrogate(), own=own))
    evaluator = Evaluator(surrogate, lambda formula: 0.0, Objective.of(config).properties)
    allowed = sorted(config.constraints.allowed_elements())
    return Parts(
        surrogate=surrogate,
        evaluator=evaluator,
        proposer=proposer or RandomBinaries(allowed),
        verifier=AnalyticVerifier(seconds),
        screening=lambda s: Breach(Rule.VOLUME, "too small") if s.volume / len(s) < 6 else None,
        rescreening=lambda s: None,
        classify=kinship,
        confirm=kinship,
        preview=lambda s: Standing(kinship(s).parent_prototype, True),
        trust=lambda s: 0.7,
        baselines=dict,
        description={"versions": {"python": "3"}, "judges": {"bulk_modulus_vrh": "analytic"}},
    )


def campaign(folder: Path, seconds: float = 0.0, **changes: Any) -> Campaign:
    config = CampaignConfig.from_mapping({**CONFIG, **changes})
    if (folder / "campaign.db").exists():
        return Campaign.resume(folder, parts(config, seconds=seconds), config)
    return Campaign.create(config, folder, parts(config, seconds=seconds))


class AnalyticCompositions:
    """The composition half of `AnalyticSurrogate`, at the best volume."""

    name = "analytic compositions"
    level = Level.COMPOSITION
    elements = frozenset(ELEMENT_SYMBOLS)
    properties: tuple[Property, ...] = (BULK_MODULUS, SHEAR_MODULUS, FORMATION_ENERGY, VOLUME)

    def predict(
        self, compositions: CompositionBatch, properties: Sequence[Property]
    ) -> dict[Property, Prediction]:
        x = compositions.fractions
        goodness = 4 * x[:, element_index(BEST_METAL)] * x[:, element_index(BEST_LIGHT)]
        values = {
            BULK_MODULUS: 60 + 320 * goodness,
            SHEAR_MODULUS: 30 + 200 * goodness,
            FORMATION_ENERGY: 0.3 - 0.5 * goodness,
            VOLUME: torch.full_like(goodness, BEST_VOLUME),
        }
        return {p: prediction(p, values[p]) for p in properties}


def search_space(config: CampaignConfig, decoder: Any = None) -> SearchSpace:
    objective = Objective.of(config)
    screen = Screen(config.constraints)
    evaluator = Evaluator(AnalyticSurrogate(), lambda formula: 0.0, objective.properties)
    return SearchSpace(
        config=config,
        objective=objective,
        constraints=config.constraints,
        base=evaluator,
        corrected=evaluator,
        compositions=AnalyticCompositions(),
        decoder=decoder,
        condition=Condition,
        composition_reason=screen.composition_breach,
        screening=screen.breach,
        is_known_formula=lambda formula: formula in ("WC", "TiC", "TiN"),
    )
