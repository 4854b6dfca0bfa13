"""A property is one record: whoever registers it has it predicted, decided, ranked, reported and exported."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

import inverse
from inverse.campaign.campaign import Campaign
from inverse.campaign.run_folder import read_candidates
from inverse.candidates.objective import Objective
from inverse.candidates.ranking import judged, missed_target
from inverse.candidates.types import Candidate, Rule, Status, Target, Verification
from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.answers import iterate_predictions
from inverse.prediction.evaluation import Evaluator, predicted_values
from inverse.proposers.baselines.lookup import lookup
from inverse.proposers.screening import Screen
from inverse.report.page import build_report
from surrogates.derived import exact
from surrogates.errors import ConfigError
from surrogates.physics.periodic_table import ATOMIC_MASSES
from surrogates.physics.properties import (
    PROPERTIES,
    Basis,
    Digits,
    OfComposition,
    Property,
    register,
)
from surrogates.protocol import CompositionBatch
from tests import fakes

MASS = "mean_atomic_mass"
EASY: dict[str, Any] = {"bulk_modulus_vrh": {"min": 50}, "energy_above_hull": {"max": 0.5}}
"""What every crystal of the stand-ins meets."""

COST, TOXIC = PROPERTIES["elemental_cost"], PROPERTIES["toxic_fraction"]


@pytest.fixture
def mean_mass() -> Iterator[Property]:
    """The three lines of a new property."""
    formula = OfComposition(lambda fractions: fractions @ fractions.new_tensor(ATOMIC_MASSES))
    more: dict[str, Any] = {"typical": 50.0, "basis": Basis.OF_COMPOSITION, "formula": formula}
    yield register(Property(MASS, "M", "g/mol", 1.0, 300.0, "IUPAC", True, digits=Digits(decimals=2), **more))
    del PROPERTIES[MASS]


def finished(folder: Path, targets: dict[str, Any]) -> list[Candidate]:
    config = CampaignConfig.from_mapping({**fakes.CONFIG, "targets": targets})
    with Campaign.create(config, folder, fakes.parts(config)) as run:
        run.run()
    return list(read_candidates(folder))


def rocksalt(metal: str, light: str) -> Structure:
    return Structure(Lattice.cubic(4.3), [metal, light], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_a_property_registered_in_three_lines_goes_all_the_way(mean_mass: Property, tmp_path: Path) -> None:
    """Tungsten carbide is the planted best, and too heavy here: 98 g/mol."""
    folder = tmp_path / "run"
    found = finished(folder, {**EASY, MASS: {"max": 60}})
    checked = [c for c in found if c.verification is not None and c.verification.converged]
    assert checked
    for candidate in checked:
        composition = candidate.structure.composition
        mass = float(composition.weight / composition.num_atoms)
        predicted, verified = candidate.predictions[MASS], candidate.verification.values[MASS]  # type: ignore[union-attr]
        assert predicted.mean == pytest.approx(mass, rel=1e-4)
        assert verified.mean == pytest.approx(mass, rel=1e-4)
        assert (predicted.std, verified.std, verified.potential) == (0.0, 0.0, "")
        assert mass < 60 or candidate.status is not Status.HIT
    assert any(c.status is Status.HIT for c in checked)
    heavy = [c for c in found if c.predictions and c.predictions[MASS].mean > 60]
    assert heavy
    assert all(c.probability_target_met == 0.0 for c in heavy)
    assert [c.score for c in checked if c.status is Status.HIT] >= [0.0]
    page = build_report(folder).read_text(encoding="utf-8")
    assert "mean atomic mass, by IUPAC" in page
    assert "mean atomic mass ≤ 60 g/mol" in page
    with (folder / "candidates.csv").open() as stream:
        row = next(csv.DictReader(stream))
    assert float(row[f"verified_{MASS}"]) < 60
    assert float(row[f"predicted_{MASS}_std"]) == 0.0


def test_cost_decides_and_is_exported(tmp_path: Path) -> None:
    from ase.db import connect

    folder = tmp_path / "run"
    found = finished(folder, {**EASY, "elemental_cost": {"max": 20}})
    hits = [c for c in found if c.status is Status.HIT]
    assert hits
    dear = [c for c in found if "W" in c.structure.composition.get_el_amt_dict() and c.predictions]
    assert any(c.predictions["elemental_cost"].mean > 20 for c in dear)
    for candidate in found:
        if candidate.predictions:
            is_cheap = candidate.predictions["elemental_cost"].mean <= 20
            assert (candidate.probability_target_met or 0.0) <= is_cheap
    with (folder / "candidates.csv").open() as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    for hit in hits:
        cost = hit.verification.values["elemental_cost"].mean  # type: ignore[union-attr]
        assert cost <= 20
        assert float(rows[hit.id]["verified_elemental_cost"]) == pytest.approx(cost, rel=1e-4)
        (line,) = connect(folder / "candidates.db").select(candidate=hit.id)
        assert line.verified_elemental_cost == pytest.approx(cost)
        assert line.predicted_elemental_cost == pytest.approx(cost, rel=1e-5)
    page = build_report(folder).read_text(encoding="utf-8")
    assert "cost of the elements ≤ 20 USD/kg" in page
    assert "mendeleev 1.3.0" in page


def test_no_judge_is_asked_for_what_is_too_dear_for_certain(tmp_path: Path) -> None:
    config = CampaignConfig.from_mapping({**fakes.CONFIG, "targets": {**EASY, "elemental_cost": {"max": 20}}})
    screen = Screen(config.constraints, targets=config.targets)
    made = replace(fakes.parts(config), screening=screen.breach)
    with Campaign.create(config, tmp_path / "run", made) as run:
        run.run()
    found = list(read_candidates(tmp_path / "run"))
    dear = [c for c in found if c.rule is Rule.COMPOSITION_TARGET]
    assert dear
    assert all(c.status is Status.SCREENED_OUT and c.verification is None for c in dear)
    verified = [c for c in found if c.verification is not None]
    assert verified
    assert all(c.predictions["elemental_cost"].mean <= 20 for c in verified)
    funnel = json.loads((tmp_path / "run" / "manifest.json").read_text())["funnel"]
    assert funnel["screened_out"]["target on the composition"] == len(dear)


def evaluator(*wanted: Property) -> Evaluator:
    return Evaluator(fakes.AnalyticSurrogate(), lambda formula: 0.0, wanted)


@pytest.mark.parametrize(
    ("target", "formula", "is_met"),
    [
        (Target(TOXIC, maximum=0.0), ("Mg", "O"), True),
        (Target(TOXIC, maximum=0.0), ("Pb", "Te"), False),
        (Target(TOXIC, maximum=0.62), ("Pb", "Te"), True),
        (Target(COST, maximum=50.0), ("W", "C"), True),
        (Target(COST, maximum=33.0), ("W", "C"), False),
        (Target(COST, minimum=1.0, maximum=2.0), ("Mg", "O"), True),
    ],
)
def test_what_is_exact_is_met_or_not(target: Target, formula: tuple[str, str], is_met: bool) -> None:
    """At the bound itself, too: free of toxic elements is a probability of one."""
    objective = Objective([target], deciding=[target])
    structure = rocksalt(*formula)
    predictions = evaluator(target.property).predict([structure])
    assert float(objective.probability_met(predictions)[0]) == float(is_met)
    assert bool(predictions[target.property].in_domain[0])
    verdict = Verification("own", True, is_stable=True, structure=structure)
    candidate = Candidate("a", structure, "tests", 0, predictions=predicted_values(predictions, 0))
    after = judged(candidate, verdict, objective, lambda s: None, fakes.kinship)
    assert after.probability_after == float(is_met)
    assert (after.status is Status.HIT) == is_met


def test_an_element_without_a_price_is_never_proposed_and_named_where_it_was_given() -> None:
    of_cost, without = evaluator(COST), evaluator(TOXIC)
    assert of_cost.supported(["W", "Pa", "C"]) == {"W", "C"}
    assert without.supported(["W", "Pa", "C"]) == {"W", "Pa", "C"}
    structure = rocksalt("Pa", "C")
    values = predicted_values(of_cost.predict([structure]), 0)
    assert "elemental_cost" not in values
    assert "bulk_modulus_vrh" in values
    target = Target(COST, maximum=50.0)
    verdict = Verification("own", True, is_stable=True, structure=structure)
    candidate = Candidate("a", structure, "tests", 0, predictions=values, verification=verdict)
    assert missed_target(candidate, Objective([target], [target])) == "elemental_cost: Pa has no price"


def test_soft_wishes_rank_by_cost() -> None:
    objective = Objective([Target(COST, minimise=True)])
    dear, cheap = ({"elemental_cost": cost} for cost in (33.1, 1.5))
    assert objective.utility(cheap) > objective.utility(dear) > 0
    batch = CompositionBatch.from_formulas(["WC", "MgO"])
    hard = Objective([Target(COST, maximum=5.0)], deciding=[Target(COST, maximum=5.0)])
    loss = hard.loss({COST: exact(COST, batch.fractions, 2)})
    assert float(loss[0]) > 10 * float(loss[1])
    rhodium = CompositionBatch.from_formulas(["RhC"])
    far = hard.loss({COST: exact(COST, rhodium.fractions, 2)})
    assert float(loss[0]) < float(far[0]) < 200.0, "a price far off does not drown every other wish"


def test_predict_and_lookup_know_the_cost() -> None:
    (formula,) = iterate_predictions(formulas=["WC"])
    assert formula["predictions"]["elemental_cost"]["mean"] == pytest.approx(33.14, abs=0.01)
    assert formula["predictions"]["elemental_cost"]["unit"] == "USD/kg"
    crystal, odd = iterate_predictions([rocksalt("W", "C"), rocksalt("Ti", "H")])
    assert crystal["predictions"]["elemental_cost"]["mean"] == pytest.approx(33.14, abs=0.01)
    assert crystal["predictions"]["toxic_fraction"]["std"] == 0.0
    assert "supply_risk" not in odd["predictions"], "hydrogen has no reserve index"
    assert "elemental_cost" in odd["predictions"]
    wanted = {"bulk_modulus_vrh": {"min": 350}, "elemental_cost": {"max": 40}}
    rows = lookup(CampaignConfig.from_mapping({"targets": wanted}))
    assert rows
    assert all(row.values["elemental_cost"] <= 40 for row in rows)


def test_properties_says_where_each_comes_from() -> None:
    found = {record["name"]: record for record in inverse.properties()}
    cost = found["elemental_cost"]
    assert (cost["unit"], cost["scale"], cost["label"]) == ("USD/kg", "logarithmic", "cost of the elements")
    assert cost["basis"] == "formula of the composition"
    assert "2024" in cost["level_of_theory"]
    assert (cost["judge"], cost["predicted_only"]) == ("", False)
    assert "2013" in found["supply_risk"]["level_of_theory"]
    assert "40 CFR 423" in found["toxic_fraction"]["level_of_theory"]
    assert found["young_modulus_vrh"]["judge"].endswith("diep")
    assert found["band_gap"]["predicted_only"]
    json.dumps(list(found.values()), allow_nan=False)


def test_what_only_a_judge_gives_is_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    wear = Property("wear", "w", "", 0.0, 1.0, "a user's judge", typical=0.1, basis=Basis.JUDGE)
    monkeypatch.setitem(PROPERTIES, wear.name, wear)
    told = next(record for record in inverse.properties() if record["name"] == "wear")
    assert (told["judge"], told["predicted_only"]) == ("your own, named in verify.also", False)
    with pytest.raises(ConfigError, match=r"targets\.wear: no surrogate predicts it"):
        evaluator(wear)


def test_a_table_of_a_property_that_the_composition_decides_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "formula,elemental_cost\n" + "".join(f"Ti{k}C,{k}\n" for k in range(1, 30))
    )
    with pytest.raises(ConfigError, match="elemental_cost follows from the composition"):
        inverse.train(
            {"kind": "table", "data": str(tmp_path / "t.csv"), "value": "elemental_cost"}, tmp_path / "o"
        )


PACKAGE = """
from surrogates.physics.properties.record import Basis, OfComposition, Property

LIGHT = Property(
    "share_of_carbon", "x_C", "", 0.0, 1.0, "counted", typical=0.5, basis=Basis.OF_COMPOSITION,
    formula=OfComposition(lambda fractions: fractions[:, 5]),
)
TAKEN = Property("density", "d", "", 0.0, 1.0, "counted", typical=0.5, basis=Basis.LEARNED)
NONE = "no record"
"""

USED = """
from inverse.inputs.campaign_config import CampaignConfig, config_schema
from surrogates.physics.properties import PROPERTIES
config = CampaignConfig.from_mapping({"targets": {"share_of_carbon": {"min": 0.4}}})
assert config.targets[0].property is PROPERTIES["share_of_carbon"]
assert "share_of_carbon" in str(config_schema()["else"])
assert PROPERTIES["density"].unit
assert not {"taken", "none", "gone"} & PROPERTIES.keys()
from inverse.commands.doctor import _extensions
found = _extensions([])["inverse.properties"]
assert found["share_of_carbon"] == "package carbon-share 0.3", found
"""


def test_an_installed_package_brings_a_property(tmp_path: Path) -> None:
    (tmp_path / "carbon_share.py").write_text(PACKAGE)
    info = tmp_path / "carbon_share-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: carbon-share\nVersion: 0.3\n")
    points = {"share_of_carbon": "LIGHT", "taken": "TAKEN", "none": "NONE", "gone": "GONE"}
    lines = [f"{name} = carbon_share:{attribute}" for name, attribute in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[inverse.properties]", *lines]) + "\n")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", USED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = sorted(done.stderr.strip().splitlines())
    assert len(said) == 3
    assert "'gone' of package carbon-share 0.3 cannot be used" in said[0]
    assert "carbon_share:NONE is a str, not a Property" in said[1]
    assert (
        "'taken' of package carbon-share 0.3 cannot be used: property 'density' is registered already"
        in said[2]
    )
