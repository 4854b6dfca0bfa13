"""What the terminal sees: one-line errors, progress on stderr, JSON lines on stdout or in a file."""

import json
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from inverse.report.progress_bar import to_stderr
from surrogates.errors import ConfigError, EngineError, nearest
from surrogates.platform.whole_files import not_following

BAD_USAGE = 2
"""Exit status of bad usage, a bad config, or a place that cannot be read or written."""

FAILED = 1
"""Exit status when nothing succeeded."""


class Stopped(BaseException):
    """A signal asked to end; what there is gets written."""


def show_error(message: object) -> None:
    """Write one red line to stderr."""
    text = "error: " + " ".join(str(message).split())
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        text = f"\033[31m{text}\033[0m"
    to_stderr(text)


def note(message: object) -> None:
    """Write one line to stderr."""
    to_stderr(" ".join(str(message).split()))


def unexpected(error: BaseException) -> str:
    """Return one line about an unexpected error and the log file that holds its traceback."""
    line = f"{type(error).__name__}: {error}"
    try:
        handle, name = tempfile.mkstemp(prefix="inverse-error-", suffix=".log", text=True)
        with os.fdopen(handle, "w", encoding="utf-8") as log:
            log.write("".join(traceback.format_exception(error)))
    except OSError:
        return f"unexpected {line}"
    return f"unexpected {line} (details in {name})"


def system_error(error: OSError) -> str:
    """Return what the operating system refused, with the file, in one line.

    >>> system_error(OSError(28, "No space left on device", "runs/a/log.txt"))
    'runs/a/log.txt: No space left on device'
    """
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason


def usage_error(error: Exception, arguments: Sequence[str] = ()) -> str:
    """Return a command-line parser's complaint as one line with the value and the nearest valid name."""
    message = str(getattr(error, "format_message", lambda: error)()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = getattr(context, "command", None)
    option = getattr(error, "option_name", None)
    if option and "No such option" in message:
        params = command.get_params(context) if command is not None else []
        options = [name for p in params for name in p.opts if name.startswith("--")]
        return f"no such option {option}; {nearest(option, options)}"
    if found := re.match(r"No such command '?([^'.]*)'?", message):
        return f"no such command {found[1]!r}; {nearest(found[1], getattr(command, 'commands', {}))}"
    if message.startswith("Invalid value for"):
        names = re.findall(r"'(-[^']*)'", message)
        value = next((after for name, after in pairwise(arguments) if name in names), None)
        detail = message.partition(": ")[2].replace("Input should be", "should be").partition(",")[0]
        return f"{' / '.join(names)}: {value!r} {detail}" if value is not None else message
    return message


class Tally:
    """Counts records.

    Attributes:
        n_good: records of what succeeded.
        n_bad: records of errors, and of verifications that did not converge.
    """

    def __init__(self) -> None:
        self.n_good = self.n_bad = 0

    def count(self, record: Mapping[str, Any]) -> None:
        """Count one record."""
        if "error" in record or not record.get("converged", True):
            self.n_bad += 1
        else:
            self.n_good += 1

    @property
    def status(self) -> int:
        """0 when at least one record is good, else 1."""
        return 0 if self.n_good else FAILED


class JsonLines(Tally):
    """Records as JSON lines, to stdout or to a file that appears under its name when complete or stopped."""

    def __init__(self, output: Path | None, stdout: TextIO) -> None:
        """Open the place before any work is done; raise ConfigError when it cannot be written."""
        super().__init__()
        self._final = output
        self._part = None if output is None else output.with_name(output.name + ".part")
        self._stream: TextIO = stdout
        if output is not None and self._part is not None:
            if output.is_dir():
                raise ConfigError(f"--output {output}: is a folder; name a file")
            try:
                output.parent.mkdir(parents=True, exist_ok=True)
                self._stream = open(self._part, "w", encoding="utf-8", opener=not_following)  # noqa: SIM115
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                raise ConfigError(f"--output {output}: cannot be written ({reason})") from None

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one record at once, so that nothing is lost."""
        from inverse.inputs.records import plain

        line = json.dumps(plain(record), allow_nan=False, ensure_ascii=False) + "\n"
        try:
            self._stream.write(line)
            self._stream.flush()
        except OSError as error:
            if self._final is None:
                raise
            raise ConfigError(f"--output {self._final}: cannot be written ({error.strerror})") from None
        self.count(record)

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._final is None or self._part is None:
            return
        try:
            self._stream.close()
        except OSError as problem:
            if kind is None:
                reason = f"cannot be written ({problem.strerror})"
                raise ConfigError(f"--output {self._final}: {reason}") from None
        failed = kind is not None and not issubclass(kind, Stopped | KeyboardInterrupt)
        if failed or (kind is not None and not self.n_good + self.n_bad):
            if not self.n_good + self.n_bad:
                self._part.unlink(missing_ok=True)
        else:
            self._part.replace(self._final)


@contextmanager
def results_only() -> Iterator[TextIO]:
    """Send what libraries print to stderr; yield the real stdout for results."""
    real = sys.stdout
    with redirect_stdout(sys.stderr):
        yield real


def line_of(error: EngineError) -> str:
    """Return an engine error as one line, whatever it quotes."""
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text)
