"""What a campaign is made of: the record that `inverse.assembly` fills and tests fill with fakes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pymatgen.core import Structure

from inverse.campaign.dynamical_stability import AskPhonons
from inverse.campaign.ordering import AskRelaxed
from inverse.campaign.triage import AsksCheaply
from inverse.candidates.ranking import Classify, Screening, TypeOf
from inverse.candidates.types import Candidate, FunctionalHull, HullMargin, Standing, Verification
from inverse.prediction.correction import CorrectedSurrogate
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.protocol import Proposer

NOTICE = "notice"
"""Stage of what must be read, and is no progress."""


class CampaignVerifier(Protocol):
    """What a campaign asks of a verifier (`inverse.verification` has them)."""

    potential: str

    def verify_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Verification]]:
        """Yield (position, Verification) as they finish; begin nothing new once `should_stop()` is true."""
        ...

    def check(self) -> None:
        """Raise what loading the judges refuses, before a run begins."""
        ...

    def close(self) -> None:
        """Stop every worker."""
        ...


@dataclass(frozen=True)
class Judging:
    """Who judges crystals, and what makes a hit of a verdict: what an audit needs of `Parts`.

    Attributes:
        verifier: the judges.
        rescreening: relaxed structure -> the rule that puts it out.
        classify: relaxed structure -> kinship among known materials.
        confirm: the same for a hit that looks new.
    """

    verifier: CampaignVerifier
    rescreening: Screening
    classify: Classify
    confirm: Classify


AskFunctionals = Callable[[Structure, Callable[[], bool]], Mapping[str, FunctionalHull] | None]
"""(hit as the energy judge relaxed it, should it stop?) -> by functional; None where it was stopped."""

AskFirstPrinciples = Callable[
    [Sequence[Candidate], Callable[[str], None], Callable[[], bool]], Iterator[Candidate]
]
"""(the best, told of each calculation in a line, should it stop?) -> candidates with their `confirmation`."""


@dataclass(frozen=True)
class Parts:
    """What `inverse.assembly` makes of a config, and tests replace by fakes.

    Attributes:
        surrogate: corrected by this campaign's verdicts.
        evaluator: asks that surrogate.
        proposer: where proposals come from.
        verifier: the judges.
        screening: structure -> the rule that puts it out, None without.
        rescreening: the same for a relaxed structure.
        classify: relaxed structure -> kinship among known materials.
        confirm: the same for a hit that looks new: end members known by formula only are relaxed.
        preview: structure before relaxation -> standing, for diversity and the share of new ones.
        trust: structure -> how far predictions of its kind are believed, in (0, 1].
        baselines: look-up and orderings, as the manifest wants them.
        description: versions, weights, judges, settings for the manifest.
        phonons: of the best at the end of a run; None asks for none.
        functionals: asked about hits at the end of a run; None asks nobody.
        first_principles: asked about the best after that; None asks nobody.
        type_of: structure type of a judged crystal; None leaves it open.
        margin: of a hit: how far competing phases would have to move; None leaves it open.
        relax_each: relaxations by the energy judge, for the random orderings of hits; None asks for none.
        spent: CPU seconds of this session so far, of all processes; None counts from the campaign's making.
        triage: potential that says whose energy may be worth a verification; None asks none.
    """

    surrogate: CorrectedSurrogate
    evaluator: Evaluator
    proposer: Proposer
    verifier: CampaignVerifier
    screening: Screening
    rescreening: Screening
    classify: Classify
    confirm: Classify
    preview: Callable[[Structure], Standing]
    trust: Callable[[Structure], float]
    baselines: Callable[[], Mapping[str, Any]]
    description: Mapping[str, Any]
    phonons: AskPhonons | None = None
    first_principles: AskFirstPrinciples | None = None
    type_of: TypeOf | None = None
    margin: Callable[[Candidate], HullMargin | None] | None = None
    relax_each: AskRelaxed | None = None
    spent: Callable[[], float] | None = None
    triage: AsksCheaply | None = None
    functionals: AskFunctionals | None = None


@dataclass(frozen=True)
class Progress:
    """Where a campaign stands, for whoever shows it.

    Attributes:
        stage: propose, verify, finish, or `NOTICE`.
        n_started: verifications started.
        budget: verifications in all; None when only time limits the run.
        n_hits: hits so far.
        seconds: since this session began.
        seconds_left: until the time limit; None without one.
        message: one line.
        seconds_each: between two verdicts of this session; None until enough are in.
        seconds_after: expected of what follows the last verdict, the phonons of the best.
    """

    stage: str
    n_started: int
    budget: int | None
    n_hits: int
    seconds: float
    seconds_left: float | None
    message: str
    seconds_each: float | None = None
    seconds_after: float = 0.0
