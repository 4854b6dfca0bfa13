"""2,000 mutated configs and structure files: each ends in a result or in a named error of one line."""

# ruff: noqa: E501

import json
import random
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymatgen.core import Lattice, Structure

from inverse.inputs.campaign_config import CampaignConfig, packaged_configs
from inverse.inputs.constraints import Constraints
from inverse.inputs.structure_files import read_structures
from inverse.inputs.yaml_reading import parse_yaml
from inverse.proposers.screening import Screen
from surrogates.errors import ConfigError, EngineError

N_CONFIGS, N_FILES = 1000, 1000
BLOCK = 250

JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 10**30, -0.0, 1e308, float("nan"), float("inf"), "", " ", "No", "W", "Xx",
    "bulk_modulus_vrh", "min", "auto", "8h", "-3m", "../../x", "\x00", "☃", "a" * 5000, [], {}, [[]], [None],
    {"min": 1}, {"max": {}}, ["W", 3], [1, 2], [2, 1], [1, 2, 3], {"": ""}, {1: 2}, {"include_any": "B"},
)  # fmt: skip
SCRAPS = (
    "\t", "\n", ":", "- ", "{", "}", "[", "]", "'", '"', "#", "&a ", "*a", "!!python/object:os.system ", "|", ">",
    "%", "\x00", "\x85", "\ufeff", "☃", "nan", "-1e999", "1e400", "0x10", "?", "---\n", "...\n", "<<: ", "~", ",",
    "999999999999", "Xx", "W", "data_", "loop_", "_cell_length_a", "'P 1'", "(3)", "1/0", "-", ".", "2024-01-01",
)  # fmt: skip


def scrambled(text: str, rng: random.Random) -> str:
    """Return a text with some characters, words or lines deleted, doubled, swapped or made up."""
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(7)
        if kind == 0:
            text = text[:at] + text[at + rng.randint(1, 6) :]
        elif kind == 1:
            text = text[:at] + rng.choice(SCRAPS) + text[at:]
        elif kind == 2:
            text = (
                text[:at] + chr(rng.choice([rng.randrange(32, 127), rng.randrange(0x2FFF)])) + text[at + 1 :]
            )
        elif kind == 3:
            text = text[:at]
        else:
            lines = text.split("\n")
            k = rng.randrange(len(lines))
            words = lines[k].split(" ")
            if kind == 4:
                lines.insert(k, lines[rng.randrange(len(lines))])
            elif kind == 5:
                words[rng.randrange(len(words))] = rng.choice(SCRAPS)
                lines[k] = " ".join(words)
            else:
                del lines[k]
            text = "\n".join(lines)
    return text


def corrupted(value: Any, rng: random.Random) -> Any:
    """Return a nested config with one part replaced, renamed or removed."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.2:
        return rng.choice(JUNK)
    changed: Any = value.copy()
    key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    kind = rng.random()
    if kind < 0.6:
        changed[key] = corrupted(value[key], rng)
    elif isinstance(value, dict) and kind < 0.8:
        changed[rng.choice([f"{key}x", str(key)[:-1], 3, None, "targets"])] = changed.pop(key)
    elif kind < 0.9:
        del changed[key]
    elif isinstance(value, dict):
        changed[rng.choice(["extra", "minimise", "exclude", "time"])] = rng.choice(JUNK)
    return changed


def one_line(error: EngineError) -> bool:
    text = str(error)
    return bool(text.strip()) and "\n" not in text and "Traceback" not in text


@pytest.mark.parametrize("block", range(N_CONFIGS // BLOCK))
def test_configs(block: int) -> None:
    rng = random.Random(block)
    folder = files("inverse.inputs").joinpath("configs")
    texts = [folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8") for name in packaged_configs()]
    n_good, refusals = 0, list[ConfigError]()
    for _ in range(BLOCK):
        text = rng.choice(texts)
        try:
            if rng.random() < 0.5:
                data = parse_yaml(scrambled(text, rng), "fuzz.yaml")
            else:
                data = corrupted(yaml.safe_load(text), rng)
                data = data if isinstance(data, dict) else {}
            config = CampaignConfig.from_mapping(data, "fuzz.yaml")
        except ConfigError as error:
            refusals.append(error)
            continue
        n_good += 1
        again = CampaignConfig.from_mapping(parse_yaml(config.to_yaml(), "again.yaml"), "again.yaml")
        assert again == config
        assert config.constraints.allowed_elements()
    assert 0 < n_good < BLOCK
    assert [e for e in refusals if not one_line(e)] == []


def written() -> dict[str, str]:
    """Return file name -> text of good files in every format."""
    wc = Structure(Lattice.hexagonal(2.92, 2.85), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    row = {
        "id": "mp-1",
        "lattice": wc.lattice.matrix.tolist(),
        "species": ["W", "C"],
        "frac_coords": wc.frac_coords.tolist(),
    }
    cell = " ".join(f"{x:.3f}" for x in wc.lattice.matrix.flatten())
    return {
        "wc.cif": str(wc.to(fmt="cif")),
        "salt.cif": str(salt.to(fmt="cif", symprec=0.01)),
        "POSCAR": str(salt.to(fmt="poscar")),
        "wc.extxyz": f'2\nLattice="{cell}" Properties=species:S:1:pos:R:3\nW 0 0 0\nC 0.0 1.686 1.425\n',
        "wc.json": json.dumps(wc.as_dict()),
        "rows.jsonl": (json.dumps(row) + "\n") * 2,
    }


@pytest.mark.parametrize("block", range(N_FILES // BLOCK))
def test_structure_files(block: int, tmp_path: Path) -> None:
    rng = random.Random(100 + block)
    goods = written()
    screen = Screen(Constraints(n_elements=(1, 20), n_atoms=(1, 200)))
    n_read = n_refused = 0
    for _ in range(BLOCK):
        name = rng.choice(sorted(goods))
        path = tmp_path / name
        path.write_text(scrambled(goods[name], rng), encoding="utf-8", errors="surrogatepass")
        for record in read_structures([path]):
            if record.error is not None:
                assert isinstance(record.error, EngineError)
                assert one_line(record.error), repr(record.error)
                n_refused += 1
            else:
                assert record.structure is not None
                assert "\n" not in str(screen.breach(record.structure))
                n_read += 1
    assert n_read > 0
    assert n_refused > 0


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    rng = random.Random(9)
    for name in written():
        path = tmp_path / name
        path.write_bytes(rng.randbytes(400))
        for record in read_structures([path]):
            assert record.structure is None
            assert record.error is not None
            assert one_line(record.error)
