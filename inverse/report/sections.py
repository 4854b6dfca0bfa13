"""What a run amounts to, in words: shared by the page and the terminal."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from inverse.campaign.candidate_table import best_structure
from inverse.campaign.run import Run
from inverse.candidates.decisive_targets import effective_targets
from inverse.candidates.hit_counts import HitCounts
from inverse.candidates.objective import Objective
from inverse.candidates.ranking import is_promising
from inverse.candidates.types import Candidate, HitClass, Status, Target
from inverse.report import summary, views, wishes, wording
from inverse.report.markup import formula_markup
from surrogates.crystals.formulas import display_formula
from surrogates.physics.properties import PROPERTIES


@dataclass(frozen=True)
class Baseline:
    """One of the two baselines as the page shows it."""

    name: str
    explanation: str
    n_hits: str
    considered: str
    basis: str
    best: tuple[tuple[Markup, str], ...]
    note: str


def answer(run: Run) -> str:
    """Return the outcome in one or two sentences."""
    rate = summary.hit_rate(run.candidates)
    if rate.started == 0:
        return (
            "No verification was started, so there is nothing to judge yet; the funnel says where it ended."
        )
    if rate.hits == 0:
        return (
            f"None of the {rate.started} candidates that were sent to the judges met every target."
            f"{_promise(run)} Below: which target binds, and the nearest wish that this run could have "
            "fulfilled."
        )
    classes = summary.hits_by_class(run.candidates)
    unseen = rate.hits - classes["known"]
    plural = "s" if rate.hits != 1 else ""
    return (
        f"{rate.hits} crystal{plural} met every target, out of {rate.started} sent to the judges; "
        f"{unseen} of them {'is' if unseen == 1 else 'are'} in no table that this program carries."
        f"{_promise(run)}"
    )


def _promise(run: Run) -> str:
    """Return a sentence on those that only a doubtful prediction keeps from being hits; "" without any."""
    objective = Objective.of(run.config)
    n = sum(is_promising(c, objective) for c in run.candidates)
    if not n:
        return ""
    return (
        f" {n} {'is' if n == 1 else 'are'} promising: what judges compute meets the targets, and what is "
        f"predicted only does so with a probability under {objective.predicted_enough:g}."
    )


def rate_text(rate: summary.HitRate) -> str:
    """Return the hit rate with its interval."""
    if rate.rate is None:
        return "no verification started"
    return (
        f"{wording.percent(rate.rate)} of {rate.started} verifications started "
        f"(95 % interval {wording.percent(rate.lower)} to {wording.percent(rate.upper)})"
    )


def interval_text(rate: summary.HitRate) -> str:
    """Return the 95 % interval of the hit rate."""
    if rate.rate is None:
        return "unknown"
    return f"{wording.percent(rate.lower)} to {wording.percent(rate.upper)}"


def class_notes(run: Run, counts: HitCounts) -> dict[str, str]:
    """Return a note on the hits of each class: new ones in known types, known ones by who knows them."""
    notes = {name: counts.class_note(name) for name in counts.by_class}
    around = {} if run.reference is None else run.reference.around
    known = [c.id for c in run.candidates if c.status is Status.HIT and c.hit_class is HitClass.KNOWN]
    bases = Counter(entry.basis for i in known if i in around and (entry := around[i].known_as) is not None)
    notes[str(HitClass.KNOWN)] = ", ".join(f"{n} {basis}" for basis, n in sorted(bases.items()))
    return notes


def baselines(run: Run) -> list[Baseline]:
    """Return the look-up and the orderings as the page shows them, also when a run did not compute them."""
    given = dict(run.manifest.get("baselines") or {})
    asked = [target.property.name for target in effective_targets(run.config.targets)]
    texts = {
        "lookup": (
            "Look-up",
            "Known formulas whose tabulated DFT values already meet the targets; costs nothing.",
        ),
        "orderings": (
            "Orderings",
            "Alike elements ordered on the sites of known phases, ranked by mixing the end members.",
        ),
    }
    return [_baseline(*texts[key], given.get(key), asked) for key in texts]


def _baseline(
    name: str, explanation: str, record: Mapping[str, Any] | None, asked: Sequence[str]
) -> Baseline:
    if not record:
        return Baseline(name, explanation, "–", "", "not computed in this run", (), "")
    if not record.get("asked", True):
        return Baseline(name, explanation, "–", "", "not asked: it knows nothing of these targets", (), "")
    basis = {"dft": "by tabulated DFT", "predicted": "predicted only", "verified": "verified by the judges"}
    started = f" of {record['n_started']} verified" if record.get("n_started") else ""
    considered = f"{record['n_considered']:,} considered" if record.get("n_considered") else ""
    best = tuple(
        (
            formula_markup(views.shown_formula(str(item["formula"]))),
            ", ".join(
                f"{wording.symbol(key)} {wording.number(value, key)}"
                for key, value in (item.get("values") or {}).items()
                if key in asked
            ),
        )
        for item in (record.get("best") or [])[:6]
    )
    return Baseline(
        name,
        explanation,
        f"{record.get('n_hits', '–')}{started}",
        considered,
        basis.get(str(record.get("basis")), str(record.get("basis", ""))),
        best,
        "; ".join(filter(None, (str(record.get("note") or ""), _not_checked(record.get("unchecked") or ())))),
    )


def _not_checked(names: Sequence[str]) -> str:
    """Return which targets the rows of a baseline were not asked for; "" when they meet all."""
    return f"not checked: {', '.join(map(wording.label, names))}" if names else ""


def funnel_view(run: Run) -> list[dict[str, Any]]:
    """Return the funnel's stages with bar widths (log scale keeps the small ones visible) and losses."""
    stages = summary.funnel(run.candidates, Objective.of(run.config), run.manifest.get("funnel"))
    evaluated = (run.manifest.get("funnel") or {}).get("evaluated")
    if evaluated:
        stages.insert(0, summary.FunnelStage("evaluated by the surrogate", int(evaluated), {}))
    widest = math.log10(1 + max((stage.count for stage in stages), default=1)) or 1.0
    return [
        {
            "name": stage.name,
            "count": f"{stage.count:,}",
            "width": round(100 * math.log10(1 + stage.count) / widest, 1),
            "lost": [(wording.reason_text(name), f"{n:,}") for name, n in stage.lost.items()],
        }
        for stage in stages
    ]


def misses_view(candidates: Sequence[Candidate], targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return for each hard target how often it was missed; the binding one is first and marked."""
    misses = wishes.target_misses(candidates, targets)
    binding = wishes.binding_target(candidates, targets)
    return [
        {
            "target": wording.target_text(miss.target),
            "missed": miss.missed,
            "alone": miss.missed_alone,
            "unknown": miss.unknown,
            "binds": miss == binding,
        }
        for miss in misses
    ]


def wish_text(run: Run) -> dict[str, Any] | None:
    """Return the nearest feasible wish of a run without hits; None with hits or without values."""
    if any(c.status is Status.HIT for c in run.candidates):
        return None
    wish = wishes.nearest_wish(run.candidates, run.config.targets)
    if wish is None:
        return None
    clauses = []
    for name, (lower, upper, value) in wish.bounds.items():
        asked, sign = (lower, "≥") if value < lower else (upper, "≤")
        found = f"{wording.number(value, name)} {wording.unit(name, run.config.targets)}".strip()
        clauses.append(f"{wording.label(name)} {sign} {found} instead of {wording.number(asked, name)}")
    return {
        "formula": formula_markup(display_formula(best_structure(wish.candidate).composition)),
        "id": wish.candidate.id,
        "clauses": clauses,
        "basis": wish.basis,
    }


def gaps_view(candidates: Sequence[Candidate], properties: Sequence[str]) -> list[dict[str, str]]:
    """Return the optimism gap of every property that has one: what is exact has none."""
    shown = []
    for name in properties:
        if name in PROPERTIES and PROPERTIES[name].is_exact:
            continue
        gap = summary.optimism_gap(candidates, name)
        if gap.n == 0:
            continue
        absolute = wording.number(gap.absolute, name)
        sign = "+" if gap.absolute is not None and gap.absolute > 0 else ""
        shown.append(
            {
                "label": wording.label(name),
                "relative": wording.percent(gap.relative, 1, signed=True),
                "absolute": f"{sign}{absolute} {wording.unit(name)}".strip(),
                "n": str(gap.n),
                "failed": str(gap.n_failed),
            }
        )
    return shown


def proposers_view(candidates: Sequence[Candidate]) -> list[dict[str, str]]:
    """Return started, hits and rate of every proposer that had a candidate verified, most hits first."""
    names = dict.fromkeys(c.proposer for c in candidates if c.status in wishes.STARTED)
    rates = [(name, summary.hit_rate(candidates, name)) for name in names]
    rates.sort(key=lambda item: (-item[1].hits, -item[1].started, item[0]))
    return [
        {
            "name": name.replace("_", " "),
            "started": str(rate.started),
            "hits": str(rate.hits),
            "rate": f"{wording.percent(rate.rate)} "
            f"({wording.percent(rate.lower)} to {wording.percent(rate.upper)})",
        }
        for name, rate in rates
    ]
