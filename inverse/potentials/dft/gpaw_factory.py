"""GPAW's calculator from the protocol; imported by the interpreter that has GPAW, alone, as a file."""

from typing import Any

DEFAULT_BANDS = "130%"
"""Bands, of those that electrons fill: room for the smearing of metals."""


GENTLE = 0.1
"""Mixing up to which changes of long wavelength are damped, too."""

SYMMETRY_TOLERANCE = 1e-5
"""Å; at GPAW's own 1e-7 a cell of rounded numbers keeps some operations of a group and loses others."""


def calculator(settings: dict[str, Any]) -> Any:
    """Return a GPAW calculator in plane waves.

    Args:
        settings: fields of `DftProtocol`, and `mesh` (3 divisions), `is_spin_polarised`.

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
        txt=None,
    )


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
