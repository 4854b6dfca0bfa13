"""The one classifier of campaigns and of `inverse verify`: known, derivative (also by energy) or new."""

from collections.abc import Callable
from functools import lru_cache, partial

from pymatgen.core import Structure

from inverse.candidates.types import EnergyFlag
from inverse.potentials.limits import Limit
from inverse.potentials.loading import is_code_of_others, one_thread
from inverse.reference import HitClassifier, KnownMaterials, ReferenceHull
from inverse.verification.calibration.energy_correction import formation_energy, has_scale
from inverse.verification.judge import Judge
from inverse.verification.opening import open_pool
from inverse.verification.panel import Panel
from inverse.verification.plan import VerificationPlan
from inverse.verification.store import VerificationStore
from surrogates.errors import EngineError
from surrogates.physics.properties import FORMATION_ENERGY

SECONDS_PER_END_MEMBER = 120.0
"""Of computing, after which the relaxation of an end member is given up."""

RelaxedMember = tuple[Structure, float]
"""A relaxed structure and its formation energy, eV/atom."""


@lru_cache(maxsize=4)
def classifier_by_energy(panel: Panel, reuse: bool = True, device: str = "auto") -> HitClassifier:
    """Return the classifier that relaxes end members known by formula only, with the energy judge.

    Where the judge's energies stand on no scale of formation energies, signatures alone decide.

    Args:
        panel: who verifies; its energy judge relaxes end members.
        reuse: False relaxes afresh, whatever the store holds.
        device: where the judge computes: auto, cpu or cuda.
    """
    known, hull = KnownMaterials.packaged(), ReferenceHull.packaged()
    if not panel.has_energy:
        return HitClassifier(known)
    if is_code_of_others(panel.energy):
        return HitClassifier(known, _InAnotherProcess(panel, reuse, device), hull)
    if not has_scale(panel.energy):
        return HitClassifier(known)
    judge_of = partial(Judge, panel.energy, reuse=reuse, prerelax_by=panel.prerelax_by, device=device)
    return HitClassifier(known, lambda structure: _relaxed_energy(judge_of, structure), hull)


class _InAnotherProcess:
    """Relaxes by code of others, which runs in workers only: whatever it does, this process goes on.

    A worker answers one question and ends: few crystals ask any, and the store remembers the answers.
    """

    def __init__(self, panel: Panel, reuse: bool, device: str) -> None:
        self._plan = VerificationPlan(
            panel,
            reuse,
            seconds_limit=SECONDS_PER_END_MEMBER,
            stop_above_hull=float("-inf"),  # nobody asks how stiff an end member is
            device=device,
        )
        self._has_scale = True

    def __call__(self, structure: Structure) -> RelaxedMember | None:
        """Return the relaxed structure and its formation energy; None where the judge fails or has no scale.

        Only who loads the code learns whether it has a scale: after the first answer it is known.
        """
        if not self._has_scale:
            return None
        try:
            with open_pool(self._plan, 1) as pool:
                (verdict,) = pool.verify([structure])
        except EngineError:
            return None
        self._has_scale = EnergyFlag.NO_ENERGY not in verdict.flags
        energy = verdict.values.get(FORMATION_ENERGY.name)
        return None if verdict.structure is None or energy is None else (verdict.structure, energy.mean)


def _relaxed_energy(judge_of: Callable[..., Judge], structure: Structure) -> RelaxedMember | None:
    """Return the relaxed structure and its formation energy; None where the judge fails."""
    store = VerificationStore(None)
    try:
        with one_thread():
            judge = judge_of(store=store)
            found = judge.relax(structure, Limit.of(SECONDS_PER_END_MEMBER))
    finally:
        store.close()
    if found.structure is None:
        return None
    try:
        return found.structure, formation_energy(found.structure, found.energy, judge.potential)
    except EngineError:
        return None
