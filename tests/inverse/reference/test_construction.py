"""Known phases rebuilt from signature and volume: elements on a shape of their type, checked again."""

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from inverse.reference import construction
from inverse.reference.construction import closest_approach, is_buildable, rebuilt, structure_of
from inverse.reference.geometries import Geometry, geometries_of, large_geometries, packaged_geometries
from inverse.reference.known import KnownMaterials
from inverse.reference.signatures import Signature, signature
from inverse.reference.skeletons import anonymous, n_atoms_of

WURTZITE = "186|2 .3m A|2 .3m B"


def wurtzite(metal: str, other: str, a: float, c: float, u: float) -> Structure:
    sites = [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, u]]
    return Structure.from_spacegroup(186, Lattice.hexagonal(a, c), [metal, other], sites)


def shape(u: float, count: int, kinds: dict[tuple[str, ...], int]) -> Geometry:
    coords = ((0.0, 0.0, 0.0), (0.0, 0.0, u))
    return Geometry(
        WURTZITE, ("b", "b"), ("A", "B"), (0.347, 0.0, 0.837, 0.0, 0.0, 0.0), coords, count, kinds
    )


def test_a_phase_that_nobody_carries_the_coordinates_of_is_its_prototype_at_its_volume() -> None:
    """Wurtzite AlN, measured: a 3.112, c 4.982 A, u 0.382 (Schulz and Thiemann 1977)."""
    true = wurtzite("Al", "N", 3.112, 4.982, 0.382)
    found = rebuilt(signature(true))
    assert found is not None
    assert found.volume == pytest.approx(true.volume, rel=1e-5)
    assert signature(found).text == signature(true).text
    displacement = StructureMatcher().get_rms_dist(true, found)
    assert displacement is not None
    assert displacement[0] < 0.01
    assert found.lattice.c / found.lattice.a == pytest.approx(4.982 / 3.112, rel=0.03)


def test_shapes_seen_with_such_kinds_of_elements_come_first_then_the_roomiest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phase = Signature("186|2 .3m Al|2 .3m N", 186, 10.4)
    kinds = ("7", "0")
    roomy, close = shape(0.375, 9, {}), shape(0.43, 90, {})

    def height(*shapes: Geometry) -> float:
        monkeypatch.setattr(construction, "geometries_of", lambda text: shapes if text == WURTZITE else ())
        built = rebuilt(phase)
        assert built is not None
        z = {site.specie.symbol: site.frac_coords[2] for site in built}
        return float(min(abs((z["N"] - z["Al"]) % 0.5), 0.5 - (z["N"] - z["Al"]) % 0.5))

    assert height(close, roomy) == pytest.approx(0.125, abs=1e-4), "more room, however rare"
    seen = shape(0.43, 2, {kinds: 1})
    assert height(roomy, seen) == pytest.approx(0.07, abs=1e-4), "seen with such kinds, however close"


def test_what_no_shape_of_the_type_has_the_signature_of_is_not_rebuilt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Atoms on the mirror plane give P6_3/mmc, not P6_3mc."""
    monkeypatch.setattr(construction, "geometries_of", lambda text: (shape(0.5, 9, {}),))
    assert rebuilt(Signature("186|2 .3m Al|2 .3m N", 186, 10.4)) is None
    monkeypatch.setattr(construction, "geometries_of", lambda text: ())
    assert rebuilt(Signature("186|2 .3m Al|2 .3m N", 186, 10.4)) is None
    assert not is_buildable("186|2 .3m Al|2 .3m N")
    assert is_buildable("225|4 -3mm Al|4 -3mm N"), "symmetry leaves the volume free alone"


def test_a_given_axial_ratio_is_kept() -> None:
    found = structure_of(Signature("187|1 -26m C|1 -26m W", 187, 10.6), axial_ratio=1.2)
    assert found is not None
    assert found.lattice.c / found.lattice.a == pytest.approx(1.2, rel=1e-4)


def test_large_types_and_prototypes_of_one_formula_are_known_apart_from_those_of_searches() -> None:
    spinel = next(s for s in KnownMaterials.packaged().signatures_of("MgAl2O4") if s.space_group == 227)
    text = anonymous(spinel.text)[0]
    assert (n_atoms_of(text), text in packaged_geometries()) == (14, False)
    assert geometries_of(text) == large_geometries()[text]
    built = rebuilt(spinel)
    assert built is not None
    assert (len(built), signature(built).text) == (14, spinel.text)
    assert not set(large_geometries()) & set(packaged_geometries())


def test_carried_signatures_of_known_shapes_come_back() -> None:
    """Of 60 random ones nine in ten or more are built; each has its signature and its volume."""
    known = KnownMaterials.packaged()
    order = np.random.default_rng(5).permutation(len(known.volumes))
    texts = [(str(known.texts[int(i)]), float(known.volumes[i])) for i in order[:400]]  # type: ignore[index]
    able = [(t, v) for t, v in texts if n_atoms_of(t) <= 24 and geometries_of(anonymous(t)[0])][:60]
    built = [(t, v, rebuilt(Signature(t, int(t.split("|")[0]), v))) for t, v in able]
    done = [(t, v, s) for t, v, s in built if s is not None]
    assert len(done) >= 54
    for text, volume, structure in done:
        assert signature(structure).text == text
        assert structure.volume / len(structure) == pytest.approx(volume, rel=1e-4)
        assert closest_approach(structure) > 0.4
