"""The plain way to a relaxed-ion tensor: strain the cell, relax every ion with ASE, read the stress."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import BFGS
from pymatgen.core import Structure

from inverse.potentials.loading import load_potential, quiet
from inverse.potentials.symmetric_cell import VOIGT_PAIRS
from inverse.verification.store import VerificationStore, verification_key
from surrogates.physics.units import GPA_PER_EV_PER_A3

FORCE = 0.002
"""Largest force left on an ion of a strained cell, eV/Å."""

STRAIN = 0.01
STEPS = 500
TASK = "tensor with the ions of every strained cell relaxed"
SETTINGS = f"BFGS {FORCE} eV/A, strain {STRAIN}, {STEPS} steps"


@dataclass(frozen=True)
class StrainedCells:
    """The tensor from twelve strained cells.

    Attributes:
        tensor: (6, 6) GPa, Voigt, engineering shear.
        n_unconverged: cells whose ions were not relaxed within the steps allowed.
    """

    tensor: np.ndarray
    n_unconverged: int


def strained_cells(
    structure: Structure,
    calculator: Calculator,
    relax_ions: bool = True,
    size: float = STRAIN,
    force: float = FORCE,
) -> StrainedCells:
    """Return the stiffness from twelve strained cells, no symmetry used, nothing shared with `stiffness`.

    Args:
        structure: relaxed.
        calculator: any with forces and stress.
        relax_ions: False leaves them at fixed fractional coordinates.
        size: of every strain (engineering, for shear), either sign.
        force: largest force left on an ion, eV/Å.
    """
    columns, n_unconverged, hessian = [], 0, None
    start = structure.cart_coords
    for i, j in VOIGT_PAIRS:
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = size if i == j else size / 2
        stresses, shift = [], np.zeros_like(start)
        for deformation in (np.eye(3) + strain, np.eye(3) - strain):
            # the second cell starts from the first one's answer, mirrored
            atoms = Atoms(
                numbers=structure.atomic_numbers,
                cell=structure.lattice.matrix @ deformation,
                positions=start @ deformation - shift,
                pbc=True,
            )
            atoms.calc = calculator
            if relax_ions:
                converged, hessian = _relax_ions(atoms, force, hessian)
                n_unconverged += not converged
                shift = atoms.positions - start @ deformation
            stress = atoms.get_stress(voigt=False)
            stresses.append(np.array([stress[k, m] for k, m in VOIGT_PAIRS]))
        columns.append((stresses[0] - stresses[1]) / (2 * size))
    tensor = np.array(columns) * GPA_PER_EV_PER_A3
    return StrainedCells(0.5 * (tensor + tensor.T), n_unconverged)


def stored_strained_cells(
    structure: Structure, potential: str, store: VerificationStore, compute: bool = True
) -> StrainedCells | None:
    """Return the tensor of a cell that a judge relaxed, from the store; None where it is not there yet.

    Args:
        structure: canonical, as `Judge.relax` returns it.
        potential: its name.
        store: where it is remembered.
        compute: False only looks it up.
    """
    key = verification_key(structure, potential, TASK, SETTINGS)
    row = store.get(key)
    if row is None and compute:
        with quiet():
            found = strained_cells(structure, load_potential(potential).calculator)
        row = {"tensor": np.round(found.tensor, 3).tolist(), "n_unconverged": found.n_unconverged}
        store.put(key, row, structure.composition.reduced_formula, potential, TASK, SETTINGS)
    return None if row is None else StrainedCells(np.array(row["tensor"]), int(row["n_unconverged"]))


def _relax_ions(atoms: Atoms, force: float, hessian: np.ndarray | None) -> tuple[bool, np.ndarray | None]:
    """Relax positions in place; return whether it converged, and the Hessian learned on the way."""
    descent = BFGS(atoms, logfile=None)
    if hessian is not None:
        descent.H0 = hessian
    converged = bool(descent.run(fmax=force, steps=STEPS))
    return converged, hessian if descent.state is None else descent.H
