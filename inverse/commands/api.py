"""The commands as functions: the same names, the same results, for notebooks and scripts."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from inverse.commands.notebook import campaign_line, counted_line
from inverse.inputs.yaml_reading import parse_seconds
from surrogates.errors import ConfigError, EngineError, VerificationError
from surrogates.platform.cpu_time import cpu_seconds

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from inverse.campaign.confirming import Ahead
    from inverse.campaign.novelty import NoveltyAnswers, OnlineNovelty
    from inverse.campaign.parts import Progress
    from inverse.campaign.run import Run
    from inverse.candidates.types import Candidate
    from inverse.inputs.campaign_config import CampaignConfig
    from inverse.inputs.structure_files import Given
    from inverse.report.loaded_run import LoadedRun
    from inverse.report.run_status import RunStatus

LOGGER = logging.getLogger(__name__)

OWN_JUDGE = "your own, named in verify.also"
"""What stands for the judge of a property that no potential of the panel gives, and somebody's own does."""

RUNS = Path("runs")
"""Where runs go that name no folder."""


def run(
    config: "str | Path | Mapping[str, Any] | CampaignConfig",
    output: str | Path | None = None,
    *,
    resume: bool = False,
    budget: int | None = None,
    time_limit: str | float | None = None,
    seed: int | None = None,
    device: str | None = None,
    started_at: float | None = None,
    on_progress: "Callable[[Progress], None] | None" = None,
) -> "LoadedRun":
    """Return a finished (or stopped) campaign, read back from its folder.

    Args:
        config: a file, the name of a packaged config, a mapping of the same keys, or a config. In a mapping
            `seed_structures` may hold pymatgen Structures and ASE Atoms beside names of files.
        output: the run folder; None makes runs/<name>, with a number when that is taken.
        resume: go on with the run in `output`; starts it when there is none yet.
        budget: verifications, instead of the config's.
        time_limit: such as "8h", for this call; the config's own limit counts what a resumed run took before.
        seed: instead of the config's.
        device: instead of the config's.
        started_at: unix time from which the time limit counts; None counts from now.
        on_progress: told about every stage; without it a notebook shows a line that changes in place.

    Raises:
        ConfigError: a config that cannot be carried out.
        RunFolderError: a folder that cannot be made, written or resumed.
    """
    began, cpu_began = time.monotonic(), cpu_seconds()
    own_limit = None if time_limit is None else _seconds(time_limit)
    with ExitStack() as until_done:
        seeds = Path(until_done.enter_context(TemporaryDirectory(prefix="inverse-seeds-")))
        settings = _config_of(config, seeds).with_overrides(
            verifications=budget, seconds=own_limit, seed=seed, device=device
        )
        folder = run_folder(settings.name, output, resume)
        _refuse_early(settings, folder, resume)
        limit, deadline = settings.budget.seconds, None
        if limit is not None and (own_limit is not None or started_at is not None):
            gone = 0.0 if started_at is None else max(0.0, time.time() - started_at)
            deadline = (began if started_at is None else time.monotonic() - gone) + limit
        told = on_progress or until_done.enter_context(campaign_line())
        _announce_code(settings, told)
        _announce_left_out(settings, told)
        from inverse.potentials.loading import one_thread

        with one_thread():  # small networks beside busy workers: a second thread only waits for its turn
            return _carry_out(settings, folder, resume, deadline, cpu_began, told)


def _carry_out(
    settings: "CampaignConfig",
    folder: Path,
    resume: bool,
    deadline: float | None,
    cpu_began: float,
    on_progress: "Callable[[Progress], None] | None",
) -> "LoadedRun":
    """Run a campaign and write its report; return what it left, read once."""
    from inverse.assembly import as_begun, assemble
    from inverse.campaign.campaign import Campaign, stored_config
    from inverse.campaign.run import read_run
    from inverse.campaign.run_folder import RunFolder
    from inverse.campaign.stopping import writing_up
    from inverse.report.loaded_run import loaded
    from inverse.report.page import build_report, write_report

    earlier = cpu_seconds() - cpu_began  # of reading and loading, before the parts are made
    is_resumed = resume and RunFolder(folder).has_run()
    parts = assemble(as_begun(settings, stored_config(folder)) if is_resumed else settings)
    if (spent := parts.spent) is not None:
        parts = replace(parts, spent=lambda: spent() + earlier)
    try:
        parts.verifier.check()  # what the judges refuse is said before a folder is made
        if is_resumed:
            campaign = Campaign.resume(folder, parts, settings, on_progress)
        else:
            campaign = Campaign.create(settings, folder, parts, on_progress, resume)
    except BaseException:
        parts.verifier.close()
        raise
    with writing_up():
        try:
            with campaign:
                campaign.run(deadline)
        except VerificationError:  # the campaign has written what there is
            build_report(folder)
            raise
        run = read_run(folder)
        try:
            run = _looked_up(run)
        except EngineError as error:  # what was found is worth more than what surrounds it
            LOGGER.warning("%s; the report goes without it", error)
        found = loaded(run)
        write_report(found)
    return found


def _looked_up(run: "Run") -> "Run":
    """Return the run with what the reference data say around its crystals, which its folder holds then."""
    from inverse.campaign.reference_file import write_reference

    return replace(run, reference=write_reference(run.folder, run.candidates))


def _announce_code(
    settings: "CampaignConfig", on_progress: "Callable[[Progress], None] | None" = None
) -> None:
    """Say whose code a config is about to run; a log line where nobody watches."""
    if settings.code:
        _announce(f"this config runs code: {', '.join(settings.code)}", settings, on_progress)


def _announce_left_out(
    settings: "CampaignConfig", on_progress: "Callable[[Progress], None] | None" = None
) -> None:
    """Say which of the elements that a config names have no value of a target."""
    from inverse.inputs.exact_targets import left_out

    if message := left_out(settings.targets, settings.constraints):
        _announce(message, settings, on_progress)


def _announce(
    message: str, settings: "CampaignConfig", on_progress: "Callable[[Progress], None] | None"
) -> None:
    """Give what must be read to who watches, else to the log."""
    from inverse.campaign.parts import NOTICE, Progress

    if on_progress is None:
        LOGGER.warning("%s", message)
    else:
        on_progress(Progress(NOTICE, 0, settings.budget.verifications, 0, 0.0, None, message))


def run_folder(name: str, output: str | Path | None, resume: bool) -> Path:
    """Return the folder of a run: as asked for, else runs/<name>, numbered when taken and not resumed."""
    if output is not None:
        return Path(output)
    from inverse.campaign.run_folder import RunFolder

    folders = [RUNS / name, *(RUNS / f"{name}-{k}" for k in range(2, 10_000))]
    free = next(k for k, path in enumerate(folders) if not path.exists() or RunFolder.is_half_made(path))
    return folders[max(0, free - 1)] if resume else folders[free]


def _refuse_early(settings: "CampaignConfig", folder: Path, resume: bool) -> None:
    """Raise what is wrong with a run's folder before any model is loaded.

    Raises:
        RunFolderError: a folder that cannot be made, written or resumed.
    """
    from inverse.campaign.manifest import config_hash
    from inverse.campaign.run_folder import RunFolder

    RunFolder.check(folder, config_hash(settings), settings.to_yaml(carried=True), resume)


def load(folder: str | Path) -> "LoadedRun":
    """Return the run of a folder, finished or not; needs no lock, changes nothing, loads no model.

    Raises:
        RunFolderError: no run there, or damaged.
        ConfigError: its config.yaml cannot be read.
    """
    from inverse.report.loaded_run import load as read

    return read(folder)


def _config_of(config: "str | Path | Mapping[str, Any] | CampaignConfig", folder: Path) -> "CampaignConfig":
    """Return a config; crystals among the seeds of a mapping become files in a folder."""
    from inverse.inputs.campaign_config import CampaignConfig, load_config
    from inverse.inputs.carried_files import seeds_as_files

    if isinstance(config, CampaignConfig):
        return config
    if isinstance(config, Mapping):
        return CampaignConfig.from_mapping(seeds_as_files(config, folder))
    return load_config(config)


def _seconds(value: str | float, what: str = "time limit") -> float:
    try:
        return parse_seconds(float(value) if str(value).replace(".", "", 1).isdigit() else value)
    except ValueError as error:
        raise ConfigError(f"{what}: {error}") from None


def predict(
    structures: "Iterable[Given] | Given" = (),
    formulas: Sequence[str] = (),
    model: str | Path | None = None,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Return surrogate values: one record per structure in order, then one per formula.

    Args:
        structures: files, folders, pymatgen Structures and ASE Atoms. A text that names no file and is read
            as a formula ("WC") counts as one, before those of `formulas`.
        formulas: answered at composition level.
        model: a folder of weights that `train` wrote; None asks the shipped surrogates.
        device: where they compute: auto, cpu, cuda.

    Raises:
        DataError: a text, alone, that is neither a file nor a formula.
    """
    from inverse.assembly import predictions
    from inverse.commands.record_table import Records
    from inverse.prediction.answers import is_formula

    given = _as_list(structures)
    meant = [isinstance(one, str) and not os.path.lexists(one) and is_formula(one) for one in given]
    names = [one for one, is_one in zip(given, meant, strict=True) if is_one]
    names += [formulas] if isinstance(formulas, str) else formulas
    crystals = [one for one, is_one in zip(given, meant, strict=True) if not is_one]
    found = Records()
    with counted_line("predict") as bar:
        for record in predictions(crystals, names, model, device):
            found.append(record)
            bar.advance(str(record.get("formula_display", "")))
    return found


def sample(
    n: int = 100,
    *,
    targets: Mapping[str, float] | None = None,
    elements: Sequence[str] = (),
    seed: int = 0,
    output: str | Path | None = None,
    n_atoms: tuple[int, int] = (1, 24),
    decoder: str = "default",
    device: str = "auto",
) -> "list[Structure]":
    """Return n crystals drawn from a decoder; with `output`, also CIFs and samples.csv there.

    `device` is told to decoders that ask for it; the shipped ones draw on the CPU.

    Raises:
        UnknownNameError: no such decoder.
        ConfigError: a target or an element that does not exist, fewer than one sample, or a device that is
            not there or of no use.
        DecodingError: no crystal meets the condition.
    """
    from inverse.assembly import samples
    from inverse.decoders.sampling import write_samples

    drawn = list(samples(n, targets or {}, elements, seed, n_atoms, decoder, device))
    if output is not None:
        write_samples(drawn, Path(output))
    return [one.structure for one in drawn]


def verify(
    structures: "Iterable[Given] | Given",
    potential: str = "auto",
    *,
    reuse: bool = True,
    workers: int = 0,
    also: Sequence[str] = (),
    second_opinion: bool = False,
    referee: bool = False,
    device: str = "auto",
    properties: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return what the judges say, one record per structure; arguments as `iterate_verifications`.

    Computes in this process unless `workers` says otherwise: a calculator that never returns never ends then.
    """
    from inverse.commands.record_table import Records

    found = Records()
    with counted_line("verify") as bar:
        for record in iterate_verifications(
            _as_list(structures),
            potential,
            reuse=reuse,
            workers=workers,
            also=also,
            second_opinion=second_opinion,
            referee=referee,
            device=device,
            properties=properties,
            on_start=lambda n: bar.expect(n, "structures, the judges are loading"),
        ):
            found.append(record)
            bar.advance(str(record.get("formula_display", "")))
    return found


def iterate_verifications(
    structures: "Iterable[Given]",
    potential: str = "auto",
    *,
    reuse: bool = True,
    workers: int | None = None,
    also: Sequence[str] = (),
    second_opinion: bool = False,
    referee: bool = False,
    device: str = "auto",
    properties: Sequence[str] = (),
    on_start: Callable[[int], None] | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> Iterator[dict[str, Any]]:
    """Yield verification records in input order as they finish; closing the iterator stops the work.

    Args:
        structures: files, folders, pymatgen Structures and ASE Atoms.
        potential: auto, the name of a potential, or module:factory; gpaw asks density functional theory, as
            `confirm` does.
        reuse: False asks the judges afresh, whatever the store holds.
        workers: processes beside this one, which end what never returns; None takes one per core, at most one
            per structure.
        also: judges of your own properties, by name or as module:factory.
        second_opinion: ask another potential beside the judges; its values stand beside theirs.
        referee: the referee instead of the judges: K by diep, G by 7net-l3i5.
        device: where the potentials compute: auto, cpu, cuda.
        properties: with gpaw, of bulk_modulus_vrh, energy_above_hull (both, without any) and
            shear_modulus_vrh, which takes the whole tensor.
        on_start: told how many structures there are, once they are read and no argument is amiss.
        told: with gpaw, told of each calculation in a line.

    Raises:
        DataError: none of the paths exists; one among others has an error record in its place.
        ConfigError: a referee beside a named potential; a second opinion where nobody gives one; judges of
            your own, or properties, where nobody is asked for them.
        UnknownNameError: no such potential or judge.
        MissingExtraError: a potential whose package is not installed.
    """
    from inverse.potentials.traits import traits_of
    from inverse.prediction.answers import read_inputs
    from inverse.verification import VerificationPlan, open_verifier, panel_named, verification_records
    from inverse.verification.answers import packaged_classifier
    from inverse.verification.workers import VerifierPool, default_workers
    from surrogates.platform.devices import device_named

    device_named(device)
    if traits_of(potential).is_first_principles:
        if also or second_opinion or referee:
            raise ConfigError(f"{potential} is asked alone: no other judge, second opinion or referee")
        yield from _by_first_principles(
            structures, potential, reuse, workers, properties, device, on_start, told
        )
        return
    if properties:
        raise ConfigError("properties are chosen with --potential gpaw; potentials give all they can")
    read = list(read_inputs(structures))
    if workers is None:
        workers = min(default_workers(), sum(item.structure is not None for item in read))
    if referee and potential != "auto":
        raise ConfigError(f"the referee judges by potentials of its own, not by {potential}")
    panel = panel_named(potential, referee)
    if second_opinion and not panel.second:
        who = "the referee" if referee else f"the potential {potential}"
        raise ConfigError(f"{who} has no second opinion beside it; only auto, with the extra sevenn, has one")
    plan = VerificationPlan(
        panel, reuse, also=tuple(also), shortlist={} if second_opinion else None, device=device
    )
    verifier = open_verifier(plan, workers)
    try:
        if isinstance(verifier, VerifierPool):
            verifier.start()  # potentials load while this process reads what is known
            if plan.runs_code:
                verifier.check()
        if on_start is not None:
            on_start(len(read))
        yield from verification_records(read, verifier, packaged_classifier(plan))
    finally:
        verifier.close()


def _by_first_principles(
    structures: "Iterable[Given]",
    potential: str,
    reuse: bool,
    workers: int | None,
    properties: Sequence[str],
    device: str,
    on_start: Callable[[int], None] | None,
    told: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Yield what a DFT code says; arguments and errors as of `iterate_verifications`.

    As in `confirm`, calculations begin at what the judges of record relax, and what a crystal is, known or
    new, is what they say.
    """
    from inverse.campaign.confirming import said_of
    from inverse.potentials.dft import Unread, code_named
    from inverse.prediction.answers import read_inputs
    from inverse.verification import VerificationPlan, panel_named, verification_records
    from inverse.verification.answers import packaged_classifier
    from inverse.verification.first_principles.candidate import computed_properties
    from inverse.verification.first_principles.competitors import Competitors
    from inverse.verification.first_principles.verifier import Asking, FirstPrinciplesVerifier
    from inverse.verification.store import VerificationStore
    from inverse.verification.workers import default_workers

    wanted, code = computed_properties(properties), code_named(potential)
    read = list(read_inputs(structures))
    if workers is None:
        workers = min(default_workers(), sum(item.structure is not None for item in read))
    of_record = panel_named()
    store = VerificationStore()
    known = Competitors(of_record, device)
    verifier = FirstPrinciplesVerifier(
        Asking(code, tuple(wanted), store if reuse else Unread(store), max(1, workers)),
        known,
        known.relaxed,
        lambda name, one: told(said_of(name, one)),
    )
    try:
        if on_start is not None:
            on_start(len(read))
        classify = packaged_classifier(VerificationPlan(of_record, reuse, device=device))
        yield from verification_records(read, verifier, classify)
    finally:
        verifier.close()


def referee(folder: str | Path) -> str:
    """Return with how many of a run's hits and rejects the referee agrees; writes what it says to the folder.

    What that is worth on DFT rows, and the hit rate corrected for it, follow where the targets allow.
    Rank and status stay as they are; the rebuilt report shows the referee as the last stage of the ladder.

    Raises:
        RunFolderError: no run there, or damaged.
        MissingExtraError: the referee's potentials are not installed.
    """
    from inverse.campaign.refereeing import asked_of_referee, referee_run, summary
    from inverse.campaign.run import read_run
    from inverse.candidates.types import Status
    from inverse.report.page import write_report
    from inverse.verification.calibration.referee_quality import quality

    records = list(referee_run(Path(folder)))
    run = read_run(folder)
    write_report(run)
    n_verified = sum(candidate.verification is not None for candidate in run.candidates)
    n_hits = sum(candidate.status is Status.HIT for candidate in run.candidates)
    return summary(records, quality(asked_of_referee(run.config.targets)), n_hits, n_verified)


def confirm(
    folder: str | Path,
    top: int = 5,
    ids: Sequence[str] = (),
    properties: Sequence[str] = (),
    *,
    code: str = "gpaw",
    python: str = "",
    processes: int = 1,
    time_limit: str | float | None = None,
    memory: float = 8.0,
    calculation_limit: str | float = "1h",
    told: Callable[[str], None] = lambda line: None,
) -> "list[Candidate]":
    """Return the best of a run with what density functional theory says of them, written to its folder.

    Rank, table and report follow: `confirmed` and `dft_<property>` in candidates.csv, the last stage of the
    ladder in the report. What was calculated before is not calculated again, so a call that was killed or
    that ran out of time goes on where it was.

    Args:
        folder: of a run.
        top: so many of the best, hits first.
        ids: these instead.
        properties: of bulk_modulus_vrh, energy_above_hull (both, without any) and shear_modulus_vrh.
        code: gpaw, or module:factory.
        python: interpreter that has the code; "" finds one.
        processes: calculations side by side.
        time_limit: such as "8h", for this call.
        memory: of each calculation, GB; 0 sets no limit.
        calculation_limit: of computing of each calculation, such as "30m"; four times as much by the clock.
            What takes longer is given up and named.
        told: told of each calculation in a line.

    Raises:
        RunFolderError: no run there, damaged, or locked by another process.
        MissingExtraError: the code is not installed; says how to get it.
        UnknownNameError: a property, an id, a code or an interpreter that is not there.
    """
    from inverse.campaign.confirming import Confirming, confirm_run, said_of
    from inverse.campaign.stopping import StopFlag
    from inverse.potentials.dft import Limits
    from inverse.report.page import build_report

    limit = None if time_limit is None else _seconds(time_limit)
    limits = Limits(_seconds(calculation_limit, "calculation limit"), memory)
    confirming = Confirming(top, tuple(ids), tuple(properties), code, python, processes, limits)
    stop = StopFlag(None if limit is None else time.monotonic() + limit)
    found = []
    with stop.listening():
        for candidate in confirm_run(
            Path(folder), confirming, lambda name, one: told(said_of(name, one)), stop.is_set
        ):
            found.append(candidate)
            build_report(Path(folder))
    return found


def confirmation_plan(
    folder: str | Path,
    top: int = 5,
    ids: Sequence[str] = (),
    properties: Sequence[str] = (),
    *,
    code: str = "gpaw",
    python: str = "",
) -> "list[Ahead]":
    """Return what `confirm` would compute and how long that takes, crystal by crystal; starts nothing.

    Raises:
        RunFolderError: no run there, or damaged.
        MissingExtraError: the code is not installed; says how to get it.
        UnknownNameError: a property, an id, a code or an interpreter that is not there.
    """
    from inverse.campaign.confirming import Confirming, plan_of

    confirming = Confirming(top, tuple(ids), tuple(properties), code, python)
    return list(plan_of(Path(folder), confirming))


def report(folder: str | Path) -> Path:
    """Return the path of the run's report.html, rebuilt from its folder.

    A folder of an older run, or of one that was killed, gets its reference.json first.

    Raises:
        RunFolderError: no run there, or damaged.
    """
    from inverse.campaign.run import read_run
    from inverse.report.page import write_report

    run = read_run(Path(folder))
    return write_report(run if run.reference is not None else _looked_up(run))


def compare(
    first: str | Path, second: str | Path, output: str | Path | None = None
) -> list[tuple[str, str, str]]:
    """Return two runs side by side: rows of (what, first run, second run); `output` also gets them as a page.

    Raises:
        RunFolderError: a folder that holds no run.
        ConfigError: the page cannot be written.
    """
    from inverse.report.comparison import compare as side_by_side

    if output is not None:
        from inverse.report.comparison_page import write_comparison

        write_comparison(first, second, output)
    return list(side_by_side(first, second))


def status(folder: str | Path) -> "RunStatus":
    """Return where the run of a folder stands: done, failed and why, hits, cost, time left.

    Needs no lock: a run that another process is writing goes on undisturbed.

    Raises:
        RunFolderError: a folder that holds no run.
    """
    from inverse.report.run_status import read_status

    return read_status(folder)


def novelty(
    folder: str | Path,
    *,
    online: bool = False,
    top: int = 20,
    told: "Callable[[OnlineNovelty], None]" = lambda one: None,
) -> "NoveltyAnswers | None":
    """Return what databases on the network say of the best of a run; None before they were asked.

    Asked are the Materials Project, OQMD, Alexandria and AFLOW, for the formula; where an entry holds a
    structure, it is compared. The answer lies in the run folder with its date, and what a database did not
    answer is said.

    Args:
        folder: of a run.
        online: ask now, and replace what the folder holds; else that is returned.
        top: so many of the best that were verified.
        told: of each candidate as its answers are there.

    Raises:
        RunFolderError: no run there, damaged, or it cannot be written.
        ConfigError: nothing was verified.
        MissingExtraError: the client is not installed.
        DataError: no database answers, or the folder's answers are damaged.
    """
    from inverse.campaign.novelty import ask_about, best_of, read_novelty
    from inverse.campaign.run import read_run

    run = read_run(folder)
    if not online:
        return read_novelty(run.folder)
    return ask_about(run.folder, best_of(run.candidates, top), told=told)


def bench(
    name: str,
    n: int | None = None,
    seed: int = 0,
    runs: Sequence[str | Path] = (),
    time_limit: str | float | None = None,
) -> dict[str, Any]:
    """Return the record of a benchmark; its "passed" says whether the bar was met.

    Args:
        name: of those that `inverse bench` lists.
        n: size; None takes the benchmark's own.
        seed: of what is drawn.
        runs: folders of runs, for those that look at runs.
        time_limit: such as "5m", for those that a further call goes on with.

    Raises:
        UnknownNameError: no such benchmark.
        ConfigError: runs or a time limit for one that has no use for them.
    """
    from inverse.benchmarks import TAKES_ARGUMENTS, TAKES_RUNS, check_name, run_benchmark

    check_name(name)
    if runs and name not in TAKES_RUNS:
        raise ConfigError(f"bench {name}: looks at no runs; {' and '.join(TAKES_RUNS)} does")
    if name not in TAKES_ARGUMENTS:
        if time_limit is not None:
            raise ConfigError(
                f"bench {name}: has no time limit; those that have: {', '.join(TAKES_ARGUMENTS)}"
            )
        return dict(run_benchmark(name, n, seed))
    from inverse.assembly import arguments_of_benchmarks
    from inverse.benchmarks.arguments import SECONDS_OF_A_CALL

    seconds = SECONDS_OF_A_CALL if time_limit is None else _seconds(time_limit)
    given = arguments_of_benchmarks([Path(folder) for folder in runs], seconds)
    return dict(run_benchmark(name, n, seed, given))


def export(folder: str | Path, format: str = "cif", shortlist: str | Path | None = None) -> list[Path]:
    """Return the files written for the next step: vasp, qe or cif inputs, or a chemiscope file.

    Raises:
        RunFolderError: no run there.
        ConfigError: an unknown format, or a shortlist that names no candidate.
    """
    from inverse.report.export import export as write

    return list(write(Path(folder), format, shortlist=None if shortlist is None else Path(shortlist)))


def train(
    config: str | Path | Mapping[str, Any], output: str | Path | None = None, device: str | None = None
) -> dict[str, Any]:
    """Return the report of a training run: held-out errors beside the baseline, and where the weights are.

    `device` stands instead of the config's: auto or cpu, where all training computes.
    """
    from inverse.assembly import training

    return training(config, output, device)


def properties() -> list[dict[str, Any]]:
    """Return every property: names, unit, range, scale, how it comes about, source and default judge."""
    from inverse.verification.panel import panel_named
    from surrogates.physics.properties import PROPERTIES, Basis

    panel = panel_named()
    return [
        {
            "name": p.name,
            "symbol": p.symbol,
            "label": p.label,
            "unit": p.unit,
            "scale": str(p.scale),
            "minimum": p.minimum,
            "maximum": p.maximum,
            "basis": str(p.basis),
            "level_of_theory": p.level_of_theory,
            "predicted_only": not p.is_judged and p.basis is not Basis.JUDGE,
            "judge": OWN_JUDGE if p.basis is Basis.JUDGE else ", ".join(panel.judges_of(p)),
        }
        for p in PROPERTIES.values()
    ]


def doctor() -> dict[str, Any]:
    """Return versions, weights, device and which judges are installed."""
    from inverse.commands.doctor import diagnose

    return dict(diagnose())


def _as_list(value: Any) -> list[Any]:
    """Return one path or crystal as a list of one."""
    from inverse.inputs.structure_files import Given

    return list(value) if isinstance(value, Iterable) and not isinstance(value, Given) else [value]
