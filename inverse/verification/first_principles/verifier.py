"""A verifier that asks a DFT code: what `inverse confirm` computes of candidates, of any crystal."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pymatgen.core import Structure

from inverse.candidates.failures import failure_of
from inverse.candidates.types import EnergyFlag, Stage, Verification
from inverse.potentials.dft import Limits, Memory
from inverse.potentials.dft.code import DftCode
from inverse.verification.first_principles.candidate import (
    Asked,
    Found,
    StructuresOf,
    asked,
    details,
    findings,
)
from inverse.verification.first_principles.pool import Calculated, CalculationPool
from inverse.verification.first_principles.setting import Setting
from inverse.verification.store import canonical_structure
from surrogates.errors import EngineError, VerificationError
from surrogates.physics.properties import ENERGY_ABOVE_HULL, Property


@dataclass(frozen=True)
class Asking:
    """How crystals are taken to a DFT code.

    Attributes:
        code: that computes.
        properties: of `candidate.COMPUTED`.
        memory: of calculations made before; None keeps none.
        processes: calculations side by side.
        limits: of each calculation.
    """

    code: DftCode
    properties: tuple[Property, ...]
    memory: Memory | None = field(default=None, compare=False)
    processes: int = 1
    limits: Limits = field(default_factory=Limits)


class FirstPrinciplesVerifier:
    """A `StreamingVerifier`: relaxed cell, energy, moduli and distance from the hull.

    Attributes:
        potential: name of the code.
    """

    def __init__(
        self,
        asking: Asking,
        structures_of: StructuresOf,
        relaxed: Callable[[Structure], Structure] = lambda structure: structure,
        told: Callable[[str, Calculated], None] = lambda name, one: None,
    ) -> None:
        """Plan calculations; no process starts before the first.

        Args:
            asking: what and how.
            structures_of: of competing phases.
            relaxed: a crystal as a potential relaxes it, where calculations begin.
            told: formula of a crystal and each of its calculations.
        """
        self.potential = asking.code.name
        self._asking, self._structures_of, self._relaxed, self._told = asking, structures_of, relaxed, told
        self._setting = Setting(asking.code, memory=asking.memory)
        self._pool = CalculationPool(asking.code, asking.processes, asking.limits)

    def verify(self, structures: Sequence[Structure]) -> list[Verification]:
        """Return one Verification per structure, same length and order.

        Raises:
            MachineError: memory or disk.
        """
        found = dict(self.verify_each(structures))
        return [found[position] for position in range(len(structures))]

    def verify_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Verification]]:
        """Yield (position, Verification) as they finish; what is under way when it should stop is given up.

        Raises:
            MachineError: memory or disk.
        """
        ahead: list[Asked] = []
        for position, structure in enumerate(structures):
            try:
                ahead.append(self._asked(str(position), structure))
            except EngineError as error:
                yield position, self._failed(error)
        names = {one.identity: one.formula for one in ahead}

        def tell(name: str, one: Calculated) -> None:
            self._told(names.get(name, name), one)

        properties = self._asking.properties
        for found in findings(ahead, properties, self._pool, tell, should_stop):
            yield int(found.asked.identity), self._verification(found)

    def close(self) -> None:
        """End every process at once."""
        self._pool.close()

    def _asked(self, identity: str, structure: Structure) -> Asked:
        start = self._relaxed(canonical_structure(structure))
        has_hull = ENERGY_ABOVE_HULL in self._asking.properties
        return asked(identity, start, self._setting, self._structures_of if has_hull else None)

    def _verification(self, found: Found) -> Verification:
        own = found.crystal
        if isinstance(own, VerificationError):
            return self._failed(own, found.computing)
        return Verification(
            potential=self.potential,
            converged=True,
            values=found.values,
            flags=_flags(found),
            is_stable=None if own.stiffness is None else own.stiffness.is_stable,
            structure=own.cell.to_structure(),
            ladder=_ladder(found),
            seconds=found.computing,
            first_principles={
                "code": found.code,
                "protocol": str(found.asked.setting.protocol),
                "computing": round(found.computing, 1),
                **details(own, found.shares),
            },
        )

    def _failed(self, error: EngineError, computing: float = 0.0) -> Verification:
        return Verification(self.potential, False, str(error), seconds=computing, failure=failure_of(error))


def _flags(found: Found) -> tuple[str, ...]:
    flags = [f"{EnergyFlag.NO_HULL}: {found.why_no_hull}"] if found.why_no_hull else []
    own = found.crystal
    if not isinstance(own, VerificationError) and own.stiffness is not None:
        flags += own.stiffness.flags
    return tuple(flags)


def _ladder(found: Found) -> tuple[Stage, ...]:
    """Return what was computed as stages; the seconds of all stand with the first."""
    own = found.crystal
    if isinstance(own, VerificationError):
        return ()
    versions: Mapping[str, str] = {found.asked.setting.code.name: found.asked.setting.code.version}
    stages = [Stage("relaxed", True, str(found.asked.setting.protocol), found.computing, versions)]
    if own.bulk is not None:
        has_bulk = None if found.why_no_bulk else True
        remark = found.why_no_bulk or "equation of state"
        stages.append(Stage("bulk modulus", has_bulk, remark, 0.0, versions))
    if found.why_no_hull or ENERGY_ABOVE_HULL.name in found.values:
        against = ", ".join(f"{share:.2f} {name}" for name, share in found.shares.items())
        has_hull = not found.why_no_hull
        stages.append(Stage("hull", True if has_hull else None, found.why_no_hull or against, 0.0, versions))
    if own.stiffness is not None:
        stages.append(Stage("tensor", own.stiffness.is_stable, found.instability, 0.0, versions))
    return tuple(stages)
