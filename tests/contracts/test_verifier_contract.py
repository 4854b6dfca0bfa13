import pytest

from inverse.verification.opening import open_here, open_pool
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan
from tests.contracts.verifier_contract import VerifierContract

EMT = "ase.calculators.emt:EMT"


class TestLadder(VerifierContract):
    @pytest.fixture(scope="class")
    @classmethod
    def verifier(cls):
        return open_here(VerificationPlan(panel_named(EMT), store=""))


class TestPool(VerifierContract):
    @pytest.fixture(scope="class")
    @classmethod
    def verifier(cls, tmp_path_factory):
        store = str(tmp_path_factory.mktemp("store") / "store.db")
        pool = open_pool(VerificationPlan(panel_named(EMT), store=store), 1)
        yield pool
        pool.close()
