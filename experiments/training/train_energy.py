"""Fit or resume the formation-energy members, then join them to the structure weights.

    python -m experiments.training.train_energy          fit what is missing, join
    python -m experiments.training.train_energy --join   join only, to the moduli that are packaged

Error bars for new crystals are fitted anew for both. The accurate tier stands on these weights: `python -m
experiments.training.fit_accurate` afterwards.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from experiments.training.cross_validate import show
from surrogates.checkpoints.checkpoint import load_surrogate, save_checkpoint
from surrogates.datasets.elasticity import elasticity_rows
from surrogates.datasets.energies import energy_rows
from surrogates.physics.properties import FORMATION_ENERGY
from surrogates.tiers.ensemble import MemberGroup, StructureSurrogate
from surrogates.training.configs import TrainingConfig
from surrogates.training.energy import train_energy
from surrogates.training.new_crystals import for_new_crystals
from surrogates.training.structure import load_energy_group


def join(config: TrainingConfig) -> dict[str, Any]:
    """Write the packaged moduli with the fitted energies, and return the new entries of the record."""
    old = load_surrogate(config.output)
    energy = load_energy_group(config)
    groups, record = [], dict(old.record)
    graphs = Path(config.work) / "graphs"
    formulas = {row["formula"] for row in elasticity_rows()}
    for group in old.groups:
        assert isinstance(group, MemberGroup)
        if group.properties == (FORMATION_ENERGY,) and energy is not None:
            group, metrics = energy
            learned = {row["formula"] for row in energy_rows()}
            group, new = for_new_crystals(group, group.networks[0].config.reach, graphs, learned)
            record[FORMATION_ENERGY.name] = {**metrics, "new_crystals": new}
        else:
            group, new = for_new_crystals(group, group.networks[0].config.reach, graphs, formulas)
            record["new_crystals"] = {**record.get("new_crystals", {}), **new}
        groups.append(group)
    surrogate = StructureSurrogate(groups, old.domain, old.correlation, old.reach, old.name, record)
    save_checkpoint(surrogate.to_checkpoint(), config.output)
    return {name: record.get(name) for name in ("new_crystals", FORMATION_ENERGY.name)}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--join", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = TrainingConfig.from_yaml(Path("experiments/training/structure.yaml"))
    if not given.join:
        print(json.dumps(train_energy(config, show), indent=1))
    print(json.dumps(join(config), indent=1))


if __name__ == "__main__":
    main()
