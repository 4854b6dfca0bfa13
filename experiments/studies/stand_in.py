"""A fast ASE calculator that knows every element: Morse pairs. For kill tests, not for physics."""

from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

DEPTH, STIFFNESS, REACH = 0.6, 1.4, 5.5


class Morse(Calculator):
    """Morse pairs whose distance is the sum of covalent radii; eV, Å."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE's own contract

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        i, j, d, vector = neighbor_list("ijdD", self.atoms, REACH)
        radii = covalent_radii[self.atoms.numbers]
        x = np.exp(-STIFFNESS * (d - radii[i] - radii[j]))
        window = 0.5 * (1 + np.cos(np.pi * d / REACH))
        slope_window = -0.5 * np.pi / REACH * np.sin(np.pi * d / REACH)
        pair = DEPTH * (x**2 - 2 * x)
        slope = DEPTH * -STIFFNESS * (2 * x**2 - 2 * x)
        energy = 0.5 * (pair * window).sum()
        force = ((slope * window + pair * slope_window) / np.maximum(d, 1e-9))[:, None] * vector
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, force)
        virial = 0.5 * np.einsum("ij,ik->jk", vector, force) / self.atoms.get_volume()
        stress = virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        self.results = {"energy": energy, "free_energy": energy, "forces": forces, "stress": stress}


def calculator() -> Morse:
    """Return the stand-in calculator."""
    return Morse()
