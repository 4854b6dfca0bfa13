"""Objects that users bring, named as module:factory."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surrogates.errors import UnknownNameError


def factory_named(name: str, what: str) -> Callable[[], Any]:
    """Return the function without arguments that `module:factory` names; loads the module.

    Modules of the working directory are found, too, after those that are installed.

    Args:
        name: "package.module:function".
        what: for the error: "potential", "judge".

    Raises:
        UnknownNameError: not module:factory, no such module, or nothing callable of that name in it.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not attribute:
        raise UnknownNameError(f"{what} {name!r}: give module:factory")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UnknownNameError(f"{what} {name!r}: no module {module_name!r} ({error})") from None
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise UnknownNameError.among("factory", attribute, [n for n in dir(module) if n[0] != "_"], name)
    return factory  # type: ignore[no-any-return]
