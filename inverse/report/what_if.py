"""What a page needs to move bounds: the verified candidates' values, the bounds, the config around them."""

import math
from collections.abc import Sequence
from typing import Any

from inverse.campaign.candidate_table import best_structure
from inverse.campaign.run import Run
from inverse.candidates.decisive_targets import effective_targets
from inverse.candidates.objective import OUT_OF_DOMAIN_AT_MOST
from inverse.candidates.ranking import nobody_judges
from inverse.candidates.types import Candidate, Status, Target
from inverse.report import wording
from inverse.report.wishes import verified_value
from surrogates.crystals.formulas import display_formula


def what_if_record(run: Run) -> dict[str, Any]:
    """Return as plain JSON what decides which verified candidates are hits under other bounds.

    Left out is what no bound brings back: unstable, not converged, without a class, breaking a constraint.
    """
    targets = effective_targets(run.config.targets)
    return {
        "name": run.config.name,
        "folder": run.folder.name,
        "budget": run.config.budget.verifications,
        "config": run.config.to_yaml(),
        "enough": run.config.verify.predicted_enough,
        "targets": [_target(target, run.config.targets) for target in targets],
        "candidates": [
            _candidate(candidate, targets)
            for candidate in run.candidates
            if candidate.status in (Status.HIT, Status.VERIFIED)
            and candidate.hit_class is not None
            and candidate.verification is not None
            and candidate.verification.is_stable is not False
        ],
    }


def _target(target: Target, asked: Sequence[Target]) -> dict[str, Any]:
    name = target.property.name
    return {
        "name": name,
        "label": wording.label(name),
        "symbol": wording.symbol(name),
        "unit": target.property.unit,
        "lower": _finite(target.lower),
        "upper": _finite(target.upper),
        "step": _step(target),
        "is_default": target not in asked,
    }


def _step(target: Target) -> float:
    """Return by how much a bound moves at once: about a hundredth of its size, a round number."""
    if target.property.unit.startswith("eV"):
        return 0.01
    size = max(abs(b) for b in (target.lower, target.upper, 1e-9) if math.isfinite(b))
    return float(10.0 ** math.floor(math.log10(size / 20.0)))


def _candidate(candidate: Candidate, targets: Sequence[Target]) -> dict[str, Any]:
    structure = best_structure(candidate)
    return {
        "id": candidate.id,
        "formula": display_formula(structure.composition),
        "hit": candidate.status is Status.HIT,
        "score": candidate.score if candidate.score is not None and math.isfinite(candidate.score) else 0.0,
        "group": f"{structure.composition.chemical_system} {candidate.parent_prototype or candidate.id}",
        "shown": ", ".join(
            f"{wording.symbol(name)} {wording.number(value, name)} {target.property.unit}".rstrip()
            for target in targets
            if (value := verified_value(candidate, name := target.property.name)) is not None
        ),
        "values": {
            target.property.name: value
            for target in targets
            if (value := verified_value(candidate, target.property.name)) is not None
        },
        "predicted": {
            target.property.name: said
            for target in targets
            if (said := _predicted(candidate, target.property.name)) is not None
        },
    }


def _predicted(candidate: Candidate, name: str) -> list[float] | None:
    """Return mean, std and the most that is believed, of what nobody but the surrogate says."""
    value = candidate.predictions.get(name)
    if value is None or verified_value(candidate, name) is not None or not nobody_judges(candidate, name):
        return None
    if not (math.isfinite(value.mean) and math.isfinite(value.std)):
        return None
    return [value.mean, value.std, 1.0 if value.in_domain else OUT_OF_DOMAIN_AT_MOST]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
