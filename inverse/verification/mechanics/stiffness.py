"""Relaxed-ion stiffness from strained and displaced cells, as few of them as the symmetry needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure
from inverse.potentials.batches import SinglePoint
from inverse.potentials.inquiry import Inquiry, Question, answered
from inverse.potentials.limits import Deadline, exceeded
from inverse.potentials.loading import Potential
from inverse.potentials.symmetric_cell import (
    SHEAR,
    SymmetricCell,
    mandel_to_tensor,
    voigt_to_mandel,
    without_translation,
)
from surrogates.errors import ConfigError
from surrogates.physics import elasticity
from surrogates.physics.units import GPA_PER_EV_PER_A3

VOIGT_OF_MANDEL = np.outer([1, 1, 1, SHEAR, SHEAR, SHEAR], [1, 1, 1, SHEAR, SHEAR, SHEAR])
"""Mandel stiffness / Voigt stiffness with engineering shear, component by component."""

SOFT_MODE, LEFT_OF_CLAMPED, SOFT_STRAIN = 0.5, 0.4, 0.05
"""Limits of `is_near_unstable`, set before any comparison was made."""

UNSTABLE_MODE, UNSTABLE_TENSOR = "unstable_mode", "unstable_tensor"
UNSTABLE_FLAGS = (UNSTABLE_MODE, UNSTABLE_TENSOR)
"""Flags of a tensor that no stable crystal has."""

_VOIGT_STRAINS = np.concatenate([np.eye(6), *(np.eye(6)[None, k] + SHEAR * np.eye(6)[3:] for k in range(3))])
"""(15, 6) Mandel: pure normal strains, pure shears, and one of each of equal tensor components.

Where symmetry tells the responses to the two apart, one cell serves both.
"""

SPOILED = 0.5
"""eV/Å by which forces may break the symmetry that a strained or displaced cell has left.

A potential cannot tell apart what symmetry makes alike: forces that do are rounding errors, blown up. `diep`
has them where an angle is exactly 180°, energy and stress smooth beside them: calcite, sheared by 2 %, 16.8,
by 1.9 % 0.007, which is usual; OsN2 0.2, which its calibration has seen the likes of.
"""

OTHER_AMPLITUDES = (0.9, 0.8, 1.1)
"""Multiples of the sizes of record at which a pair with spoiled forces is asked again."""

LARGEST_ENTRY = 2000.0
"""GPa; no entry of a stiffness is larger: diamond's C11 is 1,080, lonsdaleite's C33 1,330."""

RELAXATION_NOISE = 1e-4
"""Of the stiffest, by which a relaxed-ion tensor may exceed the clamped one: rounding in records."""

OTHER_AMPLITUDE = "other_amplitude"
"""Flag of a tensor that could not be had at the strains of record alone."""

ATOMS_AT_ONCE = 500
"""Atoms in the cells asked about between two looks at the clock."""


@dataclass(frozen=True)
class StiffnessSettings:
    """Finite differences of the tensor; the defaults are the settings of record.

    Attributes:
        strain: size of the strains, either sign (engineering shear is twice a shear component).
        repeat_factor: the strains, and for a potential with a kink the displacements, are repeated at this
            multiple; 0 leaves the repetition out, and a kink in.
        displacement: largest displacement of an atom, Å.
        soft_mode: eV/Å²; a coupled mode below it softens nothing: it is dropped, below minus this unstable.
        amplitude_limit: relative difference of K or G between the two strain sizes that is flagged.
        only_bulk: only the strains that keep the whole symmetry, which decide K (Voigt, Reuss and Hill).
    """

    strain: float = 0.01
    repeat_factor: float = 2.0
    displacement: float = 0.015
    soft_mode: float = 0.02
    amplitude_limit: float = 0.05
    only_bulk: bool = False

    def __post_init__(self) -> None:
        """Refuse a repetition that repeats nothing.

        Raises:
            ConfigError: a factor other than 0 that is not above 1.
        """
        if self.repeat_factor and not self.repeat_factor > 1:
            raise ConfigError(f"repeat_factor: {self.repeat_factor} is neither 0 nor above 1")


@dataclass(frozen=True)
class Stiffness:
    """A stiffness with what is needed to trust it, free of the kink of a potential that has one.

    Attributes:
        relaxed: (6, 6) GPa, relaxed-ion, Voigt, engineering shear, in the cell's own frame.
        clamped: (6, 6) GPa, ions held at fixed fractional coordinates.
        repeated: (6, 6) GPa, as `relaxed` but at the larger strain as it is; NaN without repetition.
        bulk_modulus: Hill, GPa; NaN when unstable.
        shear_modulus: Hill, GPa; NaN when unstable, or when only the bulk modulus was asked for.
        bulk_amplitude: difference to the repetition at larger strain, GPa; NaN without repetition. Of a
            potential with a kink it holds what is left of the kink there.
        shear_amplitude: the same of the shear modulus.
        lowest_eigenvalue: of the relaxed tensor (its symmetric part when only K was asked for), GPa.
        lowest_mode: lowest force constant of the modes that couple to strain, eV/Å²; inf without any.
        is_stable: positive definite and no negative coupled mode.
        flags: unstable_mode, soft_mode_dropped, unstable_tensor, amplitude_dependent, other_amplitude.
        n_evaluations: single points used.
    """

    relaxed: np.ndarray
    clamped: np.ndarray
    repeated: np.ndarray
    bulk_modulus: float
    shear_modulus: float
    bulk_amplitude: float
    shear_amplitude: float
    lowest_eigenvalue: float
    lowest_mode: float
    is_stable: bool
    flags: tuple[str, ...]
    n_evaluations: int


def stiffness(
    cell: SymmetricCell,
    potential: Potential,
    settings: StiffnessSettings | None = None,
    deadline: Deadline = float("inf"),
) -> Stiffness:
    """Return the relaxed-ion stiffness of a relaxed cell by the internal-strain formula.

    C = clamped - (1/V) L^T K^-1 L, with L the forces per strain at fixed fractional coordinates and K the
    force constants at Gamma of the modes that symmetry lets couple to strain. Deterministic. Where a
    potential has a kink at ideal crystals (`potentials.traits`), each of clamped, L and K is a + b / size:
    it is taken at two sizes and b is left out before they are put together.

    Args:
        cell: relaxed by the same potential.
        potential: what to ask.
        settings: finite differences.
        deadline: a limit, or the `time.monotonic()` after which to give up.

    Raises:
        VerificationError: a potential that failed, the time limit, or a tensor that no crystal can have.

    References:
        Wu, Vanderbilt, Hamann, Phys. Rev. B 72, 035105 (2005), doi:10.1103/PhysRevB.72.035105
    """
    return answered(stiffness_inquiry(cell, potential, settings, deadline))


def stiffness_inquiry(
    cell: SymmetricCell,
    potential: Potential,
    settings: StiffnessSettings | None = None,
    deadline: Deadline = float("inf"),
) -> Inquiry[Stiffness]:
    """Return `stiffness` as an inquiry, for several crystals side by side; the same arguments and errors."""
    return _Tensor(cell, potential, settings or StiffnessSettings(), deadline).run()


@dataclass
class _Pair:
    """A strain or displacement and its opposite.

    Attributes:
        is_strain: a strain, not a displacement.
        direction: unit vector: (6,) Mandel strain or (3A,) displacement.
        size: how far along it.
        odd: an operation that turns plus into minus: then one cell is enough; None without one.
        cells: plus, then minus unless `odd`.
        points: what the potential says about them.
    """

    is_strain: bool
    direction: np.ndarray
    size: float
    odd: int | None
    cells: list[SymmetricCell]
    points: list[SinglePoint] = field(default_factory=list)


@dataclass(frozen=True)
class _Response:
    """What a crystal answers to strains and displacements of one size.

    Attributes:
        clamped: (6, 6) GPa, Mandel.
        coupling: (M, 6) forces on the coupled modes per strain, eV/Å.
        constants: (M, M) force constants among them, eV/Å².
    """

    clamped: np.ndarray
    coupling: np.ndarray
    constants: np.ndarray


@dataclass(frozen=True)
class _Relaxed:
    """A tensor and its averages at one size, Mandel; fields as in `Stiffness`."""

    relaxed: np.ndarray
    clamped: np.ndarray
    bulk: float
    shear: float
    lowest_eigenvalue: float
    lowest_mode: float
    flags: tuple[str, ...]

    @property
    def is_positive(self) -> bool:
        return UNSTABLE_TENSOR not in self.flags

    @property
    def is_stable(self) -> bool:
        return self.is_positive and UNSTABLE_MODE not in self.flags


def _without_kink(once: _Response, larger: _Response, factor: float) -> _Response:
    """Return what two responses of the form a + b / size say of a, the second at `factor` times the size."""

    def extrapolated(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return (factor * second - first) / (factor - 1.0)

    return _Response(
        extrapolated(once.clamped, larger.clamped),
        extrapolated(once.coupling, larger.coupling),
        extrapolated(once.constants, larger.constants),
    )


class _Tensor:
    """Strains, displacements and their responses, in Mandel components and flat (3A,) displacements."""

    def __init__(
        self, cell: SymmetricCell, potential: Potential, settings: StiffnessSettings, deadline: Deadline
    ) -> None:
        self.cell, self.potential, self.settings, self.deadline = cell, potential, settings, deadline
        self.strain_basis = cell.free_strains if settings.only_bulk else np.eye(6)
        # a kink adds up differently in a mixture, and the calibration of such a potential saw pure strains
        axes = np.eye(6) if potential.is_kinked else _VOIGT_STRAINS
        candidates = None if settings.only_bulk else axes
        self.strains = _generators(self.strain_basis, cell.strain_operations, candidates)
        self.modes = coupled_modes(cell, self.strain_basis)
        self.sizes = [1.0]
        self.flags: tuple[str, ...] = ()
        self.n_evaluations = 0

    def run(self) -> Inquiry[Stiffness]:
        factor = self.settings.repeat_factor
        self.sizes, reason = [1.0, factor] if factor else [1.0], ""
        for scale in (1.0, OTHER_AMPLITUDES[0]):
            measured = yield from self._measured(scale)
            found = self._judged(*(self._relaxed(response) for response in self._counted(measured)))
            reason = impossibility(found.relaxed, found.clamped) or impossibility(found.repeated)
            if not reason:
                return found
            self.flags = (OTHER_AMPLITUDE,)
        raise CrystalFailureError(f"{self.potential.name}: {reason}", Failure.IMPOSSIBLE_TENSOR)

    def _measured(self, scale: float) -> Inquiry[list[_Response]]:
        """Return the responses at the sizes of record, all of them scaled alike."""
        shifts = _generators(self.modes, self.cell.displacement_operations)
        of_shifts = self.sizes if self.potential.is_kinked else [1.0]
        strained = [[self._strain_pair(d, scale * size) for size in self.sizes] for d in self.strains]
        shifted = [[self._shift_pair(d, scale * size) for size in of_shifts] for d in shifts]
        yield from self._ask([pair for column in [*strained, *shifted] for pair in column])
        strained = yield from self._sound(strained, self._strain_pair, scale)
        shifted = yield from self._sound(shifted, self._shift_pair, scale)
        constants = [self._force_constants([column[k] for column in shifted]) for k in range(len(of_shifts))]
        return [
            _Response(*self._strained([column[k] for column in strained]), at_size)
            for k, at_size in zip(range(len(self.sizes)), [constants[0], constants[-1]], strict=False)
        ]

    def _sound(
        self, columns: "list[list[_Pair]]", make: Callable[[np.ndarray, float], "_Pair"], scale: float
    ) -> "Inquiry[list[list[_Pair]]]":
        """Return the columns (a direction at every size), those with spoiled forces at other sizes.

        A column keeps the ratio of its sizes, so that a kink goes out as it does at those of record.

        Raises:
            CrystalFailureError: the forces are spoiled at every size tried.
        """
        sound = []
        for column in columns:
            tried = iter(OTHER_AMPLITUDES)
            while (broken := max(self._broken_by(pair) for pair in column)) > SPOILED:
                other = next(tried, None)
                if other is None:
                    raise CrystalFailureError(
                        f"{self.potential.name}: forces break the crystal's symmetry by {broken:.2g} eV/Å",
                        Failure.IMPOSSIBLE_TENSOR,
                    )
                sizes = self.sizes[: len(column)]
                column = [make(column[0].direction, scale * other * size) for size in sizes]
                yield from self._ask(column)
                self.flags = (OTHER_AMPLITUDE,)
            sound.append(column)
        return sound

    def _broken_by(self, pair: "_Pair") -> float:
        """Return by how much forces break the symmetry that a strained or displaced cell has left, eV/Å."""
        operations = self.cell.strain_operations if pair.is_strain else self.cell.displacement_operations
        kept = np.abs(operations @ pair.direction - pair.direction).max(axis=1) < 1e-6
        forces = np.array([point.forces.ravel() for point in pair.points])
        images = np.einsum("gab,pb->gpa", self.cell.displacement_operations[kept], forces)
        return float(np.abs(images - forces).max())

    def _counted(self, measured: list[_Response]) -> list[_Response]:
        """Return the response that counts and, after it, the one at the larger size if there is one."""
        if len(measured) == 1 or not self.potential.is_kinked:
            return measured
        once, larger = measured
        return [_without_kink(once, larger, self.settings.repeat_factor), larger]

    def _judged(self, counts: _Relaxed, larger: _Relaxed | None = None) -> Stiffness:
        """Return the stiffness that counts, with what it changes at the larger size."""
        change = (math.nan, math.nan)
        if larger is not None:
            change = (abs(larger.bulk - counts.bulk), abs(larger.shear - counts.shear))
            if counts.is_positive and not self._is_steady(counts, change):
                counts = replace(counts, flags=(*counts.flags, "amplitude_dependent"))
        nothing = np.full((6, 6), np.nan)
        return Stiffness(
            relaxed=counts.relaxed / VOIGT_OF_MANDEL,
            clamped=counts.clamped / VOIGT_OF_MANDEL,
            repeated=nothing if larger is None else larger.relaxed / VOIGT_OF_MANDEL,
            bulk_modulus=counts.bulk if counts.is_stable else math.nan,
            shear_modulus=counts.shear if counts.is_stable else math.nan,
            bulk_amplitude=change[0],
            shear_amplitude=change[1],
            lowest_eigenvalue=counts.lowest_eigenvalue,
            lowest_mode=counts.lowest_mode,
            is_stable=counts.is_stable,
            flags=(*counts.flags, *self.flags),
            n_evaluations=self.n_evaluations,
        )

    def _is_steady(self, counts: _Relaxed, change: tuple[float, float]) -> bool:
        limit = self.settings.amplitude_limit
        return change[0] <= limit * counts.bulk and (
            self.settings.only_bulk or change[1] <= limit * counts.shear
        )

    def _strain_pair(self, strain: np.ndarray, size: float) -> "_Pair":
        amplitude = self.settings.strain * size * self._length(strain) * strain
        tensor = mandel_to_tensor(amplitude)
        odd = _reverses(self.cell.strain_operations, strain)
        cells = [self.cell.moved(tensor), self.cell.moved(-tensor)]
        return _Pair(
            True, strain, float(np.linalg.norm(amplitude)), odd, cells[:1] if odd is not None else cells
        )

    def _length(self, strain: np.ndarray) -> float:
        """Return the Mandel length of a strain of size 1: its largest tensor component is 1."""
        if self.settings.only_bulk:  # mixtures of all components: their own length is their size
            return SHEAR if np.abs(strain[3:]).max() > 0.9 else 1.0
        return 1.0 / float(np.abs(strain / [1, 1, 1, SHEAR, SHEAR, SHEAR]).max())

    def _shift_pair(self, shift: np.ndarray, size: float) -> "_Pair":
        largest = np.linalg.norm(shift.reshape(-1, 3), axis=1).max()
        length = size * self.settings.displacement / largest
        amplitude, rest = (length * shift).reshape(-1, 3), np.zeros((3, 3))
        odd = _reverses(self.cell.displacement_operations, shift)
        cells = [self.cell.moved(rest, amplitude), self.cell.moved(rest, -amplitude)]
        return _Pair(False, shift, float(length), odd, cells[:1] if odd is not None else cells)

    def _ask(self, pairs: "list[_Pair]") -> Inquiry[None]:
        """Fill the pairs' points, as many cells at once as a limit of time still lets one stop between."""
        cells = [cell for pair in pairs for cell in pair.cells]
        at_once = max(1, ATOMS_AT_ONCE // self.cell.n_atoms)
        points: list[SinglePoint] = []
        for first in range(0, len(cells), at_once):
            if limit := exceeded(self.deadline):
                by = self.potential.name
                raise CrystalFailureError(
                    f"time limit during the elastic tensor by {by}: {limit}", Failure.TIME_LIMIT
                )
            points += yield Question(self.potential, cells[first : first + at_once])
        self.n_evaluations += len(points)
        following = iter(points)
        for pair in pairs:
            pair.points = [next(following) for _ in pair.cells]

    def _strained(self, pairs: "list[_Pair]") -> tuple[np.ndarray, np.ndarray]:
        """Return the clamped Mandel stiffness (6, 6) GPa and the modes' forces per strain (M, 6), eV/Å."""
        operations = self.cell.strain_operations
        applied, stresses, forces = [], [], []
        for pair in pairs:
            stress, force = self._central(pair)
            applied.append(operations @ pair.direction)
            stresses.append(operations @ stress / pair.size)
            forces.append(self.cell.displacement_operations @ force / pair.size)
        inverse = np.linalg.pinv(np.concatenate(applied), rcond=1e-8)
        response = (inverse @ np.concatenate(stresses)) * GPA_PER_EV_PER_A3
        coupling = (inverse @ np.concatenate(forces)) @ self.modes.T
        return 0.5 * (response + response.T), coupling.T

    def _force_constants(self, pairs: "list[_Pair]") -> np.ndarray:
        """Return the (M, M) force constants among the coupled modes, eV/Å²."""
        if not pairs:
            return np.zeros((0, 0))
        operations = self.cell.displacement_operations
        moved, pulled = [], []
        for pair in pairs:
            _, force = self._central(pair)
            moved.append((operations @ pair.direction) @ self.modes.T)
            pulled.append((operations @ (-force / pair.size)) @ self.modes.T)
        constants = np.linalg.pinv(np.concatenate(moved), rcond=1e-8) @ np.concatenate(pulled)
        return np.asarray(0.5 * (constants + constants.T))

    def _central(self, pair: "_Pair") -> tuple[np.ndarray, np.ndarray]:
        """Return half the difference of stress (6,) and forces (3A,) between plus and minus."""
        stress, force = _response(pair.points[0])
        if pair.odd is not None:
            other_stress = self.cell.strain_operations[pair.odd] @ stress
            other_force = self.cell.displacement_operations[pair.odd] @ force
        else:
            other_stress, other_force = _response(pair.points[1])
        return 0.5 * (stress - other_stress), 0.5 * (force - other_force)

    def _relaxed(self, response: _Response) -> _Relaxed:
        """Return the tensor with the ions following the strain.

        Ions only ever take stiffness away: a mode without a positive force constant takes none, and is named.
        """
        relaxed, lowest_mode = response.clamped, float("inf")
        flags: tuple[str, ...] = ()
        if len(response.constants):
            values, vectors = np.linalg.eigh(response.constants)
            is_soft, is_negative = values < self.settings.soft_mode, values < -self.settings.soft_mode
            flags = (UNSTABLE_MODE,) if is_negative.any() else ()
            if (is_soft & ~is_negative).any():
                flags = (*flags, "soft_mode_dropped")
            projected = vectors[:, ~is_soft].T @ response.coupling
            softening = projected.T @ (projected / values[~is_soft, None]) / self.cell.volume
            relaxed, lowest_mode = relaxed - softening * GPA_PER_EV_PER_A3, float(values[0])
        bulk, shear, lowest = self._moduli(relaxed)
        if not lowest > 0:
            flags = (*flags, UNSTABLE_TENSOR)
        return _Relaxed(relaxed, response.clamped, bulk, shear, lowest, lowest_mode, flags)

    def _moduli(self, mandel: np.ndarray) -> tuple[float, float, float]:
        """Return Hill K and G (NaN when not positive definite) and the lowest eigenvalue, GPa."""
        basis = self.strain_basis
        inside = basis @ mandel @ basis.T
        lowest = float(np.linalg.eigvalsh(inside)[0])
        if not lowest > 0:
            return float("nan"), float("nan"), lowest
        if self.settings.only_bulk:
            hydrostatic = basis @ np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
            voigt = float(hydrostatic @ inside @ hydrostatic) / 9.0
            reuss = 1.0 / float(hydrostatic @ np.linalg.solve(inside, hydrostatic))
            return 0.5 * (voigt + reuss), float("nan"), lowest
        tensor = torch.as_tensor(mandel / VOIGT_OF_MANDEL)[None]
        bulk, shear = elasticity.hill_bulk_modulus(tensor), elasticity.hill_shear_modulus(tensor)
        return float(bulk), float(shear), lowest


def impossibility(relaxed: np.ndarray, clamped: np.ndarray | None = None) -> str:
    """Return why no crystal has a stiffness, "" when one may; an unstable crystal may have negative ones.

    Ions that follow a strain only ever take stiffness away, and not by far more than there is: a crystal that
    gives way more than its stiffest strain resists is a division by nearly zero, or forces out of their mind.

    Args:
        relaxed: (6, 6) GPa, relaxed-ion, Voigt, engineering shear; NaN throughout when not measured.
        clamped: (6, 6) GPa, clamped-ion.
    """
    relaxed = np.asarray(relaxed, dtype=float)
    if np.isnan(relaxed).all():
        return ""
    largest = float(np.abs(relaxed).max())
    if not largest <= LARGEST_ENTRY:
        return f"an elastic constant of {largest:.4g} GPa, which no crystal has"
    if clamped is None:
        return ""
    soft, hard = relaxed * VOIGT_OF_MANDEL, np.asarray(clamped, dtype=float) * VOIGT_OF_MANDEL
    stiffest = float(np.abs(np.linalg.eigvalsh(hard)).max())
    lowest, gained = np.linalg.eigvalsh(soft)[0], np.linalg.eigvalsh(soft - hard)[-1]
    if lowest < -(1.0 + RELAXATION_NOISE) * max(stiffest, 1.0):
        return f"a stiffness of {lowest:.4g} GPa where without relaxing ions it is {stiffest:.4g} GPa at most"
    if gained > RELAXATION_NOISE * max(stiffest, 1.0):
        return f"ions that relax make the crystal stiffer by {gained:.4g} GPa"
    return ""


def coupled_modes(cell: SymmetricCell, strain_basis: np.ndarray) -> np.ndarray:
    """Return (M, 3A) orthonormal displacements that symmetry lets couple to the strains; no translation.

    The images of all maps from strains to displacements that commute with every operation; force constants
    do not lead out of this space.
    """
    # Forces under a strain are such a map: symmetry alone says which displacements it can set off. Any map
    # averaged over the group commutes with it, and the average of all maps spans all that do.
    n_group, n_free = len(cell.rotations), 3 * cell.n_atoms
    strains = strain_basis @ cell.strain_operations @ strain_basis.T
    images = []
    for k in range(len(strain_basis)):
        # maps |u><strain k| averaged over the group, for every unit displacement u at once
        averaged = np.einsum("gab,gj->abj", cell.displacement_operations, strains[:, :, k]) / n_group
        images.append(averaged.transpose(1, 2, 0).reshape(-1, n_free))
    spanned = without_translation(np.concatenate(images))
    _, values, right = np.linalg.svd(spanned, full_matrices=False)
    return np.asarray(right[values > 1e-6])


def _generators(
    basis: np.ndarray, operations: np.ndarray, candidates: np.ndarray | None = None
) -> list[np.ndarray]:
    """Return few unit vectors whose images under the operations span `basis` (rows, orthonormal).

    They are chosen from the candidates; without any, from fixed pseudo-random mixtures, of which one
    generates every kind of mode at once. Where as many directions are won, a vector that an operation
    reverses is preferred: it takes one cell instead of two.
    """
    left, chosen = basis, []
    generator = np.random.default_rng(0)
    while len(left):
        trials = candidates if candidates is not None else generator.normal(size=(24, len(left))) @ left
        best = max(trials, key=lambda trial: _spread(trial, left, operations))
        chosen.append(best / np.linalg.norm(best))
        orbit = operations @ chosen[-1] @ left.T
        _, values, right = np.linalg.svd(orbit)
        rank = int((values > 1e-6 * values[0]).sum())
        left = right[rank:] @ left
    return chosen


def _spread(vector: np.ndarray, left: np.ndarray, operations: np.ndarray) -> tuple[int, bool, float]:
    """Return how many new directions the images of a vector span, if one is its opposite, and how evenly."""
    length = np.linalg.norm(vector)
    values = np.linalg.svd(operations @ (vector / length) @ left.T, compute_uv=False)
    rank = int((values > 1e-4 * max(values[0], 1e-12)).sum()) if values[0] > 1e-4 else 0
    if not rank:
        return 0, False, 0.0
    return rank, _reverses(operations, vector) is not None, round(float(values[rank - 1] / values[0]), 6)


def _response(point: SinglePoint) -> tuple[np.ndarray, np.ndarray]:
    """Return the Mandel stress (6,) eV/Å³ and the forces (3A,) eV/Å without a common push."""
    return voigt_to_mandel(point.stress), without_translation(point.forces.reshape(1, -1))[0]


def _reverses(operations: np.ndarray, vector: np.ndarray) -> int | None:
    """Return the index of an operation that turns the vector into its opposite; None without one."""
    found = np.flatnonzero(np.abs(operations @ vector + vector).max(axis=1) < 1e-6)
    return int(found[0]) if len(found) else None


def is_near_unstable(relaxed: np.ndarray, clamped: np.ndarray, lowest_mode: float) -> bool:
    """Return whether a crystal is close to giving way: its moduli then hang on small things.

    A coupled mode under 0.5 eV/Å² (forces of 0.002 eV/Å, as left by careful relaxations, move such a mode as
    far as a strain of 1 % does), a strain along which moving ions take away more than 60 % of the stiffness,
    or one with less than 5 % of the stiffness along the stiffest.

    Args:
        relaxed: (6, 6) GPa, relaxed-ion, Voigt, engineering shear.
        clamped: (6, 6) GPa, clamped-ion.
        lowest_mode: eV/Å², see `Stiffness`; NaN or inf without coupled modes.
    """
    soft, hard = np.asarray(relaxed) * VOIGT_OF_MANDEL, np.asarray(clamped) * VOIGT_OF_MANDEL
    values = np.linalg.eigvalsh(hard)
    if lowest_mode < SOFT_MODE or not values[0] > 0:
        return True
    root = np.linalg.inv(np.linalg.cholesky(hard))
    left = float(np.linalg.eigvalsh(root @ soft @ root.T)[0])
    values = np.linalg.eigvalsh(soft)
    return left < LEFT_OF_CLAMPED or bool(values[0] < SOFT_STRAIN * values[-1])


def bulk_only(settings: StiffnessSettings) -> StiffnessSettings:
    """Return the settings that compute K alone: a third of the evaluations."""
    return replace(settings, only_bulk=True)
