import re

import pytest
from pymatgen.core import Composition, Lattice, Structure

from inverse.reference import Facts, KnownMaterials, PhaseTable, construction, skeletons_of
from inverse.reference.construction import fixed_by_symmetry, structure_of
from inverse.reference.known import composition_distance
from inverse.reference.signatures import Signature, signature
from inverse.reference.skeletons import anonymous, n_atoms_of, templates
from surrogates.crystals.typed_formulas import composition_of
from surrogates.errors import UnsupportedElementError

TUNGSTEN_CARBIDE = Structure(Lattice.hexagonal(2.92, 2.85), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])


@pytest.fixture(scope="module")
def known() -> KnownMaterials:
    return KnownMaterials.packaged()


@pytest.fixture(scope="module")
def facts() -> Facts:
    return Facts.packaged()


def test_formulas_are_known_whatever_their_spelling(known):
    assert known.is_known_formula("CW")
    assert known.is_known_formula("W4C4")
    assert not known.is_known_formula("W3NbC4")
    with pytest.raises(UnsupportedElementError, match="not a chemical formula"):
        known.is_known_formula("WQ2x")


def test_signatures_of_a_formula_come_with_volumes(known):
    found = {s.text: s.volume_per_atom for s in known.signatures_of("WC")}
    assert found["187|1 -26m C|1 -26m W"] == pytest.approx(10.6, abs=0.4)
    assert known.signatures_of("W3NbC4") == []
    assert "227|8 -34m C" in {s.text for s in known.signatures_of("C")}


def test_has_structure(known):
    assert known.has_structure(TUNGSTEN_CARBIDE)
    stretched = Structure(Lattice.tetragonal(2.6, 3.4), ["W", "C"], [[0, 0, 0], [0.5] * 3])
    assert not known.has_structure(stretched)


def test_nearest_is_itself_or_the_closest_composition(known):
    assert known.nearest(TUNGSTEN_CARBIDE) == "WC"
    mixed = Structure(
        Lattice.cubic(4), ["W", "W", "W", "Nb", "C", "C", "C", "C"], [[i / 8] * 3 for i in range(8)]
    )
    nearest = Composition(known.nearest(mixed))
    assert {e.symbol for e in nearest.elements} & {"W", "C"}
    assert composition_distance(mixed.composition, nearest) < 0.13


def test_facts(facts):
    assert facts.moduli_of("WC")[0].bulk_modulus_vrh == pytest.approx(385, abs=10)
    assert facts.values_of("C")["shear_modulus_vrh"] > 500
    assert facts.band_gap_of("BN") > 3
    assert facts.energy_above_hull_of("TiC") == pytest.approx(0.0, abs=1e-9)
    assert facts.values_of("W3NbC4") == {}


def test_a_signature_leads_back_to_letters_and_to_itself(known):
    assert len(skeletons_of("225|4 -3mm C|4 -3mm Ti")) == 2
    for formula in ("TiC", "WC", "TiB2", "W", "MgAl2O4", "TiNiSn", "Ti3AlC"):
        for found in known.signatures_of(formula)[:4]:
            skeletons = skeletons_of(found.text)
            assert skeletons, found.text
            assert {s.n_atoms for s in skeletons} == {n_atoms_of(found.text)}


def test_the_most_roomy_assignment_comes_first():
    tungsten_carbide = skeletons_of("187|1 -26m C|1 -26m W", limit=1)[0]
    letters = {letter for letter, _ in tungsten_carbide.sites}
    assert letters not in ({"a", "b"}, {"c", "d"}, {"e", "f"}), "one atom straight above the other"
    zincblende = skeletons_of("216|4 -34m C|4 -34m Si", limit=1)[0]
    assert {letter for letter, _ in zincblende.sites} in ({"a", "c"}, {"a", "d"}, {"b", "c"}, {"b", "d"})


def test_fixed_crystals_are_built_with_signature_and_volume(known):
    for formula in ("TiC", "WC", "TiB2", "W", "Ti3AlC", "C"):
        built = [(s, structure_of(s)) for s in known.signatures_of(formula) if fixed_by_symmetry(s.text)]
        assert built
        for found, structure in built:
            if structure is not None:
                again = signature(structure)
                assert again.text == found.text
                assert again.volume_per_atom == pytest.approx(found.volume_per_atom, rel=1e-4)


def test_what_symmetry_leaves_open_and_no_shape_is_known_of_needs_a_decoder(monkeypatch):
    monkeypatch.setattr(construction, "geometries_of", lambda text: ())
    open_signature = Signature("63|4 2mm B|4 2mm W", 63, 10.5)
    assert structure_of(open_signature) is None
    asked = []

    def complete(skeleton, seed):
        asked.append(seed)
        free = skeleton.free_coords.clone()
        free[:, 1] = 0.1 + 0.3 * (skeleton.species == 4)
        lengths = skeleton.free_lattice + skeleton.free_lattice.new_tensor([[0.0, 0.6, 0.05, 0, 0, 0]])
        return skeleton.replace(free_coords=free, free_lattice=lengths)

    structure = structure_of(open_signature, complete, seed=5)
    assert asked[0] == 5
    assert structure is not None
    assert signature(structure).text == open_signature.text


def test_templates_count_formulas_and_are_anonymous():
    rows = [
        ("TiC", "225|4 -3mm C|4 -3mm Ti", 10.0),
        ("TiC", "225|4 -3mm C|4 -3mm Ti", 10.2),
        ("NaCl", "225|4 -3mm Cl|4 -3mm Na", 22.0),
        ("W", "229|2 -3mm W", 16.0),
    ]
    first, second = templates(rows, max_atoms=2)
    assert (first.count, first.n_atoms, first.n_elements, first.examples) == (2, 2, 2, ("NaCl", "TiC"))
    assert second.text == "229|2 -3mm A"
    assert anonymous("191|1 /6mmm Ti|2 -26m B")[0] == "191|1 /6mmm A|2 -26m B"


def test_packaged_templates_cover_the_common_types(known):
    texts = {t.text: t for t in known.templates(max_atoms=4, max_elements=2)}
    assert texts["225|4 -3mm A|4 -3mm B"].count > 200
    assert all(t.n_atoms <= 4 and t.n_elements <= 2 for t in texts.values())


def test_every_carried_formula_is_read_as_pymatgen_wrote_it() -> None:
    """Those of symbols and small numbers go to pymatgen as they are; all the others are compared."""
    simple = re.compile(r"(?:[A-Z][a-z]?(?:[1-9]\d?)?)+")
    carried = PhaseTable.packaged().formulas.to_pylist()  # type: ignore[attr-defined]
    others = [formula for formula in carried if not simple.fullmatch(formula)]
    assert len(others) > 20_000
    assert [f for f in others if composition_of(f) != Composition(f)] == []
