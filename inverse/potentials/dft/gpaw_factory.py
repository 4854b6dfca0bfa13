"""GPAW's calculator from the protocol; imported by the interpreter that has GPAW, alone, as a file."""

from typing import Any

DEFAULT_BANDS = "130%"
"""Bands, of those that electrons fill: room for the smearing of metals."""


GRID_TOLERANCE = 1e-4
"""Of a grid spacing, by which an operation may miss a grid point."""

GENTLE = 0.1
"""Mixing up to which changes of long wavelength are damped, too."""

SYMMETRY_TOLERANCE = 1e-5
"""Å; at GPAW's own 1e-7 a cell of rounded numbers keeps some operations of a group and loses others."""


def calculator(settings: dict[str, Any], atoms: Any) -> Any:
    """Return a GPAW calculator in plane waves for one crystal.

    Args:
        settings: fields of `DftProtocol`, and `mesh` (3 divisions), `is_spin_polarised`.
        atoms: of ASE; its symmetry decides which grids hold the density.

    References:
        Mortensen, Hansen, Jacobsen, Phys. Rev. B 71, 035109 (2005), doi:10.1103/PhysRevB.71.035109
    """
    from gpaw import GPAW, PW
    from gpaw.mixer import Mixer, MixerSum

    is_spin_polarised = bool(settings["is_spin_polarised"])
    mixer = MixerSum if is_spin_polarised else Mixer
    return GPAW(
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
        gpts=grid(atoms, settings["cutoff"]),
        txt=None,
    )


def grid(atoms: Any, cutoff: float) -> tuple[int, ...]:
    """Return the smallest grid of the density that the cutoff allows and every operation maps onto itself.

    GPAW itself takes the largest number along all three vectors where its first choice fits not: 35 x 35 x 35
    instead of 16 x 16 x 36 for a centred orthorhombic boride, five times the work.

    Args:
        atoms: of ASE.
        cutoff: of the plane waves, eV.
    """
    import itertools

    import numpy as np
    from ase.units import Bohr, Hartree
    from gpaw.symmetry import Symmetry

    lattice = atoms.cell.array
    symmetry = Symmetry(
        atoms.numbers, lattice / Bohr, atoms.pbc, symmorphic=False, tolerance=SYMMETRY_TOLERANCE / Bohr
    )
    symmetry.analyze(atoms.get_scaled_positions() % 1.0)
    spacing = np.pi / np.sqrt(4.0 * cutoff / Hartree) * Bohr
    heights = 1.0 / np.linalg.norm(np.linalg.inv(lattice).T, axis=1)
    least = np.ceil(heights / spacing).astype(int)
    choices = [[n for n in range(k, 3 * k + 4) if _is_smooth(n)] for k in least]
    for points in sorted(itertools.product(*choices), key=np.prod):
        if all(_maps(u, t, np.array(points)) for u, t in zip(symmetry.op_scc, symmetry.ft_sc)):  # noqa: B905
            return points
    raise ValueError("no grid is compatible with the symmetry")


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
