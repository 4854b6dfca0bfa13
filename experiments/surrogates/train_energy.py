"""Fit or resume the formation-energy members, then join them to the structure weights.

Run: python -m experiments.surrogates.train_energy
"""

import json
from pathlib import Path

import torch

from experiments.surrogates.cross_validate import show
from surrogates.energy_training import train_energy
from surrogates.training import TrainingConfig, train


def main() -> None:
    """Run from the command line."""
    torch.set_num_threads(1)
    config = TrainingConfig.from_yaml(Path("experiments/surrogates/structure.yaml"))
    print(json.dumps(train_energy(config, show), indent=1))
    train(config, members=[])


if __name__ == "__main__":
    main()
