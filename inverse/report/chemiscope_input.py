"""Candidates of a run as one file for chemiscope, the interactive map of structures and properties.

References:
    Fraux, Cersonsky, Ceriotti, J. Open Source Softw. 5, 2117 (2020), doi:10.21105/joss.02117
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymatgen.io.ase import AseAtomsAdaptor

from inverse.campaign.candidate_table import best_structure, space_group
from inverse.campaign.run import Run
from inverse.candidates.types import Candidate
from inverse.report.wishes import verified_value
from inverse.report.wording import label, unit
from surrogates.crystals.formulas import display_formula
from surrogates.errors import MissingExtraError


def write_chemiscope(run: Run, candidates: Sequence[Candidate], path: Path) -> Path:
    """Write structures with their predicted and verified properties; return the file.

    Args:
        run: whose config names what is shown first.
        candidates: in the order of their rank.
        path: ending in .json or .json.gz.

    Raises:
        MissingExtraError: chemiscope is not installed.
    """
    try:
        import chemiscope
    except ImportError:
        raise MissingExtraError(
            'the format chemiscope needs chemiscope; pip install "inverse-crystals[chemiscope]"'
        ) from None
    shown = properties(run, candidates)
    chemiscope.write_input(
        str(path),
        structures=[AseAtomsAdaptor.get_atoms(best_structure(c)) for c in candidates],
        properties=shown,
        metadata={"name": run.config.name, "description": f"{len(candidates)} candidates of an inverse run"},
        settings={"map": _axes(list(shown)), "structure": [{"unitCell": True}]},
    )
    return path


def properties(run: Run, candidates: Sequence[Candidate]) -> dict[str, dict[str, Any]]:
    """Return name -> target, values (C,), units and description, the run's targets first.

    A property that one of the candidates lacks is left out: chemiscope hides points without a value.
    """
    asked = [target.property.name for target in run.config.targets]
    named = {name for c in candidates for name in c.predictions} | {
        name for c in candidates if c.verification is not None for name in c.verification.values
    }
    found: dict[str, dict[str, Any]] = {}
    for name in [*asked, *sorted(named - set(asked))]:
        verified = [verified_value(c, name) for c in candidates]
        predicted = [c.predictions[name].mean if name in c.predictions else None for c in candidates]
        for how, values in (("verified", verified), ("predicted", predicted)):
            if all(value is not None and math.isfinite(value) for value in values):
                found[f"{label(name)}, {how}"] = _property(values, unit(name, run.config.targets))
    groups = [space_group(best_structure(c)) for c in candidates]
    return found | {
        "rank": _property(list(range(1, len(candidates) + 1))),
        "formula": _property([display_formula(best_structure(c).composition) for c in candidates]),
        "class": _property([str(c.hit_class or "unknown") for c in candidates]),
        "status": _property([str(c.status) for c in candidates]),
        "space group": _property([group[0] if group else "unknown" for group in groups]),
        "id": _property([c.id for c in candidates]),
    }


def _property(values: Sequence[Any], units: str = "") -> dict[str, Any]:
    return {"target": "structure", "values": list(values)} | ({"units": units} if units else {})


def _axes(names: Sequence[str]) -> dict[str, Any]:
    """Return the first two properties as axes, the third as colour."""
    axes = dict(zip(("x", "y", "color"), names, strict=False))
    return {axis: {"property": name} for axis, name in axes.items()}
