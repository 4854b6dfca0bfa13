"""What a card shows as evidence: strips of values, tensor, hull diagram, chemistry, reasons in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from inverse.campaign.candidate_table import best_structure
from inverse.campaign.dynamical_stability import phonon_stage
from inverse.campaign.reference_file import SystemPhase
from inverse.candidates import elastic_constants
from inverse.candidates.types import Candidate, Target
from inverse.report.chemistry import oxidation_text, resource_values
from inverse.report.evidence import said_of, strip_svg
from inverse.report.hull_diagram import hull_svg
from inverse.report.story import origin_text
from inverse.report.wording import label, target_text
from surrogates.crystals.formulas import plain_formula

TENSOR_NUMBERS: Mapping[str, str] = {
    "elastic_universal_anisotropy": "universal anisotropy (0: isotropic)",
    "elastic_cauchy_pressure": "mean Cauchy pressure, GPa (below 0: directed bonds)",
}
"""What is said beside the tensor."""


@dataclass(frozen=True)
class EvidenceView:
    """The evidence on one candidate.

    Attributes:
        strips: of each hard target the clause and its axis with all that was said.
        tensor: the 6 x 6 stiffness in the IEEE frame, GPa, rounded; () without.
        tensor_by: whose it is.
        tensor_notes: numbers that follow from it, with their labels.
        hull: diagram of its chemical system; "" where the folder does not hold it, or of an element.
        is_hull_seen_aside: whether its lines lead to what the crystal competes with: over three elements.
        oxidation: usual states that balance the charge.
        resources: label, value and source of cost, supply and toxicity.
        phonons: in words.
        origin: where it comes from, in words.
    """

    strips: tuple[tuple[str, Markup], ...]
    tensor: tuple[tuple[str, ...], ...]
    tensor_by: str
    tensor_notes: tuple[tuple[str, str], ...]
    hull: Markup
    is_hull_seen_aside: bool
    oxidation: str
    resources: tuple[tuple[str, str, str], ...]
    phonons: str
    origin: str


def evidence_view(
    candidate: Candidate,
    targets: Sequence[Target],
    referee: Mapping[str, Any] | None = None,
    phases: Sequence[SystemPhase] = (),
    competing: Sequence[str] = (),
) -> EvidenceView:
    """Return the evidence on a candidate.

    Args:
        candidate: which.
        targets: hard ones.
        referee: the referee's record of it; None before it was asked.
        phases: known ones of its chemical system; () where the run folder does not hold them.
        competing: formulas of those that it competes with.
    """
    structure, verification = best_structure(candidate), candidate.verification
    energy = candidate.values.get("formation_energy_per_atom")
    formula = plain_formula(structure.composition)
    hull = ""
    if phases and energy is not None:
        hull = hull_svg(
            phases, structure.composition, energy.mean, f"known phases around {formula}", competing
        )
    numbers = elastic_constants.elastic_numbers(verification)
    tensor = elastic_constants.tensor_of(verification) or ()
    return EvidenceView(
        strips=tuple(
            (target_text(t), Markup(strip_svg(said_of(candidate, name, t, referee), t, label(name))))
            for t, name in ((t, t.property.name) for t in targets)
        ),
        tensor=tuple(tuple(_rounded(x) for x in row) for row in tensor),
        tensor_by=str(verification.elasticity.get("potential") or "") if verification is not None else "",
        tensor_notes=tuple(
            (words, f"{numbers[name]:.2g}".replace("-", "\u2212"))
            for name, words in TENSOR_NUMBERS.items()
            if name in numbers
        ),
        hull=Markup(hull),
        is_hull_seen_aside=len(structure.composition.elements) > 3,
        oxidation=oxidation_text(structure.composition.reduced_formula),
        resources=tuple(resource_values(structure)),
        phonons=phonons_text(candidate),
        origin=origin_text(candidate),
    )


def phonons_text(candidate: Candidate) -> str:
    """Return what phonons say of dynamical stability."""
    stage = phonon_stage(candidate)
    if stage.passed is None:
        return "not computed (the ten best are asked about at the end, unless the config says otherwise)"
    said = "dynamically stable" if stage.passed else "imaginary modes: not dynamically stable"
    return f"{said}{f' ({stage.reason})' if stage.reason else ''}"


def _rounded(value: float) -> str:
    whole = f"{value:.0f}".replace("-", "\u2212")
    return "0" if whole == "\u22120" else whole
