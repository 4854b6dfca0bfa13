"""Bulk modulus by an equation of state: Voigt's at fixed shape, Reuss' with the shape relaxed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure
from inverse.potentials.inquiry import Inquiry
from inverse.potentials.loading import Potential
from inverse.potentials.relaxation import Free, RelaxationSettings, Relaxed, relaxing, strains_within
from inverse.potentials.symmetric_cell import SymmetricCell, mandel_to_tensor, voigt_to_mandel
from surrogates.physics.units import GPA_PER_EV_PER_A3

VOLUMES = (1.0, 0.97, 1.03, 0.94, 1.06)
"""Of the relaxed one; each begins where its neighbour ended."""

NEAR = VOLUMES[:3]
"""Volumes that tell the lowest energy of a crystal whose modulus nobody asks for."""

SHAPE_STRAIN = 0.01
"""Mandel length of the strains, at constant volume to first order, that tell how stiff the shape is."""

RELAXATION = RelaxationSettings(force=0.03, stress=1.0, steps=40)
"""Positions and cell; what is left of the gradient is taken off the energies to second order."""

FARTHEST, NEAR_ENOUGH, MOVES = 1.12, 1.04, 5
"""Ratio of volumes, either way, that a parabola through `NEAR` may ask for, and that needs no move; moves."""

OF_ONE_CALCULATION = frozenset({Failure.NOT_CONVERGED, Failure.TIME_LIMIT, Failure.POTENTIAL})
"""Failures of a strained shape that say nothing of the crystal: its modulus at fixed shape stands."""

_ISOTROPIC = voigt_to_mandel(np.eye(3)) / np.sqrt(3.0)


@dataclass(frozen=True)
class BulkModulus:
    """A bulk modulus with what is needed to trust it.

    Attributes:
        voigt: at fixed shape, ions relaxed, GPa: the mean of the next two.
        reuss: shape relaxed too, GPa; None where a calculation of a strained shape failed.
        by_energy: Voigt's by the energies, GPa.
        by_stress: Voigt's by the pressures, GPa.
        fit_error: half the difference of both, or what the energies leave of their fit if that is more, GPa.
        volume: at the lowest energy, Å³.
        energy: the lowest, of the cell, eV.
        why_no_reuss: what failed at a strained shape, "" where nothing did.
    """

    voigt: float
    reuss: float | None
    by_energy: float
    by_stress: float
    fit_error: float
    volume: float
    energy: float
    why_no_reuss: str = ""

    def hill(self, softening: float = math.nan) -> float:
        """Return the mean of Voigt's and Reuss', GPa.

        Args:
            softening: K_V - K_R that somebody else says, GPa; used where there is no `reuss`.
        """
        return 0.5 * (self.voigt + (self.voigt - softening if self.reuss is None else self.reuss))

    def error(self, softening: float = math.nan) -> float:
        """Return the error of `hill`, GPa: of the fit, and all of a softening that DFT did not compute."""
        return math.hypot(self.fit_error, softening if self.reuss is None else 0.0)


def bulk_modulus(
    cell: SymmetricCell, potential: Potential, volumes: Sequence[float] = VOLUMES
) -> Inquiry[BulkModulus]:
    """Return the bulk modulus of a crystal whose shape this potential relaxed.

    K_V is the curvature of a Birch-Murnaghan fit to energies at five volumes, fixed shape, ions relaxed, and
    the slope of pressures at the same volume, one with a complete basis. The steps by which plane waves
    enter at a fixed cutoff spoil the curvature of energies and the offset of pressures; the mean counts.
    Relaxing the shape at each volume lowers them, to second order, by what the stress off the isotropic one
    does against the stiffness of the shape: K_R = (c00 - c0d cdd^-1 cd0) / 3 in Mandel components, with 0 the
    isotropic direction and d the strains that keep symmetry and volume. Cubic crystals have none: K_R = K_V.

    Args:
        cell: relaxed; its volume need not be that of the lowest energy.
        potential: what to ask, always on one mesh.
        volumes: as shares of the cell's: its own, then a smaller, a larger, and at least two more.

    Raises:
        CrystalFailureError: a relaxation failed, or the energies have no minimum among the volumes.
    """
    at = yield from _at_volumes(cell, potential, volumes)
    ratios = sorted(at)
    sizes = np.array([ratio * cell.volume for ratio in ratios])
    energies = np.array([at[ratio].energy - at[ratio].remaining for ratio in ratios])
    fit = birch_murnaghan(sizes, energies)
    pressures = np.array([-np.trace(at[ratio].point.stress) / 3.0 for ratio in ratios])
    by_stress = modulus_of_pressures(sizes, pressures, fit.volume)
    voigt = 0.5 * (fit.modulus + by_stress)
    reuss, why_no_reuss = None, ""
    try:
        softening = yield from _softening(at[1.0], potential, at[volumes[1]], at[volumes[2]])
        reuss = float(voigt - softening)
    except CrystalFailureError as error:
        if error.failure not in OF_ONE_CALCULATION:
            raise
        why_no_reuss = str(error)
    return BulkModulus(
        voigt=float(voigt),
        reuss=reuss,
        by_energy=float(fit.modulus),
        by_stress=by_stress,
        fit_error=float(max(fit.error, 0.5 * abs(fit.modulus - by_stress))),
        volume=float(fit.volume),
        energy=float(fit.energy),
        why_no_reuss=why_no_reuss,
    )


def lowest_energy(cell: SymmetricCell, potential: Potential) -> Inquiry[tuple[float, float]]:
    """Return the lowest energy (of the cell, eV) over its volume, and that volume, Å³.

    The shape is fixed, ions are relaxed. Three volumes and a parabola in V^(-2/3): a stress with an offset,
    as a finite basis gives it, would squeeze a soft crystal.

    Where the minimum lies far off, the volume is one step nearer to it and the energy means nothing.

    Raises:
        CrystalFailureError: a relaxation failed.
    """
    at = yield from _at_volumes(cell, potential, NEAR)
    sizes = np.array([ratio * cell.volume for ratio in sorted(at)])
    energies = np.array([at[ratio].energy - at[ratio].remaining for ratio in sorted(at)])
    parabola = np.poly1d(np.polyfit((sizes / cell.volume) ** (-2.0 / 3.0), energies, 2))
    lowest = float(-0.5 * parabola.coeffs[1] / parabola.coeffs[0]) if parabola.coeffs[0] > 0 else np.nan
    volume = cell.volume * lowest**-1.5 if lowest > 0 else np.nan
    if not 1.0 / FARTHEST <= volume / cell.volume <= FARTHEST:
        volume = float(sizes[energies.argmin()]) * (FARTHEST if energies.argmin() else 1.0 / FARTHEST)
    return float(parabola(lowest)), float(volume)


def centred(cell: SymmetricCell, potential: Potential) -> Inquiry[tuple[SymmetricCell, float]]:
    """Return the cell at, or near, the volume of its lowest energy, and that energy (of the cell, eV).

    A judge's volume within `NEAR_ENOUGH` of it is left as it is: what was calculated there is used again.

    Raises:
        CrystalFailureError: a relaxation failed, or no minimum within `MOVES` moves of the volume.
    """
    for _ in range(MOVES):
        energy, volume = yield from lowest_energy(cell, potential)
        ratio = volume / cell.volume
        if 1.0 / NEAR_ENOUGH <= ratio <= NEAR_ENOUGH:
            return cell, energy
        cell = cell.moved((ratio ** (1.0 / 3.0) - 1.0) * np.eye(3))
    raise CrystalFailureError("the energy has no minimum near the judge's volume", Failure.VOLUME_CHANGED)


def _at_volumes(
    cell: SymmetricCell, potential: Potential, volumes: Sequence[float]
) -> Inquiry[dict[float, Relaxed]]:
    """Return the cell, ions relaxed, at shares of its volume; each begins where its neighbour ended."""
    at: dict[float, Relaxed] = {}
    for ratio in volumes:
        near = at[min(at, key=lambda r: abs(r - ratio))] if at else None
        scaled = _scaled(cell, ratio, near)
        hessian = None if near is None else near.hessian
        at[ratio] = yield from relaxing(scaled, potential, RELAXATION, free=Free.IONS, hessian=hessian)
    return at


@dataclass(frozen=True)
class Fit:
    """An equation of state: volume Å³, energy eV, modulus and its standard deviation GPa."""

    volume: float
    energy: float
    modulus: float
    error: float


def birch_murnaghan(volumes: np.ndarray, energies: np.ndarray) -> Fit:
    """Return the third-order Birch-Murnaghan equation of state through energies.

    Linear in powers of V^(-2/3), so that the fit has one answer.

    Args:
        volumes: (N,) Å³, N > 4.
        energies: (N,) eV.

    Raises:
        CrystalFailureError: no minimum within the volumes.

    References:
        Birch, Phys. Rev. 71, 809 (1947), doi:10.1103/PhysRev.71.809
    """
    scale = float(np.median(volumes))
    x = (volumes / scale) ** (-2.0 / 3.0)
    design = np.vander(x, 4)
    coefficients, *_ = np.linalg.lstsq(design, energies, rcond=None)
    cubic = np.poly1d(coefficients)
    slope, curvature = cubic.deriv(1), cubic.deriv(2)
    minima = [r.real for r in slope.roots if abs(r.imag) < 1e-12 and curvature(r.real) > 0]
    inside = [r for r in minima if x.min() <= r <= x.max()]
    if not inside:
        raise CrystalFailureError(
            "the energy has no minimum among the volumes of the equation of state", Failure.VOLUME_CHANGED
        )
    x0 = inside[0]
    volume = scale * x0**-1.5
    # V d2E/dV2 at the minimum, where dE/dx = 0: E'' (dx/dV)^2 V with dx/dV = -2 x / (3 V)
    per_curvature = (2.0 * x0 / 3.0) ** 2 / volume * GPA_PER_EV_PER_A3
    left = energies - cubic(x)
    variance = float(left @ left) / (len(x) - 4)
    covariance = variance * np.linalg.inv(design.T @ design)
    gradient = np.array([6.0 * x0, 2.0, 0.0, 0.0])
    error = per_curvature * float(np.sqrt(max(0.0, gradient @ covariance @ gradient)))
    return Fit(volume, float(cubic(x0)), per_curvature * float(curvature(x0)), error)


def modulus_of_pressures(volumes: np.ndarray, pressures: np.ndarray, volume: float) -> float:
    """Return -V dP/dV at a volume, GPa, by pressures of a Birch-Murnaghan equation of state and an offset.

    Args:
        volumes: (N,) Å³, N > 3.
        pressures: (N,) eV/Å³; what is added to all of them changes nothing.
        volume: where, Å³.
    """
    powers = np.array([2.5, 3.5, 4.5])  # of x = (V/V0)^(-2/3): the derivative of a cubic in x
    x = (volumes / volume) ** (-2.0 / 3.0)
    design = np.column_stack([x[:, None] ** powers, np.ones(len(x))])
    coefficients, *_ = np.linalg.lstsq(design, pressures, rcond=None)
    return float(2.0 / 3.0 * powers @ coefficients[:3]) * GPA_PER_EV_PER_A3


def _scaled(cell: SymmetricCell, ratio: float, near: Relaxed | None) -> SymmetricCell:
    """Return the cell at a share of its volume, its atoms where they were at the nearest volume."""
    strain = (ratio ** (1.0 / 3.0) - 1.0) * np.eye(3)
    scaled = cell.moved(strain)
    if near is None:
        return scaled
    displacement = (near.cell.frac_coords - cell.frac_coords) @ cell.lattice
    return cell.moved(strain, displacement)


def _softening(middle: Relaxed, potential: Potential, low: Relaxed, high: Relaxed) -> Inquiry[float]:
    """Return K_V - K_R, GPa."""
    axes = strains_within(middle.cell, Free.SHAPE)
    if not len(axes):
        return 0.0
    apart = (
        np.sqrt(3.0) * (np.cbrt(high.cell.volume) - np.cbrt(low.cell.volume)) / np.cbrt(middle.cell.volume)
    )
    coupling = (_along(axes, high) - _along(axes, low)) / apart
    shape = np.zeros((len(axes), len(axes)))
    for k, axis in enumerate(axes):
        ends = []
        for sign in (1.0, -1.0):
            strained = middle.cell.moved(mandel_to_tensor(sign * SHAPE_STRAIN * axis))
            one = yield from relaxing(strained, potential, RELAXATION, free=Free.IONS, hessian=middle.hessian)
            ends.append(_along(axes, one))
        shape[k] = (ends[0] - ends[1]) / (2.0 * SHAPE_STRAIN)
    shape = 0.5 * (shape + shape.T)
    if np.linalg.eigvalsh(shape)[0] <= 0:
        raise CrystalFailureError("the crystal gives way when its shape changes", Failure.IMPOSSIBLE_TENSOR)
    return float(coupling @ np.linalg.solve(shape, coupling)) / 3.0 * GPA_PER_EV_PER_A3


def _along(axes: np.ndarray, one: Relaxed) -> np.ndarray:
    """Return the stress along strains that keep the volume, eV/Å³."""
    return np.asarray(axes @ voigt_to_mandel(one.point.stress))
