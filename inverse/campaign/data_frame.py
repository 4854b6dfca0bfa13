"""candidates.csv as a pandas DataFrame: the same columns, its numbers as numbers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from inverse.campaign.candidate_table import (
    cells,
    columns,
    confirmed_properties,
    dft_columns,
    is_ranked,
    property_columns,
    shown_properties,
)
from inverse.candidates import elastic_constants
from inverse.candidates.types import Candidate
from inverse.inputs.campaign_config import CampaignConfig

if TYPE_CHECKING:
    from pandas import DataFrame

WHOLE_NUMBERS = ("rank", "space_group", "n_atoms")

NUMBERS = (
    "score",
    "probability_target_met",
    "probability_after",
    "energy_above_hull",
    "order_temperature",
    "order_temperature_std",
    "hull_margin",
    "hull_mf_pbe",
    "hull_mf_r2scan",
    *elastic_constants.SCALARS,
    *elastic_constants.CONSTANTS,
)
"""Columns of numbers, beside those of the properties; all others are text, NaN (sodium nitride) included."""


def data_frame(candidates: Sequence[Candidate], config: CampaignConfig) -> "DataFrame":
    """Return one row per candidate, in the order given, with the columns of candidates.csv.

    What is missing is NaN in columns of numbers, NA in those of whole numbers and truth values, else "".

    Args:
        candidates: in the order of the table.
        config: the targets' properties have the first columns.
    """
    import pandas as pd

    properties = shown_properties(candidates, config)
    by_dft = sorted(set().union(*map(confirmed_properties, candidates)))
    numbers = {*NUMBERS, *(column for name in properties for column in property_columns(name))}
    numbers |= {column for name in by_dft for column in dft_columns(name)}
    rows, rank = [], 0
    for candidate in candidates:
        rank += is_ranked(candidate)
        rows.append(cells(candidate) | ({"rank": str(rank)} if is_ranked(candidate) else {}))
    found = {}
    for name in columns(properties, by_dft):
        texts = [row.get(name) for row in rows]
        if name in WHOLE_NUMBERS:
            found[name] = pd.array([None if t is None else int(t) for t in texts], dtype="Int64")
        elif name in numbers:
            found[name] = pd.array([float("nan") if t is None else float(t) for t in texts], dtype="float64")
        elif name == "is_known":
            found[name] = pd.array([None if t is None else t == "true" for t in texts], dtype="boolean")
        else:
            found[name] = pd.array([t or "" for t in texts], dtype="object")
    return pd.DataFrame(found)
