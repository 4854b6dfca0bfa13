"""The plain way to a relaxed-ion tensor: strain the cell, relax every ion by ASE, read the stress."""

import numpy as np
from ase.calculators.calculator import Calculator
from ase.optimize import BFGS
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from inverse.verification.symmetric_cell import VOIGT_PAIRS
from surrogates.units import GPA_PER_EV_PER_A3


def brute_force_stiffness(
    structure: Structure, calculator: Calculator, relax_ions: bool, size: float = 0.01, force: float = 1e-3
) -> np.ndarray:
    """Return the (6, 6) stiffness, GPa, from twelve strained cells."""
    columns = []
    for i, j in VOIGT_PAIRS:
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = size if i == j else size / 2
        stresses = [_stress(structure, sign * strain, calculator, relax_ions, force) for sign in (1, -1)]
        columns.append((stresses[0] - stresses[1]) / (2 * size))
    tensor = np.array(columns) * GPA_PER_EV_PER_A3
    return 0.5 * (tensor + tensor.T)


def _stress(
    structure: Structure, strain: np.ndarray, calculator: Calculator, relax_ions: bool, force: float
) -> np.ndarray:
    atoms = AseAtomsAdaptor.get_atoms(structure)
    atoms.set_cell(np.asarray(atoms.cell) @ (np.eye(3) + strain), scale_atoms=True)
    atoms.calc = calculator
    if relax_ions:
        BFGS(atoms, logfile=None).run(fmax=force, steps=500)
    stress = atoms.get_stress(voigt=False)
    return np.array([stress[i, j] for i, j in VOIGT_PAIRS])
