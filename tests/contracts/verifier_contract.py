"""What every verifier promises; inherit it and give the fixture `verifier`."""

import math

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import Verification
from inverse.verification.protocol import Verifier
from tests import crystals

BROKEN = {
    "nan": Structure(Lattice.cubic(3.6), ["Cu"], [[np.nan, 0, 0]]),
    "colliding": Structure(Lattice.cubic(4.0), ["Cu", "Cu"], [[0, 0, 0], [0.05, 0.02, 0]]),
    "same place": Structure(Lattice.cubic(4.0), ["Cu", "Au"], [[0, 0, 0], [0, 0, 0]]),
    "flat": Structure(Lattice.from_parameters(3, 3, 0.01, 90, 90, 90), ["Cu"], [[0, 0, 0]]),
    "partial occupancy": Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]]),
}


class VerifierContract:
    """Length and order kept, nothing raised, failures explained, numbers finite."""

    @pytest.fixture
    def verifier(self):
        raise NotImplementedError

    def test_it_is_a_verifier(self, verifier):
        assert isinstance(verifier, Verifier)

    def test_a_good_crystal_gets_its_values(self, verifier):
        (verdict,) = verifier.verify([crystals.fcc()])
        assert isinstance(verdict, Verification)
        assert verdict.converged, verdict.reason
        assert verdict.structure is not None
        assert {"bulk_modulus_vrh", "shear_modulus_vrh"} <= set(verdict.values)
        for value in verdict.values.values():
            numbers = (value.mean, value.std, value.lower, value.upper, value.raw)
            assert all(math.isfinite(x) for x in numbers)
            assert value.lower <= value.mean <= value.upper
            assert value.potential
        assert verdict.is_stable is True
        assert verdict.ladder
        assert verdict.potential == verifier.potential

    def test_broken_crystals_are_failures_with_a_reason_in_their_place(self, verifier):
        structures = list(BROKEN.values())
        structures.insert(2, crystals.fcc())
        verdicts = verifier.verify(structures)
        assert len(verdicts) == len(structures)
        assert verdicts[2].converged
        for name, verdict in zip(BROKEN, verdicts[:2] + verdicts[3:], strict=True):
            assert not verdict.converged, name
            assert verdict.reason, name
            assert "\n" not in verdict.reason
            assert not {"bulk_modulus_vrh", "shear_modulus_vrh"} & set(verdict.values)

    def test_a_crystal_of_one_atom(self, verifier):
        (verdict,) = verifier.verify([crystals.fcc().get_primitive_structure()])
        assert verdict.converged, verdict.reason
        assert len(verdict.structure) == 1

    def test_nothing_in_nothing_out(self, verifier):
        assert verifier.verify([]) == []

    def test_it_answers_the_same_twice_and_in_any_company(self, verifier):
        alone = verifier.verify([crystals.hcp()])[0]
        among = verifier.verify([crystals.fcc(), crystals.hcp()])[1]
        assert {n: v.mean for n, v in alone.values.items()} == {n: v.mean for n, v in among.values.items()}
