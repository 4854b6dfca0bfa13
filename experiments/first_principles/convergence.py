"""Bulk moduli of six crystals against cutoff, mesh, smearing and range of volumes.

python -m experiments.first_principles.convergence --minutes 60   # computes what is missing, in order
python -m experiments.first_principles.convergence                # the table of what there is
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from pymatgen.core import Lattice, Structure

from experiments.first_principles.calculations import Calculations, answers
from inverse.potentials.dft import PROTOCOL, DftProtocol, code_named
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.verification.first_principles.bulk_modulus import VOLUMES, BulkModulus, bulk_modulus
from inverse.verification.first_principles.setting import Setting

CRYSTALS = {
    "C": Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.573), ["C"], [[0, 0, 0]]),
    "WC": Structure.from_spacegroup(
        "P-6m2", Lattice.hexagonal(2.920, 2.850), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]
    ),
    "TiN": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.254), ["Ti", "N"], [[0, 0, 0], [0.5, 0, 0]]),
    "TiB2": Structure.from_spacegroup(
        "P6/mmm", Lattice.hexagonal(3.032, 3.224), ["Ti", "B"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]
    ),
    "W": Structure.from_spacegroup("Im-3m", Lattice.cubic(3.187), ["W"], [[0, 0, 0]]),
    "Al": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.040), ["Al"], [[0, 0, 0]]),
}
"""Near their PBE cells."""

BASE = replace(PROTOCOL, cutoff=500.0, spacing=0.25, smearing=0.1)
VARIED: dict[str, tuple[DftProtocol, Sequence[float]]] = {
    "500 eV, 0.25, 0.1": (BASE, VOLUMES),
    "400 eV": (replace(BASE, cutoff=400.0), VOLUMES),
    "600 eV": (replace(BASE, cutoff=600.0), VOLUMES),
    "spacing 0.35": (replace(BASE, spacing=0.35), VOLUMES),
    "spacing 0.18": (replace(BASE, spacing=0.18), VOLUMES),
    "smearing 0.2": (replace(BASE, smearing=0.2), VOLUMES),
    "800 eV": (replace(BASE, cutoff=800.0), VOLUMES),
    "0.35, smearing 0.3": (replace(BASE, spacing=0.35, smearing=0.3), VOLUMES),
    "0.3, smearing 0.2": (replace(BASE, spacing=0.3, smearing=0.2), VOLUMES),
    "volumes within 4 %": (BASE, (1.0, 0.98, 1.02, 0.96, 1.04)),
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--crystals", nargs="*", default=list(CRYSTALS))
    parser.add_argument("--variants", nargs="*", default=list(VARIED), help="those to compute, in order")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    memory, code = Calculations(), code_named("gpaw")
    named = []
    for variant in dict.fromkeys([*options.variants, *VARIED]):
        protocol, volumes = VARIED[variant]
        setting = Setting(code, protocol, memory, element_spacing=float("inf"))
        for formula in options.crystals:
            cell = SymmetricCell.from_structure(CRYSTALS[formula])
            named.append((f"{formula} {variant}", bulk_modulus(cell, setting.potential(cell), volumes)))
    found = answers(named, 60.0 * options.minutes, options.processes)
    print(f"{'':20s}" + "".join(f"{formula:>24s}" for formula in options.crystals))
    for variant in VARIED:
        row = [found.get(f"{formula} {variant}") for formula in options.crystals]
        print(f"{variant:20s}" + "".join(f"{_shown(one):>24s}" for one in row))
    return 0


def _shown(one: object) -> str:
    if not isinstance(one, BulkModulus):
        return "-"
    return f"{one.by_energy:.1f}, {one.by_stress:.1f}: {one.mean:.1f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
