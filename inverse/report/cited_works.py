"""Whose models, data and programs a run rests on: licence and BibTeX entry of each."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from inverse.campaign.dynamical_stability import phonon_stage
from inverse.campaign.run import Run

ALWAYS = "*"
"""Of a work that every run rests on."""


@dataclass(frozen=True)
class CitedWork:
    """A work to cite.

    Attributes:
        key: of its BibTeX entry.
        kind: model, data or library.
        name: what it is called.
        licence: of what is used.
        used_as: by which names a run names it; `ALWAYS` of every run.
        entry: fields of its BibTeX entry, its type among them.
    """

    key: str
    kind: str
    name: str
    licence: str
    used_as: tuple[str, ...]
    entry: Mapping[str, str]

    @property
    def bibtex(self) -> str:
        """The BibTeX entry."""
        fields = [f"  {name} = {{{text}}}" for name, text in self.entry.items() if name != "type"]
        return f"@{self.entry['type']}{{{self.key},\n" + ",\n".join(fields) + "\n}"

    @property
    def url(self) -> str:
        """Where it is found: by DOI, arXiv number or address; "" without any."""
        entry = self.entry
        if "doi" in entry:
            return f"https://doi.org/{entry['doi']}"
        return f"https://arxiv.org/abs/{entry['eprint']}" if "eprint" in entry else entry.get("url", "")


@cache
def all_works() -> tuple[CitedWork, ...]:
    """Return every work that some run may rest on."""
    text = files(__package__).joinpath("cited_works.json").read_text(encoding="utf-8")
    return tuple(
        CitedWork(w["key"], w["kind"], w["name"], w["licence"], tuple(w["used_as"]), w["bibtex"])
        for w in json.loads(text)
    )


def works_of(run: Run) -> list[CitedWork]:
    """Return the works that a run rests on: its potentials and codes, the carried data, the libraries."""
    used = {ALWAYS, *_potentials(run)}
    if any(phonon_stage(c).passed is not None for c in run.candidates):
        used.add("phonons")
    if any(c.functionals for c in run.candidates):
        used.add("functionals")
    return [work for work in all_works() if used & set(work.used_as)]


def _potentials(run: Run) -> Iterable[str]:
    """Yield the names of all potentials and codes whose word stands in a run."""
    judges: Mapping[str, Any] = run.manifest.get("judges") or {}
    yield from (str(name) for name in judges.values())
    for candidate in run.candidates:
        if candidate.triaged is not None:
            yield candidate.triaged.potential
        if candidate.confirmation is not None:
            yield candidate.confirmation.code.partition(" ")[0].lower()
        if candidate.verification is not None:
            told = (*candidate.verification.values.values(), *candidate.verification.second_opinion.values())
            yield from (name for value in told for name in value.potential.split("+"))
    for record in run.referee.values():
        yield from (str(value["potential"]) for value in record["values"].values())
