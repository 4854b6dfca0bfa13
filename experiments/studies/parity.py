"""CPU against CUDA, same crystals, same potential: `python -m experiments.studies.parity rows.jsonl.gz`.

Energy, forces and stress of each cell and of the same cell strained; exit status 1 beyond the tolerance.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.package_data.queue import read_rows
from inverse.benchmarks.dft_rows import structure_of
from inverse.potentials.batches import SinglePoint
from inverse.potentials.loading import load_potential
from inverse.potentials.symmetric_cell import SymmetricCell

TOLERANCE = 1e-4
"""Relative; of the largest component for forces and stresses, whose floors are 1 eV/Å and 0.01 eV/Å³."""


def parity(rows: Sequence[dict[str, Any]], potential: str, devices: tuple[str, str]) -> dict[str, Any]:
    """Return the largest relative differences of two devices over cells, each as it is and strained."""
    first, second = (load_potential(potential, device) for device in devices)
    usable = [row for row in rows if set(row["species"]) <= first.elements]
    cells = [SymmetricCell.from_structure(structure_of(row)) for row in usable]
    strain = np.array([[0.01, 0.004, 0.0], [0.004, -0.01, 0.0], [0.0, 0.0, 0.005]])
    cells += [cell.moved(strain) for cell in cells]
    worst = {"energy": 0.0, "forces": 0.0, "stress": 0.0}
    for one, other in zip(first.evaluate_many(cells), second.evaluate_many(cells), strict=True):
        if not (isinstance(one, SinglePoint) and isinstance(other, SinglePoint)):
            return {"potential": potential, "passed": False, "reason": f"{one} / {other}"}
        for name, floor in (("energy", 1.0), ("forces", 1.0), ("stress", 0.01)):
            a, b = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
            difference = float(np.abs(a - b).max() / max(floor, float(np.abs(a).max())))
            worst[name] = max(worst[name], difference)
    passed = bool(cells) and max(worst.values()) <= TOLERANCE
    return {"potential": potential, "devices": devices, "cells": len(cells), "worst": worst, "passed": passed}


def main() -> int:
    """Write one line per potential; return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=Path)
    parser.add_argument("--potentials", nargs="+", default=["7net-0", "7net-l3i5", "diep"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--limit", type=int, default=20)
    options = parser.parse_args()
    rows = read_rows(options.rows)[: options.limit]
    found = [parity(rows, name, ("cpu", options.device)) for name in options.potentials]
    for line in found:
        sys.stdout.write(json.dumps(line) + "\n")
    return 0 if all(line["passed"] for line in found) else 1


if __name__ == "__main__":
    sys.exit(main())
