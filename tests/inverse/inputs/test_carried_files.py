"""Seed structures and surrogates of users' own tables: refused early, carried along, hashed by content."""

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Composition, Lattice, Structure
from pymatgen.io.cif import CifWriter

from inverse.campaign.manifest import config_hash
from inverse.campaign.run import read_run
from inverse.candidates.types import Status
from inverse.commands import api
from inverse.commands.cli import main
from inverse.inputs import carried_files, structure_files
from inverse.inputs.campaign_config import CampaignConfig, load_config
from inverse.inputs.carried_files import read_seeds
from inverse.prediction.training import train
from surrogates.errors import ConfigError, RunFolderError
from tests import fakes
from tests.crystals import fcc

TUNGSTEN_CARBIDE = Structure(Lattice.hexagonal(2.92, 2.85), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])


def write_cif(path: Path, structure: Structure = TUNGSTEN_CARBIDE) -> Path:
    path.write_text(str(CifWriter(structure)))
    return path


def write_table(path: Path, name: str = "toughness") -> Path:
    """Write a table of formulas: the value grows with tungsten and falls with oxygen."""
    draw = np.random.default_rng(5)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["formula", name])
        for _ in range(120):
            x = draw.dirichlet([0.4] * 6)
            amounts = dict(zip(("W", "Ti", "Al", "C", "N", "O"), x.round(3).tolist(), strict=True))
            value = 100 + 200 * amounts["W"] - 60 * amounts["O"] + draw.normal(0, 1)
            writer.writerow([Composition(amounts).formula.replace(" ", ""), f"{value:.2f}"])
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A surrogate of a user's own table, made as a user would: `inverse train` on a CSV."""
    folder = tmp_path_factory.mktemp("own")
    assert main(["train", str(write_table(folder / "table.csv")), "--output", str(folder / "weights")]) == 0
    return folder / "weights"


def config_file(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "search.yaml").write_text(json.dumps({**fakes.CONFIG, **changes}))
    return folder / "search.yaml"


# -- seeds --


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("gone.cif", "gone.cif': no such file"),
        ("broken.cif", "broken.cif"),
        ("partial.cif", "partial occupancy"),
        (".", "is a folder"),
    ],
)
def test_a_seed_that_cannot_be_read_is_one_line(tmp_path: Path, capsys: Any, entry: str, words: str) -> None:
    (tmp_path / "broken.cif").write_text("data_x\nloop_\n_atom_site_label\nW1\n")
    write_cif(tmp_path / "partial.cif", Structure(Lattice.cubic(3), [{"W": 0.5, "Mo": 0.5}], [[0, 0, 0]]))
    write_cif(tmp_path / "good.cif")
    path = config_file(tmp_path, seed_structures=["good.cif", entry])
    assert main(["run", str(path), "--output", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("error: ")
    assert "seed_structures: " in shown
    assert words in shown
    assert "\n" not in shown
    assert not (tmp_path / "run").exists()


def test_seeds_are_primitive_and_named_by_their_file(tmp_path: Path) -> None:
    (seed,) = read_seeds([write_cif(tmp_path / "wc.cif", TUNGSTEN_CARBIDE * (2, 1, 1))])
    assert seed.name == "wc.cif"
    assert len(seed.structure) == 2


def test_a_run_folder_keeps_copies_and_resumes_from_any_copy(tmp_path: Path) -> None:
    write_cif(tmp_path / "wc.cif")
    first = load_config(config_file(tmp_path / "a", seed_structures=["../wc.cif"]))
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "wc.cif", tmp_path / "b" / "moved.cif")
    second = load_config(config_file(tmp_path / "b", seed_structures=["moved.cif"]))
    own_hash = config_hash(first)
    assert own_hash == config_hash(second)
    plain = CampaignConfig.from_mapping(fakes.CONFIG)
    assert config_hash(plain) != own_hash
    assert "surrogates" not in plain.to_mapping(), "runs of before there were any keep their hash"
    from inverse.campaign.campaign import Campaign

    with Campaign.create(first, tmp_path / "run", fakes.parts(first)) as campaign:
        campaign.finish("stopped", "")
    (tmp_path / "wc.cif").unlink()
    assert read_run(tmp_path / "run").config.seed_structures == (tmp_path / "run/seeds/01-wc.cif",)
    with Campaign.resume(tmp_path / "run", fakes.parts(second), second) as campaign:
        assert campaign.config.seed_structures == (tmp_path / "b/moved.cif",)
    write_cif(tmp_path / "b" / "moved.cif", TUNGSTEN_CARBIDE * (1, 1, 2))
    assert config_hash(load_config(tmp_path / "b" / "search.yaml")) != own_hash


def test_copies_of_an_unfinished_creation_are_made_again(tmp_path: Path, monkeypatch: Any) -> None:
    """A kill within the creation leaves copies; a folder that holds somebody's seeds keeps them."""
    from inverse.campaign import run_folder as storage
    from inverse.campaign.run_folder import RunFolder

    write_cif(tmp_path / "wc.cif")
    config = load_config(config_file(tmp_path, seed_structures=["wc.cif"]))
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    (theirs / "seeds").mkdir(parents=True)
    (theirs / "seeds" / "01-wc.cif").write_text("theirs")
    made = (config.to_yaml(carried=True), config_hash(config), config.inputs)

    def killed(*_: object) -> None:
        (ours / "seeds").mkdir()
        (ours / "seeds" / "01-wc.cif").write_text("half")
        raise KeyboardInterrupt("killed")

    carry = storage.carry
    monkeypatch.setattr(storage, "carry", killed)
    with pytest.raises(KeyboardInterrupt, match="killed"):
        RunFolder.create(ours, *made)
    monkeypatch.setattr(storage, "carry", carry)
    assert RunFolder.is_half_made(ours)
    with pytest.raises(RunFolderError, match=r"is not empty \(seeds\)"):
        RunFolder.create(theirs, *made, resume=True)
    assert (theirs / "seeds" / "01-wc.cif").read_text() == "theirs"
    RunFolder.create(ours, *made).close()
    assert not RunFolder.is_half_made(ours)
    assert (ours / "seeds" / "01-wc.cif").read_bytes() == (tmp_path / "wc.cif").read_bytes()


# -- surrogates of the user's own tables --

WISH = {"targets": {**fakes.CONFIG["targets"], "toughness": {"min": 150}}}


def test_a_users_property_is_a_target_from_table_to_report(weights: Path, tmp_path: Path) -> None:
    """Predicted only: met where P >= 0.8; the columns, the report and a resumed run know it."""
    path = config_file(tmp_path, **WISH, surrogates=[str(weights)])
    config = load_config(path)
    from inverse.campaign.campaign import Campaign
    from inverse.report.page import build_report

    with Campaign.create(config, tmp_path / "run", fakes.parts(config)) as campaign:
        campaign.run()
        found = campaign.all_candidates()
    hits = [c for c in found if c.status is Status.HIT]
    missed = [c for c in found if c.status is Status.VERIFIED and c.reason.startswith("toughness")]
    assert hits
    for candidate in hits:
        predicted = candidate.predictions["toughness"]
        assert predicted.mean > 150
        assert candidate.verification is not None
        assert "toughness" not in candidate.verification.values
    for candidate in missed:
        assert candidate.predictions["toughness"].mean < 155
    with (tmp_path / "run/candidates.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["predicted_toughness"]
    assert {row["verified_toughness"] for row in rows} == {""}
    page = build_report(tmp_path / "run").read_text()
    assert "predicted only" in page
    assert "toughness" in page
    stored = load_config(tmp_path / "run" / "config.yaml")
    assert stored.trained[0].property == config.trained[0].property
    assert stored.surrogates[0].is_relative_to(tmp_path / "run")
    assert config_hash(stored) == config_hash(config)


def test_predict_with_own_weights(weights: Path, tmp_path: Path, capsys: Any) -> None:
    cif = write_cif(tmp_path / "wc.cif")
    assert main(["predict", str(cif), "--formula", "TiO", "--formula", "NaCl", "--model", str(weights)]) == 0
    rich, poor, unknown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rich["level"] == poor["level"] == "composition"
    assert rich["predictions"]["toughness"]["mean"] == pytest.approx(200, rel=0.15)
    assert poor["predictions"]["toughness"]["mean"] == pytest.approx(70, rel=0.3)
    assert "was trained without" in unknown["error"]["message"]
    assert main(["predict", str(cif), "--model", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"targets": {"toughnes": {"min": 1}}}, "did you mean 'toughness'?"),
        ({"targets": {"toughness": {"min": -5}}}, "targets.toughness: min -5 is outside"),
        ({"targets": {"density": {"min": 1}}}, "predicts 'toughness', which no target names"),
        ({"surrogates": ["gone"]}, "gone': holds no weights of `inverse train`"),
        ({"surrogates": ["own", "own"]}, "predicts 'toughness', as does"),
        ({"surrogates": ["shipped"]}, "only one property of a user's table fits here"),
        ({"surrogates": []}, "unknown property 'toughness'"),
    ],
)
def test_wrong_surrogates_are_one_line(
    weights: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    from surrogates.checkpoints.checkpoint import packaged_folder

    (tmp_path / "own").symlink_to(weights)
    (tmp_path / "shipped").symlink_to(packaged_folder("composition"))
    path = config_file(tmp_path, **{**WISH, "surrogates": ["own"], **changes})
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("formla,x", "did you mean 'formla'?"),
        ("formula,x,y", "not x, y; write"),
        ("formula", "none"),
    ],
)
def test_a_csv_that_does_not_speak_for_itself(tmp_path: Path, head: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(f"{head}\nWC,1,2\n")
    with pytest.raises(ConfigError, match=re.escape(words)):
        train(tmp_path / "t.csv", tmp_path / "out")


# -- who answers what --


def test_the_composition_level_answers_what_the_structure_level_lacks() -> None:
    import torch

    from inverse.prediction.completion import CompletedSurrogate
    from surrogates.crystals.batch import CrystalBatch
    from surrogates.physics.properties import BAND_GAP, BULK_MODULUS, VOLUME

    class WithGap(fakes.AnalyticCompositions):
        properties = (*fakes.AnalyticCompositions.properties, BAND_GAP)

        def predict(self, compositions: Any, properties: Any) -> Any:
            known = [p for p in properties if p != BAND_GAP]
            found = dict(super().predict(compositions, known))
            if BAND_GAP in properties:
                mean = 4 * compositions.fractions[:, 7]
                found[BAND_GAP] = replace(fakes.prediction(BAND_GAP, mean + 0.1))
            return found

    asked = CompletedSurrogate(fakes.AnalyticSurrogate(), WithGap(), wanted=[BAND_GAP, VOLUME, BULK_MODULUS])
    assert asked.properties == (*fakes.AnalyticSurrogate.properties, BAND_GAP)
    assert BAND_GAP not in CompletedSurrogate(fakes.AnalyticSurrogate(), WithGap()).properties
    crystals = CrystalBatch.from_structures([TUNGSTEN_CARBIDE])
    crystals = crystals.replace(occupancy=crystals.occupancy.requires_grad_(True))
    found = asked.predict(crystals, [BULK_MODULUS, BAND_GAP])
    assert found[BAND_GAP].samples.shape == found[BULK_MODULUS].samples.shape
    assert float(found[BAND_GAP].samples.detach().mean()) == pytest.approx(
        float(found[BAND_GAP].mean.detach()), rel=0.02
    )
    (gradient,) = torch.autograd.grad(found[BAND_GAP].samples.sum(), crystals.occupancy)
    assert float(gradient[0, 7]) > 0


def test_band_gap_is_a_target_of_the_shipped_surrogates() -> None:
    """In a process of its own: assembling loads the packaged weights."""
    code = (
        "from inverse.assembly import assemble\nfrom inverse.inputs.campaign_config import CampaignConfig\n"
        "parts = assemble(CampaignConfig.from_mapping({'targets': {'band_gap': {'min': 2}}}))\n"
        "assert 'band_gap' in [p.name for p in parts.evaluator.properties]\n"
        "assert len(parts.description['weight_files']) >= 3\n"
        "assert all(len(v) == 64 for v in parts.description['weight_files'].values())\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_run_reads_each_seed_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config, its overrides, the search and the report's copy of the config ask for the same crystals."""
    fcc("Al", 4.04).to(str(tmp_path / "al.cif"))
    (tmp_path / "wish.yaml").write_text(
        "targets: {bulk_modulus_vrh: {min: 100}}\nseed_structures: [al.cif]\nbudget: {verifications: 1}\n"
    )
    read: list[str] = []

    def counted(paths: Any) -> Any:
        read.extend(str(path) for path in paths)
        return structure_files.read_structures(paths)

    monkeypatch.setattr(carried_files, "read_structures", counted)
    monkeypatch.setattr("inverse.assembly.assemble", lambda config: fakes.parts(config))
    config = load_config(tmp_path / "wish.yaml")
    assert config.with_overrides() is config
    assert read_seeds(config.with_overrides(seed=3).seed_structures)
    api.run(tmp_path / "wish.yaml", tmp_path / "run", seed=3)
    assert read == [str(tmp_path / "al.cif")]
    fcc("Al", 4.1).to(str(tmp_path / "al.cif"))
    assert read_seeds(config.seed_structures)[0].structure.volume == pytest.approx(4.1**3 / 4, rel=1e-3)
    assert len(read) == 2


def test_of_a_long_path_the_message_keeps_the_end(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["deep" * 10] * 4)
    with pytest.raises(ConfigError, match=r"seed_structures: '\.\.\..*/gone\.cif': no such file"):
        CampaignConfig.from_mapping(
            {"targets": {"bulk_modulus_vrh": {"min": 200}}, "seed_structures": [str(folder / "gone.cif")]}
        )
