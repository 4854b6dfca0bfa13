"""Energy above the hull of known phases; a candidate is judged without its own formula."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache

import numpy as np
from pymatgen.core import Composition

from inverse.candidates.types import HullMargin
from inverse.reference.hull_margin import hull_margin
from inverse.reference.live import LivePhases, has_key
from inverse.reference.phases import PhaseTable, to_composition
from surrogates.errors import UnsupportedElementError

SAME_HULL = 1e-4
"""eV/atom within which two distances are from one hull; verdicts are rounded to a tenth of it."""

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class HullEnergy:
    """Where a phase lies against the other known phases.

    Attributes:
        energy_above_hull: eV/atom; negative when it is more stable than every mixture of other phases.
        decomposition: reduced formula -> fraction of the atoms; what it falls apart into.
    """

    energy_above_hull: float
    decomposition: Mapping[str, float]


@dataclass(frozen=True)
class _System:
    """Competing phases of one chemical system: (N, E) atomic fractions, (N,) energies, (N,) on the hull?"""

    elements: tuple[str, ...]
    formulas: tuple[str, ...]
    fractions: np.ndarray
    energies: np.ndarray
    is_vertex: np.ndarray


@dataclass
class ReferenceHull:
    """Hulls of chemical systems, assembled on demand from a table of phases and kept.

    Attributes:
        phases: formation energies of known phases on one scale.
        live: asked instead for the phases of a chemical system; None asks nobody.
    """

    phases: PhaseTable
    live: LivePhases | None = None
    _systems: dict[tuple[str, ...], _System] = field(default_factory=dict, repr=False)
    _planes: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict, repr=False)
    _supported: frozenset[str] = frozenset()

    @classmethod
    @cache
    def packaged(cls) -> "ReferenceHull":
        """Return the hull of the phases that ship with the package, one for this process."""
        return cls(PhaseTable.packaged())

    @classmethod
    def current(cls) -> "ReferenceHull":
        """Return the hull of live Materials Project entries when MP_API_KEY is set, else the packaged one.

        Entries are fetched system by system when first asked for; nothing happens before.
        """
        if not has_key():
            return cls.packaged()
        return cls(PhaseTable.packaged(), LivePhases(PhaseTable.packaged()))

    @property
    def supported_elements(self) -> frozenset[str]:
        """Return the elements with a reference phase."""
        if not self._supported:
            systems = self.phases.rows
            single = [s for s in systems if "-" not in s]
            self._supported = frozenset(
                s
                for s in single
                if any(p.formation_energy_per_atom is not None for p in self.phases.phases_of(s))
            )
        return self._supported

    def energy_above_hull(
        self, formula: str | Composition, formation_energy_per_atom: float, *, exclude_itself: bool = False
    ) -> HullEnergy:
        """Return the distance to the hull of known phases, and the phases it would decompose into.

        A polymorph of a known compound is measured against the lowest known one: the table does not tell
        which of its phases a candidate is, and without that entry nearly any polymorph of BN would be stable.

        Args:
            formula: of the candidate; any spelling.
            formation_energy_per_atom: eV/atom, on the scale of the reference.
            exclude_itself: leave the known phases of the same formula out, for a candidate that is sure to
                be the known phase; a stable one has a negative distance then.

        Raises:
            UnsupportedElementError: an element has no reference phase; names it.
            DataError: live entries are asked for and cannot be had.
        """
        composition = to_composition(formula)
        system = self._system(composition)
        target = np.array([composition.get_atomic_fraction(e) for e in system.elements])
        keep = system.is_vertex
        if exclude_itself and len(system.elements) > 1:
            is_itself = np.abs(system.fractions - target).max(axis=1) < _TOLERANCE
            keep = ~is_itself if (is_itself & keep).any() else keep
        energy, weights = _lowest_mixture(system.fractions[keep], system.energies[keep], target)
        names = np.array(system.formulas)[keep]
        shares = {str(names[i]): float(weights[i]) for i in np.argsort(-weights) if weights[i] > _TOLERANCE}
        return HullEnergy(float(formation_energy_per_atom - energy), shares)

    def below(self, formula: str | Composition, *, exclude_itself: bool = False) -> float:
        """Return the hull's formation energy at a composition, eV/atom; fast for many compositions.

        Args:
            formula: any spelling.
            exclude_itself: as in `energy_above_hull`.

        Raises:
            UnsupportedElementError: an element has no reference phase; names it.
        """
        composition = to_composition(formula)
        system = self._system(composition)
        target = np.array([composition.get_atomic_fraction(e) for e in system.elements])
        is_itself = np.abs(system.fractions - target).max(axis=1) <= _TOLERANCE
        if len(target) == 1 or (exclude_itself and is_itself.any()):
            outside = self.energy_above_hull(composition, 0.0, exclude_itself=exclude_itself)
            return -outside.energy_above_hull
        if system.elements not in self._planes:
            self._planes[system.elements] = _lower_planes(system.fractions, system.energies)
        planes = self._planes[system.elements]
        return float((planes[:, :-1] @ target[:-1] + planes[:, -1]).max())

    def margin(
        self, formula: str | Composition, formation_energy_per_atom: float, limit: float
    ) -> HullMargin | None:
        """Return how far each competing phase would have to move to throw a crystal beyond a distance.

        Args:
            formula: of the crystal; any spelling.
            formation_energy_per_atom: eV/atom, on the scale of the reference.
            limit: the distance above the hull that is allowed, eV/atom.

        Raises:
            UnsupportedElementError: an element has no reference phase; names it.
            DataError: live entries are asked for and cannot be had.
        """
        composition = to_composition(formula)
        system = self._system(composition)
        target = np.array([composition.get_atomic_fraction(e) for e in system.elements])
        return hull_margin(
            system.formulas, system.fractions, system.energies, target, formation_energy_per_atom - limit
        )

    def __call__(self, formula: str, formation_energy_per_atom: float) -> float:
        """Return the energy above the hull alone, eV/atom; what a verifier asks for."""
        return self.energy_above_hull(formula, formation_energy_per_atom).energy_above_hull

    def _system(self, composition: Composition) -> _System:
        elements = tuple(sorted(e.symbol for e in composition.elements))
        if elements not in self._systems:
            self._systems[elements] = self._assemble(elements)
        return self._systems[elements]

    def _assemble(self, elements: tuple[str, ...]) -> _System:
        missing = [e for e in elements if e not in self.supported_elements]
        if missing:
            raise UnsupportedElementError(
                f"element {', '.join(missing)} has no reference phase, so {'-'.join(elements)} has no hull; "
                f"{len(self.supported_elements)} elements have one"
            )
        elemental = {p.formula for e in elements for p in self.phases.phases_of(e)}
        phases = [
            (p.formula, energy)
            for p in (self.live or self.phases).phases_within(elements)
            if (energy := p.formation_energy_per_atom) is not None and (energy < 0 or p.formula in elemental)
        ]
        fractions = np.array([[_fractions(name).get(e, 0.0) for e in elements] for name, _ in phases])
        energies = np.array([energy for _, energy in phases], dtype=float)
        names = tuple(name for name, _ in phases)
        return _System(elements, names, fractions, energies, _vertices(fractions, energies))


@lru_cache(maxsize=100_000)  # a phase competes in every chemical system that holds its own
def _fractions(formula: str) -> Mapping[str, float]:
    composition = Composition(formula)
    return {e.symbol: composition.get_atomic_fraction(e) for e in composition.elements}


def _vertices(fractions: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Return (N,) which phases span the hull; all of them where the hull cannot be built."""
    from scipy.spatial import ConvexHull, QhullError

    everything = np.ones(len(energies), dtype=bool)
    if fractions.shape[1] == 1 or len(energies) <= fractions.shape[1] + 1:
        return everything
    try:
        hull = ConvexHull(np.column_stack([fractions[:, 1:], energies]))
    except QhullError:
        return everything
    lower = hull.simplices[hull.equations[:, -2] < _TOLERANCE]
    return np.isin(np.arange(len(energies)), lower)


def _lowest_mixture(
    fractions: np.ndarray, energies: np.ndarray, target: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the lowest energy of a mixture with the target composition, and its (N,) atomic weights.

    A linear programme: minimise w·E with w >= 0 and w·fractions = target.
    """
    if len(target) == 1:
        weights = np.zeros(len(energies))
        weights[energies.argmin()] = 1.0
        return float(energies.min()), weights
    from scipy.optimize import linprog

    solved = linprog(energies, A_eq=fractions.T, b_eq=target, bounds=(0, None), method="highs")
    if solved.status != 0:
        raise UnsupportedElementError(f"no mixture of reference phases has the composition {target.tolist()}")
    return float(solved.fun), np.asarray(solved.x)


def _lower_planes(fractions: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Return (F, E) lower facets of the hull: energy = planes[:, :-1] @ x[:-1] + planes[:, -1].

    The hull's energy at x is the largest of them, since it is convex.
    """
    from scipy.spatial import ConvexHull

    corners = energies.copy()
    points = np.column_stack([fractions[:, :-1], corners])
    # a far lid closes the hull from above, so that every facet is either lower or lid
    lid = np.column_stack(
        [np.eye(fractions.shape[1])[:, :-1], np.full(fractions.shape[1], energies.max() + 10.0)]
    )
    normals = ConvexHull(np.vstack([points, lid])).equations
    lower = normals[normals[:, -2] < -1e-9]
    return np.column_stack([-lower[:, :-2] / lower[:, -2:-1], -lower[:, -1:] / lower[:, -2:-1]])
