"""Widths that grow with the distance from the rows a member was fitted to."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from pymatgen.core import Lattice, Structure

from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import ConfigError
from surrogates.features.graph import CrystalGraph
from surrogates.models.invariant import InvariantConfig, InvariantNetwork
from surrogates.physics.properties import BAND_GAP
from surrogates.tiers.calibration import Calibration
from surrogates.tiers.ensemble import MemberGroup, group_from_record, group_to_record
from surrogates.training.configs import TrainingConfig

SMALL = InvariantConfig(n_outputs=1, channels=8, messages=8, n_angular=4, n_embedding=2, hidden=6)
POWER = 0.5
PAIRS = [tuple(p.split("-")) for p in ["Na-Cl", "Mg-O", "Li-F", "K-Br", "Ca-S", "Rb-I", "Sr-Se", "Ba-Te"]]


def graph(pairs: Sequence[Sequence[str]], a: float = 5.0) -> CrystalGraph:
    sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    made = [
        Structure.from_spacegroup(225, Lattice.cubic(a + 0.1 * k), list(p), sites)
        for k, p in enumerate(pairs)
    ]
    return CrystalGraph.from_crystals(CrystalBatch.from_structures(made), SMALL.reach)


def networks() -> tuple[InvariantNetwork, InvariantNetwork]:
    """Return a network and the same that knows distances, fitted to rock salts."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        plain = InvariantNetwork(SMALL).eval()
    familiar = InvariantNetwork(replace(SMALL, distance_power=POWER)).eval()
    familiar.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        familiar.set_metric(plain.hidden_features(graph(PAIRS)))
    return plain, familiar


def test_widths_grow_with_the_distance_by_the_power_asked_for_and_values_stay() -> None:
    plain, familiar = networks()
    own, odd = graph(PAIRS), graph([("W", "C"), ("Os", "B")], a=3.0)
    with torch.no_grad():
        near, far = familiar(own) - plain(own), familiar(odd) - plain(odd)
    assert torch.equal(near[:, 0], torch.zeros(len(PAIRS)))
    assert torch.equal(far[:, 0], torch.zeros(2))
    distances = torch.exp(near[:, 1] / POWER)
    expected = math.sqrt((len(PAIRS) - 1) / len(PAIRS))
    assert float(distances.square().mean().sqrt()) == pytest.approx(expected, rel=0.02)
    assert float(far[:, 1].min()) > float(near[:, 1].max())


def test_a_group_with_its_metric_is_read_back_as_it_was_written() -> None:
    _, familiar = networks()
    flat = Calibration(0.0, 1.0, (0.0, 0.0), (-99.0, 99.0), tuple(torch.linspace(0, 2.6, 33).tolist()))
    zero, one = torch.zeros(1), torch.ones(1)
    group = MemberGroup((BAND_GAP,), (familiar,), (zero,), (one,), (flat,))
    record, tensors = group_to_record(group, 0)
    again = group_from_record(record, tensors)
    odd = graph([("W", "C")])
    with torch.no_grad():
        for own, other in zip(group.outputs(odd), again.outputs(odd), strict=True):
            assert torch.equal(own, other)


def test_it_is_no_key_of_the_network_and_groups_ascend() -> None:
    assert TrainingConfig.from_mapping({"distance_power": 0.6, "groups": [0.3, 1.0]}).groups == (0.3, 1.0)
    with pytest.raises(ConfigError, match=r"network\.distance_power: no key of the network"):
        TrainingConfig.from_mapping({"network": {"distance_power": 0.6}})
    with pytest.raises(ConfigError, match="are not ascending"):
        TrainingConfig.from_mapping({"groups": [1.0, 0.3]})
