"""What somebody else's package may bring: one thing of each group; the test beside it installs it."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ase.calculators.emt import EMT
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import VerifiedValue
from inverse.decoders.prototypes import PrototypeDecoder
from inverse.proposers.protocol import Proposal, generator
from surrogates.crystals.batch import CrystalBatch
from surrogates.physics.properties import BULK_MODULUS, Property
from surrogates.protocol import Z90, Level, Prediction

METALS = ("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt")
RADIUS = 1.2
"""Å, of every atom: this is a toy."""

PACKING = Property("packing_fraction", "eta", "", 0.0, 1.0, "hard spheres")


def effective_medium() -> EMT:
    """Return a potential that says what its formation energies rest on: its own elements are its zero."""
    calculator = EMT()
    calculator.elements = METALS
    calculator.element_energies = dict.fromkeys(METALS, 0.0)
    calculator.formation_energy_error = 0.05
    return calculator


class Spheres:
    """Predicts how much of the cell spheres fill, and a bulk modulus that goes with it."""

    name = "spheres"
    level = Level.STRUCTURE
    properties = (BULK_MODULUS, PACKING)
    elements = frozenset(METALS)

    def predict(
        self, crystals: CrystalBatch, properties: Sequence[Property]
    ) -> Mapping[Property, Prediction]:
        share = (4 / 3 * math.pi * RADIUS**3 * crystals.n_atoms / crystals.volume).clamp(0.01, 0.99)
        means = {PACKING: share, BULK_MODULUS: 200 * share}
        return {prop: self._prediction(prop, means[prop]) for prop in properties}

    def _prediction(self, prop: Property, mean: torch.Tensor) -> Prediction:
        std = 0.1 * mean
        draws = mean + std * torch.linspace(-1.5, 1.5, 9)[:, None].to(mean)
        certain = torch.ones_like(mean).bool()
        return Prediction(prop, mean, std, mean - Z90 * std, mean + Z90 * std, draws, certain)


class Packing:
    """Judges the share that spheres fill in the relaxed cell."""

    name = "packing"

    def judge(self, structure: Structure) -> Mapping[str, VerifiedValue]:
        share = 4 / 3 * math.pi * RADIUS**3 * len(structure) / structure.volume
        return {
            PACKING.name: VerifiedValue(
                share, 0.01, share - 0.02, share + 0.02, share, self.name, PACKING.unit
            )
        }


class CubicPrototypes(PrototypeDecoder):
    """Draws cubic prototypes only."""

    def sample(self, n: int, condition: Any, seed: int) -> Any:
        drawn = super().sample(12 * n, condition, seed)
        return drawn.select((drawn.space_group >= 195).nonzero().flatten()[:n])


def cubic() -> CubicPrototypes:
    return CubicPrototypes(PrototypeDecoder.packaged().prototypes, name="cubic")


class Wanderer:
    """Proposes alloys of random metals; where it is it knows by its own count, not by the step."""

    def __init__(self, space: Any) -> None:
        self._space, self._asked = space, 0

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        self._asked += 1
        history = {"ask": self._asked, "decoder": self._space.decoder.name, "process": os.getpid()}
        alloys = [self._alloy(generator(seed, self._asked, k)) for k in range(4)]
        drawn = self._space.decoder.sample(1, self._space.wanted_condition(), self._asked).to_structures()
        return [Proposal(structure, history=history) for structure in [*drawn, *alloys]]

    def state(self) -> Mapping[str, Any]:
        return {"asked": self._asked}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._asked = state["asked"]

    def _alloy(self, rng: Any) -> Structure:
        first, second = rng.choice(METALS, 2, replace=False)
        positions = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
        return Structure(Lattice.cubic(float(rng.uniform(3.7, 4.1))), [first, *[second] * 3], positions)
