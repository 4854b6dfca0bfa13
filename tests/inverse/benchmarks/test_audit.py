"""`inverse bench audit` with stand-in judges: planted hits are found, failures count, a call goes on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from pymatgen.core import Structure

from inverse.benchmarks import run_benchmark
from inverse.benchmarks.arguments import Arguments
from inverse.benchmarks.audit import Pool, pool_of
from inverse.campaign.parts import Judging
from inverse.campaign.run import read_run
from inverse.candidates.ranking import Kinship
from inverse.candidates.types import (
    Breach,
    Candidate,
    Failure,
    HitClass,
    Rule,
    Status,
    Triaged,
    Verification,
    VerifiedValue,
)
from inverse.commands import api
from inverse.verification.calibration.energy_correction import formation_energy
from inverse.verification.ladder import ENERGY_PER_ATOM
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import ConfigError, RunFolderError
from surrogates.physics.properties import FORMATION_ENERGY
from tests.fakes import AnalyticSurrogate, AnalyticVerifier, kinship, parts
from tests.inverse.campaign.test_triage import KnowsEnergies, run

STABLE, FAR = 0.01, 0.5
"""Energy above the hull, eV/atom, of what is planted and of all else."""


class Planted(AnalyticVerifier):
    """Calls planted crystals stable and every other one far above the hull, or failed."""

    def __init__(
        self, stable: Sequence[Candidate] = (), failing: Sequence[Candidate] = (), n_answers: int = 10**6
    ) -> None:
        super().__init__()
        self.stable, self.failing = volumes(stable), volumes(failing)
        self.n_answers = n_answers
        self.asked: list[Structure] = []

    def verify_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Verification]]:
        for position, structure in enumerate(structures):
            if should_stop() or len(self.asked) == self.n_answers:
                return
            self.asked.append(structure)
            yield position, self.verdict(structure)

    def verdict(self, structure: Structure) -> Verification:
        volume = structure.volume
        if volume in self.failing:
            return Verification("planted", False, "did not converge", failure=Failure.NOT_CONVERGED)
        found = super().verdict(structure)
        while not found.converged:  # the stand-in's own failures
            volume *= 1.0001
            found = super().verdict(structure.copy().scale_lattice(volume))
        above = STABLE if structure.volume in self.stable else FAR
        values = {**found.values}
        values["energy_above_hull"] = replace(values["energy_above_hull"], mean=above)
        return replace(found, values=MappingProxyType(values))


def volumes(candidates: Sequence[Candidate]) -> set[float]:
    return {c.structure.volume for c in candidates}


def judges(verifier: Planted, **changes: Any) -> Judging:
    own = {"rescreening": lambda s: None, "classify": kinship, "confirm": kinship, **changes}
    return Judging(verifier, **own)


def audit(verifier: Planted, *folders: Path, n: int = 1000, seed: int = 0, **changes: Any) -> dict[str, Any]:
    given = Arguments(lambda config: judges(verifier, **changes), parts, folders)
    return run_benchmark("audit", n, seed, given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("audited") / "run"
    run(place, KnowsEnergies())
    return place


def thrown(folder: Path, pool: Pool) -> list[Candidate]:
    return [c for c in read_run(folder).candidates if pool_of(c)[0] is pool]


@pytest.mark.parametrize("pool", list(Pool))
def test_a_planted_hit_is_found_and_counted_where_it_was_thrown_away(folder: Path, pool: Pool) -> None:
    own = thrown(folder, pool)
    planted = own[3:5]
    found = audit(Planted(stable=planted), folder)
    part = found["pools"][pool]
    assert part["hits"] == 2
    assert part["verified"] == part["in_pool"] == len(own)
    assert part["interval"][0] < part["share"] == round(2 / len(own), 4) < part["interval"][1]
    assert [other["hits"] for name, other in found["pools"].items() if name != pool] == [0]
    rows = [row for row in found["table"] if row["pool"] == pool and row["reason"] != "all"]
    assert sum(row["hits"] for row in rows) == 2
    assert sum(row["in pool"] for row in rows) == len(own)
    assert {c["id"] for c in found["crystals"] if c["status"] == "hit"} == {c.id for c in planted}


def test_a_stage_that_throws_hits_away_does_not_pass_and_one_that_does_not_does(folder: Path) -> None:
    assert not audit(Planted(stable=thrown(folder, Pool.TRIAGE)), folder)["passed"]
    assert audit(Planted(), folder)["passed"]


def test_failed_verifications_count_in_the_denominator(folder: Path) -> None:
    own = thrown(folder, Pool.TRIAGE)
    found = audit(Planted(stable=own[:1], failing=own[1:]), folder)["pools"][Pool.TRIAGE]
    assert found["failed"] == len(own) - 1 > 0
    assert found["verified"] == len(own)
    assert found["share"] == round(1 / len(own), 4)


def test_what_is_decided_after_relaxation_decides_here_too(folder: Path) -> None:
    everything = thrown(folder, Pool.TRIAGE)
    breach = Breach(Rule.N_ATOMS, "12 is not within 1 to 8")
    screened = audit(Planted(stable=everything), folder, rescreening=lambda s: breach)
    assert screened["pools"][Pool.TRIAGE]["hits"] == 0
    # the config of the run lets derivatives through: they are hits
    derived = audit(Planted(stable=everything), folder, classify=lambda s: Kinship(HitClass.DERIVATIVE, "WC"))
    assert derived["pools"][Pool.TRIAGE]["hits"] == len(thrown(folder, Pool.TRIAGE))


def test_judges_begin_with_the_crystal_as_proposed(folder: Path) -> None:
    verifier = Planted()
    audit(verifier, folder)
    proposed = {c.structure.volume for pool in Pool for c in thrown(folder, pool)}
    assert {s.volume for s in verifier.asked} == proposed


def test_a_hit_like_one_of_the_run_is_no_distinct_one(folder: Path) -> None:
    own = thrown(folder, Pool.CHOICE)
    hits = [c for c in read_run(folder).candidates if c.status is Status.HIT]
    known = {(c.structure.composition.chemical_system, c.parent_prototype) for c in hits}
    like = [
        c
        for c in own
        if (c.structure.composition.chemical_system, kinship(c.structure).parent_prototype) in known
    ]
    found = audit(Planted(stable=own), folder)["pools"][Pool.CHOICE]
    assert 0 < len(like) < len(own)
    assert found["hits"] == len(own)
    assert found["distinct_hits"] == len(own) - len(like)


def test_a_larger_draw_begins_with_the_smaller_one_and_a_crystal_of_two_runs_is_drawn_once(
    folder: Path,
) -> None:
    few, many = (audit(Planted(), folder, n=n, seed=4)["crystals"] for n in (3, 6))
    ids = [[c["id"] for c in found if c["pool"] == "triage"] for found in (few, many)]
    assert ids[1][:3] == ids[0]
    assert len(set(ids[1])) == 6
    twice = audit(Planted(), folder, folder)["pools"]
    assert [part["in_pool"] for part in twice.values()] == [len(thrown(folder, pool)) for pool in Pool]


def test_what_time_leaves_open_is_said_and_decides_nothing(folder: Path) -> None:
    found = audit(Planted(n_answers=4), folder, n=8)
    assert found["open"] == 12
    assert sum(part["verified"] for part in found["pools"].values()) == 4
    none = run_benchmark(
        "audit", 8, 0, Arguments(lambda config: judges(Planted()), parts, (folder,), seconds=-1.0)
    )
    assert none["open"] == 16
    assert none["pools"]["triage"]["share"] is None
    assert none["passed"]


CANDIDATE = Candidate("c000001", Structure([[3, 0, 0], [0, 3, 0], [0, 0, 3]], ["W"], [[0, 0, 0]]), "x", 0)


@pytest.mark.parametrize(
    ("changes", "pool", "words"),
    [
        ({"status": Status.SCREENED_OUT, "rule": Rule.DISTANCE}, Pool.CHOICE, "screen: distance"),
        ({"status": Status.SCREENED_OUT, "rule": Rule.NO_PREDICTION}, Pool.CHOICE, "no finite prediction"),
        ({"status": Status.SCREENED_OUT, "rule": Rule.NOVELTY}, None, ""),
        ({"status": Status.SCREENED_OUT, "rule": Rule.COMPOSITION_TARGET}, None, ""),
        ({"status": Status.SCREENED_OUT}, None, ""),
        ({"status": Status.VERIFIED}, None, ""),
        ({"status": Status.FAILED}, None, ""),
        ({"status": Status.PREDICTED, "rule": Rule.LIKE_VERIFIED}, Pool.CHOICE, "like one verified"),
        ({"status": Status.PREDICTED, "probability_target_met": 1e-4}, Pool.CHOICE, "P(targets met) < 0.01"),
        ({"status": Status.PREDICTED, "probability_target_met": 0.4}, Pool.CHOICE, "others were better"),
        (
            {
                "status": Status.TRIAGED_OUT,
                "rule": Rule.ENERGY,
                "triaged": Triaged("p", 1.0, 0.1, CANDIDATE.structure),
            },
            Pool.TRIAGE,
            "energy, relaxed",
        ),
        (
            {"status": Status.TRIAGED_OUT, "rule": Rule.ENERGY, "triaged": Triaged("p", 1.0, 0.1)},
            Pool.TRIAGE,
            "energy, at a single point",
        ),
        (
            {
                "status": Status.TRIAGED_OUT,
                "rule": Rule.ENERGY,
                "triaged": Triaged("p", reason="atoms", failure=Failure.COLLIDING_ATOMS),
            },
            Pool.TRIAGE,
            "not computed: colliding_atoms",
        ),
    ],
)
def test_who_threw_it_away_and_why(changes: dict[str, Any], pool: Pool | None, words: str) -> None:
    found, reason = pool_of(replace(CANDIDATE, **changes))
    assert found is pool
    assert words in reason


def test_what_cannot_be_audited_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bench audit: name at least one run folder"):
        api.bench("audit")
    with pytest.raises(RunFolderError, match="holds no run"):
        api.bench("audit", runs=[tmp_path])
    with pytest.raises(ConfigError, match="bench replay: looks at no runs; audit does"):
        api.bench("replay", runs=[tmp_path])
    with pytest.raises(
        ConfigError, match="bench replay: has no time limit; those that have: audit, proposals"
    ):
        api.bench("replay", time_limit="5m")
    with pytest.raises(ConfigError, match="time limit"):
        api.bench("audit", runs=[tmp_path], time_limit="soon")


class Above:
    """A witness by which every crystal lies so many eV/atom above what the judges of this file say."""

    potential = "chgnet"

    def __init__(self, above: float) -> None:
        self.above, self.is_closed = above, False

    def relax_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Verification]]:
        for position, structure in enumerate(structures):
            judged = AnalyticSurrogate().predict(
                CrystalBatch.from_structures([structure]), [FORMATION_ENERGY]
            )
            wanted = 1.02 * float(judged[FORMATION_ENERGY].mean[0]) + self.above
            raw = wanted - formation_energy(structure, 0.0, self.potential)
            value = VerifiedValue(raw, 0.0, raw, raw, raw, self.potential, "eV/atom")
            relaxed = structure if position else None  # the first it cannot relax
            values = MappingProxyType({ENERGY_PER_ATOM: value})
            yield position, Verification(self.potential, True, values=values, structure=relaxed)

    def close(self) -> None:
        self.is_closed = True


def test_the_judges_energies_stand_beside_those_of_a_witness(folder: Path) -> None:
    witness = Above(0.07)
    given = Arguments(lambda config: judges(Planted()), parts, (folder,), witness=witness)
    found = run_benchmark("audit", 1000, 0, given)
    part = found["energies"]["thrown out"]
    assert found["energies"]["witness"] == "chgnet"
    relaxed = [c for c in thrown(folder, Pool.TRIAGE) if c.triaged is not None and c.triaged.is_relaxed]
    assert part["asked"] == len(relaxed) > 2
    assert part["without_energy"] == 1
    assert part["judge_minus_witness"]["n"] == len(relaxed) - 1
    assert part["judge_minus_witness"]["median"] == pytest.approx(-0.07, abs=1e-3)
    assert part["judge_minus_dft"]["n"] == 0
    assert {row["triaged and"] for row in found["energy_table"]} == {"kept", "thrown out"}
    assert witness.is_closed
