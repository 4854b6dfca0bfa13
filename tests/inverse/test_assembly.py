"""Every search method that a config may name becomes a proposer that knows its own name."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse import assembly
from inverse.assembly import ACCURATE, FAST, assemble, load_structure_surrogate
from inverse.campaign.manifest import config_hash
from inverse.candidates.objective import Objective
from inverse.candidates.registry import DECODERS, PROPOSERS
from inverse.candidates.types import Candidate, HitClass, Origin, Verification, VerifiedValue
from inverse.decoders import load_decoder
from inverse.inputs.campaign_config import CampaignConfig
from inverse.potentials.loading import available_potentials
from inverse.prediction.evaluation import MODULUS_ERROR
from inverse.proposers.hybrid import Hybrid
from inverse.proposers.substitution import n_surveyed
from inverse.reference import ReferenceHull
from inverse.verification.plan import VerificationPlan
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import ConfigError
from surrogates.physics.properties import BULK_MODULUS, ENERGY_ABOVE_HULL, FORMATION_ENERGY
from tests import fakes
from tests.crystals import fcc

NO_JUDGES = SimpleNamespace(relax_each=None)
"""In place of a pool of them."""


def test_a_decoder_that_asks_is_told_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def made(device: str) -> object:
        told.append(device)
        return load_decoder("prototypes")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setitem(DECODERS._decorated, ("told", __name__), made)
    drawn = assembly.samples(1, {}, decoder="told", device="cuda:0")
    assert told == ["cuda:0"]
    assert len(list(drawn)) == 1


def test_a_device_of_no_use_is_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"device: 'cuda': the decoder 'prototypes' draws on the CPU"):
        assembly.samples(1, {}, decoder="prototypes", device="cuda")
    (tmp_path / "table.csv").write_text("formula,value\nWC,1\n")
    with pytest.raises(ConfigError, match=r"device: 'cuda': training computes on the CPU"):
        assembly.training(tmp_path / "table.csv", tmp_path / "weights", "cuda")
    in_config = {"kind": "table", "data": str(tmp_path / "table.csv"), "value": "value", "device": "cuda"}
    with pytest.raises(ConfigError, match="training computes on the CPU"):
        assembly.training(in_config, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("method", PROPOSERS.names())
def test_every_search_method_is_assembled(method: str) -> None:
    config = CampaignConfig.from_mapping(
        {"targets": {"bulk_modulus_vrh": {"min": 300}}, "search": {"method": method}}
    )
    assert assemble(config).proposer.name == method


def test_orderings_propose_what_their_method_says() -> None:
    config = CampaignConfig.from_mapping(
        {
            "targets": {"bulk_modulus_vrh": {"min": 300}, "shear_modulus_vrh": {"min": 150}},
            "constraints": {"elements": {"only": ["W", "Mo", "C"]}, "n_atoms": {"max": 8}},
            "search": {"method": "orderings"},
        }
    )
    proposals = assemble(config).proposer.ask(4, 0, 7)
    assert proposals
    assert {site.specie.symbol for p in proposals for site in p.structure} <= {"W", "Mo", "C"}


def test_the_accurate_tier_decides_and_the_fast_one_searches() -> None:
    parts = assemble(CampaignConfig.from_mapping({"targets": {"bulk_modulus_vrh": {"min": 300}}}))
    assert parts.surrogate.name.startswith(ACCURATE)
    assert parts.description["weights"]["structure"].startswith(ACCURATE)
    assert load_structure_surrogate("cpu").name == FAST


def test_error_bars_of_a_campaign_are_those_of_cells_as_proposed() -> None:
    """Every wrapper between the shipped surrogate and who predicts hands on how its error bars grow."""
    parts = assemble(CampaignConfig.from_mapping({"targets": {"bulk_modulus_vrh": {"min": 300}}}))
    shipped = load_structure_surrogate("cpu", ACCURATE)
    structure = fcc("Al", 4.04)
    plain = shipped.predict(CrystalBatch.from_structures([structure]), [BULK_MODULUS])[BULK_MODULUS]
    own = parts.evaluator.predict([structure])[BULK_MODULUS]
    assert float(own.mean[0]) == pytest.approx(float(plain.mean[0]), rel=1e-3)
    expected = math.hypot(float(plain.std[0] / plain.mean[0]), MODULUS_ERROR)
    assert float(own.std[0] / own.mean[0]) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("hull", [{}, {"energy_above_hull": {"minimise": True}}])
def test_the_judges_stop_and_shortlist_by_the_same_hull_bound_as_a_hit(
    hull: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[VerificationPlan] = []
    monkeypatch.setattr(assembly, "open_pool", lambda plan, _: asked.append(plan) or NO_JUDGES)
    assemble(CampaignConfig.from_mapping({"targets": {"bulk_modulus_vrh": {"min": 300}} | hull}))
    assert asked[0].stop_above_hull == pytest.approx(0.4)
    assert asked[0].shortlist == {
        "bulk_modulus_vrh": (300.0, math.inf),
        "energy_above_hull": (-math.inf, 0.1),
    }


def test_a_surrogate_of_compositions_is_no_surrogate_of_structures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check by `isinstance` of the protocol saw the names of its members alone, and let it pass."""
    shipped = load_surrogate("composition")
    monkeypatch.setattr("inverse.assembly.surrogate_named", lambda name: shipped)
    with pytest.raises(ConfigError, match="'structure' does not take structures"):
        load_structure_surrogate("cpu")


def test_a_surrogate_of_a_factory_is_asked_first_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "open_pool", lambda plan, _: NO_JUDGES)
    wish = {"targets": {"bulk_modulus_vrh": {"min": 300}}}
    named = {"search": {"surrogate": "tests.fakes:AnalyticSurrogate", "method": "random"}}
    parts = assemble(CampaignConfig.from_mapping(wish | named))
    weights = parts.description["weights"]
    assert weights["surrogate tests.fakes:AnalyticSurrogate"].startswith("source ")
    assert weights["structure"].endswith(f"+{fakes.AnalyticSurrogate().name}")
    batch = CrystalBatch.from_structures([fcc()])
    told = fakes.AnalyticSurrogate().predict(batch, [BULK_MODULUS])[BULK_MODULUS]
    asked = parts.surrogate.predict(batch, [BULK_MODULUS])[BULK_MODULUS]
    assert float(asked.mean) == pytest.approx(float(told.mean), rel=1e-5)


def test_a_search_stays_within_the_elements_that_every_surrogate_states() -> None:
    parts = assemble(CampaignConfig.from_mapping({"targets": {"bulk_modulus_vrh": {"min": 300}}}))
    assert parts.evaluator.supported(["W", "C", "No", "Xx"]) == {"W", "C"}
    assert parts.evaluator.n_evaluated == 0


@pytest.mark.parametrize(("novelty", "has"), [("any", True), ("new_composition", False)])
def test_textbook_answers_are_among_the_proposals_where_they_are_welcome(novelty: str, has: bool) -> None:
    config = CampaignConfig.from_mapping(
        {"targets": {"bulk_modulus_vrh": {"min": 300}}, "constraints": {"novelty": novelty}}
    )
    proposer = assemble(config).proposer
    assert isinstance(proposer, Hybrid)
    assert ("lookup" in proposer.shares(100)) is has


@pytest.mark.parametrize("method", ["lookup", "orderings", "substitution"])
def test_a_seed_comes_first_whichever_method_runs_and_one_crystal_once(
    method: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second file holds the first one's crystal in a larger, wider cell: log and report say so."""
    carbide = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.33), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    carbide.to(str(tmp_path / "tic.cif"))
    again = carbide * (2, 1, 1)
    again.scale_lattice(1.1 * again.volume)
    again.to(str(tmp_path / "again.cif"))
    config = CampaignConfig.from_mapping(
        {
            "targets": {"bulk_modulus_vrh": {"min": 300}},
            "constraints": {"elements": {"only": ["W", "Ti", "C"]}, "n_atoms": {"max": 4}},
            "search": {"method": method},
            "seed_structures": [str(tmp_path / "tic.cif"), str(tmp_path / "again.cif")],
        }
    )
    proposer = assemble(config).proposer
    assert proposer.name == method
    (line,) = [r.getMessage() for r in caplog.records if "same crystal" in r.getMessage()]
    assert "again" in line
    assert "tic" in line
    if method == "substitution":
        return  # makes children of the seeds, which takes longer
    found = proposer.ask(6, 0, 5)
    assert [p.origin for p in found].count(Origin.SEED) == 1
    assert found[0].origin is Origin.SEED
    (remark,) = found[0].remarks
    assert remark == "again.cif holds the same crystal (11.16 Å³ per atom, here 10.15), left out"
    assert len(found) > 1
    told = [Candidate("c0", found[0].structure, found[0].proposer, 5, {}, key=found[0].key)]
    proposer.tell(told)
    assert not [p for p in proposer.ask(6, 1, 5) if p.origin is Origin.SEED]
    assert not [r.getMessage() for r in caplog.records if "nothing left" in r.getMessage()]


def test_triage_that_is_asked_for_and_cannot_be_had_is_refused() -> None:
    """Without a word the run would be another one than was asked for."""
    wish = {"targets": {"bulk_modulus_vrh": {"min": 300}}, "search": {"triage": True}}
    config = CampaignConfig.from_mapping(wish | {"verify": {"potential": "7net-0"}})
    with pytest.raises(ConfigError, match=r"search\.triage: 7net-0 is"):
        assemble(config)


def test_a_resumed_run_surveys_as_widely_as_it_began() -> None:
    targets = {"targets": {"bulk_modulus_vrh": {"min": 300}}}
    begun = CampaignConfig.from_mapping(targets | {"budget": {"time": "1h"}})
    shorter = CampaignConfig.from_mapping(targets | {"budget": {"time": "10m"}})
    assert n_surveyed(shorter) < n_surveyed(begun)
    assert n_surveyed(assembly.as_begun(shorter, begun)) == n_surveyed(begun)
    assert assembly.as_begun(shorter, begun).budget == shorter.budget


def of_targets(**verify: Any) -> CampaignConfig:
    return CampaignConfig.from_mapping({"targets": {"bulk_modulus_vrh": {"min": 300}}, "verify": verify})


def witness_of(config: CampaignConfig) -> str:
    return assembly.verification_plan(config, Objective.of(config)).panel.second


@pytest.mark.skipif(not available_potentials()["7net-0"], reason="the extra sevenn is not installed")
def test_who_gives_the_second_opinion_is_none_of_those_that_label_triage_or_judge() -> None:
    assert witness_of(of_targets()) == "chgnet"
    assert witness_of(of_targets(second_opinion="7net-0")) == "7net-0"
    assert witness_of(of_targets(second_opinion="none")) == ""
    assert witness_of(of_targets(potential="diep", second_opinion="7net-0")) == ""
    with pytest.raises(ConfigError, match=r"verify\.second_opinion: diep is a judge of this run"):
        witness_of(of_targets(second_opinion="diep"))
    with pytest.raises(ConfigError, match=r"'chgnt' gives no second opinion; did you mean 'chgnet'\?"):
        of_targets(second_opinion="chgnt")


@pytest.mark.skipif(not available_potentials()["7net-0"], reason="the extra sevenn is not installed")
def test_an_older_run_goes_on_with_the_second_opinion_it_was_begun_with() -> None:
    text = {"targets": {"bulk_modulus_vrh": {"min": 300}}, "verify": {"potential": "auto"}}
    begun = CampaignConfig.from_mapping(text, is_stored=True)
    asked = CampaignConfig.from_mapping(text)
    assert config_hash(begun) == config_hash(asked)
    assert witness_of(assembly.as_begun(asked, begun)) == "7net-0"
    stored = CampaignConfig.from_mapping(asked.to_mapping(), is_stored=True)
    assert witness_of(assembly.as_begun(asked, stored)) == "chgnet"


def test_an_audit_asks_the_judges_alone_and_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Any] = []
    monkeypatch.setattr(assembly, "open_pool", lambda plan, _: plans.append(plan) or NO_JUDGES)
    found = assembly.judging(of_targets(reuse=False))
    (plan,) = plans
    assert (plan.reuse, plan.shortlist, plan.panel.second) == (True, None, "")
    assert plan.stop_above_hull == pytest.approx(0.4)
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0] * 3, [0.5] * 3])
    assert found.classify(salt).hit_class is HitClass.KNOWN
    assert found.rescreening(salt.get_primitive_structure()) is None


def test_without_an_upper_bound_on_the_hull_there_is_no_margin() -> None:
    """A linear programme with an infinite limit raised, and made every hit a failure."""
    hull = ReferenceHull.packaged()
    energy = hull.below("WC") + 0.05
    values = {
        prop.name: VerifiedValue(mean, 0.01, mean, mean, mean, "judge", "eV/atom")
        for prop, mean in ((FORMATION_ENERGY, energy), (ENERGY_ABOVE_HULL, hull("WC", energy)))
    }
    structure = Structure(Lattice.hexagonal(2.9, 2.8), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
    candidate = Candidate(
        "c000000", structure, "seeds", 0, verification=Verification("auto", True, values=values)
    )
    for bound, is_told in (({"max": 0.1}, True), ({"min": 0.02}, False)):
        targets = {"bulk_modulus_vrh": {"min": 300}, "energy_above_hull": bound}
        objective = Objective.of(CampaignConfig.from_mapping({"targets": targets}))
        assert (assembly._margin(hull, objective, candidate) is not None) is is_told
