import pytest

from inverse.verification.judges import load_verifier
from tests.contracts.verifier_contract import VerifierContract

EMT = "ase.calculators.emt:EMT"


class TestLadder(VerifierContract):
    @pytest.fixture(scope="class")
    @classmethod
    def verifier(cls):
        return load_verifier(EMT, store="", workers=0)


class TestPool(VerifierContract):
    @pytest.fixture(scope="class")
    @classmethod
    def verifier(cls, tmp_path_factory):
        store = str(tmp_path_factory.mktemp("store") / "store.db")
        pool = load_verifier(EMT, store=store, workers=1)
        yield pool
        pool.close()
