"""Fit, resume or report the structure surrogate: five folds by formula are its five members.

python -m experiments.training.cross_validate                fit what is missing, write the weights
python -m experiments.training.cross_validate --members 0 2   fit some members only
python -m experiments.training.cross_validate --report       no fitting: the errors out of fold
"""

import argparse
import json
from pathlib import Path

import torch

from surrogates.training.configs import TrainingConfig
from surrogates.training.structure import train


def show(member: str, record: dict[str, float]) -> None:
    """Print one line of a learning curve."""
    print(member, json.dumps({k: round(v, 4) for k, v in record.items()}), flush=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="experiments/training/structure.yaml")
    parser.add_argument("--members", type=int, nargs="*", default=None)
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = TrainingConfig.from_yaml(Path(given.config))
    report = train(config, [] if given.report else given.members, show)
    print(json.dumps(report.metrics, indent=1))


if __name__ == "__main__":
    main()
