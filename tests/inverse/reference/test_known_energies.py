"""Known phases have known energies: what is looked up, what is not, and how surely."""

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from pymatgen.core import Composition, Element, Lattice, Structure

from inverse.benchmarks import surrogates as bench_surrogates
from inverse.candidates.types import EnergyFlag, KnownPhase
from inverse.prediction import answers as prediction_module
from inverse.prediction.answers import predict
from inverse.prediction.evaluation import Evaluator
from inverse.reference import HitClassifier, KnownMaterials, ReferenceHull
from inverse.reference.familiarity import kinship
from inverse.reference.known_energies import (
    LEAST_STD,
    TIER,
    KnownEnergies,
    TabulatedCell,
    read_cells,
    with_known,
)
from inverse.reference.phases import PACKAGE_DATA
from inverse.reference.signatures import Cell, signature_text
from surrogates.checkpoints.checkpoint import load_surrogate, weights_digest
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import DataError
from surrogates.physics.properties import ENERGY_ABOVE_HULL, FORMATION_ENERGY, Property
from surrogates.protocol import Prediction
from tests.fakes import AnalyticSurrogate, prediction


def diamond(element: str, a: float) -> Structure:
    lattice = Lattice(0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]))
    return Structure(lattice, [element] * 2, [[0, 0, 0], [0.25, 0.25, 0.25]])


def primitive(kind: str, a: float, species: Sequence[str], coords: Sequence[Sequence[float]]) -> Structure:
    return Structure.from_spacegroup(kind, Lattice.cubic(a), species, coords).get_primitive_structure()


CRYSTALS: dict[str, tuple[Structure, float]] = {
    "Si": (diamond("Si", 5.47), 0.0),
    "W": (primitive("Im-3m", 3.19, ["W"], [[0, 0, 0]]), 0.0),
    "Cu": (primitive("Fm-3m", 3.63, ["Cu"], [[0, 0, 0]]), 0.0),
    "diamond": (diamond("C", 3.57), 0.13),
    "WC": (Structure(Lattice.hexagonal(2.92, 2.85), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]), -0.12),
    "Mg": (
        Structure(Lattice.hexagonal(3.2, 5.2), ["Mg"] * 2, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]),
        0.0,
    ),
    "graphite": (
        Structure.from_spacegroup(
            "P6_3/mmc", Lattice.hexagonal(2.464, 6.711), ["C"] * 2, [[0, 0, 0.25], [1 / 3, 2 / 3, 0.25]]
        ),
        0.0,
    ),
    "TiC": (primitive("Fm-3m", 4.33, ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]]), -0.81),
}


@pytest.mark.parametrize("name", CRYSTALS)
def test_textbook_crystals_have_their_energy(name: str) -> None:
    """Si and W at +0.17, diamond at +0.69, WC at +0.21 eV/atom, all "in domain"."""
    structure, expected = CRYSTALS[name]
    (record,) = predict([structure])
    energy = record["predictions"]["formation_energy_per_atom"]
    assert energy["mean"] == pytest.approx(expected, abs=0.03)
    assert energy["std"] < 0.03
    assert energy["lower"] < energy["mean"] < energy["upper"]
    assert [f for f in record["flags"] if f.startswith("known_phase: ")]


LACKED: dict[str, tuple[Structure, float]] = {
    "Mg, at 0.009 in the tables": (
        Structure(Lattice.hexagonal(3.19, 5.18), ["Mg"] * 2, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]),
        0.0,
    ),
    "Ag, beside a row of other stacking": (primitive("Fm-3m", 4.15, ["Ag"], [[0, 0, 0]]), 0.0),
    "Sn": (primitive("Fd-3m", 6.50, ["Sn"], [[0, 0, 0]]), 0.0),
    "In": (Structure.from_spacegroup("I4/mmm", Lattice.tetragonal(3.25, 4.95), ["In"], [[0, 0, 0]]), 0.0),
    "Se, chains of one hand": (
        Structure.from_spacegroup("P3_121", Lattice.hexagonal(4.368, 4.958), ["Se"], [[0.2254, 0, 1 / 3]]),
        0.0,
    ),
    "Se, chains of the other": (
        Structure.from_spacegroup("P3_221", Lattice.hexagonal(4.368, 4.958), ["Se"], [[0.2254, 0, 2 / 3]]),
        0.0,
    ),
    "cubic BN": (primitive("F-43m", 3.62, ["B", "N"], [[0, 0, 0], [0.25, 0.25, 0.25]]), -1.385),
    "hexagonal BN": (
        Structure.from_spacegroup(
            "P6_3/mmc",
            Lattice.hexagonal(2.504, 6.66),
            ["B", "N"],
            [[1 / 3, 2 / 3, 0.25], [1 / 3, 2 / 3, 0.75]],
        ),
        -1.461,
    ),
    "rutile": (
        Structure.from_spacegroup(
            "P4_2/mnm", Lattice.tetragonal(4.6, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
        ),
        -3.465,
    ),
    "quartz": (
        Structure.from_spacegroup(
            "P3_221", Lattice.hexagonal(4.91, 5.40), ["Si", "O"], [[0.47, 0, 2 / 3], [0.414, 0.268, 0.786]]
        ),
        -3.255,
    ),
}


@pytest.mark.parametrize("name", LACKED)
def test_phases_that_no_table_had_by_name_have_their_energy(name: str) -> None:
    structure, expected = LACKED[name]
    (record,) = predict([structure])
    energy = record["predictions"]["formation_energy_per_atom"]
    assert energy["mean"] == pytest.approx(expected, abs=0.01)
    assert energy["std"] < 0.02
    assert [f for f in record["flags"] if f.startswith("known_phase: ")]


def test_a_measured_cell_is_of_the_same_entry_as_the_computed_one() -> None:
    places = [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
    phases = KnownEnergies.packaged()
    for a, c in ((3.19, 5.16), (3.21, 5.21)):
        magnesium = Structure(Lattice.hexagonal(a, c), ["Mg"] * 2, places)
        assert phases.phase_of(magnesium) == KnownPhase("mp-153")


def indium(volume_per_atom: float) -> Structure:
    structure = Structure.from_spacegroup("I4/mmm", Lattice.tetragonal(3.25, 4.95), ["In"], [[0, 0, 0]])
    return structure.scale_lattice(len(structure) * volume_per_atom)


def test_an_element_at_twice_its_volume_is_no_known_phase() -> None:
    """A prototype of indium at 52.3 Å³/atom stood at 0 eV/atom: so did the metal, swollen to it."""
    swollen, metal = predict([indium(52.3), indium(26.0)])
    assert not [f for f in swollen["flags"] if f.startswith("known_phase: ")]
    assert swollen["predictions"]["formation_energy_per_atom"]["mean"] > 0.4
    assert [f for f in metal["flags"] if f.startswith("known_phase: ")]
    (carried,) = [s for s in KnownMaterials.packaged().signatures_of("In") if s.space_group == 139]
    assert carried.volume_per_atom == pytest.approx(26.0, abs=0.2)


def cells_at_zero() -> list[list[TabulatedCell]]:
    """Return the cells of elements that have 0 eV/atom, by element and signature."""
    found: dict[tuple[str, str], list[TabulatedCell]] = {}
    for formula, cells in KnownEnergies.packaged()._cells.items():
        for cell in cells if len(Composition(formula)) == 1 else ():
            if cell.energy == 0.0:
                found.setdefault((formula, cell.signature), []).append(cell)
    return list(found.values())


def test_cells_of_one_element_and_signature_that_have_zero_are_alike() -> None:
    """Indium's lay 0.68 eV/atom apart by the surrogate, plutonium's 0.23, both at 0."""
    groups = cells_at_zero()
    assert sum(len(cells) > 1 for cells in groups) > 20
    for cells in groups:
        said = [cell.surrogate_energy for cell in cells]
        assert max(said) - min(said) <= 0.2, cells


def test_equal_energies_of_one_signature_are_of_one_phase_at_every_volume() -> None:
    """Layers and molecules have one energy at many volumes: the surrogate must say so too."""
    for formula, own in KnownEnergies.packaged()._cells.items():
        for text in {cell.signature for cell in own} if len(own) > 1 else ():
            cells = [cell for cell in own if cell.signature == text]
            for one, other in combinations(cells, 2):
                ratio = max(one.volume_per_atom, other.volume_per_atom) / min(
                    one.volume_per_atom, other.volume_per_atom
                )
                if ratio > 1.2 and abs(one.energy - other.energy) < 0.02:
                    assert abs(one.surrogate_energy - other.surrogate_energy) < 0.2, (formula, one, other)


WITHOUT_ZERO = {"H", "He", "F", "Ne", "Ar", "Po", "At", "Rn", "Fr", "Ra"}


def test_every_element_up_to_plutonium_has_a_cell_at_zero_but_those_the_data_card_names() -> None:
    cells = KnownEnergies.packaged()._cells
    have = {
        Composition(formula).elements[0].symbol
        for formula, own in cells.items()
        if len(Composition(formula)) == 1 and any(cell.energy == 0.0 for cell in own)
    }
    up_to_plutonium = {Element.from_Z(z).symbol for z in range(1, 95)}
    assert up_to_plutonium - have == WITHOUT_ZERO
    assert have <= up_to_plutonium
    card = (PACKAGE_DATA / "DATA.md").read_text()
    assert "no cell at 0: H and F" in card
    assert "He, Ne, Ar, Po, At, Rn, Fr, Ra and all elements from Am on" in card


def test_chains_are_no_hcp_metal() -> None:
    """ASE's table names the lattice of selenium hcp: two atoms in its cell stood at 0 eV/atom."""
    places = [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
    (record,) = predict([Structure(Lattice.hexagonal(4.36, 4.95), ["Se"] * 2, places)])
    assert not [f for f in record["flags"] if "phase" in f.partition(":")[0]]


@pytest.mark.parametrize(("strain", "percent"), [(0.02, "+6.1%"), (-0.02, "-5.9%")])
def test_a_strained_phase_says_why_its_energy_was_not_used(strain: float, percent: str) -> None:
    """A strain of 2 % takes diamond from 0.145 to 0.743 eV/atom."""
    tabulated = KnownEnergies.packaged()._cells["C"]
    (own,) = [cell for cell in tabulated if cell.database_id == 66]
    structure = CRYSTALS["diamond"][0].copy()
    structure.scale_lattice(len(structure) * own.volume_per_atom)
    unstrained = structure.copy()
    structure.apply_strain(strain)
    loose = unstrained.copy()
    loose.apply_strain(0.10)
    records = predict([structure, unstrained, loose])
    flags = [[f for f in r["flags"] if f.partition(":")[0] in set(EnergyFlag)] for r in records]
    assert flags == [
        [
            f"strained_phase: the cell is strained by {percent} in volume from mp-66: "
            "its tabulated energy was not used"
        ],
        ["known_phase: mp-66, whose tabulated formation energy this is"],
        [],
    ]


def test_the_flag_names_the_entry_of_the_database() -> None:
    (record,) = predict([CRYSTALS["WC"][0]])
    assert any(f.startswith("known_phase: mp-1894") for f in record["flags"])


def test_a_relaxed_crystal_is_told_which_phase_it_is() -> None:
    classifier = HitClassifier(KnownMaterials.packaged())
    structure = CRYSTALS["WC"][0]
    swollen = structure.copy()
    swollen.scale_lattice(1.07 * structure.volume)
    assert kinship(classifier, structure).known_phase == KnownPhase("mp-1894")
    assert kinship(classifier, swollen).known_phase is None


@pytest.mark.parametrize("name", ["mp-", "MP-5", "mp-5/..", "javascript:alert(1)", "mp-5\n"])
def test_what_is_no_entry_is_no_address(name: str) -> None:
    with pytest.raises(ValueError, match="no entry of the Materials Project"):
        KnownPhase(name)


def test_other_polymorphs_volumes_and_scales_are_predicted() -> None:
    structure = CRYSTALS["WC"][0]
    swollen = structure.copy()
    swollen.scale_lattice(1.07 * structure.volume)
    other = Structure(Lattice.cubic(2.7), ["W", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    unknown = Structure(Lattice.hexagonal(2.92, 2.85), ["W", "B"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
    for record in predict([swollen, other, unknown]) + predict([structure], scale="aflow_pbe"):
        assert not [f for f in record["flags"] if f.startswith("known_phase")]


OF_ANOTHER_POLYMORPH: dict[str, Structure] = {
    "AlCrO3, tabulated as corundum": primitive(
        "Pm-3m", 3.68, ["Al", "Cr", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    ),
    "CsBeF3, tabulated as chains": primitive(
        "Pm-3m", 4.04, ["Cs", "Be", "F"], [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0]]
    ),
}


@pytest.mark.parametrize("name", OF_ANOTHER_POLYMORPH)
def test_no_crystal_has_the_energy_of_another_polymorph(name: str) -> None:
    (record,) = predict([OF_ANOTHER_POLYMORPH[name]])
    assert not [f for f in record["flags"] if f.startswith("known_phase")]


def test_no_carried_energy_is_far_from_what_the_surrogate_says_without_being_measured() -> None:
    """Tabulated without an entry: energies of a formula's lowest phase, given to the one cell carried."""
    groups = KnownEnergies.packaged()._cells.items()
    cells = [c for formula, g in groups if len(Composition(formula)) > 1 for c in g if not c.database_id]
    assert max(abs(c.energy - c.surrogate_energy) for c in cells) <= 0.5


def test_the_switch_says_what_the_surrogate_itself_predicts() -> None:
    structure = CRYSTALS["diamond"][0]
    (plain,) = predict([structure], known_energies=False)
    with torch.no_grad():
        own = load_surrogate("accurate").predict(
            CrystalBatch.from_structures([structure]), [FORMATION_ENERGY]
        )
    mean = float(own[FORMATION_ENERGY].mean)
    assert plain["predictions"]["formation_energy_per_atom"]["mean"] == pytest.approx(mean, abs=1e-4)
    assert plain["flags"] == []


def test_a_users_own_surrogate_is_not_corrected() -> None:
    (record,) = predict([CRYSTALS["Si"][0]], surrogate=AnalyticSurrogate())
    assert record["predictions"]["formation_energy_per_atom"]["mean"] == pytest.approx(0.3, abs=1e-5)


def test_errors_of_surrogates_are_measured_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> KnownEnergies:
        raise AssertionError("a benchmark looked known energies up")

    monkeypatch.setattr(KnownEnergies, "packaged", refuse)
    bench_surrogates.speeds(4)
    structure = CRYSTALS["Si"][0]
    evaluator = Evaluator(load_surrogate("structure"), lambda formula: 0.0, [ENERGY_ABOVE_HULL])
    assert float(evaluator.predict([structure])[FORMATION_ENERGY].mean) > 0.1
    predict([structure], known_energies=False)


def test_a_campaigns_evaluator_takes_known_energies_and_descents_do_without() -> None:
    structure = CRYSTALS["diamond"][0]
    hull = ReferenceHull.packaged().below
    evaluator = Evaluator(
        load_surrogate("structure"), hull, [ENERGY_ABOVE_HULL], known=KnownEnergies.packaged()
    )
    beside = Evaluator(load_surrogate("accurate"), hull, [ENERGY_ABOVE_HULL], beside=evaluator)
    for asked in (evaluator, beside):
        found = asked.predict([structure, Structure(Lattice.cubic(2.4), ["C"], [[0, 0, 0]])])
        assert float(found[ENERGY_ABOVE_HULL].mean[0]) == pytest.approx(0.135, abs=0.02)
        assert float(found[ENERGY_ABOVE_HULL].std[0]) < 0.03
        assert float(found[ENERGY_ABOVE_HULL].std[1]) > 0.05
    crystals = CrystalBatch.from_structures([structure])
    descended = evaluator.predict_crystals(crystals, evaluator.hull_of_formulas(["C"]))
    assert float(descended[ENERGY_ABOVE_HULL].mean) > 0.4


class Constant(AnalyticSurrogate):
    """Says 0.5 eV/atom of every crystal."""

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        return {p: prediction(p, torch.full((crystals.n_crystals,), 0.5)) for p in properties}


def test_of_several_cells_the_nearest_in_volume_counts_and_then_the_lowest() -> None:
    structure = CRYSTALS["TiC"][0]
    text = signature_text(Cell.from_structure(structure)) or ""
    own = structure.volume / 2

    def said(*cells: tuple[float, float, float]) -> float | None:
        rows = [TabulatedCell(text, v * own, e, s, k) for k, (v, e, s) in enumerate(cells, 1)]
        (known,) = KnownEnergies({"TiC": rows}, Constant()).of([structure])
        return None if known is None else known.energy

    assert said((1.04, -3.0, 0.5), (1.01, -1.0, 0.5)) == pytest.approx(-1.0)
    assert said((1.01, -1.0, 0.5), (1.01, -2.0, 0.5)) == pytest.approx(-2.0)
    assert said((1.0, -1.0, 0.3)) == pytest.approx(-0.8), "the difference of the surrogate is added"
    assert said((1.06, -1.0, 0.5)) is None


def test_the_error_grows_with_what_the_surrogate_says_between_the_cells() -> None:
    structure = CRYSTALS["TiC"][0]
    text = signature_text(Cell.from_structure(structure)) or ""
    for said, least in ((0.5, LEAST_STD), (0.3, 0.2)):
        cell = TabulatedCell(text, structure.volume / 2, -1.0, said, 1)
        (known,) = KnownEnergies({"TiC": [cell]}, Constant()).of([structure])
        assert known is not None
        assert known.std == pytest.approx(math.hypot(LEAST_STD, 0.5 - said), rel=1e-5)
        assert known.std >= least


def test_draws_of_known_energies_keep_their_order() -> None:
    before = prediction(FORMATION_ENERGY, torch.tensor([0.2, 0.4]))
    (known,) = KnownEnergies.packaged().of([CRYSTALS["WC"][0]])
    after = with_known(before, [known, None])
    assert known is not None
    assert bool((after.samples.diff(dim=0) > 0).all())
    assert float(after.samples[:, 0].mean()) == pytest.approx(known.energy, abs=1e-5)
    torch.testing.assert_close(after.samples[:, 1], before.samples[:, 1])


def test_energies_of_other_weights_are_refused(tmp_path: Path) -> None:
    path = PACKAGE_DATA / "signatures.parquet"
    with pytest.raises(DataError, match=r"of other weights .* build them again"):
        read_cells(path, "0" * 64)
    bare = tmp_path / "signatures.parquet"
    parquet.write_table(parquet.read_table(path).replace_schema_metadata(None), bare)
    with pytest.raises(DataError, match="of other weights"):
        read_cells(bare, weights_digest(TIER))
    parquet.write_table(parquet.read_table(path, columns=["formula", "signature"]), bare)
    with pytest.raises(DataError, match="cannot be read"):
        read_cells(bare, weights_digest(TIER))


def test_the_accurate_tier_has_the_energies_that_are_carried() -> None:
    structures = [structure for structure, _ in CRYSTALS.values()]
    batch = CrystalBatch.from_structures(structures)
    with torch.no_grad():
        fast, accurate = (
            load_surrogate(name).predict(batch, [FORMATION_ENERGY])[FORMATION_ENERGY].mean.numpy()
            for name in (TIER, "accurate")
        )
    np.testing.assert_allclose(fast, accurate, atol=1e-6)


def test_carried_energies_agree_with_the_hull_they_are_held_against() -> None:
    hull, cells = ReferenceHull.packaged(), KnownEnergies.packaged()._cells
    formulas = sorted(cells)[::400]
    below = [hull.below(f) - min(c.energy for c in cells[f]) for f in formulas]
    assert np.mean(np.array(below) > 0.05) < 0.05
    assert len(cells) > 25_000


class Deep(AnalyticSurrogate):
    """Says -4 eV/atom of every crystal."""

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        return {p: prediction(p, torch.full((crystals.n_crystals,), -4.0)) for p in properties}


def test_what_is_predicted_far_below_the_hull_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_module, "load_surrogate", lambda name: Deep())
    strange = Structure(Lattice.cubic(3.0), ["W", "B"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    (record,) = predict([strange])
    assert record["in_domain"] is False
    assert [f for f in record["flags"] if f.startswith("below_hull: ") and "below the hull" in f]
    monkeypatch.setattr(prediction_module, "load_surrogate", lambda name: Constant())
    (record,) = predict([strange])
    assert record["in_domain"] is True
    assert record["flags"] == []
