"""`inverse train` of the shipped kinds, end to end on tiny data: weights, errors, resume, early stop."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inverse.prediction.training import train
from surrogates.checkpoints.checkpoint import load_checkpoint, load_surrogate
from surrogates.crystals.batch import CrystalBatch
from surrogates.datasets.tables import formula_table
from surrogates.errors import CheckpointError, ConfigError, UnknownNameError
from surrogates.physics.properties import BAND_GAP, BULK_MODULUS, FORMATION_ENERGY, VOLUME
from surrogates.protocol import CompositionBatch
from tests.surrogates.tiny import crystals

METALS = ("Ti", "V", "Cr", "Nb", "Mo", "Hf", "Ta", "W", "Al", "Fe")
OTHERS = ("C", "N", "O", "B")


def structure_rows() -> list[dict[str, Any]]:
    """Return rows of rock-salt-like cells: K falls with the volume."""
    draw, rows = np.random.default_rng(4), []
    for metal in METALS:
        for other in OTHERS:
            for twin in range(2):
                a = float(draw.uniform(2.6, 3.2))
                k = 300 * (2.8 / a) ** 3
                rows.append(
                    {
                        "id": f"{metal}{other}{twin}",
                        "formula": f"{metal}{other}",
                        "source": "mp_matbench_match",
                        "lattice": (a * np.eye(3)).tolist(),
                        "species": [metal, other],
                        "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
                        "bulk_modulus_vrh": k,
                        "shear_modulus_vrh": 0.5 * k,
                        "bulk_modulus_eos": None,
                        "label": "",
                    }
                )
    return rows


@pytest.fixture
def structures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr("surrogates.training.structure.elasticity_rows", structure_rows)
    monkeypatch.setattr("surrogates.training.new_crystals.held_rows", list)
    network = {"channels": 12, "n_blocks": 1, "messages": 8, "n_angular": 4, "hidden": 12}
    return {
        "kind": "structure",
        "n_folds": 2,
        "n_disturbed": 1,
        "network": network,
        "fit": {"epochs": 3, "batch_size": 16},
    }


@pytest.fixture
def compositions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A table of binaries and ternaries whose values follow from the amounts."""
    draw = np.random.default_rng(2)
    values: dict[str, dict[str, float]] = {
        name: {} for name in ("formation_energy_per_atom", "volume_per_atom", "band_gap")
    }
    moduli: dict[str, dict[str, float]] = {"bulk_modulus_vrh": {}, "shear_modulus_vrh": {}}
    for a in METALS:
        for b in OTHERS:
            for n, m in ((1, 1), (2, 1), (1, 2), (3, 2), (2, 3), (3, 1)):
                formula, x = f"{a}{n}{b}{m}", m / (n + m)
                values["formation_energy_per_atom"][formula] = -2 * x * (1 - x) + 0.1 * draw.normal()
                values["volume_per_atom"][formula] = 16 - 6 * x
                values["band_gap"][formula] = max(0.0, 4 * x - 2)
                moduli["bulk_modulus_vrh"][formula] = 150 + 200 * x
                moduli["shear_modulus_vrh"][formula] = 80 + 100 * x
    table = formula_table([("mp", name, own) for name, own in {**values, **moduli}.items()])
    monkeypatch.setattr("surrogates.training.composition.read_formula_tables", lambda folder: table)
    (tmp_path / "data" / "tables").mkdir(parents=True)
    return {
        "kind": "composition",
        "data": str(tmp_path / "data"),
        "members": 2,
        "steps": 6,
        "batch": 32,
        "width": 8,
        "trunk": 12,
    }


def same(first: str, second: str) -> bool:
    a, b = (load_checkpoint(folder).tensors for folder in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def killed_at(n: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that raises at its n-th call, as Ctrl-C would."""
    calls = []

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        calls.append(1)
        if len(calls) == n:
            raise KeyboardInterrupt("killed")
        return function(*arguments, **keywords)

    return wrapped


def test_structure_kind_trains_and_resumes(
    structures: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed inside the second member, the same command ends with the same weights."""
    from surrogates.training.fitting import _Run

    whole = train(structures, tmp_path / "whole")
    assert set(whole["held_out"]) >= {"members"}
    with monkeypatch.context() as patch:
        patch.setattr(_Run, "train_epoch", killed_at(5, _Run.train_epoch))
        with pytest.raises(KeyboardInterrupt, match="killed"):
            train(structures, tmp_path / "killed")
    assert not (tmp_path / "killed" / "manifest.json").exists()
    resumed = train(structures, tmp_path / "killed")
    assert same(whole["weights"], resumed["weights"])
    surrogate = load_surrogate(resumed["weights"])
    found = surrogate.predict(CrystalBatch.from_structures(crystals()[:1]), [BULK_MODULUS])[BULK_MODULUS]
    assert float(found.lower[0]) < float(found.mean[0]) < float(found.upper[0])


ENERGY = {
    "n_members": 2,
    "copies": [[-0.03, 0.03, 0.05]],
    "network": {"channels": 12, "n_blocks": 1, "messages": 8, "n_angular": 4, "hidden": 12},
    "fit": {"epochs": 2, "batch_size": 16},
}


def test_structure_kind_with_energy(
    structures: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The formation energy joins the moduli; a paused one gives no surrogate; bad keys cost nothing."""
    rows = [
        {**row, "file": "mp_structures", "formation_energy_per_atom": -1.0 + 0.02 * k}
        for k, row in enumerate(structure_rows())
    ]
    monkeypatch.setattr("surrogates.training.energy.energy_rows", lambda *_: rows)
    with pytest.raises(ConfigError, match="n_member"):
        train({**structures, "energy": {**ENERGY, "n_member": 2}}, tmp_path / "out")
    paused = {**ENERGY, "fit": {"epochs": 2, "batch_size": 16, "seconds": 1e-9}}
    with pytest.raises(CheckpointError, match="the same command resumes it"):
        train({**structures, "energy": paused}, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    report = train({**structures, "energy": ENERGY}, tmp_path / "out")
    assert report["held_out"]["formation_energy_per_atom"]["members"] == 2
    assert FORMATION_ENERGY in load_surrogate(report["weights"]).properties


def test_pretraining_on_the_reference_set_is_all_there_is_without_the_structures(
    structures: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With them the members start from it, without them it is what comes out, and the report says so."""
    rows = [{**row, "source": "reference_7net0"} for row in structure_rows()]
    monkeypatch.setattr("surrogates.training.structure.fitted_rows", lambda stable_only: rows)
    monkeypatch.setattr("surrogates.training.structure.has_structures", lambda: False)
    staged = {**structures, "pretraining": {"epochs": 2, "batch_size": 16}}
    early = train({**staged, "energy": ENERGY}, tmp_path / "early")
    assert early["missing"].startswith("moduli by DFT")
    assert early["held_out"]["bulk_modulus_vrh"]["n"] == len(rows)
    monkeypatch.setattr("surrogates.training.structure.has_structures", lambda: True)
    plain = train(structures, tmp_path / "plain")
    whole = train(staged, tmp_path / "whole")
    assert "missing" not in whole
    assert "bulk_modulus_vrh" in whole["held_out"]["pretraining"]
    assert not same(plain["weights"], whole["weights"])
    again = train({**staged, "work": str(tmp_path / "whole" / "work")}, tmp_path / "again")
    assert same(again["weights"], whole["weights"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fit": {"epoch": 1}}, "fit: unknown setting 'epoch'; did you mean 'epochs'"),
        ({"fit": {"epochs": "many"}}, "fit.epochs: 'many' should be a valid integer"),
        ({"n_folds": "five"}, "n_folds: 'five' should be a valid integer"),
        ({"n_folds": 1}, "n_folds: 1 should be greater than or equal to 2"),
        ({"fit": {"epochs": 0}}, "fit.epochs: 0 should be greater than or equal to 1"),
        ({"fit": {"patience": -1}}, "fit.patience: -1 should be greater than or equal to 0"),
        (
            {"kind": "stack", "boosting": {"rows": 1.5}},
            "boosting.rows: 1.5 should be less than or equal",
        ),
        ({"network": {"chanels": 3}}, "network: unknown setting 'chanels'; did you mean 'channels'"),
        ({"energy": {"fit": {"epoch": 1}}}, "energy.fit: unknown setting 'epoch'"),
        ({"kind": "stack", "network": {"n_fold": 3}}, "network: unknown setting 'n_fold'"),
        ({"kind": "stack", "boosting": {"rounds": "all"}}, "boosting.rounds: 'all' should be"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_with_the_nearest(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        train({"kind": "structure", **change}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_checked_is_what_is_used(structures: dict[str, Any], tmp_path: Path) -> None:
    """A number in quotes is read as the number, not refused halfway."""
    structures["fit"] = {**structures["fit"], "epochs": "3", "learning_rate": "3e-3"}
    assert train(structures, tmp_path / "out")["held_out"]["bulk_modulus_vrh"]["n"] > 0


def test_rows_of_the_reference_set_train_beside_unsure_ones(
    structures: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have no label of how surely structure and moduli were joined."""
    rows = [{**row, "source": "reference_7net0"} for row in structure_rows()]
    for row in rows:
        row.pop("label")
    monkeypatch.setattr("surrogates.training.structure.fitted_rows", lambda stable_only: rows)
    report = train({**structures, "unsure": True, "reference_weight": 0.5}, tmp_path / "out")
    assert report["held_out"]["bulk_modulus_vrh"]["n"] == len(structure_rows())


def test_a_pause_says_how_to_go_on(structures: dict[str, Any], tmp_path: Path) -> None:
    structures["fit"] = {**structures["fit"], "seconds": 1e-9}
    with pytest.raises(CheckpointError, match="the same command resumes it"):
        train(structures, tmp_path / "out")


def test_early_stopping_ends_a_member_for_good(
    structures: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member without gain for `patience` epochs is finished: a resume adds no epoch and drops none."""
    from surrogates.training.fitting import _Run

    epochs: list[int] = []

    def counted(self: Any, *arguments: Any) -> float:
        epochs.append(self.epoch)
        self.epoch += 1
        for p in self.network.parameters():
            self.optimiser.state[p] = {
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
                "step": torch.tensor(1.0),
            }
        return 0.0

    monkeypatch.setattr(_Run, "train_epoch", counted)
    structures["fit"] = {"epochs": 20, "batch_size": 16, "patience": 3}
    monkeypatch.setattr(_Run, "watched", lambda self, *_: {"mae_0": 1.0 + self.epoch})
    first = train(structures, tmp_path / "first")
    assert len(epochs) == 2 * 4, "one epoch to beat, three without gain"
    assert first["held_out"]["members"] == [0, 1]
    curves = json.loads((tmp_path / "first" / "report.json").read_text())["learning_curves"]
    assert [[record["epoch"] for record in curve] for curve in curves] == [[1, 2, 3, 4]] * 2
    again = train({**structures, "work": str(tmp_path / "first" / "work")}, tmp_path / "second")
    assert len(epochs) == 2 * 4
    assert same(first["weights"], again["weights"])


def test_composition_kind_trains_and_resumes(
    compositions: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished members are kept; what is resumed ends with the same weights."""
    from surrogates.training import composition as composition_fit

    whole = train(compositions, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(composition_fit, "fit_member", killed_at(2, composition_fit.fit_member))
        with pytest.raises(KeyboardInterrupt, match="killed"):
            train(compositions, tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(composition_fit, "fit_member", killed_at(2, composition_fit.fit_member))
        resumed = train(compositions, tmp_path / "killed")
    assert same(whole["weights"], resumed["weights"])
    surrogate = load_surrogate(resumed["weights"])
    asked = [BULK_MODULUS, FORMATION_ENERGY, BAND_GAP]
    found = surrogate.predict(CompositionBatch.from_formulas(["WC", "TiN"]), asked)
    assert all(torch.isfinite(found[p].mean).all() for p in asked)


def test_energies_get_networks_of_their_own_and_resume_inside_one(
    compositions: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two saved states, the same command ends with the same weights."""
    from surrogates.training import composition_networks as composition_training

    monkeypatch.setattr(composition_training, "SAVED", 4)
    compositions["members"] = 1
    compositions["energy"] = {"members": 1, "steps": 20, "batch": 32, "width": 8, "trunk": 12, "fractions": 6}
    whole = train(compositions, tmp_path / "whole")
    run = composition_training._Run
    with monkeypatch.context() as patch:
        patch.setattr(run, "advance", killed_at(6 + 11, run.advance))
        with pytest.raises(KeyboardInterrupt, match="killed"):
            train(compositions, tmp_path / "killed")
    steps = []
    advance = run.advance
    with monkeypatch.context() as patch:
        patch.setattr(run, "advance", lambda self: (steps.append(self.step), advance(self))[1])
        resumed = train(compositions, tmp_path / "killed")
    assert steps == list(range(8, 20)), "the finished member is kept, the other goes on from step 8"
    assert same(whole["weights"], resumed["weights"])
    assert "mp formation_energy_per_atom" in resumed["held_out"]
    with pytest.raises(ConfigError, match=r"energy.step"):
        train({**compositions, "energy": {"step": 3}}, tmp_path / "bad")


def test_weights_have_ordinary_file_modes(tmp_path: Path) -> None:
    """Other users of a machine may read what its umask lets them read."""
    from surrogates.checkpoints.checkpoint import Checkpoint, save_checkpoint

    save_checkpoint(Checkpoint("table", {}, {"a": torch.zeros(2)}), tmp_path / "w")
    modes = {path.stat().st_mode for path in (tmp_path / "w").iterdir()}
    (tmp_path / "plain").write_text("")
    assert modes == {(tmp_path / "plain").stat().st_mode}


def test_composition_kind_learns_from_the_carried_facts_where_nothing_else_is_there(
    compositions: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report says what is missing; what was learned can be asked, the rest is refused by name."""
    monkeypatch.setenv("INVERSE_DATA", str(tmp_path / "nowhere"))
    settings = {k: v for k, v in compositions.items() if k != "data"}
    report = train({**settings, "members": 1}, tmp_path / "out")
    assert report["missing"].startswith("volume_per_atom: no tables in")
    assert report["held_out"]["oqmd formation_energy_per_atom"]["n"] > 20_000
    surrogate = load_surrogate(report["weights"])
    found = surrogate.predict(CompositionBatch.from_formulas(["WC"]), [BULK_MODULUS, FORMATION_ENERGY])
    assert all(torch.isfinite(p.mean).all() for p in found.values())
    with pytest.raises(UnknownNameError, match="volume_per_atom"):
        surrogate.predict(CompositionBatch.from_formulas(["WC"]), [VOLUME])
