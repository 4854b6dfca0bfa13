"""Weights from somebody else: a wrong value of any field is one line, never a crash later."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from inverse.commands.cli import main
from inverse.inputs.campaign_config import CampaignConfig
from surrogates.checkpoints.checkpoint import load_surrogate, save_checkpoint
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import CheckpointError, ConfigError
from surrogates.physics.properties import Property
from surrogates.protocol import CompositionBatch
from surrogates.training.kernel import fit_table
from tests.surrogates.tiny import crystals, tiny_surrogate

JUNK: tuple[Any, ...] = (None, [], {}, "abc", True, -1, 1e300, ["x"], {"x": 1}, [[]], "../../elsewhere")
FORMULAS = [m + x for m in ("Mg", "Ca", "Sr", "Ti", "Zr", "Al") for x in ("O", "S", "N", "C")]

Path_ = tuple[str | int, ...]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prop = Property("toughness", "toughness", "", 0.0, 1e4, "table t.csv")
    batch = CompositionBatch.from_formulas(FORMULAS)
    values = [3.0 + 0.3 * k + (k % 5) for k in range(len(FORMULAS))]
    surrogate, _ = fit_table(prop, batch, values, FORMULAS, False)
    return save_checkpoint(
        surrogate.to_checkpoint(), tmp_path_factory.mktemp("weights") / "table", half=False
    )


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny_surrogate(1, dtype=torch.float32)
    return save_checkpoint(made.to_checkpoint(), tmp_path_factory.mktemp("weights") / "networks", half=False)


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of every field; of a list, its first entry stands for all."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def with_junk(manifest: Any, path: Path_, junk: Any) -> Any:
    changed = json.loads(json.dumps(manifest))
    place = changed
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = junk
    return changed


def outcome(folder: Path, batch: Any) -> str:
    """Return what a person sees: an answer, or one line."""
    try:
        surrogate = load_surrogate(folder)
    except CheckpointError as error:
        said = str(error)
    else:
        surrogate.predict(batch, surrogate.properties)
        return "answered"
    assert str(folder) in said
    assert "\n" not in said
    return "refused"


@pytest.mark.parametrize("name", ["table", "networks"])
def test_no_wrong_field_gets_further_than_one_line(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    original: Path = request.getfixturevalue(name)
    batch = CompositionBatch.from_formulas(["MgO"]) if name == "table" else crystal_batch()
    manifest = json.loads((original / "manifest.json").read_text())
    folder = Path(shutil.copytree(original, tmp_path / "copy"))
    free = ("training", "record", "name")
    junk = JUNK if name == "table" else JUNK[::5]
    assert outcome(folder, batch) == "answered"
    stamp = 0
    for path in places(manifest):
        for value in junk:
            (folder / "manifest.json").write_text(json.dumps(with_junk(manifest, path, value)))
            stamp += 1
            set_stamp(folder / "manifest.json", stamp)
            found = outcome(folder, batch)
            if not set(path) & set(free) and not plausible(path, value):
                assert found == "refused", (path, value)


def plausible(path: Path_, value: Any) -> bool:
    """Return whether a field may well have that value: texts anywhere, large and negative numbers."""
    texts = ("symbol", "unit", "level_of_theory")
    flags = ("is_positive", "is_log", "trend")
    numbers = isinstance(value, int | float) and not isinstance(value, bool)
    return (
        (path[-1] in texts and isinstance(value, str))
        or (path[-1] in flags and isinstance(value, bool))
        or numbers
        or (path[-1] == "name" and value == "abc")
        or (path[-1] == "elements" and isinstance(value, list))
    )


def set_stamp(path: Path, stamp: int) -> None:
    """Weights are read again when the manifest's time changes."""
    os.utime(path, ns=(stamp * 10**9, stamp * 10**9))


def crystal_batch() -> CrystalBatch:
    return CrystalBatch.from_structures(crystals()[:1])


@pytest.mark.parametrize("how", ["missing", "reshaped", "integers", "scalar"])
def test_no_wrong_tensor_gets_further_than_one_line(table: Path, tmp_path: Path, how: str) -> None:
    tensors = load_file(table / "weights.safetensors")
    for k, name in enumerate(tensors):
        changed = dict(tensors)
        wrong = {
            "reshaped": tensors[name].flatten()[:-1].clone(),
            "integers": torch.zeros(3, dtype=torch.int64),
            "scalar": torch.tensor(1.0),
        }
        if how == "missing":
            del changed[name]
        else:
            changed[name] = wrong[how]
        folder = Path(shutil.copytree(table, tmp_path / f"{how}{k}"))
        save_file(changed, folder / "weights.safetensors")
        if outcome(folder, CompositionBatch.from_formulas(["MgO"])) == "answered":
            assert how == "scalar", name  # a number where a row of equal numbers may stand


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("kind",), ["table"], "kind is no text"),
        (("kind",), "tabel", "unknown kind 'tabel'"),
        (("format_version",), True, "has no format_version"),
        (("config",), [1], "config no mapping"),
        (("config", "property", "minimum"), "abc", r"property\.minimum: input should be a valid number"),
        (("config", "property", "name"), "x'; DROP", "is no name"),
        (("config", "property", "maximum"), -5.0, "a range of 0 to -5"),
        (("config", "settings", "elements"), "Al", r"settings\.elements"),
        (("config", "settings", "length"), 0.0, "not more than zero"),
    ],
)
def test_commands_end_in_one_line_with_the_folder(
    table: Path, tmp_path: Path, path: Path_, value: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(table, tmp_path / "theirs"))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(with_junk(manifest, path, value)))
    with pytest.raises(CheckpointError, match=message):
        load_surrogate(folder)
    assert main(["predict", "--formula", "WC", "--model", str(folder)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert str(folder) in line
    with pytest.raises(ConfigError, match=r"surrogates: .*theirs"):
        CampaignConfig.from_mapping({"targets": {"toughness": {"min": 1}}, "surrogates": [str(folder)]})


def test_a_stack_cannot_name_weights_outside_the_program(tmp_path: Path) -> None:
    config = {"base": "../../../elsewhere", "base_digest": "", "properties": []}
    manifest = {"format_version": 1, "kind": "stack", "config": config}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    save_file({"x": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"its fast tier .* is none of this program"):
        load_surrogate(tmp_path)
