from collections import Counter
from functools import reduce
from math import gcd

import pytest
import torch

from surrogates.checkpoints.checkpoint import load_surrogate, save_checkpoint, weights_digest
from surrogates.crystals.batch import CrystalBatch
from surrogates.datasets.elasticity import elasticity_labels, elasticity_rows
from surrogates.datasets.shared import has_structures
from surrogates.errors import CheckpointError, ConfigError
from surrogates.physics.properties import BULK_MODULUS, FORMATION_ENERGY, SHEAR_MODULUS
from surrogates.tiers.stack import stacked
from surrogates.training.stack import StackConfig, base_group, fit_weights
from tests.surrogates.tiny import crystals, tiny_stack, tiny_surrogate


def batch():
    return CrystalBatch.from_structures(crystals(), dtype=torch.float64)


def test_weights_are_found_again_and_never_negative():
    generator = torch.Generator().manual_seed(0)
    families = 1.8 + 0.3 * torch.randn(3, 800, generator=generator)
    wanted = 0.5 * families[0] + 0.3 * families[1] - 0.2 * families[2] + 0.4
    wanted[:20] += 2.0  # failed calculations
    weights, offset = fit_weights(families[:2], wanted + 0.2 * families[2])
    assert torch.allclose(weights, torch.tensor([0.5, 0.3]), atol=0.01)
    assert offset == pytest.approx(0.4, abs=0.03)
    weights, _ = fit_weights(families, wanted)
    assert bool((weights >= 0).all())


def test_a_stack_of_one_is_that_family():
    values = torch.tensor([[[1.5], [2.0]], [[9.0], [9.0]]])
    widths = torch.tensor([[[-2.0], [-1.0]]])
    total, width = stacked(values, widths, torch.tensor([[1.0, 0.0]]), torch.zeros(1))
    torch.testing.assert_close(total, values[0])
    torch.testing.assert_close(width, widths[0])


def test_families_that_disagree_widen_the_error_bar():
    widths = torch.full((1, 1, 1), -3.0)
    near, far = (torch.tensor([[[2.0]], [[2.0 + gap]]]) for gap in (0.0, 0.5))
    weights, offsets = torch.tensor([[0.5, 0.5]]), torch.zeros(1)
    assert stacked(far, widths, weights, offsets)[1] > stacked(near, widths, weights, offsets)[1] + 1.0


def test_energies_are_those_of_the_fast_tier():
    accurate, fast = tiny_stack(), tiny_surrogate()
    asked = [FORMATION_ENERGY, BULK_MODULUS]
    found, known = accurate.predict(batch(), asked), fast.predict(batch(), asked)
    torch.testing.assert_close(found[FORMATION_ENERGY].mean, known[FORMATION_ENERGY].mean)
    assert not torch.allclose(found[BULK_MODULUS].mean, known[BULK_MODULUS].mean)
    assert accurate.fast(1).predict(batch(), [SHEAR_MODULUS])[SHEAR_MODULUS].mean.shape == (4,)


@pytest.fixture
def saved(tmp_path):
    base = tmp_path / "fast"
    save_checkpoint(tiny_surrogate(dtype=torch.float32).to_checkpoint(), base, half=False)
    surrogate = tiny_stack(torch.float32, str(base))
    save_checkpoint(surrogate.to_checkpoint(), tmp_path / "accurate", half=False)
    return surrogate, base, tmp_path / "accurate"


def test_a_stack_comes_back_from_its_checkpoint(saved):
    surrogate, _, folder = saved
    crystals_32 = CrystalBatch.from_structures(crystals(), dtype=torch.float32)
    again = load_surrogate(folder)
    for prop in surrogate.properties:
        first, second = (s.predict(crystals_32, [prop])[prop] for s in (surrogate, again))
        torch.testing.assert_close(first.mean, second.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(first.samples, second.samples, rtol=1e-3, atol=1e-4)


def test_a_stack_refuses_a_fast_tier_it_was_not_fitted_with(saved):
    _, base, folder = saved
    save_checkpoint(tiny_surrogate(3, torch.float32).to_checkpoint(), base, half=False)
    with pytest.raises(CheckpointError, match="other weights"):
        load_surrogate(folder)


def test_digest_of_no_weights_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="is missing"):
        weights_digest(str(tmp_path))


def test_a_base_that_left_other_folds_out_is_refused(saved):
    """Its members would be scored on rows that they were fitted to."""
    with pytest.raises(CheckpointError, match="each of 7 folds needs one"):
        base_group(str(saved[1]), 7)


def test_config_names_an_unknown_key():
    with pytest.raises(ConfigError, match="boosting"):
        StackConfig.from_mapping({"bosting": {}})


@pytest.mark.skipif(not has_structures(), reason="the shared structures are absent")
def test_no_crystal_is_on_both_sides_of_a_fold():
    """Folds go by reduced formula; the formula of a row is that of its atoms, so no crystal has two."""
    rows = elasticity_rows()
    fold = elasticity_labels(rows).fold(5).tolist()
    by_composition: dict[tuple, set[int]] = {}
    for row, k in zip(rows, fold, strict=True):
        counts = Counter(row["species"])
        divisor = reduce(gcd, counts.values())
        key = tuple(sorted((element, n // divisor) for element, n in counts.items()))
        by_composition.setdefault(key, set()).add(k)
    assert max(len(folds) for folds in by_composition.values()) == 1
    assert set(fold) == set(range(5))
