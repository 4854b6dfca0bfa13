"""Error bars for crystals that nobody has computed: fitted where no member of a group was trained.

Residuals out of fold are made by one member, which four others, trained on those rows, would steady; and
known crystals are easier than proposed ones. The sixth of the reference set that is kept from every fit is
neither: it tells how far apart members are on new crystals, and how wrong.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from surrogates.calibration import with_disagreement
from surrogates.datasets.orbits import GRAPH_REACH, cached_graphs
from surrogates.datasets.pairs import pair_store
from surrogates.datasets.reference_set import LABEL_STD, held_rows
from surrogates.ensemble import MemberGroup
from surrogates.protocol import Z90
from surrogates.stack import StackGroup

AnyGroup = TypeVar("AnyGroup", MemberGroup, StackGroup)


def for_new_crystals(group: AnyGroup, reach: float, graphs: Path) -> tuple[AnyGroup, dict[str, Any]]:
    """Return the group with error bars that hold on the reference rows kept from every fit, and its errors.

    Errors by property: n, mean absolute error and bias (log10 where positive, else the unit), share that the
    90 % interval holds with the label's own error in it, and the factor on the members' spread.

    Args:
        group: members of which none was fitted to those rows.
        reach: of its networks.
        graphs: folder of cached graphs.
    """
    rows = held_rows()
    if not rows:
        return group, {}
    store = pair_store(cached_graphs(rows, GRAPH_REACH, graphs), reach)
    with torch.no_grad():
        parts = [
            group.outputs(store.batch(part, torch.zeros(len(part), dtype=torch.long)))
            for part in torch.arange(len(rows)).split(256)
        ]
    values, widths = (torch.cat([part[i] for part in parts], dim=1) for i in (0, 1))
    targets = torch.full((len(rows), len(group.properties)), torch.nan)
    label_std = torch.zeros(len(group.properties))
    for t, prop in enumerate(group.properties):
        if prop in LABEL_STD:
            known = torch.tensor([torch.nan if row[prop.name] is None else row[prop.name] for row in rows])
            targets[:, t] = known.log10() if prop.is_positive else known
            label_std[t] = LABEL_STD[prop]
    calibrations = with_disagreement(group.calibrations, values, widths, targets, label_std)
    group = replace(group, calibrations=calibrations)
    return group, _errors(group, values, widths, targets, label_std)


def _errors(
    group: MemberGroup | StackGroup, values: Tensor, widths: Tensor, targets: Tensor, label_std: Tensor
) -> dict[str, Any]:
    found = {}
    for t, (prop, calibration) in enumerate(zip(group.properties, group.calibrations, strict=True)):
        known = torch.isfinite(targets[:, t])
        if not bool(known.any()):
            continue
        own = values[:, known, t]
        mean, spread = own.mean(dim=0), own.std(dim=0, correction=0)
        error = mean - targets[known, t]
        bar = calibration.joined(calibration.std(widths[:, known, t].mean(dim=0), mean), spread)
        held = error.abs() <= Z90 * torch.hypot(bar, label_std[t])
        found[prop.name] = {
            "n": int(known.sum()),
            "mae": round(float(error.abs().mean()), 4),
            "bias": round(float(error.median()), 4),
            "coverage_90": round(float(held.float().mean()), 3),
            "disagreement": calibration.disagreement,
        }
    return found
