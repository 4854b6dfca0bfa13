"""Named groups of elements, from one data file."""

from functools import cache
from importlib.resources import files

import yaml


@cache
def element_groups() -> dict[str, frozenset[str]]:
    """Return the elements of each group, by the group's name."""
    text = files("inverse.inputs").joinpath("element_groups.yaml").read_text(encoding="utf-8")
    return {name: frozenset(symbols) for name, symbols in yaml.safe_load(text).items()}
