"""Named groups of elements, from one data file."""

from functools import cache
from importlib.resources import files

import yaml

from surrogates.errors import UnknownNameError


@cache
def element_groups() -> dict[str, frozenset[str]]:
    """Return the elements of each group, by the group's name."""
    text = files("inverse").joinpath("element_groups.yaml").read_text(encoding="utf-8")
    return {name: frozenset(symbols) for name, symbols in yaml.safe_load(text).items()}


def elements_of(group: str) -> frozenset[str]:
    """Return the elements of one group.

    Raises:
        UnknownNameError: no such group; names the nearest one.

    >>> sorted(elements_of("toxic"))
    ['As', 'Be', 'Cd', 'Hg', 'Pb', 'Tl']
    """
    groups = element_groups()
    if group not in groups:
        raise UnknownNameError.among("element group", group, groups)
    return groups[group]
