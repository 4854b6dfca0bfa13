"""Which figures a run is shown with: the targets' plane, predicted against verified, hits over budget."""

from collections.abc import Sequence

from markupsafe import Markup

from inverse.campaign.candidate_table import best_structure
from inverse.campaign.run import Run
from inverse.candidates.decisive_targets import effective_targets
from inverse.candidates.types import Candidate, Status, Target
from inverse.report import figures, wishes, wording
from surrogates.crystals.formulas import display_formula
from surrogates.physics.properties import ENERGY_ABOVE_HULL


def figures_of(run: Run, properties: Sequence[str]) -> list[dict[str, Markup | str]]:
    """Return the figures that the run has data for: targets' plane, predicted against verified, progress."""
    made = []
    deciding = effective_targets(run.config.targets)
    hard = [t for t in deciding if t.property != ENERGY_ABOVE_HULL]
    if hard:
        second = hard[1] if len(hard) > 1 else next(t for t in deciding if t.property == ENERGY_ABOVE_HULL)
        made.append(_plane(run, hard[0], second))
    for target in hard[:2]:
        made.append(_parity(run, target.property.name))
    caption = "Hits found as verifications were spent"
    hits = {c.id for c in run.candidates if c.status is Status.HIT}
    found = [
        identity in hits for identity in run.verified
    ]  # one that waited has an early id, and a late verdict
    if any(found):
        made.append((figures.progress(found, caption), caption))
    return [{"svg": Markup(svg), "caption": caption} for svg, caption in made if svg]


def _plane(run: Run, first: Target, second: Target) -> tuple[str, str]:
    x, y = first.property.name, second.property.name
    points = []
    for candidate in run.candidates:
        at_x, at_y = wishes.verified_value(candidate, x), wishes.verified_value(candidate, y)
        if at_x is not None and at_y is not None:
            points.append(_point(candidate, at_x, at_y, (x, y)))
    caption = f"Verified {wording.label(x)} and {wording.label(y)}; the wanted window is shaded"
    region = figures.Region(first.lower, first.upper, second.lower, second.upper)
    return figures.scatter(points, _axis(x), _axis(y), region, caption), caption


def _parity(run: Run, name: str) -> tuple[str, str]:
    points = []
    for candidate in run.candidates:
        predicted, verified = candidate.predictions.get(name), wishes.verified_value(candidate, name)
        if predicted is not None and verified is not None and candidate.verification is not None:
            stds = predicted.std, candidate.verification.values[name].std
            points.append(_point(candidate, predicted.mean, verified, (name, name), stds))
    what = wording.label(name)
    caption = f"{what[0].upper()}{what[1:]}: predicted before the verdict, verified after (± one std)"
    return figures.parity(points, f"predicted {_axis(name)}", f"verified {_axis(name)}", caption), caption


def _point(
    candidate: Candidate,
    x: float,
    y: float,
    names: tuple[str, str],
    errors: tuple[float, float] = (0.0, 0.0),
) -> figures.Point:
    formula = display_formula(best_structure(candidate).composition)
    is_hit = candidate.status is Status.HIT and candidate.hit_class is not None
    kind = str(candidate.hit_class) if is_hit else "verified"
    values = ", ".join(wording.number(v, name) for v, name in zip((x, y), names, strict=True))
    title = f"{formula} ({'hit, ' + kind if is_hit else 'no hit'}): {values}"
    safe = tuple(e if e == e and e < float("inf") else 0.0 for e in errors)
    return figures.Point(x, y, kind, title, safe[0], safe[1], candidate.id)


def _axis(name: str) -> str:
    of = wording.unit(name)
    return f"{wording.label(name)} ({of})" if of else wording.label(name)
