from contextlib import closing
from dataclasses import replace

import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import EnergyFlag, Failure
from inverse.potentials import loading as potentials
from inverse.potentials.loading import available_potentials, load_potential
from inverse.verification import panel as panel_module
from inverse.verification.judge import Judge, JudgeSettings, RelaxationVerdict
from inverse.verification.ladder import LadderVerifier, phase_disagreement
from inverse.verification.opening import open_here, open_verifier
from inverse.verification.panel import REFEREED, panel_named
from inverse.verification.plan import VerificationPlan
from inverse.verification.store import VerificationStore, canonical_structure, verification_key
from surrogates.errors import (
    ConfigError,
    DataError,
    MachineError,
    MissingExtraError,
    UnknownNameError,
    UnsupportedElementError,
)
from tests import crystals, panels, stand_in_potential
from tests.readings import G, K

EMT = "ase.calculators.emt:EMT"
MORSE = "tests.stand_in_potential:pairwise"


def ladder(potential=EMT, hull_energy=lambda *_: 0.03, **fields):
    plan = VerificationPlan(panel_named(potential), **fields)
    return LadderVerifier(plan, formation_energy=lambda *_: -0.2, hull_energy=hull_energy)


def of_panel(panel, store=None):
    zero = lambda *_: 0.0
    return LadderVerifier(VerificationPlan(panel), store, formation_energy=zero, hull_energy=zero)


def test_energies_come_from_the_reference():
    verdict = ladder().verify_one(crystals.l1_2())
    assert verdict.values["formation_energy_per_atom"].mean == -0.2
    assert verdict.values["energy_above_hull"].mean == 0.03
    assert verdict.values["energy_above_hull"].potential == EMT
    assert [s.name for s in verdict.ladder] == ["relaxed", "hull", "tensor"]


def test_a_hopeless_energy_stops_the_ladder_with_its_reason():
    verdict = ladder(hull_energy=lambda *_: 0.9, stop_above_hull=0.6).verify_one(crystals.fcc())
    assert not verdict.converged
    assert verdict.reason == "energy above hull 0.90 eV/atom: the ladder stops"
    assert verdict.failure is Failure.ABOVE_HULL
    assert "shear_modulus_vrh" not in verdict.values
    assert verdict.values["energy_above_hull"].mean == 0.9


@pytest.mark.parametrize(("hull", "is_doubted"), [(-0.35, True), (-0.05, False), (0.2, False)])
def test_what_lies_far_below_a_hull_says_so(hull, is_doubted):
    verdict = ladder(hull_energy=lambda *_: hull).verify_one(crystals.fcc())
    assert (EnergyFlag.BELOW_HULL in verdict.flags) is is_doubted
    (stage,) = [stage for stage in verdict.ladder if stage.name == "hull"]
    assert ("below a hull that it is part of" in stage.reason) is is_doubted
    assert verdict.converged


def test_an_element_outside_the_reference_is_noted_not_fatal():
    def refuse(*_):
        raise UnsupportedElementError("element Po has no reference phase")

    verdict = ladder(hull_energy=refuse).verify_one(crystals.fcc())
    assert verdict.converged
    assert "no_hull" in verdict.flags
    assert "energy_above_hull" not in verdict.values
    assert any(stage.reason == "element Po has no reference phase" for stage in verdict.ladder)
    assert verdict.values["formation_energy_per_atom"].mean == -0.2


def test_live_entries_that_cannot_be_had_leave_the_packaged_hull():
    def refuse(*_):
        raise DataError("Materials Project refuses the key")

    verdict = ladder(hull_energy=refuse).verify_one(crystals.fcc("Cu"))
    assert "packaged_hull" in verdict.flags
    assert verdict.values["energy_above_hull"].mean == pytest.approx(-0.2)
    (stage,) = [stage for stage in verdict.ladder if stage.name == "hull"]
    assert stage.reason == (
        "-0.200 eV/atom above the packaged hull: Materials Project refuses the key: "
        "nothing lies that far below a hull that it is part of"
    )


def test_a_machine_that_fails_is_no_verdict_and_is_asked_again(monkeypatch):
    monkeypatch.setattr(stand_in_potential.OutOfMemory, "is_healthy", False)
    verifier = ladder(potential="tests.stand_in_potential:out_of_memory")
    with pytest.raises(MachineError, match="out of memory"):
        verifier.verify_one(crystals.fcc())
    (verdict,) = verifier.verify([crystals.fcc()])
    assert "out of memory" in verdict.reason
    assert verdict.failure is Failure.MACHINE
    monkeypatch.setattr(stand_in_potential.OutOfMemory, "is_healthy", True)
    assert verifier.verify([crystals.fcc()])[0].converged
    monkeypatch.setattr(stand_in_potential.OutOfMemory, "is_healthy", False)
    with pytest.raises(MachineError, match="5 times in a row"):
        verifier.verify([crystals.fcc()] * 5)
    assert "out of memory" in verifier.verify([crystals.fcc()])[0].reason, "counted anew"


@pytest.mark.parametrize("failure", [Failure.COLLIDING_ATOMS, Failure.NOT_CONVERGED, Failure.TIME_LIMIT])
def test_only_a_stalled_relaxation_leaves_a_judge_the_energy_judges_cell(monkeypatch, failure):
    panel = panels.of(EMT, MORSE)
    original = Judge.relax

    def relax(self, structure, deadline=float("inf")):
        if self.potential == MORSE:
            return RelaxationVerdict(MORSE, reason="some words", failure=failure)
        return original(self, structure, deadline)

    monkeypatch.setattr(Judge, "relax", relax)
    verifier = of_panel(panel)
    verdict = verifier.verify_one(crystals.fcc("Cu", 3.6))
    is_stalled = failure is Failure.NOT_CONVERGED
    assert (f"not_relaxed_by_{MORSE}" in verdict.flags) == is_stalled
    assert verdict.reason == ("" if is_stalled else "some words")
    assert verdict.failure is (None if is_stalled else failure)


def test_a_surprise_is_a_failed_verification():
    def surprise(*_):
        raise RuntimeError("out of cheese")

    verdict = ladder(hull_energy=surprise).verify_one(crystals.fcc())
    assert verdict.reason == "RuntimeError: out of cheese"
    assert verdict.failure is Failure.OTHER


def test_an_element_the_potential_does_not_know_is_named(monkeypatch):
    known = potentials.Potential(EMT, load_potential(EMT).calculator, frozenset(["Cu"]))
    monkeypatch.setattr("inverse.verification.judge.load_potential", lambda *_: known)
    verdict = ladder().verify_one(crystals.l1_2("Cu", "Zr"))
    assert verdict.reason == f"{EMT} does not know the element Zr"
    assert verdict.failure is Failure.UNKNOWN_ELEMENT


def test_judges_that_disagree_fail_the_candidate(monkeypatch):
    panel = panels.of(EMT, MORSE)
    expanded = crystals.fcc("Cu", 4.2)
    original = Judge.relax

    def relax(self, structure, deadline=float("inf")):
        if self.potential == MORSE:
            return RelaxationVerdict(MORSE, expanded, -1.0)
        return original(self, structure, deadline)

    monkeypatch.setattr(Judge, "relax", relax)
    verifier = of_panel(panel)
    verdict = verifier.verify_one(crystals.fcc())
    assert verdict.reason.startswith("judges disagree on the phase: volumes per atom")
    assert verdict.failure is Failure.ANOTHER_PHASE
    assert not verdict.converged


def test_phases_are_compared_by_cell_and_sites():
    assert phase_disagreement(crystals.fcc("Cu", 3.6), crystals.fcc("Cu", 3.65)) == ""
    bcc = Structure.from_spacegroup("Im-3m", Lattice.cubic(2.86), ["Cu"], [[0, 0, 0]])
    assert phase_disagreement(crystals.fcc("Cu", 3.6), bcc) == "relaxed cells do not match"


@pytest.mark.parametrize(("factor", "symbol"), [(40.0, "K"), (1e-4, "K"), (-1.0, "G")])
def test_an_absurd_tensor_is_named_and_is_no_number(monkeypatch, factor, symbol):
    original = Judge.tensor

    def tensor(self, structure, deadline=float("inf"), only_bulk=False):
        found = original(self, structure, deadline, only_bulk)
        if factor < 0:
            return replace(found, shear_modulus=1200.0, shear_amplitude=0.0)
        return replace(found, bulk_modulus=factor * found.bulk_modulus)

    monkeypatch.setattr(Judge, "tensor", tensor)
    verdict = ladder().verify_one(crystals.fcc())
    assert "absurd_tensor" in verdict.flags
    (stage,) = [s for s in verdict.ladder if s.name == "moduli"]
    assert stage.passed is False
    assert stage.reason.startswith(f"{symbol} of ")
    assert stage.reason.endswith(f"GPa by {EMT} is absurd")
    assert not {"bulk_modulus_vrh", "shear_modulus_vrh"} & set(verdict.values)
    assert "hardness" not in verdict.elasticity
    assert verdict.converged


def test_a_crystal_that_stays_what_was_proposed_has_no_flag_of_departure():
    noisy = crystals.l1_2("Cu", "Au", 3.75)
    noisy.translate_sites([0], [0.010, 0.014, -0.009], frac_coords=False)
    noisy.translate_sites([1], [-0.012, 0.005, 0.015], frac_coords=False)
    noisy = noisy * (2, 1, 1)
    for structure in (crystals.l1_2(), noisy):
        flags = ladder().verify_one(structure).flags
        assert "another_phase_than_proposed" not in flags
        assert ("symmetry_raised" in flags) is (structure is noisy)


def test_a_crystal_that_becomes_another_is_flagged_and_no_failure():
    """Body-centred tetragonal copper with c/a = 1.2 slides into face-centred cubic."""
    tetragonal = Structure(Lattice.tetragonal(2.75, 3.35), ["Cu"] * 2, [[0, 0, 0], [0.5, 0.5, 0.5]])
    verdict = ladder().verify_one(tetragonal)
    assert verdict.converged, verdict.reason
    assert {"another_phase_than_proposed", "symmetry_raised"} <= set(verdict.flags)


def test_two_judges_each_relax_for_themselves():
    panel = panels.of(EMT, MORSE)
    verifier = of_panel(panel)
    verdict = verifier.verify_one(crystals.fcc("Cu", 3.6))
    stages = [stage.name for stage in verdict.ladder]
    assert stages[:3] == ["relaxed", "hull", "bulk modulus"]
    assert f"relaxed by {MORSE}" in stages
    (other,) = verdict.other_cells.values()
    assert list(verdict.other_cells) == [MORSE]
    assert other.volume != pytest.approx(verdict.structure.volume, rel=1e-3)


@pytest.mark.parametrize("planted", [False, True])
def test_a_pre_relaxer_that_fails_leaves_the_judge_the_cell_as_given(tmp_path, planted):
    nan = "tests.stand_in_potential:says_nan"
    panel = panels.of(EMT, EMT, prerelax_by=nan)
    store, structure = VerificationStore(tmp_path / "s.db"), crystals.fcc("Cu", 3.4)
    if planted:  # as older versions remembered it
        task, settings = f"relax after {nan}", JudgeSettings().digest
        key = verification_key(canonical_structure(structure), EMT, task, settings)
        store.put(key, {"reason": f"{nan} returned a value that is not finite"}, "Cu", EMT, task, settings)
    for _ in range(2):
        verifier = of_panel(panel, store)
        verdict = verifier.verify_one(structure)
        assert verdict.converged, verdict.reason
        assert "not_prerelaxed" in verdict.flags
        assert f"from the cell as given: {nan} returned a value that is not" in verdict.ladder[0].reason
    alone = ladder().verify_one(structure)
    assert verdict.values["bulk_modulus_vrh"] == alone.values["bulk_modulus_vrh"]


SEVENN = ("7net-l3i5", "7net-0")
"""Potentials of the extra."""


def test_the_panel_of_record(monkeypatch):
    monkeypatch.setattr(
        panel_module, "available_potentials", lambda: dict.fromkeys(("7net-l3i5", "7net-0"), True)
    )
    panel = panel_named("auto")
    assert (panel.energy, panel.judges[K], panel.judges[G]) == ("7net-l3i5", "7net-l3i5", "diep")
    referee = panel_named("auto", referee=True)
    assert (referee.judges[K], referee.judges[G]) == ("diep", "7net-l3i5")
    assert {prop.name for prop in REFEREED} == {K, G}
    monkeypatch.setattr(
        panel_module, "available_potentials", lambda: dict.fromkeys(("7net-l3i5", "7net-0"), False)
    )
    panel = panel_named("auto")
    assert (panel.energy, panel.judges[K], panel.judges[G]) == ("chgnet", "diep", "diep")
    with pytest.raises(MissingExtraError, match=r"inverse-crystals\[sevenn\]"):
        panel_named("auto", referee=True)
    assert not panel_named("diep").has_energy


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("7net-l3i", "did you mean '7net-l3i5'"),
        ("no.such.module:factory", r"no module 'no\.such\.module'"),
        ("ase.calculators.emt:EMTT", "did you mean 'EMT'"),
    ],
)
def test_unknown_potentials_are_named(name, message):
    with pytest.raises(UnknownNameError, match=message):
        open_here(VerificationPlan(panel_named(name), store=""))


def test_a_factory_must_make_a_calculator():
    with pytest.raises(ConfigError, match="returned a int, not an ASE calculator"):
        load_potential("tests.stand_in_potential:not_a_calculator")


def test_a_factory_that_fails_is_named():
    with pytest.raises(
        ConfigError, match="stand_in_potential:needs_a_licence' cannot be made: RuntimeError: no"
    ):
        load_potential("tests.stand_in_potential:needs_a_licence")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("builtins:dict", ConfigError, "builtins:dict returned a dict, not an ASE calculator"),
        ("math:pi", ConfigError, "potential: math:pi is not callable"),
        ("math:sqrt", ConfigError, "potential 'math:sqrt' cannot be made: TypeError"),
        ("math:pii", UnknownNameError, "math:pii: unknown factory 'pii'"),
    ],
)
def test_what_is_no_potential_is_said_before_any_crystal(name, error, message, workers):
    plan = VerificationPlan(panel_named(name), store="")
    with pytest.raises(error, match=message), closing(open_verifier(plan, workers)) as pool:
        pool.check()


def test_a_limit_on_computing_does_not_depend_on_the_number_of_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        verifier = ladder(potential="tests.stand_in_potential:counts_threads")
        assert verifier.verify_one(crystals.fcc("Al", 3.5)).converged
        assert set(stand_in_potential.THREADS) == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_calculator_from_the_package_index():
    """matscipy's Tersoff potential of Erhart and Albe: K of zinc-blende SiC is 224 GPa (PRB 71, 035211)."""
    pytest.importorskip("matscipy")
    silicon_carbide = Structure.from_spacegroup(
        "F-43m", Lattice.cubic(4.36), ["Si", "C"], [[0, 0, 0], [0.25, 0.25, 0.25]]
    )
    verdict = ladder(potential="tests.stand_in_potential:tersoff").verify_one(silicon_carbide)
    assert verdict.values["bulk_modulus_vrh"].raw == pytest.approx(224, abs=1)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not any(available_potentials().values())
    with pytest.raises(MissingExtraError, match=r"needs the package 'sevenn': .*inverse-crystals\[sevenn\]"):
        potentials.check_potential("7net-0")
