"""The one classifier of campaigns and of `inverse verify`: known, derivative (also by energy) or new."""

from collections.abc import Callable
from functools import lru_cache, partial

from pymatgen.core import Structure

from inverse.potentials.limits import Limit
from inverse.potentials.loading import one_thread
from inverse.reference import HitClassifier, KnownMaterials, ReferenceHull
from inverse.verification.calibration.energy_correction import corrected_potentials, formation_energy
from inverse.verification.judge import Judge
from inverse.verification.panel import Panel
from inverse.verification.store import VerificationStore
from surrogates.errors import EngineError

SECONDS_PER_END_MEMBER = 120.0
"""Of computing, after which the relaxation of an end member is given up."""


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
    if not panel.has_energy or panel.energy not in corrected_potentials():
        return HitClassifier(known)
    judge_of = partial(Judge, panel.energy, reuse=reuse, prerelax_by=panel.prerelax_by, device=device)
    return HitClassifier(known, lambda structure: _relaxed_energy(judge_of, structure), hull)


def _relaxed_energy(judge_of: Callable[..., Judge], structure: Structure) -> tuple[Structure, float] | None:
    """Return the relaxed structure and its formation energy, eV/atom; None where the judge fails."""
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
