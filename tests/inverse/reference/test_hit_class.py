"""The listed cases: orderings of known phases are derivatives, whoever proposes them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import HitClass
from inverse.reference import HitClassifier, KnownMaterials
from inverse.reference.signatures import Cell
from inverse.reference.vacancies import vacancy_of
from surrogates.errors import StructureError

A, C = 2.92, 2.85


def stacked(metals: list[str], light: list[str], a: float = A, c: float = C) -> Structure:
    """Layers of the WC type: metal over light element, one of each a layer."""
    n = len(metals)
    coords = [[0, 0, i / n] for i in range(n)] + [[1 / 3, 2 / 3, (i + 0.5) / n] for i in range(n)]
    return Structure(Lattice.hexagonal(a, n * c), metals + light, coords)


def stacked_diboride(metals: list[str], a: float = 3.03, c: float = 3.15) -> Structure:
    n = len(metals)
    coords = [[0, 0, i / n] for i in range(n)]
    coords += [[x, y, (i + 0.5) / n] for i in range(n) for x, y in ((1 / 3, 2 / 3), (2 / 3, 1 / 3))]
    return Structure(Lattice.hexagonal(a, n * c), metals + ["B"] * (2 * n), coords)


def in_plane_diboride(metals: tuple[str, str], a: float = 3.03, c: float = 3.15) -> Structure:
    cell = Structure(
        Lattice.hexagonal(a, c), ["Ti", "B", "B"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]]
    ) * (2, 1, 1)
    for site, metal in zip([i for i, s in enumerate(cell) if s.specie.symbol == "Ti"], metals, strict=True):
        cell.replace(site, metal)
    return cell


def diamond(species: dict[int, str], size: tuple[int, int, int] = (1, 1, 1), a: float = 3.6) -> Structure:
    cell = Structure.from_spacegroup("Fd-3m", Lattice.cubic(a), ["C"], [[0, 0, 0]]).get_primitive_structure()
    cell = cell * size
    for site, element in species.items():
        cell.replace(site, element)
    return cell


def rattled(structure: Structure, strain: float = 0.004, shift: float = 0.01) -> Structure:
    """As a relaxation leaves it: not quite symmetric."""
    rng = np.random.default_rng(3)
    copy = structure.copy()
    copy.apply_strain((strain * rng.uniform(-1, 1, 3)).tolist())
    for i in range(len(copy)):
        copy.translate_sites(i, shift * rng.uniform(-1, 1, 3), frac_coords=False)
    return copy


def mo2bc(metals: list[str] | None = None, light: tuple[str, str] = ("B", "C")) -> Structure:
    """Mo2BC, Cmcm (63); a 3.086, b 17.35, c 3.047 Å, four orbits 4c."""
    cell = Structure.from_spacegroup(
        "Cmcm",
        Lattice.orthorhombic(3.086, 17.35, 3.047),
        ["Mo", "Mo", *light],
        [[0, 0.0721, 0.25], [0, 0.3139, 0.25], [0, 0.473, 0.25], [0, 0.192, 0.25]],
    )
    if metals is not None:
        for i in range(4):
            cell.replace(i, metals[0])
            cell.replace(4 + i, metals[1])
    return cell.get_primitive_structure()


@pytest.fixture(scope="module")
def classifier() -> HitClassifier:
    return HitClassifier(KnownMaterials.packaged())


W, MO, TA, NB = "W", "Mo", "Ta", "Nb"


@pytest.mark.parametrize(
    ("structure", "end_member"),
    [
        (stacked([W, W, MO], ["C"] * 3), "WC"),
        (stacked([W, W, TA], ["C"] * 3), "WC"),
        (stacked([W, W, W, NB], ["C"] * 4), "WC"),
        (stacked([MO, W, MO, TA], ["C"] * 4), None),
        (stacked([W, W], ["C", "N"]), "WC"),
        (stacked_diboride(["Ti", W]), "TiB2"),
        (in_plane_diboride(("Ti", W)), "TiB2"),
    ],
    ids=["W2MoC3", "W2TaC3", "W3NbC4", "Mo2WTaC4", "W2CN", "TiWB4 stacked", "TiWB4 in plane"],
)
def test_orderings_of_known_phases_are_derivatives(classifier, structure, end_member):
    for crystal in (structure, rattled(structure)):
        result = classifier.classify(crystal)
        assert result.hit_class is HitClass.DERIVATIVE
        assert result.derivative_of == end_member if end_member else result.derivative_of
        assert result.nearest_known == result.derivative_of


@pytest.mark.parametrize("metal", [MO, TA])
def test_known_formulas_keep_their_end_member(classifier, metal):
    result = classifier.classify(stacked([W, metal], ["C", "C"]))
    assert result.hit_class is HitClass.KNOWN
    assert result.is_known
    assert result.derivative_of == "WC"


def test_a_metal_ordering_of_mo2bc_has_it_as_end_member(classifier):
    assert classifier.classify(mo2bc(["Mo", "W"])).derivative_of == "BMo2C"  # pymatgen's spelling of Mo2BC
    assert classifier.classify(mo2bc()).derivative_of == ""


def test_bc2n_on_the_diamond_lattice_derives_from_carbon(classifier):
    assert classifier.classify(diamond({0: "B", 1: "N"}, (1, 1, 2))).derivative_of == "C"


MAX_PHASE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(4.16), ["Ti", "Al", "C"], [[0.5, 0.5, 0], [0, 0, 0], [0.5, 0.5, 0.5]]
)
SPINEL = Structure.from_spacegroup(
    "Fd-3m", Lattice.cubic(8.08), ["Mg", "Al", "O"], [[0, 0, 0], [5 / 8] * 3, [0.3874] * 3]
)
HALF_HEUSLER = Structure.from_spacegroup(
    "F-43m", Lattice.cubic(5.93), ["Ti", "Ni", "Sn"], [[0, 0, 0], [0.25] * 3, [0.5] * 3]
)


@pytest.mark.parametrize("structure", [MAX_PHASE, SPINEL, HALF_HEUSLER], ids=["Ti3AlC", "MgAl2O4", "TiNiSn"])
def test_compounds_of_unlike_elements_derive_from_nothing(classifier, structure):
    result = classifier.classify(structure)
    assert result.derivative_of == ""
    assert result.hit_class is HitClass.KNOWN
    assert result.new_structure is False


def test_new_structure_needs_a_carried_signature(classifier):
    stretched = Structure(Lattice.tetragonal(2.6, 3.4), ["W", "C"], [[0, 0, 0], [0.5] * 3])
    assert classifier.classify(stretched).new_structure is True
    assert classifier.classify(stacked([W], ["C"])).new_structure is False
    nowhere = Structure.from_spacegroup("Pm-3m", Lattice.cubic(4), ["W", "Xe"], [[0, 0, 0], [0.5] * 3])
    assert classifier.classify(nowhere).new_structure is None


def test_a_volume_too_far_off_is_no_derivative(classifier):
    assert classifier.classify(stacked([W, W, MO], ["C"] * 3, a=3.3, c=3.2)).hit_class is HitClass.NEW


def test_by_energy_asks_the_judge_where_the_end_member_is_known_by_formula_only():
    known = KnownMaterials.packaged()
    formulas = {p.formula for p in known.phases.phases_of("Mo-N")}
    without_signatures = replace(known, formulas=pa.array(["Xe"]), texts=pa.array(["1|1 1 Xe"]))
    crystal = stacked([W, MO], ["N", "N"])
    assert "MoN" in formulas
    asked = []

    def relax(energy: float, structure: Structure) -> tuple[Structure, float]:
        asked.append(structure.composition.reduced_formula)
        return structure, energy

    stable = HitClassifier(without_signatures, partial(relax, -5.0))
    assert stable.derivative_of(crystal)[1] is True
    n_asked = len(asked)
    assert stable.derivative_of(crystal)[1] is True
    assert len(asked) == n_asked, "relaxed once per (end member, skeleton)"
    assert HitClassifier(without_signatures, partial(relax, 5.0)).derivative_of(crystal) == ("", False)
    assert HitClassifier(without_signatures).derivative_of(crystal) == ("", False)


def test_ordered_vacancies_are_told_apart():
    rock_salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.33), ["Ti", "C"], [[0, 0, 0], [0.5] * 3])
    missing = rock_salt.copy()
    missing.remove_sites([next(i for i, s in enumerate(missing) if s.specie.symbol == "C")])
    known = KnownMaterials.packaged()
    for crystal in (missing, rattled(missing)):
        assert vacancy_of(Cell.from_structure(crystal), known) == "TiC"
    half = missing.copy()
    half.remove_sites([next(i for i, s in enumerate(half) if s.specie.symbol == "C")])
    assert vacancy_of(Cell.from_structure(half), known) == ""
    assert vacancy_of(Cell.from_structure(rock_salt), known) == ""


def test_a_disordered_crystal_is_refused():
    alloy = Structure(Lattice.cubic(4), [{"W": 0.5, "Mo": 0.5}], [[0, 0, 0]])
    with pytest.raises(StructureError, match="only ordered crystals"):
        HitClassifier(KnownMaterials.packaged()).classify(alloy)
