"""Distance from the hull by the channels of one potential: would a hit survive another functional?

As a reaction energy: the crystal and the phases that the hull names, each relaxed in the channel, so that no
table of another functional is needed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pymatgen.core import Structure

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure, FunctionalHull
from inverse.potentials.limits import Limit
from inverse.potentials.traits import traits_of
from inverse.reference import ReferenceHull
from inverse.verification.first_principles.reaction import Phase, check_functional, energy_above
from inverse.verification.judge import Judge
from inverse.verification.ladder import phase_disagreement
from surrogates.errors import EngineError

CHANNELS: Mapping[str, str] = {"pbe": "7net-mf-0-pbe", "r2scan": "7net-mf-0-r2scan"}
"""Name in the table -> potential."""

SECONDS_EACH = 120.0
"""Of computing, for one relaxation."""


class StoppedError(Exception):
    """There is no time left; what is known is in the store."""


@dataclass(frozen=True)
class Functionals:
    """Asks the channels about crystals; deterministic.

    Attributes:
        structures_of: formula -> structures that may be its lowest phase; raises EngineError without any.
        judge_of: name of a potential -> who relaxes by it.
        shares_of: formula -> (formula of each competing phase -> fraction of the atoms).
    """

    structures_of: Callable[[str], Sequence[Structure]]
    judge_of: Callable[[str], Judge]
    shares_of: "Callable[[str], Mapping[str, float]]"

    def __call__(
        self, structure: Structure, should_stop: Callable[[], bool] = lambda: False
    ) -> dict[str, FunctionalHull] | None:
        """Return the distance by each channel, or why there is none; None where it was told to stop.

        Args:
            structure: as the judge of energies relaxed it.
            should_stop: asked before every relaxation.
        """
        try:
            shares = self.shares_of(structure.composition.reduced_formula)
            phases = {}
            for name in shares:
                if should_stop():
                    return None
                phases[name] = tuple(self.structures_of(name))
            return {
                name: self._by(potential, structure, phases, shares, should_stop)
                for name, potential in CHANNELS.items()
            }
        except StoppedError:
            return None
        except EngineError as error:
            return {name: FunctionalHull(who, reason=str(error)) for name, who in CHANNELS.items()}

    def _by(
        self,
        potential: str,
        structure: Structure,
        phases: Mapping[str, Sequence[Structure]],
        shares: Mapping[str, float],
        should_stop: Callable[[], bool],
    ) -> FunctionalHull:
        try:
            own = self._relaxed(potential, [structure], "it", should_stop)
            if disagreement := phase_disagreement(structure, own.structure):
                return FunctionalHull(potential, reason=f"another phase: {disagreement}")
            known = {
                name: self._relaxed(potential, found, f"{name}, which it competes with,", should_stop)
                for name, found in phases.items()
            }
            return FunctionalHull(potential, round(_above(potential, own, known, shares), 5))
        except EngineError as error:
            return FunctionalHull(potential, reason=str(error))

    def _relaxed(
        self, potential: str, structures: Sequence[Structure], what: str, should_stop: Callable[[], bool]
    ) -> Phase:
        """Return the lowest of some structures of one formula.

        Raises:
            CrystalFailureError: none of them can be relaxed.
            StoppedError: there is no time.
        """
        judge, found, reason = self.judge_of(potential), [], "no structure is carried"
        for structure in structures:
            if should_stop():
                raise StoppedError
            verdict = judge.relax(structure, Limit.of(SECONDS_EACH))
            if verdict.structure is None:
                reason = verdict.reason
            else:
                found.append(Phase(verdict.structure, verdict.energy / len(verdict.structure)))
        if not found:
            raise CrystalFailureError(f"{what} is not relaxed: {reason}", Failure.OTHER)
        return min(found, key=lambda phase: phase.energy)


def _above(potential: str, own: Phase, known: Mapping[str, Phase], shares: Mapping[str, float]) -> float:
    """Return eV/atom above the competing phases, PBE energies with the reference's corrections of anions.

    Raises:
        CrystalFailureError: the reference computes the crystal with +U, and the channel learned from that.
    """
    if traits_of(potential).functional == "PBE":
        check_functional(own.structure.composition)
        return energy_above(own, known, shares)
    return own.energy - sum(share * known[name].energy for name, share in shares.items())


def shares_on_hull(formula: str) -> Mapping[str, float]:
    """Return the phases that a crystal of a formula would fall apart into, the formula itself left out.

    Raises:
        EngineError: an element outside the reference.
    """
    return dict(ReferenceHull.current().energy_above_hull(formula, 0.0).decomposition)
