"""Dynamical stability: phonons by finite displacements in a supercell, with the energy judge's forces.

phonopy chooses the displacements that symmetry leaves and turns forces into frequencies. Frequencies are
computed on a mesh and at the wave vectors that fit the supercell, where nothing is interpolated.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
from pymatgen.core import Element, Structure

from inverse.potentials.loading import Potential, load_potential, potential_version
from inverse.verification.store import DAMAGE, VerificationStore, canonical_structure, verification_key
from surrogates.errors import DataError, EngineError, MissingExtraError, VerificationError

_TASK = "phonons"


@dataclass(frozen=True)
class PhononSettings:
    """How phonons are computed and when a frequency counts as imaginary.

    Attributes:
        supercell_length: shortest lattice vector of the supercell, Å; even multiples where they fit, so that
            the waves at the edge of the Brillouin zone, where most instabilities lie, are computed.
        max_atoms: of the supercell; a crystal that would need more gets a shorter one, flagged.
        displacement: of one atom, Å.
        mesh: density of the mesh of wave vectors, as phonopy's length (Å).
        tolerance: THz; a mode below minus this is imaginary.
        acoustic_radius: 2π/Å around Gamma within which the three lowest modes are forgiven more.
        acoustic_tolerance: THz, there.
    """

    supercell_length: float = 8.0
    max_atoms: int = 160
    displacement: float = 0.03
    mesh: float = 40.0
    tolerance: float = 0.3
    acoustic_radius: float = 0.06
    acoustic_tolerance: float = 1.0

    @property
    def digest(self) -> str:
        """Short hash of every setting; part of the store's keys."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class PhononVerdict:
    """What the phonons say about one crystal.

    Attributes:
        potential: whose forces.
        is_stable: no imaginary mode; None when it failed.
        lowest: lowest frequency but for forgiven acoustic modes, THz; imaginary ones are negative.
        lowest_at: its wave vector, in the basis of the reciprocal primitive cell.
        n_imaginary: modes below the tolerance at the wave vectors that fit the supercell.
        highest: highest frequency, THz.
        n_displacements: cells whose forces were needed.
        n_atoms: of the supercell.
        flags: "small_supercell", "interpolated" (imaginary between the wave vectors that fit, only).
        reason: why it failed, "" otherwise.
        versions: package and version of potential and phonopy.
        seconds: wall time when it was computed.
    """

    potential: str
    is_stable: bool | None = None
    lowest: float = float("nan")
    lowest_at: tuple[float, ...] = ()
    n_imaginary: int = 0
    highest: float = float("nan")
    n_displacements: int = 0
    n_atoms: int = 0
    flags: tuple[str, ...] = ()
    reason: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def remark(self) -> str:
        """One line for a ladder: why it failed, or the lowest mode."""
        if self.is_stable is None:
            return self.reason
        where = ", ".join(f"{x:.2f}" for x in self.lowest_at)
        found = "no imaginary mode" if self.is_stable else f"imaginary modes: {self.n_imaginary}"
        flags = f"; {', '.join(self.flags)}" if self.flags else ""
        return f"{found}; lowest {self.lowest:.2f} THz at ({where}); {self.n_atoms} atoms{flags}"


def phonons(
    structure: Structure,
    potential: str,
    settings: PhononSettings | None = None,
    store: VerificationStore | None = None,
    deadline: float = float("inf"),
    reuse: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
    device: str = "auto",
) -> PhononVerdict:
    """Return the phonons of a structure that this potential relaxed. Never raises for one crystal.

    Args:
        structure: relaxed by the same potential.
        potential: its name, see `load_potential`.
        settings: of supercell, displacements and mesh.
        store: remembers verdicts; None remembers nothing.
        deadline: `time.monotonic()` after which to give up; such a verdict is not remembered.
        reuse: False computes afresh, and still writes.
        should_stop: asked between two displacements; true gives up, too.
        device: where the potential computes, see `load_potential`.

    Raises:
        MissingExtraError: the potential's package is not installed.
    """
    settings = settings or PhononSettings()
    started = time.monotonic()
    try:
        start = canonical_structure(structure)
        key = verification_key(start, potential, _TASK, settings.digest)
        held = _recalled(store, key) if store is not None and reuse else None
        if held is not None:
            return held
        end = partial(_give_up, potential, deadline, should_stop)
        verdict = _computed(start, load_potential(potential, device), settings, end)
    except MissingExtraError:
        raise
    except Exception as error:  # one crystal never ends a run
        reason = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
        return PhononVerdict(potential, reason=reason, seconds=round(time.monotonic() - started, 3))
    row = asdict(verdict) | {"seconds": round(time.monotonic() - started, 3)}
    if store is not None:
        store.put(key, row, start.composition.reduced_formula, potential, _TASK, settings.digest)
    return _from_record(row)


def supercell_of(structure: Structure, settings: PhononSettings) -> tuple[tuple[int, int, int], bool]:
    """Return how often each lattice vector is repeated, and whether `max_atoms` made it shorter.

    >>> from pymatgen.core import Lattice
    >>> supercell_of(Structure(Lattice.cubic(3.0), ["W"], [[0, 0, 0]]), PhononSettings())
    ((4, 4, 4), False)
    """
    lengths = np.array(structure.lattice.abc)
    wanted = settings.supercell_length
    while True:
        repeats = np.maximum(1, np.ceil(wanted / lengths - 1e-6)).astype(int)
        even = np.where(repeats > 1, repeats + repeats % 2, 1)
        if even.prod() * len(structure) <= settings.max_atoms:
            repeats = even
        if repeats.prod() * len(structure) <= settings.max_atoms or repeats.max() == 1:
            i, j, k = (int(n) for n in repeats)
            return (i, j, k), wanted < settings.supercell_length
        wanted *= 0.95


def _computed(
    structure: Structure, potential: Potential, settings: PhononSettings, give_up: Callable[[], None]
) -> PhononVerdict:
    import phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    potential.check_elements({site.specie.symbol for site in structure})
    repeats, is_small = supercell_of(structure, settings)
    cell = PhonopyAtoms(
        numbers=[site.specie.Z for site in structure],
        cell=structure.lattice.matrix,
        scaled_positions=structure.frac_coords,
    )
    model = phonopy.Phonopy(cell, np.diag(repeats), primitive_matrix="P", symprec=1e-3)
    model.generate_displacements(distance=settings.displacement)
    moved = [c for c in model.supercells_with_displacements or () if c is not None]
    model.forces = list(_forces(moved, potential, give_up))
    model.produce_force_constants(show_drift=False)
    model.symmetrize_force_constants(show_drift=False)
    fitting = _frequencies(model, _fitting_wave_vectors(repeats))
    model.run_mesh(settings.mesh, is_gamma_center=True)
    mesh: Any = model.mesh
    everywhere = (np.array(mesh.qpoints), np.array(mesh.frequencies))
    lowest, at, n_fitting = _judged(structure, *fitting, settings)
    mesh_lowest, mesh_at, n_mesh = _judged(structure, *everywhere, settings)
    flags = ["small_supercell"] if is_small else []
    flags += ["interpolated"] if n_mesh and not n_fitting else []
    if mesh_lowest < lowest:
        lowest, at = mesh_lowest, mesh_at
    return PhononVerdict(
        potential=potential.name,
        is_stable=not (n_fitting or n_mesh),
        lowest=round(lowest, 4),
        lowest_at=at,
        n_imaginary=n_fitting or n_mesh,
        highest=round(float(everywhere[1].max()), 4),
        n_displacements=len(moved),
        n_atoms=len(moved[0]),
        flags=tuple(flags),
        versions={potential.name: potential_version(potential.name), "phonopy": phonopy.__version__},
    )


def _give_up(name: str, deadline: float, should_stop: Callable[[], bool]) -> None:
    if time.monotonic() > deadline:
        raise VerificationError(f"time limit during phonons by {name}")
    if should_stop():
        raise VerificationError(f"stopped during phonons by {name}")


def _forces(moved: Iterable[Any], potential: Potential, give_up: Callable[[], None]) -> Iterator[np.ndarray]:
    for cell in moved:
        give_up()
        numbers = np.array([Element(symbol).Z for symbol in cell.symbols])
        yield potential.evaluate(numbers, cell.cell, cell.scaled_positions).forces


def _fitting_wave_vectors(repeats: tuple[int, int, int]) -> np.ndarray:
    """Return (N, 3) the wave vectors whose waves fit the supercell; half of them by time reversal."""
    grids = [np.arange(n) / n for n in repeats]
    points = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, 3)
    return points - np.round(points - 1e-9)


def _frequencies(model: Any, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    model.run_qpoints(points)
    return points, np.array(model.qpoints.frequencies)


def _judged(
    structure: Structure, points: np.ndarray, frequencies: np.ndarray, settings: PhononSettings
) -> tuple[float, tuple[float, ...], int]:
    """Return the lowest frequency that is not forgiven, where it is, and how many are imaginary.

    At Gamma the three acoustic modes are left out; close to it they are forgiven up to their own tolerance.
    """
    reciprocal = structure.lattice.reciprocal_lattice_crystallographic.matrix
    radii = np.linalg.norm(points @ reciprocal, axis=1)
    kept = frequencies.copy()
    for row in np.flatnonzero(radii < settings.acoustic_radius):
        # sorted by size, the three smallest are the acoustic ones; real instabilities are larger
        acoustic = np.argsort(np.abs(kept[row]))[:3]
        forgiven = radii[row] < 1e-8 or kept[row, acoustic].min() > -settings.acoustic_tolerance
        if forgiven:
            kept[row, acoustic] = np.inf
    row, column = np.unravel_index(int(kept.argmin()), kept.shape)
    at = tuple(round(float(x), 4) for x in points[row])
    return float(kept[row, column]), at, int((kept < -settings.tolerance).sum())


def _recalled(store: VerificationStore, key: str) -> PhononVerdict | None:
    """Return what the store holds; a row that cannot be read is none."""
    row = store.get(key)
    if row is None:
        return None
    try:
        found = _from_record(row)
        if found.is_stable is None:
            raise DataError("no verdict")
        return found
    except DAMAGE as error:
        store.skip(key, error)
        return None


def _from_record(row: Mapping[str, Any]) -> PhononVerdict:
    values = dict(row)
    for name in ("lowest", "highest"):
        values[name] = float("nan") if values.get(name) is None else float(values[name])
    for name in ("flags", "lowest_at"):
        values[name] = tuple(values.get(name) or ())
    return PhononVerdict(**values)
