"""Entries of databases by formula: which calculation, or measurement, a known formula is known from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from pymatgen.core import Composition

from inverse.candidates.types import KnownPhase
from inverse.reference.known import ORIGINS
from inverse.reference.measurements import measurements_of
from inverse.reference.phases import PACKAGE_DATA, SOURCES, PhaseTable, to_composition
from surrogates.errors import DataError

MEASURED_ORIGIN = len(ORIGINS) - 1
"""Of crystals that were measured: elements in their ground state, cubic BN."""

ORIGINS_OR_TABLES = (*ORIGINS, *SOURCES)

COMPUTED_IN = "computed"
MEASURED_IN = "measured"


@dataclass(frozen=True)
class KnownEntry:
    """What is carried of one known crystal, or of a formula of which no crystal is carried.

    Attributes:
        formula: reduced, as pymatgen writes it.
        source: database.
        basis: "measured" or "computed"; a computed crystal may have been made too, nobody here can tell.
        measured: what was measured of the formula, where a table of measurements holds it; "" else.
        database_id: of its entry in the Materials Project, "mp-1894"; "" where the tables name none.
        space_group: number; 0 where no crystal is carried.
        signature: of the crystal; "" where none is carried.
        energy: formation energy, eV/atom; None where none is tabulated.
    """

    formula: str
    source: str
    basis: str = COMPUTED_IN
    database_id: str = ""
    space_group: int = 0
    signature: str = ""
    energy: float | None = None
    measured: str = ""

    @property
    def url(self) -> str:
        """Page of the entry; "" without one."""
        return KnownPhase(self.database_id).url


@lru_cache(maxsize=1024)
def entries_of(formula: str) -> tuple[KnownEntry, ...]:
    """Return the carried entries of a formula: measured ones first, then by energy, those without one last.

    A formula of which no crystal is carried has one entry, which names the table that holds it; an unknown
    one has none. Where a table of measurements holds the formula and no crystal of it is carried as measured,
    all of its entries are: which polymorph it was, the table does not say.

    Args:
        formula: any spelling.

    Raises:
        DataError: the carried tables are missing or damaged.
        UnsupportedElementError: not a chemical formula.
    """
    composition: Composition = to_composition(formula)
    reduced = composition.reduced_formula
    found = sorted(_carried().get(reduced, ()), key=_order)
    if not found and (phase := PhaseTable.packaged().phase(composition)) is not None:
        found = [KnownEntry(reduced, phase.source, energy=phase.formation_energy_per_atom)]
    if len(composition) == 1:  # an element in its ground state, whoever tabulates it
        found = [replace(entry, basis=MEASURED_IN) if entry.energy == 0.0 else entry for entry in found]
    values = "; ".join(map(str, measurements_of(reduced)))
    if not values:
        return tuple(found)
    if not any(entry.basis == MEASURED_IN for entry in found):
        found = [replace(entry, basis=MEASURED_IN) for entry in found]
    return tuple(replace(entry, measured=values) for entry in found)


def entry_of(formula: str, signature: str = "") -> KnownEntry | None:
    """Return the entry that a formula is best known by, that with this signature first; None without any.

    Raises:
        DataError: the carried tables are missing or damaged.
        UnsupportedElementError: not a chemical formula.
    """
    found = entries_of(formula)
    same = (entry for entry in found if signature and entry.signature == signature)
    return next(same, found[0] if found else None)


def _order(entry: KnownEntry) -> tuple[bool, bool, float, bool, int]:
    energy = entry.energy
    is_computed, has_none = entry.basis != MEASURED_IN, energy is None
    return is_computed, has_none, energy or 0.0, not entry.database_id, ORIGINS_OR_TABLES.index(entry.source)


@lru_cache(maxsize=1)
def _carried() -> Mapping[str, tuple[KnownEntry, ...]]:
    """Return by formula one entry for each carried cell with an energy, else for each signature."""
    import pyarrow.parquet as parquet

    path = PACKAGE_DATA / "signatures.parquet"
    names = ["formula", "signature", "origin", "cell_energy", "cell_database_id"]
    try:
        table = parquet.read_table(path, columns=names)
        rows = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"reference signatures {path.name} cannot be read: {error}") from None
    found: dict[str, list[KnownEntry]] = {}
    for formula, text, origin, energies, numbers in rows:
        basis = MEASURED_IN if origin == MEASURED_ORIGIN else COMPUTED_IN
        group, source = int(text.split("|", 1)[0]), ORIGINS[origin]
        cells = list(zip(energies or (), numbers or (), strict=True)) or [(None, 0)]
        found.setdefault(formula, []).extend(
            KnownEntry(formula, source, basis, f"mp-{number}" if number else "", group, text, energy)
            for energy, number in cells
        )
    return {formula: tuple(entries) for formula, entries in found.items()}
