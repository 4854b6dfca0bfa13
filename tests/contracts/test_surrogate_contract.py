"""What every structure-level surrogate keeps; a new one subclasses SurrogateContract and gives a fixture."""

import pytest
import torch
from pymatgen.core import Lattice, Structure

from surrogates.checkpoints.checkpoint import load_surrogate, packaged_folder
from surrogates.crystals.batch import ELEMENT_SYMBOLS, CrystalBatch
from surrogates.errors import UnknownNameError, UnsupportedElementError
from surrogates.physics.properties import BAND_GAP, Property
from surrogates.protocol import Level, Prediction
from tests.surrogates.tiny import crystals, tiny_stack, tiny_surrogate


class SurrogateContract:
    """Inherit and define the fixture `surrogate`; `dtype` is that of its weights."""

    dtype = torch.float64
    tolerance = 1e-8

    @pytest.fixture
    def surrogate(self):
        raise NotImplementedError

    def batch(self, structures=None):
        return CrystalBatch.from_structures(structures or crystals(), dtype=self.dtype)

    def test_keeps_the_protocol(self, surrogate):
        """It names itself and what it predicts, and answers exactly what it is asked, for each crystal."""
        assert isinstance(surrogate.name, str)
        assert surrogate.name.strip()
        assert all(isinstance(p, Property) for p in surrogate.properties)
        assert len(set(surrogate.properties)) == len(surrogate.properties) > 0
        batch = self.batch()
        for asked in ((), surrogate.properties[-1:], surrogate.properties):
            found = surrogate.predict(batch, asked)
            assert set(found) == set(asked)
            for prop, prediction in found.items():
                assert isinstance(prediction, Prediction)
                assert prediction.property == prop
                assert len(prediction.mean) == batch.n_crystals

    def test_states_what_it_looks_at_and_which_elements_it_knows(self, surrogate):
        assert surrogate.level is Level.STRUCTURE
        assert surrogate.elements
        for symbol in ELEMENT_SYMBOLS:
            batch = self.batch([Structure(Lattice.cubic(3.2), [symbol], [[0, 0, 0]])])
            if symbol in surrogate.elements:
                surrogate.predict(batch, surrogate.properties[:1])
            else:
                with pytest.raises(UnsupportedElementError, match=symbol):
                    surrogate.predict(batch, surrogate.properties[:1])

    def test_every_property_has_ordered_finite_predictions(self, surrogate):
        batch = self.batch()
        found = surrogate.predict(batch, surrogate.properties)
        assert set(found) == set(surrogate.properties)
        for prop, p in found.items():
            assert p.property == prop
            assert p.mean.shape == (batch.n_crystals,)
            for tensor in (p.mean, p.std, p.lower, p.upper, p.samples):
                assert torch.isfinite(tensor).all(), prop.name
            assert (p.lower <= p.mean).all(), prop.name
            assert (p.mean <= p.upper).all(), prop.name
            assert (p.std >= 0).all()
            assert p.in_domain.dtype == torch.bool

    def test_samples_share_members_and_stand_around_the_mean(self, surrogate):
        found = surrogate.predict(self.batch(), surrogate.properties)
        sizes = {p.samples.shape[0] for p in found.values()}
        assert len(sizes) == 1
        for p in found.values():
            middle = p.samples.median(dim=0).values
            assert ((middle - p.mean).abs() <= 0.5 * p.std + 1e-6 * p.mean.abs()).all(), p.property.name

    def test_deterministic_and_order_independent(self, surrogate):
        structures = crystals()
        prop = surrogate.properties[0]
        first = surrogate.predict(self.batch(structures), [prop])[prop]
        again = surrogate.predict(self.batch(structures), [prop])[prop]
        back = surrogate.predict(self.batch(structures[::-1]), [prop])[prop]
        assert torch.equal(first.samples, again.samples)
        torch.testing.assert_close(back.mean.flip(0), first.mean, rtol=self.tolerance, atol=self.tolerance)

    def test_gradients_reach_lattice_coordinates_and_occupancy(self, surrogate):
        batch = self.batch()
        leaves = {
            "lattice": batch.lattice.clone().requires_grad_(),
            "frac_coords": batch.frac_coords.clone().requires_grad_(),
            "occupancy": batch.occupancy.clone().requires_grad_(),
        }
        prop = surrogate.properties[0]
        p = surrogate.predict(batch.replace(**leaves), [prop])[prop]
        (p.mean.sum() + p.std.sum() + p.samples.sum()).backward()
        for name, leaf in leaves.items():
            assert torch.isfinite(leaf.grad).all(), name
            assert leaf.grad.abs().sum() > 0, name

    def test_refuses_a_property_it_does_not_have(self, surrogate):
        if BAND_GAP in surrogate.properties:
            pytest.skip("it predicts the band gap")
        with pytest.raises(UnknownNameError, match="band_gap"):
            surrogate.predict(self.batch(), [BAND_GAP])


class TestTiny(SurrogateContract):
    @pytest.fixture
    def surrogate(self):
        return tiny_surrogate()


class TestTinyFast(SurrogateContract):
    @pytest.fixture
    def surrogate(self):
        return tiny_surrogate().fast(1)


class TestTinyStack(SurrogateContract):
    @pytest.fixture
    def surrogate(self):
        return tiny_stack()


@pytest.mark.skipif(not packaged_folder("structure").is_dir(), reason="no structure weights are packaged")
class TestPackaged(SurrogateContract):
    dtype = torch.float32
    tolerance = 1e-3

    @pytest.fixture
    def surrogate(self):
        return load_surrogate("structure")


@pytest.mark.skipif(not packaged_folder("accurate").is_dir(), reason="no accurate weights are packaged")
class TestPackagedAccurate(SurrogateContract):
    dtype = torch.float32
    tolerance = 1e-3

    @pytest.fixture
    def surrogate(self):
        return load_surrogate("accurate")
