"""The header of a table that a user brings: which column holds formulas, and units beside names."""

import csv
import re
from dataclasses import dataclass
from difflib import get_close_matches

from surrogates.errors import ConfigError, nearest

FORMULA_COLUMNS = (
    "formula",
    "composition",
    "reduced_formula",
    "pretty_formula",
    "formula_pretty",
    "chemical_formula",
    "full_formula",
    "compound",
    "material",
)
"""Heads of formulas in tables of matminer, Matbench and others; the first that is there counts."""

IDENTITY_COLUMNS = frozenset({"", "id", "index", "material_id", "mp_id", "mpid", "icsd_id", "unnamed_0"})
"""Heads of columns that name a row: never values."""

DELIMITERS = ",;\t"

_PREFIXES = "[fpnuµμmcdhkMGT]?"
_UNITS = (
    "m|g|s|A|K|mol|cd|Hz|N|Pa|J|W|C|V|F|Ω|Ω|[Oo]hm|S|Wb|T|H|eV|cal|bar|atm|Oe|G|emu|Ry|Ha|D|u|amu|h|min|d"
    "|Å|Å|[Aa]ng(?:strom)?|°C|degC|°|deg|%|(?:at|wt|vol|mol)[.]?%|atoms?|f[.]?u[.]?|cell|HV|HRC"
)
_UNIT = re.compile(f"{_PREFIXES}(?:{_UNITS})")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--")


@dataclass(frozen=True)
class Header:
    """The columns of a table.

    Attributes:
        where: names the file in messages.
        delimiter: comma, semicolon or tab.
        columns: as they stand in the file, without spaces around them.
    """

    where: str
    delimiter: str
    columns: tuple[str, ...]

    @classmethod
    def of(cls, text: str, where: str) -> "Header":
        """Return the header of a table's first line."""
        line = (text.splitlines() or [""])[0].lstrip("\ufeff")
        delimiter = max(DELIMITERS, key=line.count)
        cells = next(csv.reader([line], delimiter=delimiter), [])
        return cls(where, delimiter, tuple(cell.strip() for cell in cells))

    @property
    def others(self) -> list[str]:
        """Columns that hold neither formulas nor names of rows."""
        return [c for c in self.columns if _plain(c) not in {*FORMULA_COLUMNS, *IDENTITY_COLUMNS}]

    def formulas(self, asked: str | None = None) -> str:
        """Return the column of formulas: the one asked for, else the first of `FORMULA_COLUMNS`.

        Raises:
            ConfigError: there is none, or it stands there twice.
        """
        if asked is not None:
            return self.named(asked)
        plain = [_plain(column) for column in self.columns]
        for known in FORMULA_COLUMNS:
            if known in plain:
                return self._once(self.columns[plain.index(known)])
        near = [
            c for c, p in zip(self.columns, plain, strict=True) if get_close_matches(p, FORMULA_COLUMNS, 1)
        ]
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"{self.where}: no column of formulas among {self._listed()}; {hint}"
            "call it 'formula' or 'composition', or name it with formula: in a config"
        )

    def named(self, asked: str) -> str:
        """Return the column of that head, which is `asked` itself.

        Raises:
            ConfigError: there is none, or more than one.
        """
        if asked in self.columns:
            return self._once(asked)
        raise ConfigError(f"{self.where}: no column {asked!r}; {nearest(asked, filter(None, self.columns))}")

    def only_value(self) -> str:
        """Return the one column that is left beside formulas and names of rows.

        Raises:
            ConfigError: none is left, or more than one.
        """
        others = self.others
        if len(others) != 1:
            listed = ", ".join(others) or "none"
            raise ConfigError(
                f"{self.where}: beside {self.formulas()!r} one column of values is needed, not {listed}; "
                "write a config that names it (kind: table, data: ..., value: ...)"
            )
        return self._once(others[0])

    def _once(self, column: str) -> str:
        if self.columns.count(column) > 1:
            raise ConfigError(f"{self.where}: the column {column!r} stands there twice; rename one")
        return column

    def _listed(self) -> str:
        return ", ".join(map(repr, filter(None, self.columns))) or "none"


def split_unit(head: str) -> tuple[str, str]:
    """Return (name, unit) of a head; brackets that hold no unit belong to the name.

    >>> split_unit("kappa (W/m/K)"), split_unit("K_VRH [GPa]"), split_unit("strength (yield)")
    (('kappa', 'W/m/K'), ('K_VRH', 'GPa'), ('strength (yield)', ''))
    """
    found = re.fullmatch(r"(.*\S)\s*(?:\((.+)\)|\[(.+)\])", head.strip())
    unit = (found[2] or found[3]).strip() if found else ""
    return (found[1], unit) if found and is_unit(unit) else (head.strip(), "")


def is_unit(text: str) -> bool:
    """Return whether text is made of units: SI and its prefixes, and others that materials are measured in.

    >>> [is_unit(t) for t in ("W m-1 K-1", "10^-6/K", "MPa·m^0.5", "at.%", "yield", "2")]
    [True, True, True, True, False, False]
    """
    bare = re.sub(r"[\^{}]|(?<![A-Za-z])1?[eE]?[-+]?\d+(?:[./]\d+)?", " ", text.translate(_SUPERSCRIPTS))
    bare = re.sub(r"[-+]?\d+(?:[./]\d+)?", " ", bare)
    words = [word for word in re.split(r"[\s/*·⋅×()]+|[.](?!%|u)", bare) if word.strip("-")]
    return bool(words) and all(_UNIT.fullmatch(word.strip("-")) for word in words)


def same_unit(one: str, other: str) -> bool:
    """Return whether two units are written alike, superscripts, spaces and carets aside."""
    plain = [re.sub(r"[\s^{}]", "", unit.translate(_SUPERSCRIPTS)) for unit in (one, other)]
    return plain[0] == plain[1]


def _plain(head: str) -> str:
    """Return a head in lower case, without unit, signs as underscores."""
    return re.sub("[^a-z0-9]+", "_", split_unit(head)[0].lower()).strip("_")
