import json
from pathlib import Path

import pytest
import torch

from surrogates.checkpoints import checkpoint as checkpoints
from surrogates.checkpoints.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_surrogate,
    packaged_folder,
    save_checkpoint,
    weights_digest,
)
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import CheckpointError, UnknownNameError, UnsupportedElementError
from surrogates.physics.properties import BULK_MODULUS
from surrogates.tiers.ensemble import StructureSurrogate
from tests.surrogates.tiny import crystals, tiny_surrogate


def test_round_trip_gives_the_same_predictions(tmp_path):
    original = tiny_surrogate(dtype=torch.float32)
    save_checkpoint(original.to_checkpoint(), tmp_path / "tiny", half=False)
    loaded = load_surrogate(tmp_path / "tiny")
    batch = CrystalBatch.from_structures(crystals())
    first = original.predict(batch)
    second = loaded.predict(batch)
    assert set(first) == set(second)
    for prop, p in first.items():
        torch.testing.assert_close(second[prop].mean, p.mean)
        torch.testing.assert_close(second[prop].samples, p.samples)
    assert loaded.domain == original.domain


def test_half_precision_is_close(tmp_path):
    original = tiny_surrogate(dtype=torch.float32)
    save_checkpoint(original.to_checkpoint(), tmp_path)
    batch = CrystalBatch.from_structures(crystals())
    first = original.predict(batch, [BULK_MODULUS])[BULK_MODULUS].mean
    second = load_surrogate(tmp_path).predict(batch, [BULK_MODULUS])[BULK_MODULUS].mean
    torch.testing.assert_close(first, second, rtol=0.01, atol=0.0)


def test_unknown_name_lists_the_packaged_ones():
    with pytest.raises(UnknownNameError, match="structur3"):
        load_surrogate("structur3")


@pytest.mark.parametrize("name", ["manifest.json", "weights.safetensors"])
def test_damaged_files_are_named(tmp_path, name):
    save_checkpoint(tiny_surrogate(1).to_checkpoint(), tmp_path)
    (tmp_path / name).write_bytes(b"{ not a checkpoint")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path)


def test_missing_weights_are_named(tmp_path):
    save_checkpoint(tiny_surrogate(1).to_checkpoint(), tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors is missing"):
        load_checkpoint(tmp_path)


def test_weights_that_do_not_fit_the_config(tmp_path):
    whole = tiny_surrogate(1).to_checkpoint()
    part = dict(list(whole.tensors.items())[3:])
    with pytest.raises(CheckpointError, match="does not fit"):
        StructureSurrogate.from_checkpoint(Checkpoint("structure", whole.config, part))


def test_newer_format_is_refused_and_older_is_upgraded(tmp_path, monkeypatch):
    save_checkpoint(Checkpoint("structure", {"a": 1}, {"w": torch.ones(2)}), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["format_version"] = 99
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(tmp_path)
    manifest["format_version"] = 0
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="cannot be upgraded"):
        load_checkpoint(tmp_path)
    upgrade = {0: lambda old: {**old, "format_version": 1, "config": {"b": old["config"]["a"]}}}
    monkeypatch.setattr(checkpoints, "UPGRADES", upgrade)
    assert load_checkpoint(tmp_path).config == {"b": 1}


def test_an_element_in_no_training_row_is_refused_by_name():
    crystal = crystals()[0].replace_species({"Ti": "Pu"})
    with pytest.raises(UnsupportedElementError, match="Pu"):
        tiny_surrogate().predict(CrystalBatch.from_structures([crystal], dtype=torch.float64))


def test_a_rare_element_is_out_of_domain():
    rare = crystals()[0].replace_species({"Ti": "U"})
    batch = CrystalBatch.from_structures([crystals()[0], rare], dtype=torch.float64)
    found = tiny_surrogate().predict(batch, [BULK_MODULUS])[BULK_MODULUS]
    assert found.in_domain.tolist() == [True, False]


@pytest.mark.skipif(not packaged_folder("structure").is_dir(), reason="no structure weights are packaged")
def test_packaged_weights_know_hard_and_soft():
    surrogate = load_surrogate("structure")
    batch = CrystalBatch.from_structures(crystals()[:2])
    bulk = surrogate.predict(batch, [BULK_MODULUS])[BULK_MODULUS]
    assert 210 < float(bulk.mean[0]) < 285
    assert 340 < float(bulk.mean[1]) < 430
    size = sum(f.stat().st_size for f in packaged_folder("structure").iterdir())
    assert size < 4_000_000


@pytest.mark.skipif(not packaged_folder("structure").is_dir(), reason="no structure weights are packaged")
def test_a_folder_of_the_working_directory_is_never_taken_for_packaged_weights(tmp_path, monkeypatch):
    """People keep crystals in a folder `structure`, and weights of their own in one of the kind's name."""
    ours = load_surrogate("structure")
    monkeypatch.chdir(tmp_path)
    for name in ("structure", "accurate", "composition"):
        (tmp_path / name).mkdir()
    assert load_surrogate("structure") is ours
    assert load_surrogate("accurate").properties
    with pytest.raises(UnknownNameError, match="structure"):
        load_surrogate(Path("structure"))
    save_checkpoint(tiny_surrogate().to_checkpoint(), tmp_path / "structure")
    assert load_surrogate("structure") is ours
    assert weights_digest("structure") == weights_digest(str(packaged_folder("structure")))
    own = load_surrogate(Path("structure"))
    assert own is not ours
    assert load_surrogate("./structure") is own


def test_weights_of_format_1_stay_readable():
    """Written by tests.surrogates.tiny.tiny_surrogate(1, torch.float32), torch 2.13, 2026-11-23."""
    surrogate = load_surrogate(Path(__file__).parent / "checkpoint_v1")
    bulk = surrogate.predict(CrystalBatch.from_structures(crystals()), [BULK_MODULUS])[BULK_MODULUS]
    assert bulk.mean.tolist() == pytest.approx([42.7625, 42.9501, 41.3486, 43.9867], rel=1e-4)
