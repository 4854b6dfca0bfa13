"""What a notebook does: formulas and ASE Atoms as they are, crystals as seeds, progress in place."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from pymatgen.core import Structure

import inverse
from inverse.commands import api
from inverse.inputs.campaign_config import CampaignConfig
from inverse.inputs.carried_files import read_seeds, seeds_as_files
from surrogates.errors import ConfigError, DataError
from tests import crystals, fakes


def test_a_formula_is_predicted_as_one_and_a_file_of_that_name_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (record,) = inverse.predict("WC")
    assert (record["level"], record["id"]) == ("composition", "WC")
    assert record == inverse.predict(formulas=["WC"])[0]
    (tmp_path / "WC").mkdir()
    with pytest.raises(DataError, match="no structure file"):
        inverse.predict("WC")
    with pytest.raises(DataError, match="no such file"):
        inverse.predict(Path("TiN"))  # whoever gives a path means a file


def test_atoms_are_the_crystal_that_a_structure_is() -> None:
    atoms = bulk("Cu", "fcc", a=3.61)
    structure = Structure(np.asarray(atoms.cell), ["Cu"], [[0, 0, 0]])
    of_atoms, of_structure, of_formula = inverse.predict([atoms, structure, "Cu"])
    assert of_atoms["predictions"] == of_structure["predictions"]
    assert (of_atoms["id"], of_formula["level"]) == ("structure#0", "composition")
    assert inverse.predict(atoms) == inverse.predict([atoms])


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (molecule("H2O"), "period"),
        (Atoms("X", cell=[3, 3, 3], pbc=True), "dummy atom"),
        (Atoms("Cu", cell=[3, 3, 0], pbc=True), ""),
        (Atoms(cell=[3, 3, 3], pbc=True), "without atoms"),
    ],
)
def test_atoms_that_are_no_crystal_are_an_error_in_their_place(atoms: Atoms, message: str) -> None:
    good, bad = inverse.predict([bulk("Cu"), atoms])
    assert "predictions" in good
    assert message in bad["error"]["message"]


def test_crystals_may_be_seeds_and_a_run_carries_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inverse.assembly.assemble", lambda config: fakes.parts(config))
    given = {**fakes.CONFIG, "seed_structures": [bulk("WC", "rocksalt", a=4.3), crystals.fcc("Al", 4.05)]}
    run = inverse.run(given, tmp_path / "run", budget=2)
    assert [path.name for path in run.config.seed_structures] == ["01-WC.json", "02-Al.json"]
    first, second = read_seeds(run.config.seed_structures)
    assert first.structure.volume == pytest.approx(4.3**3 / 4)
    assert second.structure.composition.reduced_formula == "Al"
    again = inverse.run(given, tmp_path / "run", resume=True, budget=3)  # the same crystals are the same run
    assert len(again.verified) == 3


def test_a_seed_that_is_no_crystal_is_refused_by_its_number(tmp_path: Path) -> None:
    config = {**fakes.CONFIG, "seed_structures": [crystals.fcc(), molecule("CH4")]}
    with pytest.raises(ConfigError, match=r"seed_structures: number 2: .*period"):
        seeds_as_files(config, tmp_path)
    with pytest.raises(ConfigError, match="seed_structures"):
        CampaignConfig.from_mapping(seeds_as_files({**config, "seed_structures": "TiN.cif"}, tmp_path))


def test_records_are_a_list_that_a_notebook_shows_as_a_table() -> None:
    one, several = inverse.predict("W2B4"), inverse.predict(["WC", "TiN", "gone.cif"])
    assert isinstance(one, list)
    assert one == [dict(one[0])]
    html = one._repr_html_()  # type: ignore[attr-defined]
    assert html.startswith("<p>WB2")
    assert "shear modulus G" in html
    html = several._repr_html_()  # type: ignore[attr-defined]
    assert html.count("<tr>") == 3
    assert "K<br>GPa" in html
    assert "<p>gone.cif: " in html


# -- progress ------------------------------------------------------------------------------------------------


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the output of a notebook's cell showed, one entry a change; IPython is a stand-in."""
    shown: list[str] = []
    ipython, of_display = ModuleType("IPython"), ModuleType("IPython.display")
    place = SimpleNamespace(update=shown.append)
    monkeypatch.setattr(ipython, "get_ipython", lambda: SimpleNamespace(kernel=object()), raising=False)
    monkeypatch.setattr(of_display, "HTML", str, raising=False)
    monkeypatch.setattr(of_display, "display", lambda html, display_id: place, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", of_display)
    return shown


def test_a_run_says_how_far_it_is_in_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: list[str]
) -> None:
    monkeypatch.setattr("inverse.assembly.assemble", lambda config: fakes.parts(config))
    inverse.run({**fakes.CONFIG, "verify": {"also": ["theirs:judge"]}}, tmp_path / "run", budget=4)
    assert any("4 of 4 verified" in html for html in cell)
    assert 'max="4"' in cell[0]
    assert cell[-1] == "this config runs code: theirs:judge<br>"  # the bar goes, what must be read stays
    heard: list[Any] = []
    n_shown = len(cell)
    inverse.run(fakes.CONFIG, tmp_path / "quiet", budget=2, on_progress=heard.append)
    assert heard
    assert len(cell) == n_shown  # whoever listens himself is not shown a bar


def test_predictions_are_counted_and_the_bar_goes(cell: list[str]) -> None:
    inverse.predict(["WC", "TiN"])
    assert "predict: 2 TiN" in cell[-2]
    assert cell[-1] == ""


def test_outside_a_notebook_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    api.predict("WC")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")
