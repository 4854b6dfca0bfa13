"""How far a run's hits are to be believed: who judged, who denies, what first principles say."""

from collections.abc import Sequence

from inverse.campaign.run import Run
from inverse.candidates.decisive_targets import effective_targets
from inverse.candidates.types import Candidate, Outcome, Status, Target
from inverse.report import summary, wording
from inverse.report.evidence import Said, Voice, said_of

IN_ROW = (Voice.SECOND, Voice.REFEREE)


def trust_lines(run: Run) -> list[tuple[str, str]]:
    """Return (what, in words) of everything that says how far the hits are to be believed."""
    hits = [c for c in run.candidates if c.status is Status.HIT]
    lines = [("judges", judges_text(run))]
    targets = effective_targets(run.config.targets)
    lines += [(str(voice), _dissent_text(run, hits, targets, voice)) for voice in IN_ROW]
    lines.append(("first principles", _dft_text(run.candidates)))
    if gap := _gap_text(run):
        lines.append(("optimism", gap))
    return lines


def judges_text(run: Run) -> str:
    """Return which potential judges what; all values stand on the scale of DFT."""
    by_judge: dict[str, list[str]] = {}
    for name, judge in (run.manifest.get("judges") or {}).items():
        by_judge.setdefault(str(judge), []).append(wording.symbol(str(name)))
    said = "; ".join(f"{', '.join(names)} by {judge}" for judge, names in by_judge.items())
    return f"{said}; calibrated to DFT (PBE), not DFT themselves" if said else "not recorded"


def _dissent_text(run: Run, hits: Sequence[Candidate], targets: Sequence[Target], voice: Voice) -> str:
    asked = [voices for c in hits if (voices := _voices(run, c, targets, voice))]
    if not asked:
        return "was not asked about any hit" if hits else "no hit to ask about"
    against = sum(any(one.dissents for one in voices) for voices in asked)
    return f"denies or contradicts {against} of the {len(asked)} hits that it was asked about"


def _voices(run: Run, candidate: Candidate, targets: Sequence[Target], voice: Voice) -> list[Said]:
    record = run.referee.get(candidate.id)
    return [
        one
        for target in targets
        for one in said_of(candidate, target.property.name, target, record)
        if one.voice is voice
    ]


def _dft_text(candidates: Sequence[Candidate]) -> str:
    found = [c.confirmation.outcome for c in candidates if c.confirmation is not None]
    if not found:
        return "none of them was computed by DFT; inverse confirm does that"
    counts = ", ".join(f"{found.count(o)} {o}" for o in Outcome if found.count(o))
    return f"{len(found)} computed by DFT: {counts}"


def _gap_text(run: Run) -> str:
    said = []
    for target in effective_targets(run.config.targets):
        if target.property.is_exact:
            continue
        gap = summary.optimism_gap(run.candidates, target.property.name)
        if gap.relative is not None:
            said.append(f"{wording.symbol(target.property.name)} {wording.percent(gap.relative, 1, True)}")
        elif gap.absolute is not None:
            sign = "+" if gap.absolute > 0 else ""
            shown = f"{sign}{wording.number(gap.absolute, target.property.name)} {target.property.unit}"
            said.append(f"{wording.symbol(target.property.name)} {shown}")
    return f"predictions were off by {', '.join(said)} (median, before the verdict)" if said else ""
