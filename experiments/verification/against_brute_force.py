"""The internal-strain formula against relaxing the ions of every strained cell, same potential.

`python -m experiments.verification.against_brute_force 7net-0`
"""

import argparse
import time

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from inverse.verification.potentials import limit_threads, load_potential
from inverse.verification.relaxation import RelaxationSettings, relax
from inverse.verification.stiffness import StiffnessSettings, stiffness
from inverse.verification.symmetric_cell import SymmetricCell
from surrogates import elasticity
from tests.inverse.verification.brute_force import brute_force_stiffness

FORCE = 0.002

CRYSTALS = {
    "Si": Structure.from_spacegroup(227, Lattice.cubic(5.45), ["Si"], [[0, 0, 0]]),
    "WC": Structure(Lattice.hexagonal(2.91, 2.84), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]),
    "TiO2": Structure.from_spacegroup(
        136, Lattice.tetragonal(4.6, 2.95), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    ),
    "TiB2": Structure(
        Lattice.hexagonal(3.03, 3.22), ["Ti", "B", "B"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]]
    ),
    "SiO2": Structure.from_spacegroup(
        154, Lattice.hexagonal(5.0, 5.5), ["Si", "O"], [[0.47, 0, 2 / 3], [0.41, 0.27, 0.785]]
    ),
    "FeB": Structure.from_spacegroup(
        62, Lattice.orthorhombic(5.3, 2.95, 4.0), ["Fe", "B"], [[0.177, 0.25, 0.125], [0.03, 0.25, 0.62]]
    ),
}


def moduli(tensor: np.ndarray) -> tuple[float, float]:
    """Return Hill K and G, GPa."""
    stacked = torch.as_tensor(np.array(tensor))[None]
    return float(elasticity.hill_bulk_modulus(stacked)), float(elasticity.hill_shear_modulus(stacked))


def main() -> None:
    """Print both answers and what they cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("potential")
    parser.add_argument("names", nargs="*", default=list(CRYSTALS))
    options = parser.parse_args()
    limit_threads()
    potential = load_potential(options.potential)
    for name in options.names:
        tight = RelaxationSettings(force=FORCE, stress=0.05)
        cell = relax(SymmetricCell.from_structure(CRYSTALS[name]), potential, tight).cell
        cell = SymmetricCell.from_structure(cell.to_structure())
        started = time.process_time()
        ours = stiffness(cell, potential, StiffnessSettings(repeat_factor=0.0))
        middle = time.process_time()
        theirs = brute_force_stiffness(cell.to_structure(), potential.calculator, True, 0.01, FORCE)
        ended = time.process_time()
        bulk, shear = moduli(theirs)
        print(
            f"{name}: formula K {ours.bulk_modulus:.1f} G {ours.shear_modulus:.1f} "
            f"in {middle - started:.1f} s, "
            f"brute force K {bulk:.1f} G {shear:.1f} in {ended - middle:.1f} s, "
            f"clamped G {moduli(ours.clamped)[1]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
