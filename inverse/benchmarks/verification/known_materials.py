"""Materials whose moduli everybody knows, and crystals on which relaxing strained cells stalls."""

import math
import time
from typing import Any

from pymatgen.core import Lattice, Structure

from inverse.report.progress_bar import progress
from inverse.verification.opening import open_here
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan

LIMIT = 60.0
"""Seconds that one verification may take on one core."""

BULK_BY_PBE: dict[str, float] = {
    "C": 434.0,
    "WC": 378.0,
    "W": 301.0,
    "TiC": 250.0,
    "MgO": 150.0,
    "Al": 77.0,
    "NaCl": 24.0,
}
"""K, GPa: PBE values of the literature and of Materials Project; W 298-304, WC 377-380."""


def known_materials() -> dict[str, Structure]:
    """Return diamond, WC, W, TiC, MgO, Al and NaCl near their experimental cells."""
    salt = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
    return {
        "C": Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0.0, 0.0, 0.0]]),
        "WC": Structure(Lattice.hexagonal(2.906, 2.837), ["W", "C"], [[0.0, 0.0, 0.0], [1 / 3, 2 / 3, 0.5]]),
        "W": Structure.from_spacegroup("Im-3m", Lattice.cubic(3.165), ["W"], [[0.0, 0.0, 0.0]]),
        "TiC": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.328), ["Ti", "C"], salt),
        "MgO": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.212), ["Mg", "O"], salt),
        "Al": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.05), ["Al"], [[0.0, 0.0, 0.0]]),
        "NaCl": Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], salt),
    }


def stalling_crystals() -> dict[str, Structure]:
    """Return BC5, BC7, BN (three kinds), RuB2, W3N4 and C3N4: relaxing their strained cells stalls."""
    bn = [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.25]]
    diamond = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.6), ["C"], [[0.0, 0.0, 0.0]])
    bc7 = diamond.copy()
    bc7.replace(0, "B")
    # diamond along [111], its six layers B C C C C C
    bc5 = Structure.from_spacegroup("R-3m", Lattice.hexagonal(2.52, 6.17), ["C"], [[0, 0, 0.125]])
    bc5.replace(0, "B")
    ruthenium = [[0.25, 0.25, 0.149], [0.75, 0.75, 0.851]]
    boron = [[0.056, 0.25, 0.637], [0.444, 0.25, 0.637]]
    boron += [[1 - x, 1 - y, 1 - z] for x, y, z in boron]
    return {
        "BC5": bc5,
        "BC7": bc7,
        "BN zincblende": Structure.from_spacegroup(
            "F-43m", Lattice.cubic(3.625), ["B", "N"], [[0, 0, 0], [0.25] * 3]
        ),
        "BN wurtzite": Structure.from_spacegroup(
            "P6_3mc", Lattice.hexagonal(2.555, 4.225), ["B", "N"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.375]]
        ),
        "BN layered": Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(2.513, 6.7), ["B", "N"], bn),
        "RuB2": Structure(
            Lattice.orthorhombic(4.645, 2.865, 4.045), ["Ru"] * 2 + ["B"] * 4, ruthenium + boron
        ),
        "W3N4": Structure.from_spacegroup(
            "Pm-3m", Lattice.cubic(4.13), ["W", "N", "N"], [[0, 0.5, 0.5], [0.5, 0.5, 0.5], [0.5, 0, 0]]
        ),
        "C3N4": Structure.from_spacegroup(
            "P-43m", Lattice.cubic(3.43), ["C", "N"], [[0.5, 0.5, 0], [0.25, 0.25, 0.25]]
        ),
    }


def verified() -> dict[str, Any]:
    """Return what the judges of record say, asked afresh in this process, and the seconds each took."""
    out: dict[str, Any] = {"known": {}, "stalling": {}}
    verifier = open_here(VerificationPlan(panel_named(), reuse=False, store=""))
    verifier.verify_one(known_materials()["Al"])  # loads the potentials
    groups = {"known": known_materials(), "stalling": stalling_crystals()}
    with progress("known and stalling crystals", sum(map(len, groups.values()))) as bar:
        for group, structures in groups.items():
            for name, structure in structures.items():
                out[group][name] = _one(verifier, name, structure)
                bar.advance(name)
    slowest = max(one["cpu_seconds"] for one in out["stalling"].values())
    finished = [one["reason"] == "" for one in out["stalling"].values()]
    outside = [name for name, one in out["known"].items() if not one["bulk_is_within"]]
    passed = slowest <= LIMIT and all(finished) and not outside
    return {**out, "slowest_stalling": slowest, "bulk_outside_interval": outside, "passed": passed}


def _one(verifier: Any, name: str, structure: Structure) -> dict[str, Any]:
    started, cpu = time.monotonic(), time.process_time()
    verdict = verifier.verify_one(structure)
    record: dict[str, Any] = {
        "formula": structure.composition.reduced_formula,
        "reason": verdict.reason,
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "wall_seconds": round(time.monotonic() - started, 2),
        "flags": list(verdict.flags),
        "bulk_by_pbe": BULK_BY_PBE.get(name),
    }
    for prop in ("bulk_modulus_vrh", "shear_modulus_vrh"):
        value = verdict.values.get(prop)
        numbers = (value.mean, value.std, value.raw) if value is not None else (math.nan,) * 3
        record[prop] = [None if math.isnan(number) else round(number, 1) for number in numbers]
    bulk, pbe = verdict.values.get("bulk_modulus_vrh"), BULK_BY_PBE.get(name, math.nan)
    record["bulk_is_within"] = bulk is not None and bulk.lower <= pbe <= bulk.upper
    return record
