"""Fit, resume or report the accurate tier; writes the packaged weights.

python -m experiments.training.fit_accurate               fit what is missing, write the weights
python -m experiments.training.fit_accurate --members 0 2  fit some networks only
"""

import argparse
import json
from pathlib import Path

import torch
import yaml

from experiments.training.cross_validate import show
from surrogates.training.stack import StackConfig, train_stack


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="experiments/training/accurate.yaml")
    parser.add_argument("--members", type=int, nargs="*", default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = StackConfig.from_mapping(yaml.safe_load(Path(given.config).read_text(encoding="utf-8")))
    print(json.dumps(train_stack(config, given.members, show).metrics, indent=1))


if __name__ == "__main__":
    main()
