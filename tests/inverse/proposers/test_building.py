"""Structure types, learned shapes and the compositions that fill them."""

import gzip
from pathlib import Path

import pytest
import torch
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from inverse.candidates.objective import Objective
from inverse.candidates.types import Target
from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.building import cells as building
from inverse.proposers.building.cells import shapes_of
from inverse.proposers.building.compositions import RankedComposition, ranked_compositions
from inverse.proposers.building.descent import DescentSettings, allowed_mask, improved, relaxed, softened
from inverse.proposers.building.plans import assignments, planned
from inverse.reference import geometries
from inverse.reference.geometries import Geometry, built, packaged_geometries, scaled
from inverse.reference.structure_types import Prototype, alike_class, prototypes, stoichiometry
from surrogates.crystals.batch import N_ELEMENTS, element_index
from surrogates.errors import DataError
from surrogates.physics.properties import ENERGY_ABOVE_HULL
from tests.fakes import CONFIG, AnalyticCompositions, AnalyticSurrogate, search_space

ROCK_SALT = "225|4 -3mm A|4 -3mm B"
TUNGSTEN_CARBIDE = "187|1 -26m A|1 -26m B"


def known() -> list[Prototype]:
    rows = [
        ("WC", "187|1 -26m C|1 -26m W"),
        ("TiC", "225|4 -3mm C|4 -3mm Ti"),
        ("TiB2", "191|1 /6mmm Ti|2 -26m B"),
    ]
    return prototypes(rows, 8, 4)


def test_packaged_shapes_are_readable_and_many() -> None:
    shapes = packaged_geometries()
    assert len(shapes) > 500
    assert ROCK_SALT in shapes
    assert all(s.count >= 2 for group in shapes.values() for s in group), "no structure of a single formula"


@pytest.mark.parametrize(
    "written",
    [
        None,
        b"no gzip",
        gzip.compress(b"[]" * 99, mtime=0)[:20],
        gzip.compress(b"[{}]", mtime=0),
        gzip.compress(b"[", mtime=0),
    ],
    ids=["missing", "not packed", "cut off", "without a type", "not JSON"],
)
def test_damaged_shapes_are_an_error_in_one_line(
    written: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if written is not None:
        (tmp_path / "prototype_geometries.json.gz").write_bytes(written)
    monkeypatch.setattr(geometries, "files", lambda package: tmp_path)
    with pytest.raises(DataError, match=r"prototype_geometries\.json\.gz cannot be read: "):
        geometries.packaged_geometries.__wrapped__()


@pytest.mark.parametrize(
    "text", [ROCK_SALT, TUNGSTEN_CARBIDE, "63|4 2mm A|4 2mm B", "191|1 /6mmm A|2 -26m B"]
)
def test_built_crystals_have_the_type_and_volume_asked_for(text: str) -> None:
    shape = packaged_geometries()[text][0]
    structure = built([shape], [("W", "C")], [11.0]).to_structures()[0]
    assert structure.volume / len(structure) == pytest.approx(11.0, rel=1e-4)
    assert SpacegroupAnalyzer(structure, 0.01).get_space_group_number() == shape.space_group
    assert {e.symbol for e in structure.composition.elements} == {"W", "C"}


def test_types_know_who_sits_where() -> None:
    types = {p.text: p for p in known()}
    assert types["191|1 /6mmm A|2 -26m B"].counts == (1, 2)
    metal_first, light_first = (
        types[ROCK_SALT].familiarity(["C", "Ti"]),
        types[ROCK_SALT].familiarity(["O", "O"]),
    )
    assert metal_first > light_first
    assert types[ROCK_SALT].trust(["N", "V"]) > types[ROCK_SALT].trust(["Cl", "Na"])
    assert shapes_of(types[ROCK_SALT], ["C", "Ti"], 1)


def test_stoichiometry_and_assignments() -> None:
    assert stoichiometry([2, 4]) == (1, 2)
    composition = RankedComposition({"W": 1, "B": 2}, 1.0, 10.0, True)
    types = {p.text: p for p in known()}
    assert list(assignments(composition.amounts, types["191|1 /6mmm A|2 -26m B"])) == [("W", "B")]
    assert list(assignments(composition.amounts, types[ROCK_SALT])) == []


def test_own_types_of_a_known_formula_come_first() -> None:
    composition = RankedComposition({"Ti": 1, "C": 1}, 1.0, 10.0, True)
    plans = list(planned([composition], known(), 1, (1, 8), lambda formula: frozenset({TUNGSTEN_CARBIDE})))
    assert [p.prototype.text for p in plans] == [TUNGSTEN_CARBIDE]


def test_compositions_keep_the_constraints_and_find_the_optimum() -> None:
    space = search_space(CampaignConfig.from_mapping(CONFIG))
    ranked = ranked_compositions(space, AnalyticCompositions(), [(1, 1), (1, 2), (1, 1, 2)], 30)
    assert ranked[0].formula == "WC"
    allowed = set(space.allowed_elements)
    assert all(set(r.amounts) <= allowed for r in ranked)
    assert {r.is_known for r in ranked} == {True, False}


def test_descent_keeps_symmetry_and_elements_and_never_ends_higher() -> None:
    space = search_space(CampaignConfig.from_mapping(CONFIG))
    shape = packaged_geometries()["63|4 2mm A|4 2mm B"][0]
    start = built([shape, shape], [("W", "C"), ("Ti", "N")], [13.0, 9.0])
    settings = DescentSettings(steps=8)
    end = relaxed(space.base, start, settings)
    assert [s.formula for s in end.to_structures()] == [s.formula for s in start.to_structures()]
    assert end.space_group.tolist() == [63, 63]
    before = space.base.predict(start.to_structures())
    after = space.base.predict(end.to_structures())
    energy = next(p for p in before if p.name == "formation_energy_per_atom")
    assert float(after[energy].mean[0]) <= float(before[energy].mean[0]) + 1e-6


def test_soft_species_stay_within_the_allowed_elements() -> None:
    space = search_space(CampaignConfig.from_mapping(CONFIG))
    allowed = allowed_mask(frozenset(space.allowed_elements))
    start = softened(built([packaged_geometries()[ROCK_SALT][0]], [("W", "N")], [11.0]), allowed, 0.6)
    end = improved(space.base, space.objective, start, DescentSettings(steps=30, species_rate=0.1), allowed)
    occupancy = end.to_crystals().occupancy
    assert float(occupancy[:, ~allowed].detach().max()) < 1e-6
    hull = space.base.hull_of_formulas(["WN"])
    before, after = (space.base.predict_crystals(c.to_crystals(), hull) for c in (start, end))
    assert float(space.objective.loss(after)[0]) < 0.9 * float(space.objective.loss(before)[0])


def test_compositions_are_ranked_by_the_hull_bound_that_a_hit_has() -> None:
    def worth(hull: dict[str, object]) -> float:
        wanted = {**CONFIG, "targets": {"bulk_modulus_vrh": {"min": 40}, "energy_above_hull": hull}}
        space = search_space(CampaignConfig.from_mapping(wanted))
        found = ranked_compositions(space, AnalyticCompositions(), [(1, 2)], 200)
        return next(c.worth for c in found if c.formula == "TiC2")

    assert worth({"max": 0.5}) > 2 * worth({"max": 0.1})
    assert worth({"minimise": True}) == pytest.approx(worth({"max": 0.1}), rel=0.02)


def test_soft_species_drift_away_from_where_the_hull_is_deep() -> None:
    """The distance to the hull grows with an element that binds strongly elsewhere: descent must feel it."""
    deep = torch.zeros(N_ELEMENTS, dtype=torch.float64)
    deep[element_index("Ti")] = -6.0
    evaluator = Evaluator(
        AnalyticSurrogate(),
        lambda formula: 0.0,
        [ENERGY_ABOVE_HULL],
        potentials=lambda mixtures: deep.expand(len(mixtures), -1).numpy(),
    )
    objective = Objective([Target(ENERGY_ABOVE_HULL, maximum=0.0)])
    allowed = allowed_mask(frozenset({"Ti", "Al", "N", "O"}))
    start = softened(built([packaged_geometries()[ROCK_SALT][0]], [("Ti", "N")], [11.0]), allowed, 0.5)
    end = improved(evaluator, objective, start, DescentSettings(steps=30, species_rate=0.1), allowed)
    titanium = [c.to_crystals().composition[0, element_index("Ti")] for c in (start, end)]
    assert float(titanium[1]) < 0.5 * float(titanium[0])


def test_shapes_seen_with_such_elements_come_first_and_of_the_others_the_most_frequent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind, other = (alike_class("C"), alike_class("Ti")), (alike_class("O"), alike_class("Na"))
    seen = [{other: 1}, {}, {kind: 1}, {kind: 4, other: 9}]
    shapes = tuple(
        Geometry(ROCK_SALT, ("a", "b"), ("A", "B"), (0.5,) * 6, ((0.0,) * 3,) * 2, 9 - k, kinds)
        for k, kinds in enumerate(seen)
    )
    monkeypatch.setattr(building, "packaged_geometries", lambda: {ROCK_SALT: shapes})

    def order(elements: tuple[str, str], most: int) -> list[int]:
        return [9 - g.count for g in shapes_of(Prototype(ROCK_SALT, (1, 1)), elements, most)]

    assert order(("C", "Zr"), 9) == [3, 2, 0, 1], "zirconium is of titanium's kind"
    assert order(("O", "Na"), 3) == [3, 0, 1]
    assert order(("W", "W"), 1) == [0]
    assert shapes_of(Prototype("1|1 1 A|1 1 B", (1, 1)), ("C", "Ti"), 9) == ()


def test_crystals_take_the_volumes_given_and_keep_their_angles_and_proportions() -> None:
    """One monoclinic, one cubic, one hexagonal: where no volume is given a crystal keeps its own."""
    types = ["11|2 m A|2 m A|2 m B", ROCK_SALT, TUNGSTEN_CARBIDE]
    shapes = [packaged_geometries()[text][0] for text in types]
    start = built(shapes, [("W", "C")] * 3, [9.0, 10.0, 11.0])
    end = scaled(start, torch.tensor([18.0, float("nan"), 5.5]))
    before, after = start.to_structures(), end.to_structures()
    assert [s.volume / len(s) for s in after] == pytest.approx([18.0, 10.0, 5.5], rel=1e-4)
    for old, new in zip(before, after, strict=True):
        assert new.lattice.angles == pytest.approx(old.lattice.angles, abs=1e-3)
        growth = (new.volume / old.volume) ** (1 / 3)
        assert new.lattice.abc == pytest.approx([growth * length for length in old.lattice.abc], rel=1e-4)
        assert [s.species_string for s in new] == [s.species_string for s in old]


def test_every_shape_gets_elements_of_its_own() -> None:
    shapes = [packaged_geometries()[text][0] for text in (ROCK_SALT, "191|1 /6mmm A|2 -26m B")]
    one, other = built(shapes, [("W", "C"), ("Ti", "B")], [9.0, 10.0]).to_structures()
    assert one.composition.as_dict() == {"W": 1, "C": 1}
    assert other.composition.as_dict() == {"Ti": 1, "B": 2}
    with pytest.raises(ValueError, match="shorter"):
        built(shapes, [("W", "C")], [9.0, 10.0])
