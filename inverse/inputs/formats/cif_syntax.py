"""The syntax of CIF: text to blocks of names and values; what they mean is told elsewhere.

Written here because the readers of pymatgen and ASE look for blocks line by line, also inside text fields.

References:
    Hall, Allen, Brown, Acta Cryst. A 47, 655 (1991), doi:10.1107/S010876739101067X; syntax of version 1.1.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from surrogates.errors import StructureError

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<comment>\#[^\n]*)
      | (?P<text>(?:(?<=\n)|\A);(?P<body>.*?)(?:\n;|\Z))
      | (?P<triple>\'\'\'(?P<t1>.*?)\'\'\'|\"\"\"(?P<t2>.*?)\"\"\")
      | (?P<single>\'(?P<q1>(?:[^\'\n]|\'(?=\S))*)\'(?=\s|\Z))
      | (?P<double>\"(?P<q2>(?:[^\"\n]|\"(?=\S))*)\"(?=\s|\Z))
      | (?P<open>[\'\"](?P<rest>[^\n]*))
      | (?P<word>\S+)
    )""",
    re.VERBOSE | re.DOTALL,
)

_END_OF_FILE = re.compile(r"(?i)#?(?:end|eof|stop|end[ _-]?of[ _-]?file|[;*=~`_-]+)")


@dataclass(frozen=True)
class Fault:
    """What the syntax forbids: the name it concerns (a loop's first), and what is wrong."""

    name: str
    text: str


@dataclass
class CifBlock:
    """One data block.

    Attributes:
        name: after `data_`.
        items: name -> value. Names in lower case, with `_` for the `.` of newer dictionaries.
        loops: tables, as name -> column.
        faults: what the syntax forbids.
    """

    name: str
    items: dict[str, str] = field(default_factory=dict)
    loops: list[dict[str, list[str]]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def value(self, *names: str) -> str | None:
        """Return the first value that is given (not ? or .) under one of the names, also from a loop."""
        for name in names:
            value = self.items.get(name)
            if value is None:
                column = self.column(name)
                value = column[0] if column else None
            if is_given(value):
                return value
        return None

    def column(self, *names: str) -> list[str] | None:
        """Return the first column under one of the names; an item counts as a column of one."""
        for name in names:
            for loop in self.loops:
                if name in loop:
                    return loop[name]
            if name in self.items:
                return [self.items[name]]
        return None

    def table(self, name: str) -> Mapping[str, Sequence[str]]:
        """Return the loop that has a column of this name; else the items of its category as rows of one."""
        for loop in self.loops:
            if name in loop:
                return loop
        category = name.rsplit("_", 1)[0].removesuffix("_fract").removesuffix("_cartn")
        return {key: [value] for key, value in self.items.items() if key.startswith(category)}


def is_given(value: str | None) -> bool:
    """Return whether a value is one: `?` is unknown and `.` not applicable."""
    return value is not None and value.strip() not in ("", "?", ".")


def parse_blocks(text: str) -> list[CifBlock]:
    """Return the data blocks of a CIF; names before the first `data_` are a block without a name.

    Raises:
        StructureError: a text field that never ends, a name without a value.
    """
    blocks: list[CifBlock] = []
    tokens = list(_tokens(text))
    position = 0
    while position < len(tokens):
        value, is_bare = tokens[position]
        lowered = value.lower() if is_bare else ""
        if lowered.startswith("data_"):
            blocks.append(CifBlock(value[5:]))
            position += 1
        elif lowered == "loop_":
            block = _last(blocks)
            position = _read_loop(block, tokens, position + 1)
        elif is_bare and value.startswith("_") and len(value) > 1:
            if position + 1 == len(tokens) or _is_reserved(*tokens[position + 1]):
                _last(blocks).faults.append(Fault(_name(value), f"{value} has no value"))
                position += 1
                continue
            _last(blocks).items.setdefault(_name(value), tokens[position + 1][0])
            position += 2
        else:
            position += 1  # a stray word: save_, global_, or what somebody wrote beneath
    return blocks


def _last(blocks: list[CifBlock]) -> CifBlock:
    if not blocks:
        blocks.append(CifBlock(""))
    return blocks[-1]


def _name(written: str) -> str:
    return written.lower().replace(".", "_")


def _is_reserved(value: str, is_bare: bool) -> bool:
    lowered = value.lower()
    return is_bare and (
        lowered.startswith(("data_", "save_", "_")) or lowered in ("loop_", "stop_", "global_")
    )


def _read_loop(block: CifBlock, tokens: Sequence[tuple[str, bool]], position: int) -> int:
    """Read a loop into the block and return where it ends."""
    names: list[str] = []
    while position < len(tokens) and tokens[position][1] and tokens[position][0].startswith("_"):
        names.append(_name(tokens[position][0]))
        position += 1
    values: list[str] = []
    while position < len(tokens) and not _is_reserved(*tokens[position]):
        values.append(tokens[position][0])
        position += 1
    while len(values) % max(len(names), 1) and _END_OF_FILE.fullmatch(values[-1]):
        values.pop()
    if not names:
        block.faults.append(Fault("", "a loop without names"))
        return position
    if len(values) % len(names):
        text = f"the loop of {names[0]}: {len(values)} values for {len(names)} columns"
        block.faults.append(Fault(names[0], text))
        values = values[: len(values) // len(names) * len(names)]
    block.loops.append({name: values[k :: len(names)] for k, name in enumerate(names)})
    return position


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Yield (value, whether it stands bare: not quoted, no text field)."""
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            return
        position = found.end()
        kind = found.lastgroup
        if found["comment"] is not None:
            continue
        if found["text"] is not None:
            if not found["text"].endswith("\n;"):
                raise StructureError("broken CIF: a text field (;) never ends")
            yield found["body"], False
        elif found["triple"] is not None:
            yield found["t1"] if found["t1"] is not None else found["t2"], False
        elif found["single"] is not None:
            yield found["q1"], False
        elif found["double"] is not None:
            yield found["q2"], False
        elif found["open"] is not None:  # a quote that is not closed on its line
            yield found["rest"].strip(), False
        elif kind is not None:
            yield found["word"], True


_NUMBER = re.compile(r"([+-]?(?:\d+\.?(\d*)|\.(\d+))(?:[eE]([+-]?\d{1,3}))?)(?:\((\d{1,9})\))?")
_RATIO = re.compile(r"([+-]?\d{1,9})/(\d{1,9})")


def number(text: str, where: str) -> tuple[float, int | None, float]:
    """Return a number of a CIF, its digits after the point (None: it is exact), and its uncertainty.

    >>> number("0.1234(5)", "x")
    (0.1234, 4, 0.0005)

    Raises:
        StructureError: not a number; names `where`.
    """
    written = text.strip()
    ratio = _RATIO.fullmatch(written)
    if ratio and int(ratio[2]):
        return int(ratio[1]) / int(ratio[2]), None, 0.0
    found = _NUMBER.fullmatch(written)
    if found is None:
        hint = "; write a point, not a comma" if re.fullmatch(r"[+-]?\d*,\d+(\(\d+\))?", written) else ""
        raise StructureError(f"{where}: {written[:40]!r} is not a number{hint}")
    digits = len(found[2] or found[3] or "") - int(found[4] or 0)
    value = float(found[1])
    if not math.isfinite(value):
        raise StructureError(f"{where}: {written[:40]!r} is not a finite number")
    return value, digits, float(found[5] or 0) * 10.0 ** -max(-300, min(digits, 300))
