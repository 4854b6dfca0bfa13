"""First principles for the best of a run, after it or at its end: written back candidate by candidate."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pymatgen.core import Structure

from inverse.campaign.campaign import stored_config
from inverse.campaign.dynamical_stability import confirmed_and_best
from inverse.campaign.run_folder import RunFolder
from inverse.campaign.tables import Tables
from inverse.candidates.objective import Objective
from inverse.candidates.ranking import with_confirmation
from inverse.candidates.types import Candidate, Status
from inverse.inputs.campaign_config import CampaignConfig
from inverse.potentials.dft import Limits, code_named
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.verification.first_principles.candidate import (
    asked,
    computed_properties,
    confirmation,
    findings,
    with_judge,
)
from inverse.verification.first_principles.competitors import MOST_POLYMORPHS, Competitors, carried
from inverse.verification.first_principles.crystal import Wanted
from inverse.verification.first_principles.plan import Plan, planned
from inverse.verification.first_principles.pool import Calculated, CalculationPool
from inverse.verification.first_principles.setting import Setting
from inverse.verification.panel import panel_named
from inverse.verification.store import VerificationStore
from surrogates.errors import ConfigError, UnknownNameError
from surrogates.physics.properties import ENERGY_ABOVE_HULL, Property

Told = Callable[[str, Calculated], None]
"""(name and formula of a crystal, one of its calculations)"""

N_CONFIRMED = 5
"""Candidates that are taken to DFT unless the caller says how many."""


@dataclass(frozen=True)
class Confirming:
    """What is asked of first principles.

    Attributes:
        top: so many of the best, hits first.
        ids: these instead.
        properties: names, as of `computed_properties`.
        code: gpaw, or module:factory.
        python: interpreter that has the code; "" finds one.
        processes: calculations side by side.
        limits: of each calculation.
    """

    top: int = N_CONFIRMED
    ids: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    code: str = "gpaw"
    python: str = ""
    processes: int = 1
    limits: Limits = field(default_factory=Limits)

    def check(self) -> None:
        """Raise what is wrong with it before anything is computed.

        Raises:
            EngineError: a property, a code or an interpreter that is not there.
        """
        self.wanted()
        code_named(self.code, self.python)

    def wanted(self) -> list[Property]:
        """Return the properties.

        Raises:
            UnknownNameError: one that DFT is not asked for here; names the nearest.
        """
        return computed_properties(self.properties)


@dataclass(frozen=True)
class Ahead:
    """What is planned for one crystal: a candidate or a phase that it competes with."""

    name: str
    formula: str
    plan: Plan
    remark: str = ""


def chosen(candidates: Sequence[Candidate], confirming: Confirming) -> list[Candidate]:
    """Return the candidates that are taken to DFT.

    Raises:
        ConfigError: an id that is none of the run's, or whose verification gave no relaxed structure.
    """
    if not confirming.ids:
        return confirmed_and_best(candidates, confirming.top)
    by_id = {candidate.id: candidate for candidate in candidates}
    found = []
    for identity in confirming.ids:
        candidate = by_id.get(identity)
        if candidate is None:
            raise UnknownNameError.among("candidate", identity, list(by_id), "--ids")
        _relaxed(candidate)
        found.append(candidate)
    return found


def plan_of(folder: Path, confirming: Confirming) -> Iterator[Ahead]:
    """Yield what each crystal will take, before anything is started.

    Raises:
        RunFolderError: no run there, or damaged.
        EngineError: a code, a property or an id that is not there.
    """
    wanted, setting = confirming.wanted(), Setting(code_named(confirming.code, confirming.python))
    with RunFolder.read(folder) as stored:
        candidates = chosen(list(stored.named(stored.verified_ids())), confirming)
    full, has_hull = Wanted.of(wanted), ENERGY_ABOVE_HULL in wanted
    seen: set[str] = set()
    for candidate in candidates:
        one = asked(candidate.id, _relaxed(candidate), setting, _before_relaxation if has_hull else None)
        remark = one.why_no_hull if has_hull else ""
        cell = SymmetricCell.from_structure(one.structure)
        yield Ahead(candidate.id, one.formula, planned(cell, one.setting, full), remark)
        for name in one.shares if has_hull else ():
            for label, phase in zip(one.named(name), one.phases[name], strict=True):
                if label not in seen:
                    seen.add(label)
                    cell = SymmetricCell.from_structure(phase)
                    yield Ahead("competitor", name, planned(cell, one.setting, Wanted()))


def _before_relaxation(formula: str) -> tuple[Structure, ...]:
    """Return polymorphs of a competing phase as they are carried, as many as DFT takes at most."""
    return carried(formula)[:MOST_POLYMORPHS]


def confirm_run(
    folder: Path,
    confirming: Confirming,
    told: Told = lambda name, one: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Candidate]:
    """Yield candidates with what DFT says of them, each written to the run folder before it is yielded.

    What was calculated before, by whatever process, is taken from the verification store: a call that was
    killed goes on where it was.

    Args:
        folder: of a run; locked while this works.
        confirming: what is asked.
        told: name and formula of a crystal, and each of its calculations.
        should_stop: asked twice a second; calculations under way are given up.

    Raises:
        RunFolderError: no run there, damaged, locked, or not writable.
        EngineError: a code, a property or an id that is not there.
        MachineError: memory or disk.
    """
    confirming.check()
    config = stored_config(folder)
    with RunFolder.open(folder) as stored:
        tables = Tables(stored, config)
        candidates = chosen(list(stored.named(stored.verified_ids())), confirming)
        for candidate in confirmed_by_dft(candidates, config, confirming, told, should_stop):
            stored.update_candidates([candidate])
            tables.take([candidate])
            tables.write()
            yield candidate


def confirmed_by_dft(
    candidates: Sequence[Candidate],
    config: CampaignConfig,
    confirming: Confirming,
    told: Told = lambda name, one: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Candidate]:
    """Yield verified candidates with what DFT says of them; nothing is written but calculations remembered.

    Args:
        candidates: with a relaxed structure each.
        config: of their campaign.
        confirming: as of `confirm_run`, like the next two.
        told: of each calculation.
        should_stop: asked twice a second.

    Raises:
        EngineError: a code or a property that is not there.
        MachineError: memory or disk.
    """
    wanted, objective = confirming.wanted(), Objective.of(config)
    setting = Setting(code_named(confirming.code, confirming.python), memory=VerificationStore())
    has_hull = ENERGY_ABOVE_HULL in wanted
    of_known = Competitors(panel_named(config.verify.potential), config.device) if has_hull else None
    by_id = {candidate.id: candidate for candidate in candidates}
    ahead = [with_judge(asked(c.id, _relaxed(c), setting, of_known), c.verification) for c in candidates]
    names = {one.identity: f"{one.identity} {one.formula}" for one in ahead}
    pool = CalculationPool(setting.code, confirming.processes, confirming.limits)

    def tell(name: str, one: Calculated) -> None:
        told(names.get(name, name), one)

    try:
        for found in findings(ahead, wanted, pool, tell, should_stop):
            candidate = by_id[found.asked.identity]
            yield with_confirmation(candidate, confirmation(found, objective), objective)
    finally:
        pool.close()


def _relaxed(candidate: Candidate) -> Structure:
    """Return the structure that the judge of energies relaxed.

    Raises:
        ConfigError: nobody relaxed it.
    """
    verification = candidate.verification
    if verification is None or verification.structure is None:
        raise ConfigError(f"candidate {candidate.id}: no judge relaxed it")
    return verification.structure


def said_of(name: str, one: Calculated) -> str:
    """Return one line about a calculation.

    >>> said_of("c000012 WC", Calculated(0, {"steps": 21, "n_k_points": 70, "computing": 18.2}, False))
    'c000012 WC: 21 steps of self-consistency, 70 k-points, 18 core-seconds'
    """
    found = one.found
    again = ", remembered" if one.was_remembered else ""
    return (
        f"{name}: {found.get('steps', 0)} steps of self-consistency, {found.get('n_k_points', 0)} k-points, "
        f"{found.get('computing', 0.0):.0f} core-seconds{again}"
    )


def counts(candidates: Sequence[Candidate]) -> str:
    """Return in one line how many were confirmed, refuted and undecided."""
    outcomes = [c.confirmation.outcome for c in candidates if c.confirmation is not None]
    n_hits = sum(c.status is Status.HIT for c in candidates)
    named = ", ".join(f"{outcomes.count(o)} {o}" for o in dict.fromkeys(sorted(outcomes)))
    return f"{len(outcomes)} by first principles ({n_hits} hits): {named or 'none'}"
