"""The data card of the reference set, written from its rows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from experiments.reference_set.elements import POTENTIAL, chemistry
from experiments.reference_set.gates import GATES, Passed

Row = Mapping[str, Any]
Biases = Mapping[str, Mapping[str, float]]

EDGES = (0, 25, 50, 100, 150, 200, 250, 300, 400, 1000)
"""GPa."""


def card(found: Passed, about: Mapping[str, str], biases: Biases, without: tuple[int, int]) -> str:
    """Return the card as markdown.

    Args:
        found: rows that entered and rows that did not.
        about: potential, version, settings.
        biases: against DFT; {} where they were not measured.
        without: of the crystals that DFT knows, how many had no moduli, and how many there were.
    """
    rows = found.rows
    parts = [
        "# Reference set",
        _origin(rows, about),
        "## Gates",
        _gates(found),
        "## What is in it",
        _contents(rows),
        "## Failures",
        _failures([row for row, _ in found.removed]),
        "## Against DFT",
        _against_dft(biases, *without),
        "## Use",
        _USE,
    ]
    return "\n\n".join(parts) + "\n"


_USE = """\
`surrogates.datasets.reference_set.reference_rows()`. The values are the potential's own, a scale of their
own beside DFT. Split by formula, as everything else: a formula held out of training is held out here too.
`7net-0` labelled it, so it is no judge, and `7net-l3i5` learned from the same DFT data. Made and packed by
`python -m experiments.reference_set.pool`, `... .label`, `... .pack`; licence as the project's. The
structure types rest on pymatgen's AFLOW prototypes and on signatures of known structures."""

_ORIGIN = """\
{n} crystals made in this project, {stable} of them with K and G. Labelled by `{potential}` ({version},
settings {settings}) and by nothing else: energy, forces and stress of the cell as proposed; relaxed cell
and energy; relaxed-ion and clamped elastic tensor; K and G (Voigt-Reuss-Hill). Skeletons by origin:
{origins} (aflow: pymatgen's AFLOW prototypes; signature: structure types of known structures; decoder:
samples of the shipped decoder). Elements were drawn; rows were chosen where the surrogate predicts
stiffness (half), where it is unsure or was found wrong (a quarter), and over all kinds of bonding (a
quarter)."""


def _origin(rows: Sequence[Row], about: Mapping[str, str]) -> str:
    origins = _listed(Counter(row["origin"] for row in rows).most_common())
    stable = sum(bool(row["is_stable"]) for row in rows)
    return _ORIGIN.format(n=len(rows), stable=stable, origins=origins, **about)


def _gates(found: Passed) -> str:
    counts, total = found.counts, len(found.rows) + len(found.removed)
    lines = [f"Labelled: {total}.", "", "| gate | removes | rows |", "|---|---|---|"]
    lines += [f"| {name} | {meaning} | {counts[name]} |" for name, meaning in GATES.items()]
    lines.append(f"| | **left** | **{len(found.rows)}** |")
    unstable = sum(not row["is_stable"] for row in found.rows)
    lines += [
        "",
        f"Unstable crystals stay, flagged, with their energy and tensor but without K and G: {unstable}.",
    ]
    return "\n".join(lines)


def _contents(rows: Sequence[Row]) -> str:
    stable = [row for row in rows if row["is_stable"]]
    lines = ["| GPa | K | G |", "|---|---|---|"]
    bulk, shear = (
        np.histogram([row[name] for row in stable], EDGES)[0] for name in ("bulk_modulus", "shear_modulus")
    )
    lines += [
        f"| {low}-{high} | {k} | {g} |"
        for (low, high), k, g in zip(pairwise(EDGES), bulk, shear, strict=True)
    ]
    types = Counter(row["prototype"] for row in rows)
    elements = Counter(e for row in rows for e in set(row["species"]))
    sizes = Counter(len(row["species"]) for row in rows)
    kinds = Counter(chemistry(set(row["species"])) for row in rows)
    above = np.array([row["energy_above_hull"] for row in rows])
    flags = Counter(flag for row in rows for flag in row["flags"])
    lines += [
        "",
        f"* Atoms in the cell: {_listed(sorted(sizes.items()))}.",
        f"* Kinds of bonding: {_listed(kinds.most_common())}.",
        f"* Structure types: {len(types)}; the most frequent: {_listed(types.most_common(8), '`{}` {}')}.",
        f"* Elements: {_listed(elements.most_common())}.",
        f"* Above the hull: {int((above <= 0.1).sum())} rows up to 0.1 eV/atom, "
        f"{int(((above > 0.1) & (above <= 0.25)).sum())} up to 0.25, {int((above > 0.25).sum())} up to 0.5.",
        f"* Flags: {_listed(flags.most_common())}.",
    ]
    return "\n".join(lines)


def _failures(rows: Iterable[Row]) -> str:
    reasons = Counter(short_reason(row["reason"]) for row in rows if row.get("reason"))
    return f"By reason: {_listed(reasons.most_common())}." if reasons else "None."


def short_reason(reason: str) -> str:
    """Return a reason with N for its numbers, so that alike failures count together.

    >>> short_reason("7net-0: volume changed to 0.61 of the start")
    'volume changed to N of the start'
    """
    words = reason.removeprefix(f"{POTENTIAL}: ").split()
    return " ".join("N" if any(c.isdigit() for c in w) else w for w in words)[:80]


def _against_dft(biases: Biases, without: int, asked: int) -> str:
    if not biases:
        return "Not measured here: no label of a crystal that DFT knows. See experiments/log."
    lines = [
        f"{asked} crystals that DFT (Materials Project, AFLOW) knows by formula and signature, in cells like "
        f"these; {without} of them had no K and G by the potential. Of the others:",
        "",
        "| | n | median log10(label / DFT) | spread | MAE, GPa |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {b['n']} | {b['median']:+.3f} | {b['spread']:.3f} | {b['mae']:.1f} |"
        for name, b in biases.items()
    ]
    return "\n".join(lines)


def _listed(items: Iterable[tuple[Any, int]], form: str = "{} {}") -> str:
    return ", ".join(form.format(name, n) for name, n in items)
