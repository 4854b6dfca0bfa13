"""The version of the installed program."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

DISTRIBUTION = "inverse-crystals"
"""Name under which the program is installed."""


def version() -> str:
    """Return the version, "not installed" where the modules are found but no package of them."""
    try:
        return installed_version(DISTRIBUTION)
    except PackageNotFoundError:
        return "not installed"
