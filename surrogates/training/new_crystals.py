"""Error bars for crystals that nobody has computed: fitted where no member of a group was trained.

Residuals out of fold are those of known crystals, near the hull. What a search proposes lies above it, and
the farther, the more a surrogate is wrong. The sixth of the reference set that is kept from every fit, less
the formulas of the DFT rows that the same networks learn from, tells by how much.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from surrogates.datasets.orbits import GRAPH_REACH, cached_graphs
from surrogates.datasets.pairs import pair_store
from surrogates.datasets.reference_set import LABEL_STD, held_rows
from surrogates.protocol import Z90, far_from_hull
from surrogates.tiers.calibration import hull_widening
from surrogates.tiers.ensemble import MemberGroup
from surrogates.tiers.stack import StackGroup

AnyGroup = TypeVar("AnyGroup", MemberGroup, StackGroup)


def for_new_crystals(
    group: AnyGroup, reach: float, graphs: Path, fitted: Collection[str]
) -> tuple[AnyGroup, dict[str, Any]]:
    """Return the group whose error bars grow with the distance from the hull as its errors do, and these.

    Errors by property: n, mean absolute error and bias (log10 where positive, else the unit), share that the
    90 % interval holds with the label's own error in it, and the widening per eV/atom. G has no labels on
    DFT's scale, and error bars wide enough by far; it and energies are not widened.

    Args:
        group: members of which none was fitted to the held rows of the reference set.
        reach: of its networks.
        graphs: folder of cached graphs.
        fitted: formulas that some member was fitted to.
    """
    rows = [row for row in held_rows() if row["formula"] not in fitted]
    if not rows:
        return group, {}
    store = pair_store(cached_graphs(rows, GRAPH_REACH, graphs), reach)
    with torch.no_grad():
        parts = [
            group.outputs(store.batch(part, torch.zeros(len(part), dtype=torch.long)))
            for part in torch.arange(len(rows)).split(256)
        ]
    values, widths = (torch.cat([part[i] for part in parts], dim=1) for i in (0, 1))
    above = _column(rows, "energy_above_hull")
    widenings, found = [0.0] * len(group.properties), {}
    for t, (prop, calibration) in enumerate(zip(group.properties, group.calibrations, strict=True)):
        if prop not in LABEL_STD:
            continue
        labels = _column(rows, prop.name)
        labels = labels.log10() if prop.is_positive else labels
        known = torch.isfinite(labels)
        mean, std, _ = calibration.of_members(values[:, :, t], widths[:, :, t])
        error, std = (mean - labels)[known], std[known]
        if prop.is_positive:
            widenings[t] = hull_widening(error, std, LABEL_STD[prop], above[known])
        bar = torch.hypot(std * far_from_hull(widenings[t], above[known]), std.new_tensor(LABEL_STD[prop]))
        found[prop.name] = {
            "n": int(known.sum()),
            "mae": round(float(error.abs().mean()), 4),
            "bias": round(float(error.median()), 4),
            "coverage_90": round(float((error.abs() <= Z90 * bar).float().mean()), 3),
            "widening": widenings[t],
        }
    calibrations = tuple(
        replace(c, widening=widening) for c, widening in zip(group.calibrations, widenings, strict=True)
    )
    return replace(group, calibrations=calibrations), found


def _column(rows: list[dict[str, Any]], name: str) -> Tensor:
    return torch.tensor([torch.nan if row[name] is None else row[name] for row in rows])
