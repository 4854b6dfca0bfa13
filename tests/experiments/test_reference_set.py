"""The reference set's pipeline on tiny synthetic pools: caps, labels, resuming, gates, packing, loading."""

import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from experiments.reference_set import files
from experiments.reference_set import label as labelling
from experiments.reference_set.bias import biases, pairs
from experiments.reference_set.candidates import decorations, n_operations, types
from experiments.reference_set.coordination import coordination_change, coordination_numbers
from experiments.reference_set.disagreement import Disagreement
from experiments.reference_set.elements import allowed_elements, chemistry
from experiments.reference_set.files import labelled, pools, read_lines, write_lines
from experiments.reference_set.gates import LARGEST_SHARE, passed
from experiments.reference_set.pack import joined, pack
from experiments.reference_set.selection import Caps, selected
from inverse.inputs.records import structure_to_record
from inverse.reference.familiarity import known_prototypes
from inverse.verification.judge import Judge
from surrogates.datasets.reference_set import FOLDER, reference_rows
from surrogates.errors import DataError

POTENTIAL = "tests.stand_in_potential:pairwise"


def rock_salt(metal, anion, length):
    lattice = Lattice(length / 2 * (np.ones((3, 3)) - np.eye(3)))
    return Structure(lattice, [metal, anion], [[0] * 3, [0.5] * 3])


def pool_row(name, structure, **changes):
    row = {
        "id": name,
        "formula": structure.composition.reduced_formula,
        "origin": "aflow",
        "prototype": "225|4 -3mm A|4 -3mm B",
        "bulk_modulus": 250.0,
        "shear_modulus": 120.0,
        "shear_modulus_std": 20.0,
        "cost": 3.0,
    }
    return {**row, **structure_to_record(structure), **changes}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a pool of three crystals, one with colliding atoms; energies are put near the hull."""
    near = {"formation_energy_per_atom": -0.5, "energy_above_hull": 0.05}
    monkeypatch.setattr(labelling, "_energies", lambda *_: near)
    rows = [
        pool_row("a", rock_salt("Ti", "C", 4.5)),
        pool_row("b", rock_salt("Mg", "O", 0.9)),
        pool_row("c", rock_salt("Hf", "N", 4.8)),
    ]
    write_lines(tmp_path / "pool-1.jsonl.gz", rows)
    return tmp_path


def label_pools(folder, seconds=600.0):
    rows = [row for path in pools(folder) for row in read_lines(path)]
    return labelling.run(rows, Judge(POTENTIAL), seconds, folder)


def made_label(name, **changes):
    row = {
        "id": name,
        "formula": name,
        "signature": f"225|4 -3mm {name}",
        "prototype": "225|4 -3mm A",
        "reason": "",
        "energy_per_atom": -5.0,
        "energy_above_hull": 0.1,
        "coordination_change": 0.0,
        "stiffness_relaxed": [[1.0]],
        "is_stable": True,
    }
    return {**row, **changes}


def test_allowed_elements_know_no_gas_and_few_radioactive_ones():
    elements = set(allowed_elements())
    assert {"W", "C", "U", "Th"} <= elements
    assert not elements & {"Xe", "Ar", "He", "Tc", "Pm", "Pu", "Ac"}


@pytest.mark.parametrize(
    ("formula", "kind"),
    [
        ("Ti C", "carbide"),
        ("Na Cl", "halide"),
        ("Ga As", "pnictide"),
        ("Zn S", "chalcogenide"),
        ("Si C", "covalent"),
    ],
)
def test_chemistry_goes_by_the_most_electronegative(formula, kind):
    assert chemistry(formula.split()) == kind


def test_types_are_small_symmetric_and_from_both_sources():
    found = types(known_prototypes(8))
    assert {one.origin for one in found} == {"aflow", "signature"}
    assert all(one.n_atoms <= 8 and n_operations(one.text) >= 8 for one in found)
    drawn = decorations(found[0], 20, np.random.default_rng(0))
    assert drawn == decorations(found[0], 20, np.random.default_rng(0))
    assert all(len(set(elements)) == found[0].n_labels for elements in drawn)


def test_selection_keeps_its_caps_and_is_deterministic():
    metals = ["Ti", "Zr", "Hf", "V", "Nb", "Ta", "Cr", "Mo", "W", "Mn"]
    rows = [
        {**pool_row(f"{m}{k}", rock_salt(m, "C", 4.5)), "prototype": f"{225 - k}|4 -3mm A|4 -3mm B"}
        for m in metals
        for k in range(6)
    ]
    caps = Caps(prototype=0.2, system=2, chemistry=1.0)
    chosen = selected(rows, [1.0] * len(rows), [0.9] * len(rows), 20, 7, caps)
    assert chosen == selected(rows, [1.0] * len(rows), [0.9] * len(rows), 20, 7, caps)
    assert len(chosen) == len(set(chosen)) == 20
    for key, most in (("prototype", 4), ("formula", 2)):
        values = [rows[k][key] for k in chosen]
        assert max(values.count(v) for v in values) <= most


def test_systems_of_earlier_pools_count():
    rows = [pool_row(f"{k}", rock_salt("Ti", "C", 4.5)) for k in range(3)]
    assert (
        selected(rows, [1.0] * 3, [1.0] * 3, 3, 0, Caps(system=4, prototype=1, chemistry=1), rows * 2) == []
    )


def test_disagreement_prefers_where_labels_were_wrong_and_avoids_where_they_failed():
    right = {
        **pool_row("a", rock_salt("Ti", "C", 4.5)),
        "label_bulk_modulus": 250.0,
        "label_shear_modulus": 120.0,
    }
    wrong = {
        **pool_row("b", rock_salt("Hf", "C", 4.5)),
        "label_bulk_modulus": 125.0,
        "label_shear_modulus": 30.0,
    }
    failed = {
        **pool_row("c", rock_salt("V", "C", 4.5)),
        "label_bulk_modulus": None,
        "label_shear_modulus": None,
    }
    model = Disagreement.of([right, wrong, failed] * 5)
    assert model.expected_error(wrong) > model.expected_error(right)
    assert 0 < model.chance(failed) < model.chance(right) < 1


def test_coordination_numbers_of_ideal_crystals():
    assert coordination_numbers(rock_salt("Na", "Cl", 5.6))["Na"] == pytest.approx(6, abs=0.1)
    copper = Structure(rock_salt("Na", "Cl", 3.6).lattice, ["Cu"], [[0] * 3])
    assert coordination_numbers(copper)["Cu"] == pytest.approx(12, abs=0.1)
    caesium = Structure(Lattice.cubic(3.4), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
    assert coordination_change(rock_salt("Na", "Cl", 5.6), caesium) > 0.3


def test_labels_survive_and_are_not_repeated(folder):
    assert label_pools(folder, seconds=0.0) == 0
    assert label_pools(folder) == 3
    assert label_pools(folder) == 0
    found = labelled(folder)
    assert found["b"]["reason"]
    assert found["a"]["bulk_modulus"] > 0
    assert np.shape(found["a"]["stiffness_relaxed"]) == np.shape(found["a"]["stiffness_clamped"]) == (6, 6)
    assert not found["a"]["signature_changed"]
    assert found["a"]["coordination_change"] < 0.01


def test_a_line_cut_off_by_a_kill_is_labelled_again(folder):
    label_pools(folder)
    shard = next((folder / "labels").glob("*.jsonl"))
    lines = shard.read_text().splitlines()
    shard.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:40])
    assert set(labelled(folder)) == {"a", "b"}
    assert label_pools(folder) == 1
    assert set(labelled(folder)) == {"a", "b", "c"}


def test_gates_name_what_they_remove():
    rows = [
        made_label("Fe"),
        made_label("Co", reason="7net-0: not relaxed within 150 steps"),
        made_label("Ni", coordination_change=0.5),
        made_label("Cu", energy_above_hull=0.6),
        made_label("Zn", energy_above_hull=None),
        made_label("Ga", is_stable=False),
        made_label("twin", formula="Fe", signature="225|4 -3mm Fe", energy_per_atom=-4.0),
        made_label("V"),
    ]
    for k, row in enumerate(rows):
        row["prototype"] = f"type {k}"
    found = passed(
        [*rows, *(made_label(f"X{k}", prototype=f"other {k}") for k in range(8))], [("V", "225|4 -3mm V")]
    )
    assert {row["id"]: gate for row, gate in found.removed} == {
        "Co": "not converged",
        "Ni": "coordination collapse",
        "Cu": "above the hull",
        "Zn": "no energy",
        "twin": "duplicate",
        "V": "DFT row",
    }
    assert [row["id"] for row in found.rows][:2] == ["Fe", "Ga"]


def test_no_prototype_has_more_than_its_share():
    rows = [made_label(f"A{k}", prototype="common") for k in range(50)]
    rows += [made_label(f"B{k}", prototype=f"rare {k % 20}") for k in range(60)]
    found = passed(rows)
    n_common = sum(row["prototype"] == "common" for row in found.rows)
    assert 0 < n_common <= LARGEST_SHARE * len(found.rows)
    assert found.counts["share of a prototype"] == 50 - n_common
    assert next(row["id"] for row in found.rows) == "A0"


def test_packed_rows_read_back(folder, tmp_path):
    label_pools(folder)
    rows = joined(folder)
    for k, row in enumerate(rows):  # one crystal of a type is more than its share of three
        row["prototype"] = f"type {k}"
    rows += [{**rows[0], "id": f"a{k}", "formula": f"X{k}", "prototype": f"more {k}"} for k in range(8)]
    target = tmp_path / "packed"
    found = pack(rows, [], {"K": {"n": 3, "median": -0.01, "spread": 0.05, "mae": 9.0}}, (1, 4), target)
    assert found.counts["not converged"] == 1
    read = reference_rows(path=target / "reference_set.parquet")
    label = labelled(folder)["a"]
    assert read[0]["formula"] == "TiC"
    assert read[0]["species"] == label["species"]
    assert read[0]["bulk_modulus_vrh"] == pytest.approx(label["bulk_modulus"], rel=1e-5)
    assert np.allclose(read[0]["stiffness"], label["stiffness_relaxed"], atol=1e-2)
    assert np.allclose(read[0]["lattice"], label["lattice"], atol=1e-4)
    assert len(read[0]["start_species"]) == len(read[0]["start_frac_coords"]) == 2
    assert len(reference_rows(True, target / "reference_set.parquet")) == sum(r["is_stable"] for r in read)
    text = (target / "CARD.md").read_text()
    assert "not converged" in text
    assert "| K | 3 | -0.010 | 0.050 | 9.0 |" in text


def test_labels_of_two_potentials_are_refused(folder, tmp_path):
    label_pools(folder)
    rows = joined(folder)
    with pytest.raises(DataError, match="several potentials"):
        pack([rows[0], {**rows[2], "potential": "diep"}], [], {}, (0, 0), tmp_path / "packed")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.parquet"):
        reference_rows(path=tmp_path / "absent.parquet")


def test_biases_are_of_stable_labels_that_dft_knows():
    labels = [
        {"formula": "A", "signature": "s", "is_stable": True, "bulk_modulus": 90.0, "shear_modulus": 50.0},
        {"formula": "B", "signature": "s", "is_stable": False},
        {"formula": "C", "signature": "s", "is_stable": True, "bulk_modulus": 9.0, "shear_modulus": 5.0},
    ]
    found = pairs(labels, {("A", "s"): (100.0, 50.0), ("B", "s"): (100.0, 50.0)})
    assert found == [(90.0, 50.0, 100.0, 50.0)]
    assert biases(found)["K"]["median"] == pytest.approx(np.log10(0.9))
    assert "G > 100" not in biases(found)


@pytest.mark.skipif(not (FOLDER / "reference_set.parquet").is_file(), reason="not packed yet")
def test_the_packaged_set_is_what_its_card_says():
    rows = reference_rows()
    assert (FOLDER / "reference_set.parquet").stat().st_size <= 4_000_000
    assert f"{len(rows)} crystals made in this project" in (FOLDER / "CARD.md").read_text()
    types = [row["prototype"] for row in rows]
    assert max(types.count(t) for t in set(types)) <= LARGEST_SHARE * len(rows)
    assert all(row["energy_above_hull"] <= 0.5 for row in rows)
    assert len({(row["formula"], row["signature"]) for row in rows}) == len(rows)


def test_rows_are_plain_json(folder):
    label_pools(folder)
    assert all(json.loads(json.dumps(row)) == row for row in labelled(folder).values())


def test_what_is_kept_stands_beside_the_scratch_folder(tmp_path, monkeypatch):
    kept, work = tmp_path / "kept", tmp_path / "work"
    monkeypatch.setattr(files, "KEPT", kept)
    monkeypatch.setattr(files, "WORK", work)
    files.write_lines(work / "pool-1.jsonl.gz", [{"id": "a"}, {"id": "b"}])
    (work / "labels").mkdir()
    (work / "labels" / "1.jsonl").write_text('{"id": "a", "seconds": 1}\n')
    assert files.keep(work, kept) == 1
    (work / "labels" / "1.jsonl").unlink()
    (work / "pool-1.jsonl.gz").unlink()
    assert [path.parent for path in files.pools(work)] == [kept]
    assert files.labelled(work) == {"a": {"id": "a", "seconds": 1}}
    assert files.labelled(tmp_path / "another") == {}
