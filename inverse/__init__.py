"""Property -> crystal: propose, decode, screen, predict, verify, rank.

The functions here do what the commands do and are loaded when first asked for. Some carry another name than
their command, because modules bear these: `build_report`, `export_run`, `referee_run`, `confirm_run` and
`diagnose`.
"""

from typing import Any

_FUNCTIONS: dict[str, str] = {
    "run": "run",
    "load": "load",
    "predict": "predict",
    "sample": "sample",
    "verify": "verify",
    "compare": "compare",
    "status": "status",
    "novelty": "novelty",
    "bench": "bench",
    "build_report": "report",
    "export_run": "export",
    "referee_run": "referee",
    "confirm_run": "confirm",
    "confirmation_plan": "confirmation_plan",
    "train": "train",
    "properties": "properties",
    "diagnose": "doctor",
}

__all__ = [  # resolved by __getattr__
    "__version__",
    "bench",
    "build_report",
    "compare",
    "confirm_run",
    "confirmation_plan",
    "diagnose",
    "export_run",
    "load",
    "novelty",
    "predict",
    "properties",
    "referee_run",
    "run",
    "sample",
    "status",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Return a function of `inverse.commands.api` on first use, or the version of the installed program."""
    if name == "__version__":
        from inverse.campaign.version import version

        return version()
    if name in _FUNCTIONS:
        from inverse.commands import api

        return getattr(api, _FUNCTIONS[name])
    raise AttributeError(f"module 'inverse' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names of the public functions and of the version."""
    return sorted([*_FUNCTIONS, "__version__"])
