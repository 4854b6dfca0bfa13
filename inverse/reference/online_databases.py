"""What databases on the network have of a crystal, asked through the `optimade` client.

Nothing is inferred: a database that gave no answer, an entry whose structure cannot be compared, are said.
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Lattice, Structure

from surrogates.errors import DataError, MissingExtraError
from surrogates.physics.periodic_table import ELEMENT_SYMBOLS

SECONDS = 30.0
"""Allowed for connecting, and for an answer to begin."""

MOST_ENTRIES = 100
"""Of one formula that are read."""

MOST_ATOMS = 200
"""In the cell of an entry that is compared."""

MOST_REFUSALS = 3
"""Times that a database may say "too many requests" to one question."""

SILENT_AFTER = 2
"""Questions in a row without an answer, after which a database is asked no more."""

FIELDS = (
    "chemical_formula_reduced",
    "lattice_vectors",
    "cartesian_site_positions",
    "species",
    "species_at_sites",
)
"""Of an entry that are asked for."""


@dataclass(frozen=True)
class Database:
    """A database that answers by the OPTIMADE protocol.

    Attributes:
        name: as people call it.
        url: base address of its interface.
        page: address of an entry's page, with {id}; "" where its record by the interface has to do.
    """

    name: str
    url: str
    page: str = ""

    def address(self, identity: str) -> str:
        """Return where an entry can be looked at."""
        safe = quote(identity, safe="")
        return self.page.format(id=safe) if self.page else f"{self.url}/v1/structures/{safe}"


DATABASES = (
    Database(
        "Materials Project",
        "https://optimade.materialsproject.org",
        "https://materialsproject.org/materials/{id}",
    ),
    Database("OQMD", "https://oqmd.org/optimade"),
    Database("Alexandria", "https://alexandria.icams.rub.de/pbe"),
    Database("AFLOW", "https://aflow.org/API/optimade"),
)
"""Those that are asked."""


class Answer(StrEnum):
    """What a database says of a crystal."""

    SAME = "same crystal"
    OTHER = "same formula, other structure"
    UNCOMPARED = "same formula, not compared"
    """An entry has no structure that can be compared, or there are more of them than were read."""
    ABSENT = "not there"
    NONE = "no answer"


@dataclass(frozen=True)
class Entry:
    """An entry of the formula.

    Attributes:
        id: in its database.
        url: where it can be looked at.
        is_same: whether it is the same crystal; None where that could not be compared.
    """

    id: str
    url: str
    is_same: bool | None


@dataclass(frozen=True)
class DatabaseAnswer:
    """What one database says of one crystal.

    Attributes:
        database: its name.
        answer: of the five.
        entries: of the formula that were read, the same crystal first.
        reason: why there is no answer, or why something was not compared; "" otherwise.
    """

    database: str
    answer: Answer
    entries: tuple[Entry, ...] = ()
    reason: str = ""


Get = Callable[[str, str], Mapping[str, Any]]
"""(base address, filter) -> `data`, `meta` and `errors` of what a database returned; never raises for it."""


def ask_databases(
    crystals: Sequence[Structure], databases: Sequence[Database] = DATABASES, get: Get | None = None
) -> Iterator[tuple[DatabaseAnswer, ...]]:
    """Yield what each database says of each crystal, crystal by crystal.

    A database that does not answer twice in a row is asked no more.

    Args:
        crystals: ordered.
        databases: whom to ask.
        get: how; None asks through the `optimade` client.

    Raises:
        MissingExtraError: the client is not installed.
        DataError: no database answered the first question: most likely there is no network.
    """
    get = get or optimade_client()
    silent = dict.fromkeys((one.name for one in databases), 0)
    reasons: dict[str, str] = {}
    for number, crystal in enumerate(crystals):
        answers = []
        for one in databases:
            if silent[one.name] >= SILENT_AFTER:
                answers.append(DatabaseAnswer(one.name, Answer.NONE, reason=reasons[one.name]))
                continue
            found = _asked(crystal, one, get)
            is_silent = found.answer is Answer.NONE
            silent[one.name] = silent[one.name] + 1 if is_silent else 0
            reasons[one.name] = found.reason
            answers.append(found)
        if number == 0 and all(a.answer is Answer.NONE for a in answers):
            said = "; ".join(f"{a.database}: {a.reason}" for a in answers)
            raise DataError(f"no database on the network answers ({said})")
        yield tuple(answers)


def optimade_formula(composition: Composition) -> str:
    """Return a reduced formula as OPTIMADE writes it: elements by alphabet, no 1.

    >>> optimade_formula(Composition("WB2")), optimade_formula(Composition("Ca(OH)2"))
    ('B2W', 'CaH2O2')
    """
    amounts = composition.reduced_composition.get_el_amt_dict()
    return "".join(f"{symbol}{n:g}" if (n := amounts[symbol]) != 1 else symbol for symbol in sorted(amounts))


def _asked(crystal: Structure, database: Database, get: Get) -> DatabaseAnswer:
    formula = optimade_formula(crystal.composition)
    found = get(database.url, f'chemical_formula_reduced="{formula}"')
    data, errors, meta = found.get("data"), found.get("errors") or (), found.get("meta") or {}
    if errors:
        return DatabaseAnswer(database.name, Answer.NONE, reason=_one_line(errors[0]))
    if not isinstance(data, list) or not isinstance(meta, Mapping):
        return DatabaseAnswer(database.name, Answer.NONE, reason="what it returned is no list of entries")
    entries = [entry for one in data if (entry := _entry(one, formula, crystal, database)) is not None]
    if data and not entries:
        reason = "it returned entries of other formulas"
        return DatabaseAnswer(database.name, Answer.NONE, reason=reason)
    entries.sort(key=lambda entry: {True: 0, None: 1, False: 2}[entry.is_same])
    answer, reason = _verdict(entries, _has_more(meta, len(data)))
    return DatabaseAnswer(database.name, answer, tuple(entries), reason)


def _verdict(entries: Sequence[Entry], has_more: bool) -> tuple[Answer, str]:
    if any(entry.is_same for entry in entries):
        return Answer.SAME, ""
    if has_more:
        return Answer.UNCOMPARED, f"it has more entries of the formula than the {len(entries)} that were read"
    unknown = sum(entry.is_same is None for entry in entries)
    if unknown:
        return (
            Answer.UNCOMPARED,
            f"{unknown} of {len(entries)} entries hold no structure to compare",
        )
    return (Answer.OTHER, "") if entries else (Answer.ABSENT, "")


def _has_more(meta: Mapping[str, Any], n_read: int) -> bool:
    returned = meta.get("data_returned")
    more = isinstance(returned, int) and not isinstance(returned, bool) and returned > n_read
    return more or n_read >= MOST_ENTRIES


def _entry(data: Any, formula: str, crystal: Structure, database: Database) -> Entry | None:
    """Return an entry of the formula; None for what is none: filters are not kept by every database."""
    if not isinstance(data, Mapping) or not isinstance(data.get("attributes"), Mapping):
        return None
    attributes, identity = data["attributes"], str(data.get("id", ""))
    if attributes.get("chemical_formula_reduced") != formula or not identity:
        return None
    structure = _structure(attributes)
    is_same = None if structure is None else bool(_matcher().fit(structure, crystal))
    return Entry(identity, database.address(identity), is_same)


@lru_cache(maxsize=1)
def _matcher() -> StructureMatcher:
    return StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)


def _structure(attributes: Mapping[str, Any]) -> Structure | None:
    """Return the crystal of an entry; None where it has none, or one with partial occupancy or vacancies."""
    try:
        kinds = {kind["name"]: kind["chemical_symbols"] for kind in attributes["species"]}
        symbols = [kinds[name] for name in attributes["species_at_sites"]]
        if len(symbols) > MOST_ATOMS or any(len(s) != 1 or s[0] not in ELEMENT_SYMBOLS for s in symbols):
            return None
        return Structure(
            Lattice(attributes["lattice_vectors"]),
            [one for (one,) in symbols],
            attributes["cartesian_site_positions"],
            coords_are_cartesian=True,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def optimade_client() -> Get:
    """Return what asks through the `optimade` client, one question at a time, silently.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import requests
        from optimade.client import OptimadeClient
    except ImportError:
        raise MissingExtraError(
            'databases on the network are asked by optimade; pip install "inverse-crystals[online]"'
        ) from None

    class Patient(requests.Session):
        """A session that gives up on a database which refuses again and again."""

        def send(self, request: Any, **options: Any) -> Any:
            try:
                answer = super().send(request, **options)
            except requests.Timeout:
                raise requests.Timeout(f"no answer within {SECONDS:g} s") from None
            except requests.ConnectionError:
                raise requests.ConnectionError("cannot be reached") from None
            self.refusals = getattr(self, "refusals", 0) + (answer.status_code == 429)
            if self.refusals >= MOST_REFUSALS:
                raise requests.ConnectionError("429, too many requests")
            return answer

    def get(url: str, wanted: str) -> Mapping[str, Any]:
        try:
            client = OptimadeClient(
                base_urls=[url],
                max_results_per_provider=MOST_ENTRIES,
                http_timeout=SECONDS,
                use_async=False,
                silent=True,
                http_client=Patient,
            )
            with contextlib.redirect_stderr(io.StringIO()):  # it prints every refusal, silent or not
                found = client.get(wanted, endpoint="structures", response_fields=list(FIELDS))
            answer: Mapping[str, Any] = found["structures"][wanted][url]
            return answer
        except Exception as error:  # whatever a database or the client makes of it
            return {"errors": [f"{type(error).__name__}: {error}"]}

    return get


def _one_line(error: object) -> str:
    """Return what a database, or the client, gave as an error."""
    if isinstance(error, Mapping):
        error = error.get("detail") or error.get("title") or error
    text = " ".join(str(error).split())
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= 160 else f"{shown[:157]}..."
