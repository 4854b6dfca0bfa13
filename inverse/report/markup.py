"""Formulas and space groups as marked-up text."""

import re
from html import escape

from markupsafe import Markup


def formula_markup(formula: str) -> Markup:
    """Return a formula with its numbers as subscripts.

    >>> formula_markup("W2B5")
    Markup('W<sub>2</sub>B<sub>5</sub>')
    """
    return Markup(re.sub(r"(\d+(?:\.\d+)?)", r"<sub>\1</sub>", escape(formula)))


def space_group_markup(group: tuple[str, int] | None) -> Markup:
    """Return a space-group symbol with its bars and screw axes, number behind.

    >>> space_group_markup(("P6_3/mmc", 194))
    Markup('P6<sub>3</sub>/mmc&nbsp;<small>194</small>')
    """
    if group is None:
        return Markup("–")
    text = re.sub(r"_(\d)", r"<sub>\1</sub>", escape(group[0]))
    text = re.sub(r"-(\d)", r'<span class="bar">\1</span>', text)
    return Markup(f"{text}&nbsp;<small>{group[1]}</small>")
