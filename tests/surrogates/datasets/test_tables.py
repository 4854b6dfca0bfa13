"""Formula tables: parsing, merging by source, the split by formula."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from pymatgen.core import Composition

from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.datasets.tables import SOURCES, formula_table, parse_formula, read_formula_tables
from surrogates.errors import DataError, StructureError
from surrogates.training.composition_networks import CompositionTraining, Split


@pytest.mark.parametrize(
    "formula", ["WC", "Ca(AgGe)2", "Cd5Fe2(P2O7)4", "Fe0.62C0.00095Nb6.14e-05", "RbErO2", "K(Mg(OH)2)3", "H"]
)
def test_formulas_are_read_as_pymatgen_reads_them(formula: str) -> None:
    ours = {ELEMENT_SYMBOLS[z]: amount for z, amount in parse_formula(formula).items()}
    assert ours == pytest.approx(Composition(formula).get_el_amt_dict())


@pytest.mark.parametrize("formula", ["", "Xx2", "W(C", "WC)", "W1.2.3", "2W", "wc", "W C", "W0"])
def test_what_is_no_formula_is_refused(formula: str) -> None:
    with pytest.raises(StructureError, match="formula"):
        parse_formula(formula)


def test_sources_stay_apart_and_properties_share_a_row() -> None:
    table = formula_table(
        [
            ("mp", "bulk_modulus_vrh", {"WC": 390.0, "TiC": 240.0}),
            ("mp", "shear_modulus_vrh", {"WC": 280.0}),
            ("aflow", "bulk_modulus_vrh", {"WC": 380.0}),
        ]
    )
    assert list(zip(table.formulas, table.source.tolist(), strict=True)) == [
        ("WC", SOURCES.index("mp")),
        ("TiC", SOURCES.index("mp")),
        ("WC", SOURCES.index("aflow")),
    ]
    assert table.values[0, :2].tolist() == [390.0, 280.0]
    assert np.isnan(table.values[1, 1])
    dense = table.dense(np.array([1]))
    assert float(dense[0, ELEMENT_SYMBOLS.index("Ti")]) == 0.5
    assert float(dense.sum()) == 1.0


def test_a_formula_is_on_one_side_of_the_split_in_every_source() -> None:
    formulas = {f"{a}{i}{b}": 1.0 for a in ("Ti", "V", "W") for b in ("C", "N", "O") for i in range(1, 30)}
    table = formula_table([(s, "bulk_modulus_vrh", formulas) for s in ("mp", "aflow", "oqmd")])
    split = Split.of(table, CompositionTraining())
    names = [{table.formulas[i] for i in rows} for rows in (split.train, split.calibration, split.test)]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]
    assert sum(map(len, names)) == len(formulas)
    assert 0.05 < len(names[2]) / len(formulas) < 0.16


def write_tables(folder: Path) -> None:
    (folder / "tables").mkdir()
    (folder / "structures").mkdir()
    energy, gap = "formation_energy_per_atom", "band_gap"
    tables: dict[str, dict[str, list]] = {
        "mp_elasticity": {
            "reduced_formula": ["WC", "WC", "Bad", "Soft"],
            "bulk_modulus_vrh": [390.0, 380.0, 100.0, 0.1],
            "shear_modulus_vrh": [280.0, 270.0, 150.0, 0.1],
        },
        "aflow_bulk_modulus": {"reduced_formula": ["WC"], "bulk_modulus_vrh": [385.0]},
        "aflow_shear_modulus": {"reduced_formula": ["WC"], "shear_modulus_vrh": [275.0]},
        "oqmd": {"reduced_formula": ["TiC"], energy: [-0.8], "volume_per_atom": [10.0], gap: [None]},
        "mp_formation_energy": {"reduced_formula": ["TiC", "TiC"], energy: [-0.7, -0.75]},
        "mp_ground_states": {"reduced_formula": ["TiC"], energy: [-0.79]},
        "mp_band_gap": {"reduced_formula": ["TiC", "TiC"], gap: [0.0, 1.0]},
    }
    for name, columns in tables.items():
        parquet.write_table(pyarrow.table(columns), folder / "tables" / f"{name}.parquet")
    row = {
        "formula": "TiC",
        "lattice": np.diag([2.0, 2.0, 5.0]).tolist(),
        "species": ["Ti", "C"],
        "band_gap": 0.1,
    }
    rows = [{**row, energy: -0.5, "band_gap": 2.0}, {**row, energy: -0.8}, {**row, energy: None}]
    moduli = {
        "bulk_modulus_vrh": None,
        "shear_modulus_vrh": None,
        "bulk_modulus_eos": 250.0,
        "formula": "TiC",
    }
    elastic = [{**moduli, "source": "alex_hp_eos", "label": f"vinet {q}"} for q in ("rough", "good")]
    for name, content in (("mp_structures", rows), ("elasticity", elastic)):
        with gzip.open(folder / "structures" / f"{name}.jsonl.gz", "wt") as stream:
            stream.writelines(json.dumps(r) + "\n" for r in content)


def test_tables_are_treated_by_the_stated_rules(tmp_path: Path) -> None:
    """Geometric mean of moduli, failed ones out, lowest energy, median gap, rough EOS rows out."""
    write_tables(tmp_path)
    # "Bad" and "Soft" are no elements, so they must never reach the parser
    table = read_formula_tables(tmp_path)
    rows = {(SOURCES[s], f): v for s, f, v in zip(table.source, table.formulas, table.values, strict=True)}
    assert set(rows) == {
        ("mp", "WC"),
        ("aflow", "WC"),
        ("oqmd", "TiC"),
        ("mp_legacy", "TiC"),
        ("mp", "TiC"),
        ("alex_eos", "TiC"),
    }
    assert rows["mp", "WC"][:2] == pytest.approx([(390 * 380) ** 0.5, (280 * 270) ** 0.5])
    assert rows["mp_legacy", "TiC"][[2, 4]] == pytest.approx([-0.79, 0.5])
    assert rows["mp", "TiC"][2:] == pytest.approx([-0.8, 10.0, 0.1])
    assert np.isnan(rows["oqmd", "TiC"][4])
    assert rows["alex_eos", "TiC"][0] == 250.0


def test_a_missing_or_damaged_table_is_named(tmp_path: Path) -> None:
    write_tables(tmp_path)
    (tmp_path / "tables" / "oqmd.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"oqmd\.parquet cannot be read"):
        read_formula_tables(tmp_path)
    (tmp_path / "tables" / "oqmd.parquet").unlink()
    with pytest.raises(DataError, match=r"oqmd\.parquet cannot be read"):
        read_formula_tables(tmp_path)
