"""Formation energies of the Materials Project as they stand today, for users with an API key.

The packaged phases answer without a network. With MP_API_KEY set, a verification's hull is made of live
entries (GGA/GGA+U, the scale of the reference) and of what only OQMD knows.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from inverse.reference.phases import SOURCES, Phase, PhaseTable
from surrogates.errors import DataError

KEY = "MP_API_KEY"
"""Environment variable that holds the key."""

ADDRESS = "https://api.materialsproject.org/materials/thermo/"
THERMO_TYPE = "GGA_GGA+U"
LIVE = "Materials Project, live"
SECONDS = 20.0
"""Allowed for connecting and for each answer."""

PAGE = 1000

Get = Callable[[Mapping[str, Any], str], Mapping[str, Any]]
"""(query parameters, key) -> the decoded answer; raises DataError."""


def has_key() -> bool:
    """Return whether live entries are asked for."""
    return bool(os.environ.get(KEY, "").strip())


def refusal() -> str:
    """Return why live entries, asked for by `KEY`, cannot be had; "" where they can or nobody asks."""
    if not has_key():
        return ""
    try:
        next(LivePhases(PhaseTable.packaged()).phases_within(("Fe",)), None)
    except DataError as error:
        return str(error)
    return ""


@dataclass
class LivePhases:
    """Phases of chemical systems, fetched when first asked for and kept.

    Attributes:
        packaged: what ships; what only OQMD knows comes from it.
        get: how the interface is asked; tests answer from a recording.
    """

    packaged: PhaseTable
    get: Get | None = None
    _known: dict[tuple[str, ...], list[Phase]] = field(default_factory=dict, repr=False)
    _refusal: str = ""

    def phases_within(self, elements: tuple[str, ...]) -> Iterator[Phase]:
        """Yield the lowest live phase of each formula of these elements, then those that only OQMD knows.

        Raises:
            DataError: the interface cannot be reached, refuses the key, or answers something else.
        """
        elements = tuple(sorted(elements))
        if elements not in self._known:
            self._known[elements] = self._fetched(elements)
        live = self._known[elements]
        names = {phase.formula for phase in live}
        yield from live
        for phase in self.packaged.phases_within(elements):
            if phase.formula not in names and phase.source == SOURCES[3]:
                yield phase

    def _fetched(self, elements: tuple[str, ...]) -> list[Phase]:
        if self._refusal:  # one failure is enough: no candidate waits for the network again
            raise DataError(self._refusal)
        systems = ["-".join(s) for n in range(1, len(elements) + 1) for s in combinations(elements, n)]
        try:
            rows = list(_rows(self.get or _ask, systems))
        except DataError as error:
            self._refusal = f"{error}; the packaged phases are used instead"
            raise DataError(self._refusal) from None
        lowest: dict[str, float] = {}
        for formula, energy in rows:
            lowest[formula] = min(energy, lowest.get(formula, energy))
        missing = [e for e in elements if not any(_is_element(f, e) for f in lowest)]
        for element in missing:
            lowest[element] = 0.0
        return [Phase(formula, energy, LIVE) for formula, energy in sorted(lowest.items())]


def _rows(get: Get, systems: list[str]) -> Iterator[tuple[str, float]]:
    """Yield (reduced formula, formation energy in eV/atom) of every entry, page by page."""
    from inverse.reference.phases import to_composition

    skip = 0
    while True:
        query = {
            "chemsys": ",".join(systems),
            "thermo_types": THERMO_TYPE,
            "_fields": "formula_pretty,formation_energy_per_atom",
            "_limit": PAGE,
            "_skip": skip,
        }
        answer = get(query, os.environ.get(KEY, "").strip())
        try:
            data = answer["data"]
            for row in data:
                if row["formation_energy_per_atom"] is not None:
                    formula = to_composition(row["formula_pretty"]).reduced_formula
                    yield formula, float(row["formation_energy_per_atom"])
        except (KeyError, TypeError, ValueError):
            raise DataError("Materials Project answered something that is no list of entries") from None
        skip += len(data)
        if not data or len(data) < PAGE:
            return


def _is_element(formula: str, element: str) -> bool:
    return formula.rstrip("0123456789") == element


def _ask(query: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    import requests

    try:
        answer = requests.get(ADDRESS, params=dict(query), headers={"X-API-KEY": key}, timeout=SECONDS)
    except requests.RequestException as error:
        raise DataError(f"Materials Project cannot be reached ({type(error).__name__})") from None
    if answer.status_code in (401, 403):
        raise DataError(f"Materials Project refuses the key in {KEY} (status {answer.status_code})")
    if answer.status_code != 200:
        raise DataError(f"Materials Project answered with status {answer.status_code}")
    try:
        content = answer.json()
    except ValueError:
        content = None
    if not isinstance(content, Mapping):
        raise DataError("Materials Project answered something that is no list of entries")
    return content
