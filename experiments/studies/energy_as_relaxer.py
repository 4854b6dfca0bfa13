"""Does the formation-energy surrogate find the volume of crystals it never saw, and does it repel?

Crystals of `mp_structures` whose formulas one of the members did not see, up to 8 atoms.
Run: python -m experiments.studies.energy_as_relaxer
"""

import json

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.crystals.batch import CrystalBatch
from surrogates.datasets.elasticity import formula_fold
from surrogates.datasets.energies import energy_rows
from surrogates.physics.properties import FORMATION_ENERGY
from surrogates.tiers.ensemble import StructureSurrogate


def energies(surrogate: StructureSurrogate, batch: CrystalBatch) -> torch.Tensor:
    """Return (C,) eV/atom."""
    with torch.no_grad():
        return surrogate.predict(batch, [FORMATION_ENERGY])[FORMATION_ENERGY].mean


def volume_errors(surrogate: StructureSurrogate, batch: CrystalBatch) -> dict[str, float]:
    """Scan isotropic strain, fit a parabola around the minimum."""
    sizes = np.linspace(0.86, 1.14, 15)
    scans = [energies(surrogate, batch.replace(lattice=batch.lattice * float(x))) for x in sizes]
    curve = torch.stack(scans).numpy()
    ratios = []
    for k, lowest in enumerate(curve.argmin(axis=0)):
        middle = min(max(int(lowest), 1), len(sizes) - 2)
        near = slice(middle - 1, middle + 2)
        second, first, _ = np.polyfit(sizes[near], curve[near, k], 2)
        ratios.append(np.clip(-first / 2 / second, 0.85, 1.15) ** 3)
    off = 100 * np.abs(np.array(ratios) - 1)
    rise = np.median(curve[0] - curve[7])
    return {
        "n": len(off),
        "volume_mae_percent": round(float(off.mean()), 2),
        "volume_median_percent": round(float(np.median(off)), 2),
        "median_rise_at_0.86": round(float(rise), 3),
    }


def shaking(surrogate: StructureSurrogate, batch: CrystalBatch) -> dict[str, float]:
    """Return the median energy that random displacements add, eV/atom, by size in Å."""
    generator = torch.Generator().manual_seed(0)
    inverse = torch.linalg.inv(batch.lattice)[batch.crystal_index]
    rest, out = energies(surrogate, batch), {}
    for size in (0.03, 0.06, 0.1, 0.15, 0.3):
        noise = torch.randn(batch.frac_coords.shape, generator=generator) * size
        moved = batch.frac_coords + torch.einsum("ai,aij->aj", noise, inverse)
        added = energies(surrogate, batch.replace(frac_coords=moved)) - rest
        out[str(size)] = round(float(added.median()), 4)
    return out


def main() -> None:
    """Run from the command line."""
    torch.set_num_threads(1)
    surrogate = load_surrogate("structure")
    rows = [
        row
        for row in energy_rows(max_atoms=8)
        if row["file"] == "mp_structures" and formula_fold(row["formula"], 10) < 2
    ][::12]
    structures = [Structure(Lattice(r["lattice"]), r["species"], r["frac_coords"]) for r in rows]
    small = [s * (2, 2, 2) for s in structures if len(s) <= 3][:40]
    found = volume_errors(surrogate, CrystalBatch.from_structures(structures))
    shaken = shaking(surrogate, CrystalBatch.from_structures(small))
    print(json.dumps({"volume": found, "shaking_adds": shaken}, indent=1))


if __name__ == "__main__":
    main()
