"""The campaign's own correction: neutral before verdicts, towards them after; shipped weights untouched."""

from dataclasses import replace

import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse.correction import CorrectedSurrogate
from inverse.types import Candidate, Verification, VerifiedValue
from surrogates.crystal import CrystalBatch
from surrogates.properties import BULK_MODULUS
from tests.fakes import AnalyticSurrogate


def cell(metal: str = "W", light: str = "C") -> Structure:
    return Structure(Lattice.cubic(2.7), [metal, light], [[0, 0, 0], [0.5, 0.5, 0.5]])


def told(structure: Structure, bulk: float) -> Candidate:
    value = VerifiedValue(bulk, 5.0, bulk - 8, bulk + 8, bulk, "judge", "GPa")
    verdict = Verification("judge", True, values={"bulk_modulus_vrh": value}, is_stable=True)
    return Candidate("c000000", structure, "test", 0, verification=verdict)


def bulk(surrogate: object, structure: Structure) -> tuple[float, float]:
    found = surrogate.predict(CrystalBatch.from_structures([structure]), [BULK_MODULUS])[BULK_MODULUS]  # type: ignore[attr-defined]
    return float(found.mean[0]), float(found.std[0])


def test_before_any_verdict_it_is_the_surrogate() -> None:
    assert bulk(CorrectedSurrogate(AnalyticSurrogate()), cell()) == bulk(AnalyticSurrogate(), cell())


def test_moves_towards_verdicts_and_near_ones_more_than_far_ones() -> None:
    plain, std = bulk(AnalyticSurrogate(), cell())
    corrected = CorrectedSurrogate(AnalyticSurrogate())
    corrected.tell([told(cell(), 0.8 * plain)] * 4)
    mean, wider = bulk(corrected, cell())
    assert 0.8 * plain < mean < 0.95 * plain
    assert wider / mean > 1.3 * std / plain, "verdicts five std away say that the std is too small"
    far = cell("Al", "O")
    ratio_far = bulk(corrected, far)[0] / bulk(AnalyticSurrogate(), far)[0]
    assert mean / plain < ratio_far < 1.0
    assert bulk(AnalyticSurrogate(), cell()) == (plain, std)


def test_failed_and_empty_verdicts_teach_nothing() -> None:
    corrected = CorrectedSurrogate(AnalyticSurrogate())
    failed = replace(told(cell(), 100), verification=Verification("judge", False, "crashed"))
    corrected.tell([failed, told(cell(), float("nan"))])
    assert bulk(corrected, cell())[0] == pytest.approx(bulk(AnalyticSurrogate(), cell())[0])


def test_differentiable() -> None:
    corrected = CorrectedSurrogate(AnalyticSurrogate())
    corrected.tell([told(cell(), 200)])
    crystals = CrystalBatch.from_structures([cell()])
    occupancy = crystals.occupancy.clone().requires_grad_(True)
    corrected.predict(crystals.replace(occupancy=occupancy), [BULK_MODULUS])[
        BULK_MODULUS
    ].mean.sum().backward()
    assert occupancy.grad is not None
    assert torch.isfinite(occupancy.grad).all()


def test_the_fast_tier_beside_is_told_the_same() -> None:
    searching = CorrectedSurrogate(AnalyticSurrogate())
    deciding = CorrectedSurrogate(AnalyticSurrogate(), [searching])
    deciding.tell([told(cell(), 200)])
    assert searching.n_told == deciding.n_told == 1
    assert bulk(searching, cell()) == bulk(deciding, cell())
