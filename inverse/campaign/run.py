"""One run as the report reads it: config, candidates in rank order, manifest; from the folder alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inverse.campaign.candidate_table import is_ranked, ranked
from inverse.campaign.novelty import NoveltyAnswers, read_novelty
from inverse.campaign.referee_file import read_referee, with_referee
from inverse.campaign.reference_file import Reference, read_reference
from inverse.campaign.run_folder import RunFolder
from inverse.candidates.types import Candidate, Status, Verification
from inverse.inputs.campaign_config import CampaignConfig, load_config

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class Run:
    """Everything a run left behind.

    Attributes:
        folder: of the run.
        config: as it was run.
        candidates: in the order of the table, verified first.
        manifest: see schemas/manifest.schema.json; may lack anything.
        verified: ids of the candidates with a verdict, in the order in which the verdicts fell.
        referee: the referee's records by candidate id; {} before it was asked.
        novelty: what databases on the network said of the best; None before they were asked.
        reference: what the reference data say around its crystals; None where the folder does not hold it.
    """

    folder: Path
    config: CampaignConfig
    candidates: tuple[Candidate, ...]
    manifest: Mapping[str, Any]
    verified: tuple[str, ...] = ()
    referee: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reference: Reference | None = None
    novelty: NoveltyAnswers | None = None

    @property
    def hits(self) -> tuple[Candidate, ...]:
        """The hits, best first."""
        return tuple(c for c in self.candidates if c.status is Status.HIT)

    @property
    def best(self) -> Candidate | None:
        """The candidate of rank 1, whether it is a hit or not; None where nothing was verified."""
        return next((c for c in self.candidates if is_ranked(c)), None)

    def to_dataframe(self) -> "DataFrame":
        """Return every candidate as a row of a pandas DataFrame: candidates.csv with numbers as numbers."""
        from inverse.campaign.data_frame import data_frame

        return data_frame(self.candidates, self.config)

    def __repr__(self) -> str:
        """Return name, folder and what there is, in one line."""
        started = sum(c.verification is not None for c in self.candidates)
        counts = f"{len(self.candidates)} candidates, {started} verified, {len(self.hits)} hits"
        return f"{type(self).__name__}({self.config.name!r}, {counts}, folder={str(self.folder)!r})"


def read_run(folder: str | Path) -> Run:
    """Return the run of a folder; needs no lock, changes nothing, loads no model.

    Raises:
        RunFolderError: no run there, or damaged.
        ConfigError: its config.yaml cannot be read.
    """
    folder = Path(folder)
    with RunFolder.read(folder) as stored:
        candidates = stored.candidates()
        left = stored.verifications(but={c.id for c in candidates if c.verification is not None})
        candidates = [with_verdict(c, left.get(c.id)) for c in candidates]
        order, manifest = tuple(stored.order_of_verdicts()), stored.manifest()
    refereed = read_referee(folder)
    shown = tuple(with_referee(c, refereed.get(c.id)) for c in ranked(candidates))
    config = load_config(folder / "config.yaml", is_stored=True)
    return Run(folder, config, shown, manifest, order, refereed, read_reference(folder), read_novelty(folder))


def with_verdict(candidate: Candidate, verdict: Verification | None) -> Candidate:
    """Return the candidate with a verdict that a killed step left behind, neither ranked nor called a hit.

    A step's verdicts are written one by one, its candidates when it ends; a resumed run takes them up.
    """
    if verdict is None or candidate.verification is not None:
        return candidate
    waiting = "verdict of an unfinished step; resume the run to rank it"
    if not verdict.converged or verdict.is_stable is False:
        reason = verdict.reason or "mechanically unstable"
        return replace(candidate, verification=verdict, status=Status.FAILED, reason=reason)
    return replace(candidate, verification=verdict, status=Status.VERIFIED, reason=waiting)
