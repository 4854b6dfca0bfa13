"""`search.surrogate` as a name, as module:factory and as a folder of weights; what is wrong is one line."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inverse.campaign.manifest import config_hash
from inverse.inputs.campaign_config import CampaignConfig, load_config
from inverse.inputs.named_surrogate import surrogate_named
from inverse.prediction.completion import CompletedSurrogate
from inverse.prediction.evaluation import Evaluator
from inverse.prediction.training import train
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import CheckpointError, ConfigError, EngineError, SurrogateError
from surrogates.physics.properties import BULK_MODULUS
from surrogates.protocol import CompositionBatch
from tests import crystals, fakes

WISH = "targets: {bulk_modulus_vrh: {min: 100}}\nsearch: {surrogate: %s}\n"

THEIRS = """
from surrogates.physics.properties import BULK_MODULUS
from tests.fakes import AnalyticSurrogate

class Half:
    name, properties = "half", (BULK_MODULUS,)

class Mistaken(AnalyticSurrogate):
    def predict(self, crystals, properties):
        return crystals.composition.halved()

class Later(AnalyticSurrogate):
    def predict(self, crystals, properties):
        if ((crystals.composition[:, 5] > 0.6) & (crystals.composition[:, 5] < 0.9)).any():
            return 1 / 0
        return super().predict(crystals, properties)

def later(): return Later()
def mistaken(): return Mistaken()
def stiffness(): return AnalyticSurrogate()
def partly(): return Half()
def failing(): raise KeyError("no weights\\nhere")
number = 3
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a folder that one works in, with a module."""
    (tmp_path / "their_surrogates.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("their_surrogates", None)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the weights of a table of formulas."""
    folder = tmp_path_factory.mktemp("table")
    metals = ("Ti", "Zr", "Hf", "V", "Nb", "Ta", "Cr", "Mo", "W")
    rows = [f"{m}{x},{100 + 7 * k + 3 * j}" for k, m in enumerate(metals) for j, x in enumerate("CNB")]
    (folder / "t.csv").write_text("\n".join(["formula,bulk_modulus_vrh", *rows]) + "\n")
    train(folder / "t.csv", folder / "stiff")
    return folder / "stiff"


def written(folder: Path, surrogate: str) -> Path:
    (folder / "wish.yaml").write_text(WISH % surrogate)
    return folder / "wish.yaml"


def test_a_config_that_names_a_factory_runs_nothing_when_it_is_read(desk: Path) -> None:
    config = load_config(written(desk, "their_surrogates:stiffness"))
    assert config.code == ("their_surrogates:stiffness",)
    assert "their_surrogates" not in sys.modules
    assert surrogate_named(config.search.surrogate).name == fakes.AnalyticSurrogate().name
    assert surrogate_named(config.search.surrogate) is surrogate_named(config.search.surrogate)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module:stiffness", "surrogate 'no_such_module:stiffness': no module 'no_such_module'"),
        ("their_surrogates:stifness", "did you mean 'stiffness'?"),
        ("their_surrogates:number", "surrogate: their_surrogates:number is not callable"),
        (
            "their_surrogates:failing",
            "'their_surrogates:failing' cannot be made: KeyError: 'no weights",
        ),
        (
            "their_surrogates:mistaken",
            "cannot be used: its predict failed: AttributeError: 'Tensor' object has",
        ),
        ("their_surrogates:mistaken", "no attribute 'halved' (their_surrogates.py, line 10)"),
        ("their_surrogates:partly", "makes a Half without level, elements, predict"),
    ],
)
def test_a_factory_that_does_not_work_is_one_line(desk: Path, name: str, said: str) -> None:
    with pytest.raises(EngineError, match=re.escape(said)) as caught:
        surrogate_named(name)
    assert "\n" not in str(caught.value)


def test_a_folder_starts_at_the_config_and_is_known_by_what_it_holds(desk: Path, weights: Path) -> None:
    (desk / "configs").mkdir()
    shutil.copytree(weights, desk / "configs" / "mine")
    config = load_config(written(desk / "configs", "mine"))
    assert config.search.surrogate == str(desk / "configs" / "mine")
    assert config.code == ()
    assert config.inputs == {"search.surrogate": (desk / "configs" / "mine",)}
    assert "surrogate: searched_with/01-mine" in config.to_yaml(carried=True)
    shutil.move(desk / "configs" / "mine", desk / "moved")
    moved = load_config(written(desk, "moved"))
    assert config_hash(moved) == config_hash(load_config(written(desk, str(weights))))
    assert config_hash(moved) != config_hash(load_config(written(desk, "accurate")))


def test_a_surrogate_of_formulas_answers_crystals_before_the_shipped_one(weights: Path) -> None:
    own: Any = surrogate_named(str(weights))
    asked = CompletedSurrogate(fakes.AnalyticSurrogate(), own=[own])
    batch = CrystalBatch.from_structures([crystals.l1_2("W", "C")])
    told = own.predict(CompositionBatch.from_crystals(batch), [BULK_MODULUS])[BULK_MODULUS]
    assert float(asked.predict(batch, [BULK_MODULUS])[BULK_MODULUS].mean) == pytest.approx(float(told.mean))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("structur", "search.surrogate: 'structur' is not a surrogate; did you mean 'structure'?"),
        ("no/such/folder", "(or module:factory, or a folder of `inverse train`)"),
        ("'mine:'", "is not a surrogate"),
    ],
)
def test_what_is_no_surrogate_is_refused_when_the_config_is_read(desk: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        load_config(written(desk, name))
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_is_one_line(desk: Path) -> None:
    (desk / "empty").mkdir()
    with pytest.raises(EngineError, match="empty"):
        surrogate_named(load_config(written(desk, "empty")).search.surrogate)
    (desk / "empty" / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match="is damaged"):
        surrogate_named(str(desk / "empty"))


def test_a_target_that_only_a_factory_knows_is_refused_since_reading_runs_no_code(desk: Path) -> None:
    wish = {"targets": {"toughness": {"min": 1}}, "search": {"surrogate": "their_surrogates:stiffness"}}
    with pytest.raises(ConfigError, match="unknown property 'toughness'"):
        CampaignConfig.from_mapping(wish)
    assert "their_surrogates" not in sys.modules


def test_one_that_fails_in_a_later_batch_names_the_crystal_and_the_place_in_its_code(desk: Path) -> None:
    """Whoever asks ends: it is no crystal's fault, and no source of proposals is to blame."""
    found = surrogate_named("their_surrogates:later")
    wc, wc3 = crystals.tungsten_carbide(), crystals.l1_2("C", "W")
    assert found.predict(CrystalBatch.from_structures([wc]), [BULK_MODULUS])[BULK_MODULUS].mean.shape == (1,)
    line = r"surrogate 'their_surrogates:later' failed for WC3: ZeroDivisionError: division by zero "
    with pytest.raises(SurrogateError, match=line + r"\(their_surrogates\.py, line \d+\)"):
        found.predict(CrystalBatch.from_structures([wc, wc3]), [BULK_MODULUS])
    evaluator = Evaluator(found, lambda formula: 0.0, [BULK_MODULUS])
    with pytest.raises(SurrogateError, match="failed for WC3"):
        evaluator.predict([wc, wc3])
