"""What a cell that serves two strains costs in accuracy: `python -m experiments.studies.shared_strains`.

The tensor of pure strains, as for a potential with a kink, against the one of record, crystal by crystal over
the draw of `inverse bench verify-elasticity`; nothing is stored but the relaxations.
"""

import argparse
from dataclasses import replace

import numpy as np

from inverse.benchmarks.dft_rows import structure_of
from inverse.benchmarks.verification.elasticity import POTENTIAL, crystals
from inverse.potentials.loading import limit_threads, load_potential
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.verification.judge import Judge
from inverse.verification.mechanics.stiffness import Stiffness, StiffnessSettings, stiffness
from inverse.verification.store import VerificationStore


def both(row: dict) -> tuple[Stiffness, Stiffness] | None:
    """Return the tensors of pure and of shared strains; None where the crystal did not relax."""
    cell = Judge(POTENTIAL, store=VerificationStore()).relax(structure_of(row)).structure
    if cell is None:
        return None
    symmetric, potential = SymmetricCell.from_structure(cell), load_potential(POTENTIAL)
    once = StiffnessSettings(repeat_factor=0.0)  # a kinked potential's repetition would be extrapolated
    pure = stiffness(symmetric, replace(potential, is_kinked=True), once)
    return pure, stiffness(symmetric, potential, once)


def main() -> None:
    """Print every crystal and the quantiles of the differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crystals", type=int, default=60)
    limit_threads()
    differences = []
    for row in crystals(parser.parse_args().crystals):
        found = both(row)
        if found is None:
            continue
        pure, shared = found
        bulk, shear = (
            abs(getattr(shared, m) / getattr(pure, m) - 1) for m in ("bulk_modulus", "shear_modulus")
        )
        differences.append((bulk, shear))
        print(f"{row['formula']:14s} K {bulk:.4f} G {shear:.4f} {','.join(pure.flags)}", flush=True)
    values = np.array(differences)
    known = values[np.isfinite(values).all(axis=1)]
    for name, column in zip(("K", "G"), known.T, strict=True):
        print(name, "n", len(known), "quantiles 50, 90, 100 %", np.quantile(column, [0.5, 0.9, 1.0]).round(4))


if __name__ == "__main__":
    main()
