"""Morse pairs between all elements: a fast analytic potential that imports nothing heavy."""

from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

CUTOFF = 6.0
STEEPNESS = 1.5
DEPTH = 0.6


class Pairwise(Calculator):
    """Morse pairs between all elements, smooth to zero at the cutoff; rest at the sum of covalent radii."""

    implemented_properties: ClassVar = ["energy", "free_energy", "forces", "stress"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        i, j, d, vectors = neighbor_list("ijdD", self.atoms, CUTOFF)
        radii = covalent_radii[self.atoms.numbers]
        rest = 1.05 * (radii[i] + radii[j])
        decay = np.exp(-STEEPNESS * (d - rest))
        pair, slope = DEPTH * (decay**2 - 2 * decay), 2 * STEEPNESS * DEPTH * (decay - decay**2)
        x = d / CUTOFF
        smooth, smooth_slope = (1 - x**2) ** 3, -6 * x * (1 - x**2) ** 2 / CUTOFF
        energy = 0.5 * float((pair * smooth).sum())
        along = (slope * smooth + pair * smooth_slope)[:, None] * vectors / d[:, None]
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, along)
        virial = 0.5 * along.T @ vectors
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": forces,
            "stress": virial / self.atoms.get_volume(),
        }
