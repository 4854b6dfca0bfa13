"""GPAW's calculator from the protocol; imported by the interpreter that has GPAW, alone, as a file."""

from typing import Any

DEFAULT_BANDS = "130%"
"""Bands, of those that electrons fill: room for the smearing of metals."""

LARGER = 1.06 ** (1.0 / 3.0)
"""Lengths of a crystal's largest cell in an equation of state over its own."""

POINTS_BESIDE = 8000
"""Grid points whose transforms cost what else a k-point costs: Mo2TiC2 takes 0.17 core-seconds a k-point and
step with 7,840 grid points, 0.78 with 64,000.
"""

GRID_TOLERANCE = 1e-4
"""Of a grid spacing, by which an operation may miss a grid point."""

GENTLE = 0.1
"""Mixing up to which changes of long wavelength are damped, too."""

SYMMETRY_TOLERANCE = 1e-5
"""Å; at GPAW's own 1e-7 a cell of rounded numbers keeps some operations of a group and loses others."""


def calculator(settings: dict[str, Any], atoms: Any) -> Any:
    """Return a GPAW calculator in plane waves for one crystal.

    Args:
        settings: fields of `DftProtocol`, and `mesh` (3 divisions), `is_spin_polarised`; `lattice` of the
            crystal that this is a strained copy of, where it is one.
        atoms: of ASE; its symmetry decides which grids hold the density.

    References:
        Mortensen, Hansen, Jacobsen, Phys. Rev. B 71, 035109 (2005), doi:10.1103/PhysRevB.71.035109
    """
    from gpaw import PW
    from gpaw.mixer import Mixer, MixerSum

    is_spin_polarised = bool(settings["is_spin_polarised"])
    mixer = MixerSum if is_spin_polarised else Mixer
    points = grid(atoms, settings["cutoff"], settings["mesh"], settings.get("lattice"))
    return _on_grid(points)(
        mode=PW(settings["cutoff"], dedecut="estimate"),
        xc=settings["functional"],
        kpts={"size": list(settings["mesh"]), "gamma": True},
        occupations={"name": "marzari-vanderbilt", "width": settings["smearing"]},
        symmetry={"symmorphic": False, "tolerance": SYMMETRY_TOLERANCE},
        convergence={"density": settings["density"], "eigenstates": 1e-8, "energy": 1e-5},
        mixer=mixer(beta=settings["mixing"], nmaxold=8, weight=1.0 if settings["mixing"] > GENTLE else 50.0),
        eigensolver={"name": "dav", "niter": 3},
        maxiter=settings["steps"],
        nbands=DEFAULT_BANDS,
        spinpol=is_spin_polarised,
        gpts=points,
        txt=None,
    )


def grid(atoms: Any, cutoff: float, mesh: Any, lattice: Any = None) -> tuple[int, ...]:
    """Return the grid of the density that costs least with those operations that map it onto itself.

    A grid that every operation maps onto itself has as many points along short vectors of a centred cell as
    along its long one: 40 x 40 x 40 for a rhombohedral carbide whose cutoff needs 14 x 14 x 40. With four of
    its twelve operations that grid does, and 78 k-points instead of 55 cost a third.

    Args:
        atoms: of ASE.
        cutoff: of the plane waves, eV.
        mesh: divisions of the k-points, centred on Gamma.
        lattice: of the crystal that these atoms are a strained copy of: one grid for all its volumes.
    """
    import numpy as np
    from ase.units import Bohr, Hartree
    from gpaw.calculator import GPAW
    from gpaw.symmetry import Symmetry

    kinds = list(zip(atoms.numbers, np.round(atoms.get_initial_magnetic_moments(), 3)))  # noqa: B905
    symmetry = Symmetry(
        [kinds.index(kind) for kind in kinds],
        atoms.cell.array / Bohr,
        atoms.pbc,
        symmorphic=False,
        tolerance=SYMMETRY_TOLERANCE / Bohr,
    )
    symmetry.analyze(atoms.get_scaled_positions() % 1.0)
    spacing = np.pi / np.sqrt(4.0 * cutoff / Hartree) * Bohr
    heights = _heights(atoms.cell.array)
    if lattice is not None:
        heights = np.maximum(heights, LARGER * _heights(np.array(lattice)))
    found = grids(symmetry.op_scc, symmetry.ft_sc, np.ceil(heights / spacing).astype(int))
    if not hasattr(GPAW, "create_symmetry"):  # a version whose operations cannot be chosen
        return found[tuple(range(len(symmetry.op_scc)))]

    def cost(kept: tuple[int, ...]) -> float:
        points = irreducible_points([symmetry.op_scc[k] for k in kept], mesh)
        return float(points * (np.prod(found[kept]) + POINTS_BESIDE))

    return found[min(found, key=cost)]


def grids(operations: Any, translations: Any, least: Any) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Return the operations that map some grid onto itself -> the smallest such grid.

    Args:
        operations: (S, 3, 3) integers, in units of the lattice vectors.
        translations: (S, 3) fractions of them.
        least: (3,) divisions that the cutoff needs.
    """
    import itertools

    import numpy as np

    every = tuple(range(len(operations)))
    choices = [[n for n in range(k, 3 * k + 4) if _is_smooth(n)] for k in least]
    found: dict[tuple[int, ...], tuple[int, ...]] = {}
    for points in sorted(itertools.product(*choices), key=np.prod):
        kept = tuple(k for k in every if _maps(operations[k], translations[k], np.array(points)))
        found.setdefault(kept, points)
        if kept == every:
            return found
    raise ValueError("no grid is compatible with the symmetry")


def irreducible_points(operations: Any, mesh: Any) -> int:
    """Return how many k-points of a mesh operations and time reversal leave.

    Args:
        operations: (S, 3, 3) integers, in units of the lattice vectors.
        mesh: (3,) divisions, centred on Gamma.
    """
    import itertools

    import numpy as np

    mesh = np.array(mesh)
    points = np.array(list(itertools.product(*(range(n) for n in mesh))))
    lowest = np.arange(len(points))
    for operation in operations:
        turned = (points / mesh) @ np.array(operation).T * mesh
        whole = np.round(turned)
        is_in_mesh = np.abs(turned - whole).max(axis=1) < GRID_TOLERANCE
        for sign in (1, -1):
            image = np.ravel_multi_index(tuple((sign * whole.astype(int) % mesh).T), tuple(mesh))
            lowest = np.where(is_in_mesh, np.minimum(lowest, image), lowest)
    return len(np.unique(lowest))


def _heights(lattice: Any) -> Any:
    """Return the distances of the planes that each two vectors span, Å."""
    import numpy as np

    return 1.0 / np.linalg.norm(np.linalg.inv(lattice).T, axis=1)


def _on_grid(points: Any) -> Any:
    """Return GPAW's calculator with those operations of a crystal alone that map a grid onto itself."""
    import numpy as np
    from gpaw.calculator import GPAW

    class OnGrid(GPAW):
        def create_symmetry(self, *arguments: Any, **named: Any) -> None:
            super().create_symmetry(*arguments, **named)
            own = self.symmetry
            pairs = list(zip(own.op_scc, own.ft_sc))  # noqa: B905 - older Pythons
            kept = [k for k, (u, t) in enumerate(pairs) if _maps(u, t, np.array(points))]
            own.op_scc, own.ft_sc, own.a_sa = own.op_scc[kept], own.ft_sc[kept], own.a_sa[kept]
            inverted = (own.op_scc == -np.eye(3, dtype=int)).all(axis=(1, 2))
            own.has_inversion = bool(inverted.any())

    return OnGrid


def _is_smooth(n: int) -> bool:
    """Return whether a transform of this length is fast."""
    for prime in (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n == 1


def _maps(operation: Any, translation: Any, points: Any) -> bool:
    """Return whether an operation maps a grid onto itself, in direct and in reciprocal space."""
    import numpy as np

    ratios = (points[:, None] / points[None, :], points[None, :] / points[:, None])
    rows = [operation * ratio for ratio in ratios] + [translation * points]
    return all(np.abs(row - np.round(row)).max() < GRID_TOLERANCE for row in rows)


def version() -> dict[str, Any]:
    """Return the version and the elements with a PBE data set, of what this interpreter has."""
    import glob
    import os

    import gpaw

    found = set()
    for folder in gpaw.setup_paths:
        for path in glob.glob(os.path.join(glob.escape(str(folder)), "*.PBE*")):
            symbol, *rest = os.path.basename(path).split(".")
            if rest and rest[0] == "PBE":
                found.add(symbol)
    return {"name": "gpaw", "version": gpaw.__version__, "elements": sorted(found)}
