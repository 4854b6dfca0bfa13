"""Values of the elements with their source: the tables that stand beside the records as JSON."""

import json
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class ElementTable:
    """Values by element.

    Attributes:
        source: whose they are, and of when.
        unit: of the values.
        values: by symbol; elements without one are left out.
    """

    source: str
    unit: str
    values: dict[str, float]


def element_table(name: str) -> ElementTable:
    """Return the table of a property, `<name>.json` in this folder."""
    text = files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return ElementTable(content["source"], content["unit"], content["values"])
