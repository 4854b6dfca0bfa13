"""The plain way to a relaxed-ion tensor, as the benchmark has it: strain, relax ions, read the stress."""

import numpy as np
from ase.calculators.calculator import Calculator
from pymatgen.core import Structure

from inverse.benchmarks.verification.strained_cells import strained_cells


def brute_force_stiffness(
    structure: Structure, calculator: Calculator, relax_ions: bool, size: float = 0.01, force: float = 1e-3
) -> np.ndarray:
    """Return the (6, 6) stiffness, GPa, from twelve strained cells, all of them relaxed."""
    found = strained_cells(structure, calculator, relax_ions, size, force)
    assert found.n_unconverged == 0
    return found.tensor
