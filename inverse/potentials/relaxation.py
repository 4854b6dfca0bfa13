"""Relaxation of cell and positions by a potential, inside the crystal's symmetry."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure
from inverse.potentials.batches import SinglePoint
from inverse.potentials.inquiry import Inquiry, Question, answered
from inverse.potentials.limits import Deadline, exceeded
from inverse.potentials.loading import Potential
from inverse.potentials.symmetric_cell import SymmetricCell, mandel_to_tensor, voigt_to_mandel
from surrogates.physics.units import GPA_PER_EV_PER_A3

STIFFNESS_GUESS = 1.0
"""First guess of every elastic constant, eV/Å³ (160 GPa)."""

FORCE_CONSTANT_GUESS = 15.0
"""First guess of every force constant, eV/Å²."""


class Free(StrEnum):
    """What a relaxation may change, inside the crystal's symmetry."""

    CELL = "cell"
    """The whole cell and the positions."""
    SHAPE = "shape"
    """The cell's shape at its volume, to first order in a step, and the positions."""
    IONS = "ions"
    """The positions alone."""


@dataclass(frozen=True)
class RelaxationSettings:
    """When a relaxation is done and when it has failed.

    Attributes:
        force: largest force left, eV/Å; also bounds the virial per atom, eV.
        stress: largest stress left, GPa.
        steps: evaluations allowed.
        volume_change: largest ratio of volumes (either way) that still counts as the same crystal.
        shortest_distance: atoms closer than this have collided, Å.
    """

    force: float = 0.02
    stress: float = 0.15
    steps: int = 150
    volume_change: float = 1.5
    shortest_distance: float = 0.55


@dataclass(frozen=True)
class Relaxed:
    """A relaxed cell.

    Attributes:
        cell: relaxed, with the symmetry it started with.
        energy: of the cell, eV.
        steps: evaluations used.
        force: largest force left, eV/Å.
        stress: largest stress left in what was free to change, GPa.
        point: what the potential says of the cell.
        remaining: eV by which the energy would still fall, by the gradient that is left and the Hessian.
        hessian: as the steps taught it, of strains and displacements that were free, eV and eV/Å².
    """

    cell: SymmetricCell
    energy: float
    steps: int
    force: float
    stress: float
    point: SinglePoint
    remaining: float
    hessian: np.ndarray


def relax(
    cell: SymmetricCell,
    potential: Potential,
    settings: RelaxationSettings | None = None,
    deadline: Deadline = float("inf"),
) -> Relaxed:
    """Return the cell relaxed by quasi-Newton steps in what its symmetry leaves free.

    A handful of variables (one for rock salt) instead of 3A + 9, so that noise cannot break the symmetry.
    Deterministic.

    Args:
        cell: where to start.
        potential: what to relax with.
        settings: when to stop.
        deadline: a limit, or the `time.monotonic()` after which to give up.

    Raises:
        CrystalFailureError: colliding atoms, exploding or collapsing cell, no convergence, time limit, a
            potential that failed.
    """
    return answered(relaxing(cell, potential, settings, deadline))


def relaxing(
    cell: SymmetricCell,
    potential: Potential,
    settings: RelaxationSettings | None = None,
    deadline: Deadline = float("inf"),
    free: Free = Free.CELL,
    hessian: np.ndarray | None = None,
) -> Inquiry[Relaxed]:
    """Return `relax` as an inquiry, for several crystals side by side; the same arguments and errors.

    Args:
        cell: as of `relax`, like the next three.
        potential: what to relax with.
        settings: when to stop.
        deadline: when to give up.
        free: what may change.
        hessian: of an earlier relaxation of as many free variables, to start with; None guesses.
    """
    return _Descent(cell, potential, settings or RelaxationSettings(), deadline, free, hessian).run()


class _Descent:
    """State of one relaxation: where it stands, its gradient and its Hessian."""

    def __init__(
        self,
        cell: SymmetricCell,
        potential: Potential,
        settings: RelaxationSettings,
        deadline: Deadline,
        free: Free,
        hessian: np.ndarray | None,
    ) -> None:
        self.start, self.cell = cell, cell
        self.potential, self.settings, self.deadline = potential, settings, deadline
        self.strains = strains_within(cell, free)
        self.n_strains = len(self.strains)
        curvature = [STIFFNESS_GUESS * cell.volume] * self.n_strains
        curvature += [FORCE_CONSTANT_GUESS] * len(cell.free_displacements)
        self.hessian = np.diag(curvature) if hessian is None else hessian
        self.trust = 1.0
        self.steps = 0

    def run(self) -> Inquiry[Relaxed]:
        point = yield from self._evaluate(self.cell)
        gradient = self._gradient(self.cell, point)
        while not self._is_done(self.cell, point):
            step = self._step(gradient)
            trial = self._apply(step)
            trial_point = yield from self._evaluate(trial)
            trial_gradient = self._gradient(trial, trial_point)
            self._update(step, trial_gradient - gradient)
            rise = (trial_point.energy - point.energy) / self.cell.n_atoms
            if rise > 1e-3 and np.linalg.norm(trial_gradient) > 0.5 * np.linalg.norm(gradient):
                self.trust *= 0.4
                if self.trust < 1e-3:
                    raise CrystalFailureError(
                        f"{self.potential.name}: relaxation is stuck, energy is not smooth",
                        Failure.NOT_CONVERGED,
                    )
                continue
            self.trust = min(1.0, 1.5 * self.trust)
            self.cell, point, gradient = trial, trial_point, trial_gradient
        force, stress, _ = self._residuals(self.cell, point)
        remaining = 0.5 * float(gradient @ self._unconstrained(gradient))
        return Relaxed(self.cell, point.energy, self.steps, force, stress, point, remaining, self.hessian)

    def _evaluate(self, cell: SymmetricCell) -> Inquiry[SinglePoint]:
        settings, name = self.settings, self.potential.name
        if limit := exceeded(self.deadline):
            raise CrystalFailureError(f"time limit during relaxation by {name}: {limit}", Failure.TIME_LIMIT)
        if self.steps >= settings.steps:
            raise CrystalFailureError(
                f"{name}: not relaxed within {settings.steps} steps", Failure.NOT_CONVERGED
            )
        ratio = cell.volume / self.start.volume
        if not 1 / settings.volume_change <= ratio <= settings.volume_change:
            raise CrystalFailureError(
                f"{name}: volume changed to {ratio:.2f} of the start during relaxation",
                Failure.VOLUME_CHANGED,
            )
        apart = shortest_distance(cell)
        if apart < settings.shortest_distance:
            raise CrystalFailureError(
                f"{name}: colliding atoms, {apart:.2f} Å apart", Failure.COLLIDING_ATOMS
            )
        self.steps += 1
        (point,) = yield Question(self.potential, (cell,))
        return point

    def _gradient(self, cell: SymmetricCell, point: SinglePoint) -> np.ndarray:
        by_strain = self.strains @ (cell.volume * voigt_to_mandel(point.stress))
        by_displacement = -self.start.free_displacements @ point.forces.ravel()
        return np.concatenate([by_strain, by_displacement])

    def _residuals(self, cell: SymmetricCell, point: SinglePoint) -> tuple[float, float, float]:
        """Return the symmetric part's largest force (eV/Å), stress (GPa) and virial per atom (eV)."""
        gradient = self._gradient(cell, point)
        free = self.start.free_displacements
        forces = (gradient[self.n_strains :] @ free).reshape(-1, 3)
        stress = mandel_to_tensor(gradient[: self.n_strains] @ self.strains) / cell.volume
        force = float(np.linalg.norm(forces, axis=1).max(initial=0.0))
        largest = float(np.abs(stress).max())
        return force, largest * GPA_PER_EV_PER_A3, largest * cell.volume / cell.n_atoms

    def _is_done(self, cell: SymmetricCell, point: SinglePoint) -> bool:
        force, stress, virial = self._residuals(cell, point)
        limit = self.settings
        return force <= limit.force and stress <= limit.stress and virial <= limit.force

    def _unconstrained(self, gradient: np.ndarray) -> np.ndarray:
        """Return minus the quasi-Newton step."""
        values, vectors = np.linalg.eigh(self.hessian)
        floor = 1e-3 * FORCE_CONSTANT_GUESS
        return np.asarray(vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), floor)))

    def _step(self, gradient: np.ndarray) -> np.ndarray:
        step = -self._unconstrained(gradient)
        strain = np.abs(step[: self.n_strains] @ self.strains).max(initial=0.0)
        shift = np.abs(step[self.n_strains :] @ self.start.free_displacements).max(initial=0.0)
        return step * min(1.0, 0.04 * self.trust / max(strain, 1e-12), 0.12 * self.trust / max(shift, 1e-12))

    def _apply(self, step: np.ndarray) -> SymmetricCell:
        strain = mandel_to_tensor(step[: self.n_strains] @ self.strains)
        shift = (step[self.n_strains :] @ self.start.free_displacements).reshape(-1, 3)
        return self.cell.moved(strain, shift)

    def _update(self, step: np.ndarray, change: np.ndarray) -> None:
        """BFGS; a step along which the energy curves downwards is left out."""
        curvature = float(step @ change)
        if curvature < 1e-4 * float(step @ step):
            return
        pushed = self.hessian @ step
        self.hessian = (
            self.hessian
            + np.outer(change, change) / curvature
            - np.outer(pushed, pushed) / float(step @ pushed)
        )


def strains_within(cell: SymmetricCell, free: Free) -> np.ndarray:
    """Return (n, 6) orthonormal Mandel strains that keep the symmetry and that a relaxation may make.

    >>> from pymatgen.core import Lattice, Structure
    >>> hcp = Structure(Lattice.hexagonal(2.5, 4.0), ["Co"] * 2, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
    >>> cell = SymmetricCell.from_structure(hcp)
    >>> [len(strains_within(cell, free)) for free in Free]
    [2, 1, 0]
    """
    if free is Free.IONS:
        return np.zeros((0, 6))
    if free is Free.CELL:
        return cell.free_strains
    isotropic = voigt_to_mandel(np.eye(3)) / np.sqrt(3.0)
    deviatoric = cell.free_strains - np.outer(cell.free_strains @ isotropic, isotropic)
    _, sizes, axes = np.linalg.svd(deviatoric, full_matrices=False)
    return np.asarray(axes[sizes > 1e-8])


def shortest_distance(cell: SymmetricCell) -> float:
    """Return the shortest distance between two atoms of the crystal, periodic images included, Å."""
    images = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    apart = cell.frac_coords[:, None, :] - cell.frac_coords[None, :, :]
    apart = apart - np.round(apart)
    vectors = (apart[:, :, None, :] + images) @ cell.lattice
    distance = np.linalg.norm(vectors, axis=-1)
    distance[distance < 1e-8] = np.inf
    same_site = ~np.eye(cell.n_atoms, dtype=bool)[:, :, None] & np.isinf(distance)
    return 0.0 if bool(same_site.any()) else float(distance.min())
