"""Records of the design loop: Target, Candidate, Verification. Frozen; the campaign is what changes."""

import builtins
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pymatgen.core import Structure

from surrogates.crystals.formulas import display_formula
from surrogates.errors import ConfigError
from surrogates.physics.properties import Property

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PREDICTED_ENOUGH = 0.8
"""A predicted-only target counts as met from this probability on, unless the config says otherwise."""


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


class Status(StrEnum):
    """How far a candidate has come."""

    PROPOSED = "proposed"
    SCREENED_OUT = "screened_out"
    PREDICTED = "predicted"
    TRIAGED_OUT = "triaged_out"
    """A cheap potential's energy, or what it relaxed to, ruled it out before a verification."""
    FAILED = "failed"
    VERIFIED = "verified"
    HIT = "hit"


class Rule(StrEnum):
    """What put a candidate out before its verification, or after its relaxation; its reason has the words."""

    STRUCTURE = "structure"
    """No atoms, partial occupancy, coordinates that are no numbers."""
    VOLUME = "volume"
    LATTICE = "lattice"
    DENSITY = "density"
    DISTANCE = "distance"
    """Two atoms too close."""
    ISOLATED = "isolated"
    """An atom without a neighbour."""
    EXCLUDED = "elements.exclude"
    NOBLE_GAS = "noble gas"
    """No key of the config names it."""
    ONLY = "elements.only"
    INCLUDE_ALL = "elements.include_all"
    INCLUDE_ANY = "elements.include_any"
    CHEMICAL_SYSTEMS = "chemical_systems"
    N_ELEMENTS = "n_elements"
    N_ATOMS = "n_atoms"
    NOVELTY = "novelty"
    DERIVATIVES = "derivatives"
    COMPOSITION_TARGET = "target on the composition"
    """What the composition alone decides misses a bound, or has no value."""
    UNREADABLE = "unreadable"
    """A rule could not be applied."""
    NO_PREDICTION = "no finite prediction"
    """A property has no finite prediction, so nothing can be said for a verification."""
    LIKE_VERIFIED = "like one verified"
    """Chemical system and parent prototype of something that this run verified, or chose, already."""
    ENERGY = "energy by triage"
    """Too high by a cheap potential, or not relaxed by it."""

    @property
    def is_of_config(self) -> bool:
        """Whether the config set it; the others are physics."""
        return self in _OF_CONFIG


class Origin(StrEnum):
    """Where a proposal comes from, as far as the choice of verifications asks."""

    SEARCH = "search"
    SEED = "seed"
    """A crystal of the user's, as it is: verified first, and what the others are compared with."""
    CHILD = "child of a seed"
    """Made from a seed: other elements on its sites, or a descent."""
    TEXTBOOK = "textbook"
    """A known phase whose carried values meet the targets."""


_OF_CONFIG = frozenset(
    (
        Rule.EXCLUDED,
        Rule.NOBLE_GAS,
        Rule.ONLY,
        Rule.INCLUDE_ALL,
        Rule.INCLUDE_ANY,
        Rule.CHEMICAL_SYSTEMS,
        Rule.N_ELEMENTS,
        Rule.N_ATOMS,
        Rule.NOVELTY,
        Rule.DERIVATIVES,
        Rule.COMPOSITION_TARGET,
    )
)


@dataclass(frozen=True)
class Breach:
    """A rule that a crystal breaks, and how.

    >>> str(Breach(Rule.N_ATOMS, "12 is not within 1 to 8"))
    'n_atoms: 12 is not within 1 to 8'
    """

    rule: Rule
    detail: str

    def __str__(self) -> str:
        """Return the rule's name and the detail."""
        return f"{self.rule}: {self.detail}"


class HitClass(StrEnum):
    """Is it already known? Defined in docs/glossary.md."""

    KNOWN = "known"
    DERIVATIVE = "derivative"
    NEW = "new"


class TypeNovelty(StrEnum):
    """Does any known crystal have this structure type? Defined in docs/glossary.md."""

    KNOWN = "known"
    NEW = "new"


@dataclass(frozen=True)
class StructureType:
    """The structure type of a crystal, whatever its elements.

    Attributes:
        novelty: new where no carried crystal has it, before or after relaxation by any judge.
        name: as it is usually called, "CrB type"; "" for most.
    """

    novelty: TypeNovelty
    name: str = ""


class Failure(StrEnum):
    """Why a verification did not come to its end; `Verification.reason` says it in words."""

    NO_CRYSTAL = "no_crystal"
    """Partial occupancy, no atoms, numbers that are not finite, a flat cell."""
    UNKNOWN_ELEMENT = "unknown_element"
    """A potential or the reference does not know an element."""
    NOT_CONVERGED = "not_converged"
    """A relaxation stalled or took too many steps; nothing else was wrong."""
    COLLIDING_ATOMS = "colliding_atoms"
    VOLUME_CHANGED = "volume_changed"
    """The cell exploded or collapsed during relaxation."""
    ABOVE_HULL = "above_hull"
    """So far above the hull that nobody asked for the stiffness."""
    ANOTHER_PHASE = "another_phase"
    """The judges' relaxed cells are different phases."""
    IMPOSSIBLE_TENSOR = "impossible_tensor"
    """No judge gives a stiffness that a crystal can have."""
    TIME_LIMIT = "time_limit"
    POTENTIAL = "potential_failed"
    """A potential raised, or returned what is not finite."""
    MACHINE = "machine"
    """Memory, device or disk; says nothing of the crystal."""
    WORKER = "worker_ended"
    """The process that verified it ended."""
    OTHER = "other"


class EnergyFlag(StrEnum):
    """What a verification or a prediction says of its energies beside their values; the flag's first word."""

    NO_ENERGY = "no_energy"
    """The potential's energies stand on no scale of formation energies."""
    NO_HULL = "no_hull"
    """An element without a reference phase."""
    PACKAGED_HULL = "packaged_hull"
    """Live entries were asked for and could not be had."""
    BELOW_HULL = "below_hull"
    """More than 0.1 eV/atom below the hull: no phase is that far below a hull that it is part of."""
    KNOWN_PHASE = "known_phase"
    """The energy is the tabulated one of a known phase."""
    STRAINED_PHASE = "strained_phase"
    """A known phase by formula and signature, too far from its tabulated volume for its energy to be used."""


@dataclass(frozen=True)
class Target:
    """What is wanted of one property; natural units.

    Exactly one form: bounds (`minimum` and/or `maximum`), `near` with `tolerance`, `minimise` or `maximise`.

    Attributes:
        property: of which property.
        minimum: hard lower bound.
        maximum: hard upper bound.
        near: wanted value; met within `tolerance`.
        tolerance: half-width around `near`.
        minimise: no bound; less is better.
        maximise: no bound; more is better.
        weight: relative weight in the rank.
    """

    property: Property
    minimum: float | None = None
    maximum: float | None = None
    near: float | None = None
    tolerance: float | None = None
    minimise: bool = False
    maximise: bool = False
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Raise ConfigError unless exactly one form is given."""
        forms = [self.minimum is not None or self.maximum is not None, self.near is not None]
        forms += [self.minimise, self.maximise]
        if sum(forms) != 1:
            raise ConfigError(
                f"target {self.property.name}: give exactly one of min/max, near, minimise, maximise"
            )
        if (self.near is None) != (self.tolerance is None):
            raise ConfigError(f"target {self.property.name}: near and tolerance go together")

    @builtins.property  # the field `property` hides the name
    def is_hard(self) -> bool:
        """True when the target bounds the property (it decides hits); False when it only ranks."""
        return not (self.minimise or self.maximise)

    @builtins.property  # the field `property` hides the name
    def lower(self) -> float:
        """Lower end of what is accepted; -inf when open."""
        if self.near is not None and self.tolerance is not None:
            return self.near - self.tolerance
        return float("-inf") if self.minimum is None else self.minimum

    @builtins.property  # the field `property` hides the name
    def upper(self) -> float:
        """Upper end of what is accepted; inf when open."""
        if self.near is not None and self.tolerance is not None:
            return self.near + self.tolerance
        return float("inf") if self.maximum is None else self.maximum

    def is_met(self, value: float) -> bool:
        """Return whether a value meets a hard target; always True for one that only ranks."""
        return self.lower <= value <= self.upper


@dataclass(frozen=True)
class PredictedValue:
    """A surrogate's value of one property of one crystal, natural units; bounds are the 90 % interval."""

    mean: float
    std: float
    lower: float
    upper: float
    in_domain: bool = True


@dataclass(frozen=True)
class KnownPhase:
    """A tabulated phase that a crystal is: formula, signature and volume (within 5 %) agree.

    Attributes:
        database_id: of its entry in the Materials Project, "mp-1894"; "" where the table names none.
    """

    database_id: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no entry's name: it becomes an address in reports of anybody's run.

        Raises:
            ValueError: neither "" nor mp- and a number.
        """
        if not re.fullmatch(r"(mp-\d{1,10})?", self.database_id):
            raise ValueError(f"no entry of the Materials Project: {self.database_id[:40]!r}")

    def __str__(self) -> str:
        """Return the entry, or "tabulated" where the table names none."""
        return self.database_id or "tabulated"

    @builtins.property
    def url(self) -> str:
        """Page of the entry; "" without one."""
        return f"https://materialsproject.org/materials/{self.database_id}" if self.database_id else ""


@dataclass(frozen=True)
class Standing:
    """What is known of an option without relaxing it: parent prototype and whether its class is new."""

    parent_prototype: str
    is_new: bool


@dataclass(frozen=True)
class VerifiedValue:
    """A potential's value of one property of one crystal.

    Attributes:
        mean: on the DFT (MP PBE) scale.
        std: of the calibrated value, settings' own error included.
        lower: lower end of the 90 % interval.
        upper: upper end of the 90 % interval.
        raw: the potential's own value.
        potential: which one said so.
        unit: natural unit.
    """

    mean: float
    std: float
    lower: float
    upper: float
    raw: float
    potential: str
    unit: str


@dataclass(frozen=True)
class Stage:
    """One rung of the validation ladder.

    Attributes:
        name: generated, screened, predicted, relaxed, hull, tensor, second_opinion, phonons ...
        passed: None when the stage was not run.
        reason: why not, or what was noted.
        seconds: wall time.
        versions: package or potential -> version, of what decided it.
    """

    name: str
    passed: bool | None
    reason: str = ""
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=_empty)


@dataclass(frozen=True)
class Verification:
    """What the judges say about one structure.

    Attributes:
        potential: what was asked for ("auto" or a potential's name).
        converged: every judge that was needed finished and agrees on the phase.
        reason: why not converged, "" otherwise.
        values: by property name.
        flags: named warnings ("amplitude_dependent", "unstable_mode", ...).
        second_opinion: another potential's values of what was shortlisted; they decide no hit.
        is_stable: Born stability (positive definite tensor, no unstable coupled mode); None when unknown.
        structure: relaxed by the energy judge; None when relaxation failed.
        ladder: stages with their results.
        seconds: wall time in all.
        elasticity: the shear judge's tensor and what follows from it, see `elastic_summary`; empty without.
        failure: why not converged, by name: what decisions rest on; None when converged.
        other_cells: relaxed by the other judges, by potential.
        first_principles: how a DFT code computed it, energy, K_V and K_R; empty where potentials verified.
        record: as plain JSON, kept so that it is not made again; None before it was asked for.
    """

    potential: str
    converged: bool
    reason: str = ""
    values: Mapping[str, VerifiedValue] = field(default_factory=_empty)
    flags: tuple[str, ...] = ()
    is_stable: bool | None = None
    structure: Structure | None = None
    ladder: tuple[Stage, ...] = ()
    seconds: float = 0.0
    second_opinion: Mapping[str, VerifiedValue] = field(default_factory=_empty)
    elasticity: Mapping[str, Any] = field(default_factory=_empty)
    failure: Failure | None = None
    other_cells: Mapping[str, Structure] = field(default_factory=_empty)
    first_principles: Mapping[str, Any] = field(default_factory=_empty)
    record: Mapping[str, Any] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Name a failure that nobody named `OTHER`, so that a failed verification always has one.

        Raises:
            ConfigError: converged, and with a failure.
        """
        if self.converged and self.failure is not None:
            raise ConfigError(f"a verification that converged and failed: {self.failure}")
        if not self.converged and self.failure is None:
            object.__setattr__(self, "failure", Failure.OTHER)


@dataclass(frozen=True)
class Triaged:
    """What a cheap potential says of the energy of a crystal as proposed, before any verification.

    Attributes:
        potential: which one.
        energy: formation energy once relaxed, eV/atom, on the reference's scale; NaN where there is none.
        std: of that energy, eV/atom; NaN where there is none.
        structure: relaxed in what its symmetry leaves free; None where the energy was read from one single
            point at the cell as proposed, or there is none.
        above_hull: eV/atom, by that energy and the hull of known phases; NaN where either is unknown.
        steps: evaluations.
        seconds: of computing, its share of those that were computed side by side.
        reason: why there is no energy, "" otherwise.
        failure: why the crystal has none, by name; None otherwise.
    """

    potential: str
    energy: float = float("nan")
    std: float = float("nan")
    structure: Structure | None = None
    above_hull: float = float("nan")
    steps: int = 0
    seconds: float = 0.0
    reason: str = ""
    failure: Failure | None = None

    @builtins.property
    def is_relaxed(self) -> bool:
        """Whether it was relaxed, and not looked at only."""
        return self.structure is not None


class Outcome(StrEnum):
    """What first principles say of a candidate's hard targets (`verification.first_principles.verdict`)."""

    CONFIRMED = "confirmed"
    """Every one that was computed is met by more than its error."""
    REFUTED = "refuted"
    """One is missed by more than its error."""
    UNDECIDED = "undecided"
    """One lies within its error of a bound, or nothing could be computed."""


@dataclass(frozen=True)
class Confirmation:
    """What density functional theory says of a candidate, and what that decides.

    Attributes:
        outcome: of the three.
        values: by property name; `raw` is the code's own number, `potential` names the code.
        met: hard targets met beyond the error, by property name.
        missed: missed beyond the error.
        open: within the error of a bound.
        uncomputed: hard targets that DFT could have computed, and was not asked or failed.
        reason: why something was not computed, "" otherwise.
        code: name and version.
        protocol: functional, cutoff, mesh and smearing, in words.
        details: magnetic order and moment, divisions of the mesh, competing phases, what was measured how.
        computing: core-seconds of its calculations, whenever they were made.
        structure: relaxed; None where it was not.
    """

    outcome: Outcome
    values: Mapping[str, VerifiedValue] = field(default_factory=_empty)
    met: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    uncomputed: tuple[str, ...] = ()
    reason: str = ""
    code: str = ""
    protocol: str = ""
    details: Mapping[str, Any] = field(default_factory=_empty)
    computing: float = 0.0
    structure: Structure | None = None


SOLID_SOLUTION_BELOW = 600.0
"""K; atoms of most crystals stop changing places below it, so that no order forms that is worth less."""


@dataclass(frozen=True)
class OrderDisorder:
    """Whether a crystal with alike elements on its sites orders, or is a solid solution when it is made.

    Attributes:
        temperature: K, above which the ideal entropy of mixing outweighs the order; NaN when it stays open.
        std: of its mean over random arrangements, K.
        n: random arrangements that have an energy.
        entropy: ideal entropy of mixing, k per atom.
        elements: those that share sites.
        reason: why it stays open, "" otherwise.
    """

    temperature: float
    std: float
    n: int
    entropy: float
    elements: tuple[str, ...]
    reason: str = ""

    @builtins.property
    def is_solid_solution(self) -> bool:
        """Whether disorder is expected: order is worth less than what `SOLID_SOLUTION_BELOW` pays for."""
        return self.temperature < SOLID_SOLUTION_BELOW


@dataclass(frozen=True)
class FunctionalHull:
    """Distance from the hull by a potential of one functional, as the energy of the reaction to known phases.

    Attributes:
        potential: whose energies, of the crystal and of the phases that the hull names.
        above_hull: eV/atom; NaN where it stays open.
        reason: why it stays open, "" otherwise.
    """

    potential: str
    above_hull: float = float("nan")
    reason: str = ""


@dataclass(frozen=True)
class HullMargin:
    """How far the energy of a competing phase would have to move to throw a hit off the hull.

    Attributes:
        phase: reduced formula of the phase that binds.
        margin: by how much its energy would have to fall, eV per atom of it, all others as they are.
        margins: the same of every phase that could, smallest first.
    """

    phase: str
    margin: float
    margins: Mapping[str, float]


@dataclass(frozen=True, repr=False)
class Candidate:
    """One crystal with its whole history; a result without its history is not a result.

    Attributes:
        id: unique in the run, ordered by proposal ("c000017").
        structure: as proposed (primitive cell).
        proposer: who proposed it.
        seed: of the generator that made it.
        history: how: latent, template, condition, gradient steps ... (JSON-able).
        log_likelihood: the decoder's, per atom; None when no decoder can say.
        origin: a seed of the user's, its child, a textbook answer, or a find.
        key: what identifies it among the entries of its source; "" when the source has no list.
        trust: how far predictions of such a structure are believed, in (0, 1]; None before they are weighed,
            where the source has no opinion.
        expected_prototype: parent prototype before relaxation, of those weighed for a verification.
        remarks: what the reader of its file had to say of a seed.
        status: how far it came.
        reason: why it was screened out, failed or is no hit, in words.
        rule: what put it out, by name: what decisions and counts rest on; None where no rule did.
        predictions: by property name, made before any verdict.
        probability_target_met: at selection.
        verification: the verdict, None before.
        probability_after: prediction and verdict combined.
        hit_class: known, derivative or new.
        structure_type: its type among known ones; None before a verdict, or where nobody can say.
        derivative_of: end member, "" when none.
        nearest_known: nearest known material, with its formula.
        known_phase: tabulated phase that it is, relaxed or (before a verdict) as proposed; None when none.
        unclassified: why it can be called neither known nor derivative nor new, "" when it can.
        vacancy_of: known phase whose ordered vacancies this is, "" when none.
        duplicate_of: id of the better-ranked candidate of the same (chemical system, parent prototype).
        parent_prototype: signature with alike elements as one; see docs/glossary.md.
        score: decides the rank; higher is better.
        confirmation: what first principles say; None before they were asked.
        order: of a hit with alike elements on its sites; None before it was asked for, or without any.
        hull_margin: of a hit; None where the reference cannot say.
        triaged: what a cheap potential says of its energy; None before it was asked. Its `predictions` are
            then of the relaxed cell, with that energy.
        functionals: of a hit: its distance from the hull by other functionals, by their names in the table;
            empty before it was asked for.
    """

    id: str
    structure: Structure
    proposer: str
    seed: int
    history: Mapping[str, Any] = field(default_factory=_empty)
    log_likelihood: float | None = None
    origin: Origin = Origin.SEARCH
    key: str = ""
    trust: float | None = None
    expected_prototype: str = ""
    remarks: tuple[str, ...] = ()
    status: Status = Status.PROPOSED
    reason: str = ""
    rule: Rule | None = None
    predictions: Mapping[str, PredictedValue] = field(default_factory=_empty)
    probability_target_met: float | None = None
    verification: Verification | None = None
    probability_after: float | None = None
    hit_class: HitClass | None = None
    derivative_of: str = ""
    nearest_known: str = ""
    known_phase: KnownPhase | None = None
    unclassified: str = ""
    vacancy_of: str = ""
    duplicate_of: str = ""
    parent_prototype: str = ""
    score: float | None = None
    confirmation: Confirmation | None = None
    structure_type: StructureType | None = None
    order: OrderDisorder | None = None
    hull_margin: HullMargin | None = None
    triaged: Triaged | None = None
    functionals: Mapping[str, FunctionalHull] = field(default_factory=_empty)

    @builtins.property
    def start(self) -> Structure:
        """The cell that is predicted, and that the judges begin with: relaxed where the triage did."""
        said = self.triaged
        return self.structure if said is None or said.structure is None else said.structure

    @builtins.property
    def values(self) -> Mapping[str, VerifiedValue]:
        """What is known of it by property name: first principles before judges; empty without a verdict."""
        judged = {} if self.verification is None else self.verification.values
        return judged if self.confirmation is None else {**judged, **self.confirmation.values}

    @builtins.property
    def formula(self) -> str:
        """Reduced formula in pymatgen's form, the key of every table: "B2W"."""
        return str(self.structure.composition.reduced_formula)

    @builtins.property
    def formula_display(self) -> str:
        """The same as a chemist writes it: "WB2"."""
        return display_formula(self.structure.composition)

    @builtins.property
    def relaxed(self) -> Structure | None:
        """The cell that the energy judge relaxed; None before a verdict, or where relaxation failed."""
        return None if self.verification is None else self.verification.structure

    def view(self) -> "Figure":
        """Return the crystal in 3D, a plotly figure: its conventional cell, relaxed where it was verified."""
        from inverse.candidates.crystal_figure import crystal_figure

        relaxed = self.relaxed
        return crystal_figure(self.start if relaxed is None else relaxed)

    def __repr__(self) -> str:
        """Return identity, formula and how far it came, in one line."""
        known = [str(self.hit_class)] if self.hit_class is not None else []
        return f"Candidate({', '.join([self.id, self.formula_display, str(self.status), *known])})"
