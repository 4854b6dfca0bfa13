"""Predictions of a campaign: what the cell as proposed can and cannot say."""

from collections.abc import Sequence

import torch
from pymatgen.core import Lattice, Structure

from inverse.evaluation import Evaluator
from surrogates.crystal import CrystalBatch
from surrogates.properties import BULK_MODULUS, DENSITY, VOLUME, Property
from surrogates.protocol import Prediction
from tests.fakes import AnalyticSurrogate


class WithDensity(AnalyticSurrogate):
    """Answers density and volume of the cell as it is, without an error."""

    properties = (*AnalyticSurrogate.properties, DENSITY, VOLUME)

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        assert DENSITY not in properties
        assert VOLUME not in properties
        return super().predict(crystals, properties)


def test_density_has_the_error_of_a_cell_that_is_not_relaxed() -> None:
    structure = Structure(Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    found = Evaluator(WithDensity(), lambda formula: 0.0, [BULK_MODULUS, DENSITY, VOLUME]).predict(
        [structure]
    )
    for prop in (DENSITY, VOLUME):
        relative = found[prop].std / found[prop].mean
        assert torch.all((relative > 0.02) & (relative < 0.05))
    assert abs(float(found[DENSITY].mean[0]) - structure.density) < 1e-3
