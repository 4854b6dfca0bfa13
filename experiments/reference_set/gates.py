"""Which labels enter the reference set: gates in a fixed order, each with what it removes and why."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_ABOVE_HULL = 0.5
"""eV/atom, by the potential."""

MOST_COORDINATION_CHANGE = 0.3
"""Relative change of an element's mean coordination number in relaxation; beyond it, another crystal."""

LARGEST_SHARE = 0.15
"""Of the rows that one structure type may have."""

Label = Mapping[str, Any]

GATES: dict[str, str] = {
    "above the hull": f"more than {MOST_ABOVE_HULL} eV/atom above the hull of known phases",
    "not converged": "the relaxation or the tensor failed; the reason is the verifier's",
    "coordination collapse": f"an element's mean coordination changed by over {MOST_COORDINATION_CHANGE:.0%}",
    "no energy": "an element without a reference energy",
    "duplicate": "same formula and signature after relaxation as a row of lower energy",
    "DFT row": "relaxed to a formula and signature of the DFT rows with elastic moduli: nothing new",
    "share of a prototype": f"the structure type would have more than {LARGEST_SHARE:.0%} of the rows",
}
"""Name of each gate, in order, and what it removes."""


@dataclass(frozen=True)
class Passed:
    """What came through the gates.

    Attributes:
        rows: in the order in which they were given.
        removed: (row, gate) of the others.
    """

    rows: list[Label]
    removed: list[tuple[Label, str]]

    @property
    def counts(self) -> dict[str, int]:
        """Rows that each gate removed, in the order of the gates."""
        found = Counter(gate for _, gate in self.removed)
        return {gate: found[gate] for gate in GATES}


def passed(rows: Sequence[Label], dft: Iterable[tuple[str, str]] = ()) -> Passed:
    """Return the rows that pass every gate. An unstable crystal passes, flagged: its energy is sound.

    Args:
        rows: labels, most informative first: of a structure type with too many the last are left out.
        dft: (formula, signature) of DFT rows with elastic moduli.
    """
    known, lowest = set(dft), _lowest(row for row in rows if not _own_gate(row))
    kept, removed = [], []
    for row in rows:
        gate = _own_gate(row)
        if not gate and lowest[_key(row)]["id"] != row["id"]:
            gate = "duplicate"
        if not gate and _key(row) in known:
            gate = "DFT row"
        if gate:
            removed.append((row, gate))
        else:
            kept.append(row)
    kept, crowded = _shared(kept)
    return Passed(kept, [*removed, *((row, "share of a prototype") for row in crowded)])


def _own_gate(row: Label) -> str:
    """Return the gate at which a row fails by itself, "" when at none."""
    if (row.get("energy_above_hull") or 0.0) > MOST_ABOVE_HULL:
        return "above the hull"
    if row.get("reason") or row.get("energy_per_atom") is None or not row.get("stiffness_relaxed"):
        return "not converged"
    if row["coordination_change"] > MOST_COORDINATION_CHANGE:
        return "coordination collapse"
    return "no energy" if row.get("energy_above_hull") is None else ""


def _key(row: Label) -> tuple[str, str]:
    return row["formula"], row["signature"]


def _lowest(rows: Iterable[Label]) -> dict[tuple[str, str], Label]:
    """Return the row of lowest energy of each formula and signature."""
    found: dict[tuple[str, str], Label] = {}
    for row in rows:
        best = found.setdefault(_key(row), row)
        if row["energy_per_atom"] < best["energy_per_atom"]:
            found[_key(row)] = row
    return found


def _shared(rows: Sequence[Label]) -> tuple[list[Label], list[Label]]:
    """Return rows of which no structure type has more than its share, and those left out for it."""
    counts = Counter(row["prototype"] for row in rows)
    most = len(rows)
    while most:
        total = sum(min(n, most) for n in counts.values())
        if min(most, max(counts.values())) <= LARGEST_SHARE * total or most == 1:
            break
        most -= 1
    kept, crowded, seen = [], [], Counter[str]()
    for row in rows:
        seen[row["prototype"]] += 1
        (kept if seen[row["prototype"]] <= most else crowded).append(row)
    return kept, crowded
