"""Growing of boosted trees on descriptors with LightGBM, which is needed for this and nothing else."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from surrogates.errors import ConfigError
from surrogates.models.trees import Trees, bin_edges, binned
from surrogates.settings import Count, NotNegative, Positive


@dataclass(frozen=True)
class BoostingConfig:
    """How trees are grown.

    Attributes:
        rounds: trees.
        leaves: most leaves of a tree.
        learning_rate: factor on each tree.
        fewest: rows in a leaf.
        columns: share of descriptors a tree may look at.
        rows: share of rows a tree is grown on.
        penalty: of squared leaf values.
        seed: of these draws.
    """

    rounds: Count = 1200
    leaves: Annotated[int, Ge(2)] = 31
    learning_rate: Positive = 0.05
    fewest: Count = 8
    columns: Annotated[float, Gt(0), Le(1)] = 0.2
    rows: Annotated[float, Gt(0), Le(1)] = 0.8
    penalty: NotNegative = 1.0
    seed: int = 1


def grow(descriptors: Tensor, targets: Tensor, weight: Tensor, config: BoostingConfig) -> Trees:
    """Return trees fitted to (C,) targets by squared error; rows with a NaN target are left out.

    Trees are grown on the bins of the descriptors, so what is shipped answers exactly as what was grown.

    Raises:
        ConfigError: LightGBM is not installed.
    """
    try:
        import lightgbm
    except ImportError:
        raise ConfigError(
            "boosting needs LightGBM: pip install 'inverse-crystals[compare]'; the shipped trees do not"
        ) from None
    known = torch.isfinite(targets)
    edges = bin_edges(descriptors[known])
    columns = binned(descriptors[known], edges).float().numpy()
    settings = {
        "objective": "regression",
        "num_leaves": config.leaves,
        "learning_rate": config.learning_rate,
        "min_data_in_leaf": config.fewest,
        "feature_fraction": config.columns,
        "bagging_fraction": config.rows,
        "bagging_freq": 1,
        "lambda_l2": config.penalty,
        "max_bin": 255,
        "min_data_in_bin": 1,
        "seed": config.seed,
        "num_threads": 1,
        "deterministic": True,
        "verbose": -1,
    }
    rows = lightgbm.Dataset(columns, targets[known].numpy(), weight=weight[known].numpy())
    booster = lightgbm.train(settings, rows, config.rounds)
    return Trees.from_dump(booster.dump_model()["tree_info"], edges)
