"""Where in code that users bring an exception arose, for messages of one line."""

import inspect
import traceback
from pathlib import Path
from typing import Any


def said_of(error: BaseException, brought: Any = None) -> str:
    """Return kind and first line of an exception, and the last line of the user's code on its way.

    Args:
        error: as it was caught.
        brought: the function or class that was called, or the object whose method was; its code is what lies
            in the folder of that function or class.

    >>> said_of(KeyError("a"))
    "KeyError: 'a'"
    """
    text = (str(error).strip().splitlines() or [""])[0][:200]
    said = f"{type(error).__name__}: {text}".rstrip(": ")
    folder = _folder(brought)
    theirs = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent == folder]
    return f"{said} ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else said


def _folder(brought: Any) -> Path | None:
    """Return the folder of the file of a function, a class or an object's class; None where there is none."""
    is_source = inspect.isclass(brought) or inspect.isroutine(brought)
    try:
        return (
            None if brought is None else Path(inspect.getfile(brought if is_source else type(brought))).parent
        )
    except (TypeError, OSError):
        return None
