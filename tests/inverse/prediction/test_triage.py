"""The potential of the triage: energies with their errors, one result for each crystal whatever happens."""

import json
from collections.abc import Sequence

import pytest
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import Failure
from inverse.potentials.loading import available_potentials
from inverse.prediction import triage
from inverse.prediction.triage import LOOK, EnergyScale, Triage, TriageScales
from surrogates.errors import DataError

PAIRWISE = "tests.stand_in_potential:pairwise"
PLAIN = TriageScales(EnergyScale(share_of_remaining=0.5, std_of_remaining=0.5), EnergyScale(offset=0.02))


def per_atom(structure: Structure, energy: float) -> float:
    return energy / len(structure)


def asked(potential: str = PAIRWISE) -> Triage:
    return Triage(per_atom, potential, PLAIN, "cpu")


def rock_salt(pair: Sequence[str], a: float) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), pair, [[0, 0, 0], [0.5, 0.5, 0.5]])


CRYSTALS = [rock_salt(pair, a) for pair, a in ((("Al", "C"), 3.5), (("Cu", "N"), 3.85), (("Cr", "C"), 4.15))]


def test_a_relaxation_lowers_the_energy_and_keeps_the_crystal() -> None:
    looked_at, relaxed = asked().look(CRYSTALS), asked().relax(CRYSTALS)
    for crystal, look, done in zip(CRYSTALS, looked_at, relaxed, strict=True):
        assert not look.is_relaxed
        assert done.is_relaxed
        assert done.structure is not None
        assert done.structure.composition.reduced_formula == crystal.composition.reduced_formula
        assert done.steps > look.steps == 1
    started, ended = asked().compute(CRYSTALS, LOOK), asked().compute(CRYSTALS)
    assert all(end.energy < start.energy for start, end in zip(started, ended, strict=True))
    again = asked().look([done.structure for done in relaxed if done.structure is not None])
    for look, done, first in zip(again, relaxed, looked_at, strict=True):
        assert look.energy == pytest.approx(done.energy - 0.02, abs=2e-3), "nothing is left to relax"
        assert look.std < first.std, "what is relaxed already is surer"


def test_metals_with_moments_are_less_sure() -> None:
    stds = [one.std for one in asked().relax(CRYSTALS)]
    assert stds[2] > stds[0] == stds[1]


def test_crystals_that_fail_are_results_with_a_reason_and_spoil_no_other() -> None:
    disordered = Structure(Lattice.cubic(3), [{"Al": 0.5, "Cu": 0.5}], [[0, 0, 0]])
    collided = Structure(Lattice.cubic(3), ["Al", "C"], [[0, 0, 0], [0.1, 0, 0]])
    found = asked().relax([disordered, CRYSTALS[0], collided])
    assert [one.failure for one in found] == [Failure.NO_CRYSTAL, None, Failure.COLLIDING_ATOMS]
    assert "partial occupancy" in found[0].reason
    assert found[1].energy == asked().relax(CRYSTALS[:1])[0].energy
    assert asked("tests.stand_in_potential:says_nan").look(CRYSTALS[:1])[0].failure is Failure.POTENTIAL


@pytest.mark.slow
@pytest.mark.skipif(not available_potentials()["7net-0"], reason="the extra sevenn is not installed")
def test_energies_do_not_depend_on_who_shares_the_pass() -> None:
    real = [rock_salt(pair, a) for pair, a in ((("Ti", "C"), 4.4), (("V", "N"), 4.2), (("Mg", "O"), 4.3))]
    shared = asked("7net-0").relax(real)
    alone = [asked("7net-0").relax([crystal])[0] for crystal in real]
    for together, apart in zip(shared, alone, strict=True):
        assert together.energy == pytest.approx(apart.energy, abs=1e-4)
        assert together.structure is not None
        assert apart.structure is not None
        assert together.structure.volume == pytest.approx(apart.structure.volume, rel=1e-4)


def test_the_packaged_calibration_has_errors_that_a_held_out_third_bears_out() -> None:
    scales = TriageScales.packaged()
    assert 0.02 < scales.relaxed.std < scales.relaxed.std_of_magnetic < 0.2
    held_out = json.loads(triage.FILE.read_text())["held_out"]["relaxed"]
    assert held_out["n"] >= 100
    assert held_out["mae"]["value"] < 0.06
    low, high = held_out["coverage_90"]["interval"]
    assert low < 0.9 < high
    low, high = held_out["bias"]["interval"]
    assert low < 0.0 < high


def test_a_calibration_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = tmp_path_factory.mktemp("scales") / "triage.json"
    damaged.write_text("{}")
    monkeypatch.setattr(triage, "FILE", damaged)
    with pytest.raises(DataError, match=r"triage\.json cannot be read"):
        TriageScales.packaged.__wrapped__(TriageScales)  # type: ignore[attr-defined]
