"""What a CIF says of its composition beside its sites, and whether the sites agree with it."""

import re
from dataclasses import dataclass

from pymatgen.core import Composition

from inverse.inputs.formats.cif_syntax import CifBlock, number
from inverse.inputs.remarks import Remark, RemarkKind, some
from surrogates.errors import StructureError
from surrogates.physics.periodic_table import ELEMENT_SYMBOLS

AMOUNTS_WITHIN = 0.002
"""Relative difference of amounts, sites against formula, that no rounding of a formula explains away."""

AMOUNTS_FLAGGED = 0.05
"""Relative difference up to which the sites are believed, with a remark: Li0.98 as Li."""

WEIGHT_WITHIN = 0.01
"""Relative difference of the formula weight that isotopes and roundings explain."""

FORMULAS = (
    "_chemical_formula_sum",
    "_chemical_formula_moiety",
    "_chemical_formula_iupac",
    "_chemical_formula_structural",
)


@dataclass(frozen=True)
class FormulaFacts:
    """What the file says beside its sites, to hold against them.

    Attributes:
        formula: of the whole compound; None where it is missing or cannot be read.
        n_units: formula units in the cell.
    """

    formula: Composition | None
    n_units: int | None


def read_facts(block: CifBlock, remarks: list[Remark]) -> FormulaFacts:
    """Return formula and formula units of a block; a formula that cannot be read is none, with a remark."""
    formula = None
    given = [text for text in (block.value(name) for name in FORMULAS) if text is not None]
    for text in given:
        formula = read_formula(text)
        if formula is not None:
            break
    if given and formula is None:
        text = f"{given[0].strip()[:40]!r} cannot be read: the sites are not held against it"
        remarks.append(Remark(RemarkKind.FORMULA, text))
    units_text = block.value("_cell_formula_units_z")
    units = re.fullmatch(r"\s*([1-9]\d{0,5})(?:\.0*)?\s*", units_text) if units_text else None
    return FormulaFacts(formula, int(units[1]) if units else None)


_MULTIPLE = re.compile(r"(\d+\.?\d*)?\((.*)\)(\d+\.?\d*)?")


def read_formula(text: str) -> Composition | None:
    """Return the composition of a CIF's formula, moieties added up; None where it cannot be read.

    >>> read_formula("Mg 2+, 2(O1 H1 1-)")
    Composition('Mg1 O2 H2')
    """
    plain = re.sub(r"[~_]", "", text.replace("'", "").replace('"', "")).strip()
    plain = re.sub(r"(?:(?<=\s)\d*|(?<=[A-Za-z]))[+-](?=[\s,)]|$)", "", plain)  # charges
    found: dict[str, float] = {}
    for part in plain.split(","):
        words = "".join(part.split())
        times = 1.0
        multiple = _MULTIPLE.fullmatch(words)
        if multiple and multiple[1] and _is_closed(multiple[2]):
            times, words = float(multiple[1]) * float(multiple[3] or 1), multiple[2]
        words = re.sub(r"D(?![a-z])", "H", words)
        try:
            composition = Composition(words, strict=True) if words else Composition({})
            amounts_of_part = {element.symbol: float(n) for element, n in composition.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if any(element not in ELEMENT_SYMBOLS for element in amounts_of_part):
            return None
        for element, amount in amounts_of_part.items():
            found[element] = found.get(element, 0.0) + times * amount
    found = {element: amount for element, amount in found.items() if amount > 0}
    return Composition(found) if found else None


def _is_closed(text: str) -> bool:
    """Return whether every bracket in a text is closed in it."""
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


def hold_against_formula(
    composition: Composition, facts: FormulaFacts, is_open: bool, remarks: list[Remark]
) -> None:
    """Refuse a crystal whose atoms are not those of its formula; remark on amounts within rounding.

    Args:
        composition: of the cell, by its sites.
        facts: what the file states.
        is_open: the file lists no operations, so that the number of formula units decides as well.
        remarks: where remarks go.

    Raises:
        StructureError: an element is missing from one side, amounts or the number of atoms contradict.
    """
    if facts.formula is None:
        return
    own = {element.symbol: float(amount) for element, amount in composition.items()}
    stated = {element.symbol: float(amount) for element, amount in facts.formula.items()}
    said = f"sites give {_shown(composition)}, the file's formula is {_shown(facts.formula)}"
    missing, extra = sorted(stated.keys() - own.keys()), sorted(own.keys() - stated.keys())
    if missing or extra:
        what = [f"{some(missing)} missing"] * bool(missing) + [f"{some(extra)} not in the formula"] * bool(
            extra
        )
        raise StructureError(f"{said}: {', '.join(what)}")
    scale = sum(own.values()) / sum(stated.values())
    ratios = {element: own[element] / (stated[element] * scale) for element in own}
    worst = max(ratios, key=lambda element: abs(ratios[element] - 1))
    difference = abs(ratios[worst] - 1)
    if difference > AMOUNTS_FLAGGED:
        raise StructureError(f"{said}: amounts of {worst} disagree")
    if difference > AMOUNTS_WITHIN:
        remarks.append(Remark(RemarkKind.FORMULA, said))
    if facts.n_units is None or difference > AMOUNTS_WITHIN:
        return
    reduced = sum(facts.formula.reduced_composition.values())
    whole = sum(stated.values())
    allowed = {facts.n_units * reduced, facts.n_units * whole, whole if whole > reduced else 0.0}
    total = sum(own.values())
    if not any(abs(total - n) < 0.01 * total for n in allowed):
        counts = (
            f"{facts.n_units} formula units of {_shown(facts.formula)} stated, {total:g} atoms by the sites"
        )
        if is_open:
            raise StructureError(counts)
        remarks.append(Remark(RemarkKind.CELL, counts))


def hold_against_weight(
    composition: Composition, block: CifBlock, facts: FormulaFacts, remarks: list[Remark]
) -> None:
    """Remark where the sites weigh another thing than the file's formula weight times its formula units."""
    text = block.value("_chemical_formula_weight")
    if text is None or facts.n_units is None:
        return
    try:
        stated = number(text, "_chemical_formula_weight")[0]
    except StructureError:
        return
    own = float(composition.weight) / facts.n_units
    if abs(own - stated) > WEIGHT_WITHIN * stated:
        said = f"sites weigh {own:.4g} a formula unit, the file says {stated:.4g}: are atoms missing?"
        remarks.append(Remark(RemarkKind.FORMULA, said))


def _shown(composition: Composition) -> str:
    """Return a formula with elements in alphabetic order, amounts reduced."""
    reduced = composition.reduced_composition
    parts = sorted((element.symbol, amount) for element, amount in reduced.items())
    return " ".join(symbol + ("" if abs(n - 1) < 1e-9 else f"{n:.4g}") for symbol, n in parts)
