"""Does a potential's corrected energy find the phases that DFT finds stable within 0.1 eV/atom? Static cells.

    python -m experiments.studies.check_stability 7net-l3i5

Out-of-fold formation energies (10-fold by formula) and DFT ones, both against the carried hull.
"""

import sys

import numpy as np

from experiments.package_data.fit_element_energies import cross_validated, feature_matrix, read_static
from inverse.reference import ReferenceHull

LIMIT = 0.1


def check(potential: str) -> dict[str, float]:
    """Return F1, MCC and the error of the distance to the hull, WBM rows whose formula is not in the hull."""
    frame = read_static(potential)
    matrix, names = feature_matrix(frame)
    usable = frame.composition.map(lambda c: set(c) <= {n for n in names if " " not in n}).to_numpy()
    frame, matrix = frame[usable].reset_index(drop=True), matrix[usable]
    errors = cross_validated(frame, matrix, names)
    hull = ReferenceHull.packaged()
    wanted = frame.index[(frame.source == "wbm_val")]
    wanted = [i for i in wanted if hull.phases.phase(frame.formula[i]) is None]
    below = np.array([hull.below(frame.formula[i]) for i in wanted])
    true = frame.formation_energy_per_atom[wanted].to_numpy() - below
    found = true + errors[wanted]
    stable, said = true <= LIMIT, found <= LIMIT
    tp, fp = int((stable & said).sum()), int((~stable & said).sum())
    fn, tn = int((stable & ~said).sum()), int((~stable & ~said).sum())
    mcc = (tp * tn - fp * fn) / max(1.0, float(tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    return {
        "n": len(wanted),
        "stable_share": round(float(stable.mean()), 3),
        "f1": round(2 * tp / (2 * tp + fp + fn), 3),
        "mcc": round(mcc, 3),
        "mae": round(float(np.abs(errors[wanted]).mean()), 4),
    }


if __name__ == "__main__":
    for name in sys.argv[1:] or ["7net-l3i5", "7net-0", "chgnet"]:
        print(name, check(name))
