"""Tables as people bring them: heads of other programs, units in heads, values of any size."""

import json
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from inverse.campaign.campaign import rounded
from inverse.candidates.types import Verification, VerifiedValue
from inverse.inputs.table_header import Header, is_unit, split_unit
from inverse.inputs.training_config import read_stage
from inverse.inputs.user_table import read_table
from inverse.prediction.answers import predict
from inverse.prediction.training import train
from inverse.report.figures import nice_ticks
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.errors import ConfigError

OXIDES = [m + "O" for m in ("Mg", "Ca", "Sr", "Ba", "Zn", "Cd", "Fe", "Ni", "Co", "Mn", "Be")]
OXIDES += [m + "2O3" for m in ("Al", "Fe", "Cr", "Ga", "In", "Y", "La", "Sc", "Ti", "V")]


def table(path: Path, head: str, scale: float = 1.0, formulas: list[str] | None = None) -> Path:
    rows = [f"{f},{scale * (3 + k % 7):.4g}" for k, f in enumerate(formulas or OXIDES)]
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "head",
    [
        "composition",
        "pretty_formula",
        "reduced_formula",
        "Formula",
        "formula_pretty",
        " Chemical Formula ",
        "material",
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_heads_of_other_programs_are_columns_of_formulas(head: str, mark: str, tmp_path: Path) -> None:
    stage, _ = read_stage(table(tmp_path / "t.csv", f"{mark}{head},kappa (W/m/K)"))
    found = read_table(stage)  # type: ignore[arg-type]
    assert len(found.values) == len(OXIDES)
    assert (found.property.name, found.property.unit) == ("kappa", "W/m/K")


def test_names_of_rows_and_second_formulas_are_no_values(tmp_path: Path) -> None:
    header = Header.of("material_id,composition,pretty_formula,kappa [W/(m K)]", "t.csv")
    assert header.formulas() == "composition"
    assert header.only_value() == "kappa [W/(m K)]"


def test_a_config_may_leave_formula_and_unit_to_the_head(tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv", "composition,bulk_modulus_vrh (GPa)")
    stage, _ = read_stage({"kind": "table", "data": str(data), "value": "bulk_modulus_vrh (GPa)"})
    assert read_table(stage).property.name == "bulk_modulus_vrh"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("head", "config", "message"),
    [
        (
            "name,kappa",
            {},
            r"t\.csv: no column of formulas among 'name', 'kappa'; call it 'formula' or 'comp",
        ),
        ("composition,kappa", {"formula": "formula"}, "no column 'formula'"),
        ("composition,kappa", {"value": "kapa"}, "no column 'kapa'; did you mean 'kappa'"),
        ("composition,kappa (GPa)", {"unit": "W/m/K"}, r"unit: 'W/m/K', but .* says 'kappa \(GPa\)'"),
        ("composition,density (kg/m3)", {}, "density is in g/cm³ everywhere; convert"),
        ("composition,kappa,kappa", {}, "the column 'kappa' stands there twice"),
    ],
)
def test_heads_that_cannot_be_used_are_named(
    head: str, config: dict[str, str], message: str, tmp_path: Path
) -> None:
    data = table(tmp_path / "t.csv", head)
    value = head.split(",")[1]
    stage, _ = read_stage({"kind": "table", "data": str(data), "value": value, **config})
    with pytest.raises(ConfigError, match=message):
        read_table(stage)  # type: ignore[arg-type]


def test_a_csv_with_more_columns_says_what_to_write(tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv", "composition,kappa,rho")
    with pytest.raises(
        ConfigError, match=r"beside 'composition' one column of values is needed, not kappa, rho"
    ):
        read_stage(data)


def test_rows_of_more_cells_than_the_head_are_left_out(tmp_path: Path) -> None:
    """A decimal comma in a CSV of commas makes two cells of one value."""
    data = table(tmp_path / "t.csv", "composition,kappa")
    data.write_text(data.read_text(encoding="utf-8") + "TiO2,5,6\nZrO2,5,,\n", encoding="utf-8")
    stage, _ = read_stage(data)
    found = read_table(stage)  # type: ignore[arg-type]
    assert len(found.values) == len(OXIDES) + 1
    assert found.skipped == [
        (len(OXIDES) + 2, "3 cells below 2 columns; write a decimal point, or quotes around commas")
    ]


@pytest.mark.parametrize(
    ("head", "name", "unit"),
    [
        ("kappa (W/m/K)", "kappa", "W/m/K"),
        ("K_VRH [GPa]", "K_VRH", "GPa"),
        ("band gap (eV)", "band gap", "eV"),
        ("alpha (10^-6/K)", "alpha", "10^-6/K"),
        ("kappa (W m-1 K-1)", "kappa", "W m-1 K-1"),
        ("toughness (MPa·m½)", "toughness (MPa·m½)", ""),
        ("toughness (MPa m^0.5)", "toughness", "MPa m^0.5"),
        ("S (µV/K)", "S", "µV/K"),
        ("strength (yield)", "strength (yield)", ""),
        ("T(K)", "T", "K"),
        ("value", "value", ""),
    ],
)
def test_units_beside_names(head: str, name: str, unit: str) -> None:
    assert split_unit(head) == (name, unit)


def test_words_and_numbers_are_no_units() -> None:
    assert not any(map(is_unit, ("", "2", "max", "a.u. of mine", "calc", "DFT")))


@pytest.mark.parametrize("scale", [1e-15, 1e-7, 1e7])
def test_small_and_large_values_keep_their_digits(scale: float, tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv", "composition,resistivity", scale)
    report = train(data, tmp_path / "out")
    errors = json.loads((tmp_path / "out" / "report.json").read_text())["held_out"]
    assert errors == report["held_out"]
    assert 0.1 * scale < errors["mae"] < 5 * scale
    assert 0.1 * scale < errors["mae_constant"] < 5 * scale
    assert errors["rmse"] >= errors["mae"]
    (record,) = predict(formulas=["MgO"], composition_surrogate=load_surrogate(tmp_path / "out"))
    assert record["scale"] == "own_table"
    crystal = Structure(Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    (of_crystal,) = predict([crystal], surrogate=load_surrogate(tmp_path / "out"))
    assert of_crystal["scale"] == "own_table"
    assert scale < record["predictions"]["resistivity"]["mean"] < 12 * scale


def test_verdicts_of_small_values_are_not_rounded_away() -> None:
    """A judge of the user's own may answer in Ω m: five decimals made every verdict 0."""

    def value(mean: float, unit: str) -> VerifiedValue:
        return VerifiedValue(mean, mean / 10, mean * 0.8, mean * 1.2, mean, "mine", unit)

    values = {"resistivity": value(3.80000049e-7, "Ω m"), "bulk_modulus_vrh": value(300.12345, "GPa")}
    told = rounded(Verification("auto", True, "", values)).values
    assert told["resistivity"].mean == 3.8e-7
    assert told["resistivity"].std == pytest.approx(3.8e-8, rel=1e-6)
    assert told["bulk_modulus_vrh"].mean == 300.123


def test_axes_of_small_values_have_ticks() -> None:
    ticks = nice_ticks(2.1e-13, 3.9e-13)
    assert len(set(ticks)) == len(ticks) >= 4
    assert ticks[0] <= 2.1e-13
    assert ticks[-1] >= 3.9e-13
