"""The command line: JSON lines and tables to stdout, everything else to stderr; status 0, 1 or 2."""

import signal
import sqlite3
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from inverse.campaign.stopping import SIGNALS
from inverse.commands import completion
from inverse.commands.console import (
    BAD_USAGE,
    FAILED,
    JsonLines,
    Stopped,
    line_of,
    note,
    results_only,
    show_error,
    system_error,
    unexpected,
    usage_error,
)
from inverse.report.progress_bar import Bar, progress
from surrogates.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from inverse.commands.record_table import RecordTable

FOLLOWED_EVERY = 5.0
"""Seconds between two looks of `inverse status --follow`."""

ENDLESS = 1e12
"""Largest value of a property from which on it stands for no bound."""

app = typer.Typer(
    name="inverse",
    help="Inverse design of crystals: wanted properties in, verified candidate crystals out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(asked: bool) -> None:
    if asked:
        from inverse.campaign.version import version

        sys.stdout.write(f"inverse {version()}\n")
        raise typer.Exit()


@app.callback()
def inverse(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_say_version),
    ] = False,
) -> None:
    """Inverse design of crystals: wanted properties in, verified candidate crystals out."""


Files = Annotated[
    list[Path] | None, typer.Argument(help="CIF, POSCAR, extxyz, pymatgen JSON, .jsonl.gz, folders.")
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", autocompletion=completion.devices)
]
OutputFile = Annotated[
    Path | None, typer.Option("--output", "-o", help="JSON lines file; stdout without it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on a terminal, too, instead of a table.")]
RunFolderArgument = Annotated[Path, typer.Argument(help="A run folder.", metavar="DIR")]


@app.command()
def run(
    config: Annotated[
        str,
        typer.Argument(
            help="A YAML file, or the name of a packaged config.", autocompletion=completion.configs
        ),
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The run folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    budget: Annotated[int | None, typer.Option("--budget", help="Verifications to spend.")] = None,
    time_limit: Annotated[str | None, typer.Option("--time-limit", help="Such as 15m or 8h.")] = None,
    seed: Annotated[int | None, typer.Option("--seed")] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = None,
    started_at: Annotated[
        float | None, typer.Option("--started-at", help="Unix time from which the time limit counts.")
    ] = None,
) -> int:
    """Search for crystals that meet a config's targets."""
    from inverse.commands import api
    from inverse.commands.terminal import campaign_bar, show_run

    with results_only() as stdout, campaign_bar() as on_progress:
        finished = api.run(
            config,
            output,
            resume=resume,
            budget=budget,
            time_limit=time_limit,
            seed=seed,
            device=device,
            started_at=started_at,
            on_progress=on_progress,
        )
    return show_run(finished, stdout)


@app.command()
def predict(
    files: Files = None,
    formula: Annotated[list[str] | None, typer.Option("--formula", "-f", help="A bare formula.")] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Weights of `inverse train`, instead of the shipped ones.")
    ] = None,
    output: OutputFile = None,
    device: Device = "auto",
    json: AsJson = False,
) -> int:
    """Surrogate values of structures and formulas."""
    if not files and not formula:
        raise ConfigError("predict: name at least one file, or a formula with --formula WC")
    from inverse.assembly import predictions

    with results_only() as stdout:
        found = predictions(files or [], formula or [], model, device)
        with _records(output, stdout, json) as lines, progress("predict", None) as bar:
            _write_all(lines, found, bar)
    return _status_of(lines, "predict")


@app.command()
def sample(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for CIFs and samples.csv.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many crystals.")] = 100,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Such as bulk_modulus_vrh=350; may be repeated.")
    ] = None,
    elements: Annotated[str, typer.Option("--elements", help="Allowed elements, such as W,B,C.")] = "",
    seed: Annotated[int, typer.Option("--seed")] = 0,
    decoder: Annotated[
        str, typer.Option("--decoder", help="Which decoder draws.", autocompletion=completion.decoders)
    ] = "default",
    device: Annotated[
        str, typer.Option("--device", help="For decoders that ask for it; the shipped ones draw on the CPU.")
    ] = "auto",
) -> int:
    """Crystals drawn from a decoder."""
    from inverse.assembly import samples
    from inverse.decoders.sampling import write_samples

    targets = dict(_target_of(text) for text in target or [])
    symbols = [symbol.strip() for symbol in elements.split(",") if symbol.strip()]
    if seed < 0:
        raise ConfigError(f"--seed {seed}: must not be negative")
    with results_only(), progress("sample", n) as bar:
        drawn = samples(n, targets, symbols, seed, decoder=decoder, device=device)
        written = write_samples(_counted(drawn, bar), output)
    note(f"{written} samples in {output}")
    return 0 if written else FAILED


@app.command()
def verify(
    files: Files = None,
    potential: Annotated[
        str,
        typer.Option(
            "--potential", help="auto, a name, or module:factory.", autocompletion=completion.potentials
        ),
    ] = "auto",
    output: OutputFile = None,
    reuse: Annotated[bool, typer.Option("--reuse/--no-reuse", help="Use stored verifications.")] = True,
    also: Annotated[
        list[str] | None, typer.Option("--also", help="Judge of your own property, a name or module:factory.")
    ] = None,
    second_opinion: Annotated[
        bool, typer.Option("--second-opinion", help="Ask another potential beside the judges.")
    ] = False,
    referee: Annotated[
        bool, typer.Option("--referee", help="The referee instead of the judges: K by diep, G by 7net-l3i5.")
    ] = False,
    device: Device = "auto",
    properties: Annotated[
        str,
        typer.Option("--properties", help="With gpaw: separated by commas; without it bulk modulus, hull."),
    ] = "",
    json: AsJson = False,
) -> int:
    """Relax, elastic tensor, energy above hull."""
    if not files:
        raise ConfigError("verify: name at least one file")
    from inverse.commands.api import iterate_verifications
    from inverse.report.progress_bar import to_stderr

    with (
        results_only() as stdout,
        _records(output, stdout, json) as lines,
        progress("verify", None) as bar,
    ):
        bar.tell("reading the structures")
        found = iterate_verifications(
            files,
            potential,
            reuse=reuse,
            also=also or (),
            second_opinion=second_opinion,
            referee=referee,
            device=device,
            properties=[part.strip() for part in properties.split(",") if part.strip()],
            on_start=lambda n: bar.expect(n, "structures, the judges are loading"),
            told=to_stderr,
        )
        _write_all(lines, found, bar)
    return _status_of(lines, "verify")


@app.command()
def referee(folder: RunFolderArgument) -> int:
    """Let the referee judge a run's hits and rejects again; the report then shows what it says."""
    from inverse.commands import api

    with results_only() as stdout:
        line = api.referee(folder)
    stdout.write(f"{line}\n")
    return 0


@app.command()
def confirm(
    folder: RunFolderArgument,
    top: Annotated[int, typer.Option("--top", min=1, help="So many of the best, hits first.")] = 5,
    ids: Annotated[str, typer.Option("--ids", help="These candidates instead, separated by commas.")] = "",
    properties: Annotated[
        str, typer.Option("--properties", help="Separated by commas; without it bulk modulus and hull.")
    ] = "",
    code: Annotated[str, typer.Option("--code", help="gpaw, or module:factory.")] = "gpaw",
    python: Annotated[str, typer.Option("--python", help="Interpreter that has the code.")] = "",
    plan: Annotated[bool, typer.Option("--plan", help="Say what it takes; compute nothing.")] = False,
    time_limit: Annotated[str | None, typer.Option("--time-limit", help="Such as 90m or 8h.")] = None,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Calculations side by side.")] = 1,
    memory: Annotated[float, typer.Option("--memory", min=0.0, help="GB of each calculation.")] = 8.0,
    calculation_limit: Annotated[
        str, typer.Option("--calculation-limit", help="Computing of each calculation, such as 30m.")
    ] = "1h",
) -> int:
    """Take the best of a run to density functional theory; killed, it goes on where it was."""
    from inverse.commands import api
    from inverse.commands.terminal import show_confirmations, show_plan
    from inverse.report.progress_bar import to_stderr

    named = [part.strip() for part in ids.split(",") if part.strip()]
    wanted = [part.strip() for part in properties.split(",") if part.strip()]
    with results_only() as stdout:
        if plan:
            show_plan(api.confirmation_plan(folder, top, named, wanted, code=code, python=python), stdout)
            return 0
        found = api.confirm(
            folder,
            top,
            named,
            wanted,
            code=code,
            python=python,
            processes=processes,
            time_limit=time_limit,
            memory=memory,
            calculation_limit=calculation_limit,
            told=to_stderr,
        )
        show_confirmations(found, stdout)
    return 0 if found else FAILED


@app.command()
def report(folder: RunFolderArgument) -> int:
    """Rebuild a run's report from its folder."""
    from inverse.commands import api

    with results_only() as stdout:
        page = api.report(folder)
    stdout.write(f"{page}\n")
    return 0


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="DIR1")],
    second: Annotated[Path, typer.Argument(metavar="DIR2")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also as a page, HTML.")] = None,
) -> int:
    """Two runs side by side: what both found, what one found, at what cost."""
    from inverse.commands import api
    from inverse.commands.terminal import show_table

    with results_only() as stdout:
        rows = api.compare(first, second, output)
    show_table(("", "first", "second"), rows, stdout)
    if output is not None:
        note(f"page: {output.resolve()}")
    return 0


@app.command()
def status(
    folder: RunFolderArgument,
    follow: Annotated[bool, typer.Option("--follow", help="A line at each change, until it ends.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON lines.")] = False,
) -> int:
    """Where a run stands: done, failed, hits, core-hours, time left."""
    from inverse.commands import api

    shown = ""
    with results_only() as stdout:
        while True:
            found = api.status(folder)
            if found.progress != shown:
                shown = found.progress
                if json:
                    JsonLines(None, stdout).write(found.record())
                else:
                    stdout.write(f"{found.line()}\n")
                stdout.flush()
            if not follow or not found.is_running:
                return 0
            time.sleep(FOLLOWED_EVERY)


@app.command()
def novelty(
    folder: RunFolderArgument,
    online: Annotated[
        bool, typer.Option("--online", help="Ask Materials Project, OQMD, Alexandria and AFLOW now.")
    ] = False,
    top: Annotated[int, typer.Option("--top", min=1, help="So many of the best.")] = 20,
) -> int:
    """What databases on the network know of the best of a run; the folder keeps the dated answer."""
    from inverse.commands import api
    from inverse.commands.terminal import show_novelty

    with results_only() as stdout, progress("novelty", top if online else None) as bar:
        found = api.novelty(folder, online=online, top=top, told=lambda one: bar.advance(one.formula))
    if found is None:
        raise ConfigError(f"{folder}: no database was asked yet; `inverse novelty {folder} --online` asks")
    show_novelty(found, stdout)
    return 0


@app.command()
def export(
    folder: RunFolderArgument,
    format: Annotated[
        str, typer.Option("--format", help="vasp, qe, cif or chemiscope.", autocompletion=completion.formats)
    ] = "cif",
    shortlist: Annotated[Path | None, typer.Option("--shortlist", help="File with candidate ids.")] = None,
) -> int:
    """Inputs for the next step, with a job script."""
    from inverse.commands import api

    with results_only() as stdout:
        written = api.export(folder, format, shortlist)
    stdout.writelines(f"{path}\n" for path in written)
    return 0 if written else FAILED


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="A YAML file that names what to train, or a CSV of values.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the weights.")] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto or cpu, where all training computes.")
    ] = None,
) -> int:
    """Train a surrogate, the shipped ones or one of your own table."""
    from inverse.commands import api

    with results_only() as stdout:
        result = api.train(config, output, device)
    JsonLines(None, stdout).write(result)
    return 0


@app.command()
def properties(
    json: Annotated[bool, typer.Option("--json", help="JSON lines instead of a table.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON schema of a config file.")] = False,
) -> int:
    """Names, units, ranges, sources and judges of every property."""
    from inverse.commands import api
    from inverse.commands.terminal import show_table, write_json

    if schema:
        from inverse.inputs.campaign_config import config_schema

        write_json(config_schema(), sys.stdout)
        return 0
    records = api.properties()
    if json:
        lines = JsonLines(None, sys.stdout)
        for record in records:
            lines.write(record)
        return 0
    rows = [
        (
            p["name"],
            p["label"],
            p["unit"],
            p["scale"],
            f"{p['minimum']:g} to {p['maximum']:g}"
            if p["maximum"] < ENDLESS
            else f"from {p['minimum']:g} up",
            p["basis"],
            p["level_of_theory"],
            p["judge"] or ("predicted only" if p["predicted_only"] else "exact"),
        )
        for p in records
    ]
    show_table(("name", "label", "unit", "scale", "range", "by", "source", "judge"), rows, sys.stdout)
    return 0


@app.command()
def doctor(json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False) -> int:
    """Versions, weights, device, and which judges are installed."""
    from inverse.commands import api
    from inverse.commands.terminal import show_mapping, write_json

    with results_only() as stdout:
        found = api.doctor()
    (write_json if json else show_mapping)(found, stdout)
    return 0


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="Which benchmark.", autocompletion=completion.benchmarks)] = "",
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Run folders, for those that look at runs.", metavar="[DIR]..."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", "--number", help="Size, where the benchmark has one.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    time_limit: Annotated[
        str | None, typer.Option("--time-limit", help="Such as 5m; a further call goes on.")
    ] = None,
) -> int:
    """Run a benchmark; without a name, list them."""
    from inverse.benchmarks import BENCHMARKS
    from inverse.commands import api
    from inverse.commands.terminal import show_table

    if not name:
        for known, (_, purpose) in BENCHMARKS.items():
            sys.stdout.write(f"{known:14} {purpose}\n")
        return 0
    with results_only() as stdout:
        result = api.bench(name, n, seed, runs or (), time_limit)
    for rows in filter(None, (result.get("table"), result.get("energy_table"))):
        show_table(
            list(rows[0]), [["-" if v is None else v for v in row.values()] for row in rows], sys.stderr
        )
    JsonLines(None, stdout).write(result)
    return 0 if result.get("passed", True) else FAILED


def _target_of(text: str) -> tuple[str, float]:
    from surrogates.physics.properties import PROPERTIES, nearest_property

    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--target {text!r}: write name=value, such as bulk_modulus_vrh=350")
    if name not in PROPERTIES:
        raise ConfigError(f"--target: unknown property {name!r}; {nearest_property(name)}")
    try:
        return name, float(value)
    except ValueError:
        raise ConfigError(f"--target {name}: {value!r} is not a number") from None


def _counted(items: Iterator[Any], bar: Any) -> Iterator[Any]:
    for item in items:
        yield item
        bar.advance()


def _records(output: Path | None, stdout: TextIO, as_json: bool) -> "JsonLines | RecordTable":
    """Return what takes records: a table for somebody who sits at a terminal, else JSON lines."""
    if output is not None or as_json or not stdout.isatty():
        return JsonLines(output, stdout)
    from inverse.commands.record_table import RecordTable

    return RecordTable(stdout)


def _status_of(lines: "JsonLines | RecordTable", label: str) -> int:
    """Return the exit status; a failure among others is said, as the status does not say it."""
    if lines.n_good and lines.n_bad:
        note(f"{label}: {lines.n_bad} of {lines.n_good + lines.n_bad} without a result")
    return lines.status


def _write_all(lines: "JsonLines | RecordTable", records: Iterator[dict[str, Any]], bar: Bar) -> None:
    """Write records as they come, closing their source (and its workers) whatever happens."""
    try:
        for record in records:
            lines.write(record)
            bar.advance(str(record.get("formula_display", "")))
    except Stopped as signal_name:
        note(f"stopped by {signal_name}; {lines.n_good + lines.n_bad} records are written")
    finally:
        getattr(records, "close", lambda: None)()


@contextmanager
def _signals_stop() -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and SIGUSR1 into Stopped; main thread only. A campaign listens by itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(signal.Signals(number).name)

    wanted = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    previous = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _tell_names(command: Any) -> None:
    """Add to the help of options which names there are, those of installed packages included."""
    from inverse.candidates.registry import DECODERS, JUDGES, POTENTIALS

    named = {("verify", "potential"): POTENTIALS, ("verify", "also"): JUDGES, ("sample", "decoder"): DECODERS}
    for (name, option), registry in named.items():
        for parameter in command.commands[name].params:
            if parameter.name == option and registry.names():
                parameter.help = f"{parameter.help} Names: {', '.join(registry.names())}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status of a command line; the console script ends the process with it."""
    command = typer.main.get_command(app)
    asked = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if {"-h", "--help"} & set(asked):
        _tell_names(command)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        with _signals_stop():
            status = command.main(args=asked, prog_name="inverse", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except EngineError as error:
        show_error(line_of(error))
        return BAD_USAGE
    except BrokenPipeError:
        sys.stdout = None  # type: ignore[assignment]  # the reader is gone; nothing is left to say
        return 0
    except (Stopped, KeyboardInterrupt) as error:
        show_error(f"stopped by {str(error) or 'Ctrl-C'}")
        return FAILED
    except (OSError, sqlite3.Error) as error:
        show_error(system_error(error) if isinstance(error, OSError) else f"database: {error}")
        return BAD_USAGE
    except typer.Abort:
        show_error("stopped by Ctrl-C")
        return FAILED
    except Exception as error:
        if hasattr(error, "format_message"):
            show_error(usage_error(error, asked))
            return BAD_USAGE
        show_error(unexpected(error))
        return FAILED
