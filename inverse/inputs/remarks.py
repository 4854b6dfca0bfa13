"""What a reader has to say of a structure that it could read: typed; a flag of its line in every output."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class RemarkKind(StrEnum):
    """What a remark is about; the first word of the flag."""

    ISOTOPE = "isotope"
    """Deuterium, tritium or a mass number, read as the element."""
    OCCUPANCY = "occupancy"
    """A site that the file lists as empty, left out."""
    REPEATED_SITES = "repeated_sites"
    """Several listed sites that are images of one another, read as one."""
    SPECIAL_POSITION = "special_position"
    """Coordinates rounded off a special position, put back on it."""
    SYMMETRY = "symmetry"
    """A space group that the file leaves open or contradicts, and what was taken."""
    FORMULA = "formula"
    """Sites and the formula that the file states differ within rounding."""
    CELL = "cell"
    """A cell parameter, or the number of formula units, that the file leaves open or contradicts."""
    SPECIES = "species"
    """Species taken from somewhere else than where the format has them."""
    CONTACT = "contact"
    """Atoms closer than in any crystal, or further: values are of something that does not exist."""
    VACUUM = "vacuum"
    """A gap in a periodic cell: values are of the cell with its vacuum."""
    WARNING = "warning"
    """What a library said of the file."""


@dataclass(frozen=True)
class Remark:
    """One remark; `str` of it is the flag that users see: `kind: text`."""

    kind: RemarkKind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def some(names: Sequence[str]) -> str:
    """Return the first four names, and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
