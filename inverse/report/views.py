"""What the page shows of one candidate: plain text and numbers, ready for the template."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from markupsafe import Markup
from pymatgen.core import Structure

from inverse.campaign.candidate_table import (
    best_structure,
    cif_name,
    is_ranked,
    potentials,
    reason,
    space_group,
)
from inverse.campaign.novelty import OnlineNovelty
from inverse.campaign.reference_file import Reference, Surroundings, SystemPhase
from inverse.candidates.decisive_targets import effective_targets
from inverse.candidates.hit_counts import flags_of
from inverse.candidates.judged import PREDICTED_ONLY, is_predicted_only
from inverse.candidates.ladder import candidate_ladder
from inverse.candidates.types import (
    Candidate,
    HitClass,
    HullMargin,
    KnownPhase,
    OrderDisorder,
    Origin,
    Stage,
    Status,
    Target,
    VerifiedValue,
)
from inverse.reference.known_entries import KnownEntry
from inverse.report.crystal_view import CrystalView, crystal_view
from inverse.report.evidence import said_of
from inverse.report.evidence_view import EvidenceView, evidence_view
from inverse.report.markup import formula_markup, space_group_markup
from inverse.report.story import why_text
from inverse.report.wording import (
    digits,
    label,
    number,
    outcome_text,
    percent,
    plain_text,
    reason_text,
    symbol,
    unit,
)
from surrogates.crystals.formulas import display_formula, plain_formula
from surrogates.crystals.typed_formulas import composition_of
from surrogates.errors import EngineError
from surrogates.physics.properties import PROPERTIES

STATUS_LABELS = {
    Status.HIT: "hit",
    Status.VERIFIED: "no hit",
    Status.FAILED: "failed",
    Status.PREDICTED: "predicted only",
    Status.TRIAGED_OUT: "triaged out",
    Status.SCREENED_OUT: "screened out",
    Status.PROPOSED: "proposed",
}
_CLASS_ORDER = {HitClass.NEW: 0, HitClass.DERIVATIVE: 1, HitClass.KNOWN: 2, None: 3}

STAGE_LABELS = {"second_opinion": "second opinion"}


@dataclass(frozen=True)
class ValueView:
    """One property of one candidate.

    Attributes:
        label: in words, with its symbol.
        symbol: the short one.
        unit: natural unit.
        verified: "336 ± 12" on the DFT scale; "" without.
        interval: 90 % interval of the verified value; "" without.
        raw: the potential's own value; "" without.
        potential: who says so; "" without.
        predicted: "370 ± 18"; "" without.
        predicted_interval: 90 % interval of the prediction.
        in_domain: False when the surrogate says distrust.
        is_met: whether the value that counts meets its hard target; None without target or value.
        sort: number the table sorts by; "" without any.
        by_dft: "321 ± 9" by first principles; "" without.
        dissent: value and who says so, of everybody who denies or contradicts the value that counts.
    """

    label: str
    symbol: str
    unit: str
    verified: str
    interval: str
    raw: str
    potential: str
    predicted: str
    predicted_interval: str
    in_domain: bool
    is_met: bool | None
    sort: str
    by_dft: str
    dissent: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class CandidateView:
    """One row of the page's table, with its detail."""

    id: str
    rank: str
    formula: Markup
    plain_formula: str
    space_group: Markup
    crystal: CrystalView | None
    evidence: EvidenceView | None
    why: str
    note: str
    elements: tuple[str, ...]
    amounts: str
    group: tuple[str, int]
    n_atoms: int
    status: str
    status_label: str
    confirmed: str
    hit_class: str
    probability_before: str
    probability_after: str
    score: str
    score_sort: str
    class_order: str
    type_name: str
    known_basis: str
    values: tuple[ValueView, ...]
    nearest_known: str
    known_phase: KnownPhase | None
    derivative_of: str
    vacancy_of: str
    duplicate_of: str
    structure_type: str
    order: str
    hull_margin: str
    parent_prototype: str
    flags: tuple[str, ...]
    reason: str
    stability: str
    potential: str
    proposer: str
    seed: int
    log_likelihood: str
    competing: str
    known_as: str
    nearest: KnownEntry | None
    online: tuple[tuple[str, str, str, str], ...]
    ladder: tuple[tuple[str, str, str, str], ...]
    seconds: str
    cif: str
    history: tuple[tuple[str, str], ...]


def shown_formula(text: str) -> str:
    """Return a formula of a record as a chemist writes it; text that is none, such as a remark, as it is.

    >>> shown_formula("B2W"), shown_formula("")
    ('WB2', '')
    """
    try:
        return display_formula(composition_of(text))
    except EngineError:
        return text


def plus_minus(mean: float, std: float, name: str) -> str:
    """Return "mean ± std" with the digits of the property; what is exact has no error.

    >>> plus_minus(336.4, 12.2, "bulk_modulus_vrh")
    '336 ± 12'
    """
    if name in PROPERTIES and PROPERTIES[name].is_exact:
        return number(mean, name)
    error = number(std, name)
    if abs(mean) >= digits(name).whole_from:
        error = f"{std:.0f}" if std >= 1 else f"{std:.1g}"
    return f"{number(mean, name)} ± {error}"


def candidate_view(
    candidate: Candidate,
    rank: int | None,
    properties: Sequence[str],
    targets: Sequence[Target],
    around: Surroundings | None = None,
    is_drawn: bool = False,
    referee: Mapping[str, Any] | None = None,
    phases: Sequence[SystemPhase] = (),
    online: OnlineNovelty | None = None,
) -> CandidateView:
    """Return what the page shows of a candidate.

    Args:
        candidate: which.
        rank: in the table; None of what carries none.
        properties: in the order in which they are shown.
        targets: of the config.
        around: what the reference data say of it; None where the run folder does not hold that.
        is_drawn: with its crystal, the files of it and the evidence on it.
        referee: the referee's record of it; None before it was asked.
        phases: known ones of its chemical system; () where the run folder does not hold them.
        online: what databases on the network said of it; None where they were not asked.
    """
    structure = best_structure(candidate)
    deciding = {target.property.name: target for target in effective_targets(targets)}
    group = space_group(structure)
    score = math.nan if candidate.score is None else candidate.score
    crystal, evidence = None, None
    if is_drawn:
        name = f"{candidate.id}_{plain_formula(structure.composition)}"
        crystal = crystal_view(structure, name, with_inputs=candidate.status is Status.HIT)
        competing = () if around is None else tuple(phase.formula for phase in around.competing)
        evidence = evidence_view(candidate, list(deciding.values()), referee, phases, competing)
    verification = candidate.verification
    stages = candidate_ladder(candidate)
    stable = verification.is_stable if verification is not None else None
    return CandidateView(
        id=candidate.id,
        rank="" if rank is None else str(rank),
        formula=formula_markup(display_formula(structure.composition)),
        plain_formula=display_formula(structure.composition),
        space_group=space_group_markup(group),
        crystal=crystal,
        evidence=evidence,
        why=why_text(candidate, list(deciding.values()), referee),
        n_atoms=len(structure),
        status=str(candidate.status),
        status_label=STATUS_LABELS[candidate.status],
        confirmed="" if candidate.confirmation is None else outcome_text(candidate.confirmation),
        hit_class=str(candidate.hit_class) if candidate.hit_class is not None else "",
        probability_before=percent(candidate.probability_target_met),
        probability_after=percent(candidate.probability_after),
        score="–" if math.isnan(score) else f"{score:.2f}",
        score_sort="" if math.isnan(score) else f"{score:.6g}",
        class_order=f"{list(STATUS_LABELS).index(candidate.status)}{_CLASS_ORDER[candidate.hit_class]}",
        type_name=candidate.structure_type.name if candidate.structure_type is not None else "",
        known_basis=around.known_as.basis if around is not None and around.known_as is not None else "",
        values=tuple(
            _value(candidate, name, unit(name, targets), deciding.get(name), referee) for name in properties
        ),
        nearest_known=shown_formula(candidate.nearest_known),
        known_phase=candidate.known_phase,
        derivative_of=shown_formula(candidate.derivative_of),
        vacancy_of=shown_formula(candidate.vacancy_of),
        duplicate_of=candidate.duplicate_of,
        structure_type=structure_type_text(candidate),
        order=order_text(candidate.order),
        hull_margin=margin_text(candidate.hull_margin),
        parent_prototype=candidate.parent_prototype,
        flags=_flags(candidate),
        reason=reason_text(reason(candidate)),
        note=_note(candidate, list(deciding.values())),
        elements=tuple(sorted(element.symbol for element in structure.composition.elements)),
        amounts=_amounts(structure),
        group=group or ("", 0),
        stability={True: "Born-stable", False: "mechanically unstable", None: "unknown"}[stable],
        potential=potentials(candidate),
        proposer=candidate.proposer,
        seed=candidate.seed,
        log_likelihood=number(candidate.log_likelihood),
        competing=competing_text(candidate, around),
        known_as=known_text(around.known_as if around is not None else None, group[1] if group else 0),
        nearest=around.nearest if around is not None else None,
        online=online_texts(online),
        ladder=tuple(_stage(s) for s in stages),
        seconds=f"{verification.seconds:.0f}" if verification is not None else "",
        cif=cif_name(candidate),
        history=tuple((key, _short(value)) for key, value in candidate.history.items()),
    )


def _note(candidate: Candidate, targets: Sequence[Target]) -> str:
    """Return why a candidate is no hit, where its values do not show it by themselves."""
    values = {target.property.name: candidate.values.get(target.property.name) for target in targets}
    shows = any(v is not None and not t.is_met(v.mean) for t, v in zip(targets, values.values(), strict=True))
    return "" if candidate.status is Status.VERIFIED and shows else reason_text(reason(candidate))


def _amounts(structure: Structure) -> str:
    """Return the reduced formula as a page compares it: elements in alphabetical order, each with its amount.

    >>> from pymatgen.core import Lattice
    >>> _amounts(Structure(Lattice.cubic(4.0), ["W", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    'C1 W1'
    """
    amounts = structure.composition.reduced_composition.get_el_amt_dict()
    return " ".join(f"{symbol}{amounts[symbol]:g}" for symbol in sorted(amounts))


def _flags(candidate: Candidate) -> tuple[str, ...]:
    own = ("your own crystal",) if candidate.origin is Origin.SEED else ()
    return (*own, *(flag.replace("_", " ") for flag in flags_of(candidate)))


def order_text(order: OrderDisorder | None) -> str:
    """Return whether a crystal orders or is expected to be a solid solution; "" where nobody asked.

    >>> order_text(OrderDisorder(410.0, 60.0, 8, 0.35, ("Mo", "W")))
    'expect a solid solution of Mo, W: order is worth it below 410 ± 60 K (8 random arrangements)'
    """
    if order is None:
        return ""
    elements = ", ".join(order.elements)
    if order.reason:
        return f"open whether {elements} order: {order.reason}"
    arranged = f"({order.n} random arrangements)"
    if order.temperature <= 0.0:
        return f"expect a solid solution of {elements}: random is lower in energy {arranged}"
    worth = f"order is worth it below {order.temperature:.0f} ± {order.std:.0f} K {arranged}"
    if order.is_solid_solution:
        return f"expect a solid solution of {elements}: {worth}"
    return f"{elements} may order: {worth}"


def margin_text(margin: HullMargin | None) -> str:
    """Return how far the binding phase would have to move, and the next ones; "" where nobody can say."""
    if margin is None:
        return ""
    each = [f"{display_formula(name)} {value:.3f}" for name, value in margin.margins.items()]
    return f"off the hull once {each[0]} eV/atom lower{''.join(f', or {one}' for one in each[1:3])}"


def structure_type_text(candidate: Candidate) -> str:
    """Return whether a candidate's structure type is known, and what it is called; "" where nobody said."""
    found = candidate.structure_type
    if found is None:
        return ""
    return f"{found.novelty} type: {found.name}" if found.name else f"{found.novelty} type"


def competing_text(candidate: Candidate, around: Surroundings | None) -> str:
    """Return the phases that a crystal competes with, in moles for one formula unit; "" without any.

    Above the hull it would fall apart into them, or turn into the one polymorph that is lower; below it they
    are what its distance is measured from.
    """
    if around is None or not around.competing:
        return ""
    value = candidate.values.get("energy_above_hull")
    is_above = value is None or value.mean > 0.0
    composition = best_structure(candidate).composition
    own = display_formula(composition)
    if [phase.formula for phase in around.competing] == [composition.reduced_formula]:
        return f"{own} in its lowest known polymorph" if is_above else f"none: below the known {own}"
    parts = " + ".join(f"{_moles(phase.moles)}{display_formula(phase.formula)}" for phase in around.competing)
    return f"{own} → {parts}" if is_above else f"{parts} → {own}"


def _moles(amount: float) -> str:
    """Return a coefficient of a reaction, none for one mole."""
    text = f"{amount:.3f}".rstrip("0").rstrip(".")
    return "" if text == "1" else f"{text} "


def online_texts(online: OnlineNovelty | None) -> tuple[tuple[str, str, str, str], ...]:
    """Return of each database that was asked its name, its answer, and id and address of the first entry."""
    found = []
    for said in () if online is None else online.answers:
        first = said.entries[0] if said.entries else None
        reason = f": {said.reason}" if said.reason else ""
        entry = ("", "") if first is None else (first.id, first.url)
        found.append((said.database, f"{said.answer}{reason}", *entry))
    return tuple(found)


def known_text(entry: KnownEntry | None, group: int = 0) -> str:
    """Return who knows a formula; "" where nobody does, or nobody was asked.

    Args:
        entry: of the formula; None without any.
        group: number of the crystal's space group; that of an entry in another one is named.

    >>> known_text(KnownEntry("WC", "Materials Project", "computed", "mp-1894", 187))
    'computed (Materials Project, mp-1894)'
    >>> known_text(KnownEntry("WC", "WBM", "measured", measured="Vickers hardness 24 GPa at 4.9 N"))
    'measured (Vickers hardness 24 GPa at 4.9 N; WBM)'
    >>> known_text(KnownEntry("RuB2", "Materials Project", "computed", "mp-1077", 59), 194)
    'computed (Materials Project, mp-1077, in space group 59)'
    """
    if entry is None:
        return ""
    other = f"in space group {entry.space_group}" if group and entry.space_group not in (0, group) else ""
    where = ", ".join(filter(None, (entry.source.partition(" (")[0], entry.database_id, other)))
    return f"{entry.basis} ({'; '.join(filter(None, (entry.measured, where)))})"


def rows(
    candidates: Sequence[Candidate],
    properties: Sequence[str],
    targets: Sequence[Target],
    reference: Reference | None = None,
    n_drawn: int = 0,
    referee: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    online: Mapping[str, OnlineNovelty] = MappingProxyType({}),
) -> list[CandidateView]:
    """Return the views of candidates in their order; verified ones are numbered from 1.

    Args:
        candidates: in the order of the table.
        properties: in the order in which they are shown.
        targets: of the config.
        reference: what the reference data say around them; None where the run folder does not hold it.
        n_drawn: how many are drawn, the best that have a verdict.
        referee: the referee's records by candidate id.
        online: what databases on the network said, by candidate id.
    """
    views: list[CandidateView] = []
    rank = 0
    around = {} if reference is None else reference.around
    systems = {} if reference is None else reference.systems
    for candidate in candidates:
        rank += is_ranked(candidate)
        place = rank if is_ranked(candidate) else None
        is_drawn = candidate.verification is not None and len(views) < n_drawn
        system = "-".join(sorted(e.symbol for e in best_structure(candidate).composition.elements))
        views.append(
            candidate_view(
                candidate,
                place,
                properties,
                targets,
                around.get(candidate.id),
                is_drawn,
                referee.get(candidate.id),
                systems.get(system, ()),
                online.get(candidate.id),
            )
        )
    return views


def _value(
    candidate: Candidate,
    name: str,
    own_unit: str,
    target: Target | None,
    referee: Mapping[str, Any] | None,
) -> ValueView:
    verification = candidate.verification
    verified = verification.values.get(name) if verification is not None else None
    predicted = candidate.predictions.get(name)
    by_dft = None if candidate.confirmation is None else candidate.confirmation.values.get(name)
    counts = verified.mean if verified is not None else predicted.mean if predicted is not None else None
    return ValueView(
        label=label(name),
        symbol=symbol(name),
        unit=own_unit,
        verified="" if verified is None else plus_minus(verified.mean, verified.std, name),
        interval="" if verified is None else _interval(verified, name),
        raw="" if verified is None else number(verified.raw, name),
        potential=_source(name, verified),
        predicted="" if predicted is None else plus_minus(predicted.mean, predicted.std, name),
        predicted_interval=""
        if predicted is None
        else f"{number(predicted.lower, name)} to {number(predicted.upper, name)}",
        in_domain=predicted is None or predicted.in_domain,
        is_met=None if target is None or counts is None else target.is_met(counts),
        sort="" if counts is None or counts != counts else f"{_sorted_by(counts, target):.6g}",
        by_dft="" if by_dft is None else plus_minus(by_dft.mean, by_dft.std, name),
        dissent=tuple(
            (number(one.mean, name), f"{one.voice} {one.who}".strip())
            for one in said_of(candidate, name, target, referee)
            if one.dissents
        ),
    )


def _sorted_by(value: float, target: Target | None) -> float:
    """Return the number that a column sorts by: of a window the distance from its middle, else the value."""
    if target is None or not (math.isfinite(target.lower) and math.isfinite(target.upper)):
        return value
    return abs(value - (target.lower + target.upper) / 2.0)


def best_first(name: str, targets: Sequence[Target]) -> str:
    """Return how a column sorts its best first: "ascending" or "descending"."""
    target = next((t for t in effective_targets(targets) if t.property.name == name), None)
    target = target or next((t for t in targets if t.property.name == name), None)
    if target is None:
        return "descending"
    return "ascending" if target.minimise or math.isfinite(target.upper) else "descending"


def _source(name: str, verified: VerifiedValue | None) -> str:
    """Return who says so: the potential, or the table that an exact value rests on."""
    if name in PROPERTIES and PROPERTIES[name].is_exact:
        return PROPERTIES[name].level_of_theory
    if verified is not None:
        return verified.potential
    return PREDICTED_ONLY if is_predicted_only(name) else ""


def _interval(value: VerifiedValue, name: str) -> str:
    return f"{number(value.lower, name)} to {number(value.upper, name)}"


def _stage(stage: Stage) -> tuple[str, str, str, str]:
    """Return label, state, reason, and seconds with the versions of what decided it."""
    state = {True: "passed", False: "failed", None: "not run"}[stage.passed]
    seconds = stage.seconds
    took = [f"{seconds:.1f} s"] if seconds == seconds and seconds >= 0.05 else []
    took += [
        version if version.startswith(name) else f"{name} {version}"
        for name, version in stage.versions.items()
    ]
    label = STAGE_LABELS.get(stage.name, stage.name.replace("_", " "))
    return label, state, "" if stage.reason == "not run" else stage.reason, ", ".join(took)


def _short(value: object) -> str:
    text = plain_text(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def only_predicted(properties: Sequence[str], candidates: Sequence[Candidate]) -> frozenset[str]:
    """Return the names that no judge computes by itself and no judge of the user's gave a value of."""
    given = {name for c in candidates if c.verification is not None for name in c.verification.values}
    return frozenset(name for name in properties if is_predicted_only(name) and name not in given)


def column_heads(
    properties: Sequence[str], targets: Sequence[Target], candidates: Sequence[Candidate]
) -> list[tuple[str, str, str, str]]:
    """Return symbol, unit, full label and the order that is best first of each property column.

    Those that are predicted only say so; what the composition decides names its table.
    """
    odd = only_predicted(properties, candidates)
    notes = {name: f", {PREDICTED_ONLY}" if name in odd else "" for name in properties}
    exact = (PROPERTIES[name] for name in properties if name in PROPERTIES and PROPERTIES[name].is_exact)
    notes |= {prop.name: f", by {prop.level_of_theory}" for prop in exact}
    return [
        (symbol(name), unit(name, targets), label(name) + notes[name], best_first(name, targets))
        for name in properties
    ]
