"""Distance from the hull by other functionals: planted energies, and the real channels where installed."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure
from inverse.potentials.loading import available_potentials, load_potential
from inverse.verification.functionals import CHANNELS, Functionals, shares_on_hull
from inverse.verification.judge import RelaxationVerdict
from tests import crystals

PBE, R2SCAN = CHANNELS.values()
SALT = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]


def cell(*symbols: str, a: float = 4.2) -> Structure:
    made = Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), list(symbols), SALT[: len(symbols)])
    return made.get_primitive_structure()


class Planted:
    """Energies in eV/atom by (potential, formula, length of the cell); without one it does not converge."""

    def __init__(self, energies: Mapping[tuple[str, str], Any], grows: float = 1.0) -> None:
        self.energies, self.grows = energies, grows
        self.n_relaxed = 0

    def judge_of(self, potential: str) -> Any:
        outer = self

        class Judge:
            def relax(self, structure: Structure, deadline: float) -> RelaxationVerdict:
                outer.n_relaxed += 1
                found = outer.energies.get((potential, structure.composition.reduced_formula))
                energy = found(structure) if callable(found) else found
                if energy is None:
                    reason = "stalled"
                    return RelaxationVerdict(potential, reason=reason, failure=Failure.NOT_CONVERGED)
                relaxed = structure.copy()
                relaxed.scale_lattice(structure.volume * outer.grows)
                return RelaxationVerdict(potential, relaxed, energy * len(structure))

        return Judge()


PHASES = {"Al": (crystals.fcc("Al"),), "Ti": (crystals.fcc("Ti", 4.1), crystals.fcc("Ti", 4.3))}
SHARES = {"Al": 0.25, "Ti": 0.75}


def lower_when_large(structure: Structure) -> float:
    return -4.4 if structure.volume / len(structure) > 18.0 else -4.0


ENERGIES = {
    (PBE, "TiAl"): -5.0,
    (PBE, "Al"): -6.0,
    (PBE, "Ti"): lower_when_large,
    (R2SCAN, "TiAl"): -9.0,
    (R2SCAN, "Al"): -10.0,
    (R2SCAN, "Ti"): -9.2,
}


def asked(planted: Planted, phases: Mapping[str, Any] = PHASES, shares: Mapping[str, float] = SHARES) -> Any:
    return Functionals(lambda name: phases[name], planted.judge_of, lambda formula: shares)


def test_the_distance_is_the_energy_of_the_reaction_to_the_lowest_of_each_phase() -> None:
    found = asked(Planted(ENERGIES))(cell("Ti", "Al"))
    assert found["pbe"].above_hull == pytest.approx(-5.0 - (0.25 * -6.0 + 0.75 * -4.4))
    assert found["r2scan"].above_hull == pytest.approx(-9.0 - (0.25 * -10.0 + 0.75 * -9.2))
    assert [(one.potential, one.reason) for one in found.values()] == [(PBE, ""), (R2SCAN, "")]


def test_the_references_corrections_of_anions_are_those_of_pbe_alone() -> None:
    energies = {(who, f): -8.0 for who in CHANNELS.values() for f in ("AlN", "Al", "N2", "N")}
    phases = {"Al": (crystals.fcc("Al"),), "N2": (crystals.fcc("N", 5.0),)}
    found = asked(Planted(energies), phases, {"Al": 0.5, "N2": 0.5})(cell("Al", "N"))
    assert found["r2scan"].above_hull == pytest.approx(0.0)
    assert found["pbe"].above_hull == pytest.approx(-0.361 / 2, abs=1e-3)


def test_where_a_channel_or_a_phase_is_missing_the_reason_stands_there() -> None:
    lacking = {key: value for key, value in ENERGIES.items() if key != (R2SCAN, "Ti")}
    found = asked(Planted(lacking))(cell("Ti", "Al"))
    assert math.isfinite(found["pbe"].above_hull)
    assert math.isnan(found["r2scan"].above_hull)
    assert found["r2scan"].reason == "Ti, which it competes with, is not relaxed: stalled"

    def none_carried(name: str) -> Any:
        raise CrystalFailureError(f"{name}, which it competes with: 300 atoms", Failure.OTHER)

    planted = Planted(ENERGIES)
    without = Functionals(none_carried, planted.judge_of, lambda formula: SHARES)(cell("Ti", "Al"))
    assert without is not None
    assert {one.reason for one in without.values()} == {"Al, which it competes with: 300 atoms"}
    assert planted.n_relaxed == 0
    swollen = asked(Planted(ENERGIES, grows=1.5))(cell("Ti", "Al"))
    assert {one.reason.split(":")[0] for one in swollen.values()} == {"another phase"}
    oxide = {(who, f): -8.0 for who in CHANNELS.values() for f in ("VO", "V", "O2")}
    phases = {"V": (crystals.fcc("V"),), "O2": (crystals.fcc("O", 5.0),)}
    with_u = asked(Planted(oxide), phases, {"V": 0.5, "O2": 0.5})(cell("V", "O"))
    assert "+U" in with_u["pbe"].reason
    assert with_u["r2scan"].above_hull == pytest.approx(0.0)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_it_stops_between_relaxations(n: int) -> None:
    planted = Planted(ENERGIES)
    assert asked(planted)(cell("Ti", "Al"), lambda: planted.n_relaxed >= n) is None
    assert planted.n_relaxed == n


def test_competing_phases_are_those_that_the_hull_names() -> None:
    shares = shares_on_hull("W3B4")
    assert sum(shares.values()) == pytest.approx(1.0)
    assert "W3B4" not in shares
    assert set("".join(shares)) <= set("WB0123456789")


@pytest.mark.skipif(not available_potentials()[PBE], reason="the extra sevenn is not installed")
def test_the_channels_are_two_functionals_of_one_network() -> None:
    salt = cell("Mg", "O")
    points = []
    for potential in CHANNELS.values():
        numbers = [site.specie.Z for site in salt]
        made = load_potential(potential, "cpu")
        points.append(made.evaluate(numbers, salt.lattice.matrix, salt.frac_coords))
    assert abs(points[0].energy - points[1].energy) > 0.5
    assert {"Mg", "O", "W"} <= load_potential(PBE, "cpu").elements
