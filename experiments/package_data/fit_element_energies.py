"""Element energies of each potential -> inverse/verification/calibration/energy_correction.json.

    python -m experiments.package_data.fit_element_energies

Formation energies of WBM rows, which carry the older corrections, are moved to the reference's scale first.
Formation energy = potential energy per atom - sum over features of coefficient * fraction. Features: every
element, transition metal in an oxide or fluoride, anion classes. Cauchy-weighted ridge regression; 10-fold
cross-validation with folds by formula.
"""

import json

import numpy as np
import pandas as pd

from experiments.package_data.sources import REPOSITORY, WORK
from inverse.reference.energy_scale import on_reference_scale
from inverse.verification.calibration.energy_correction import correction_features

POTENTIALS = ("7net-l3i5", "7net-0", "chgnet")
MINIMUM_COUNT = 5
"""Rows an element needs; fewer and it is refused."""

DOUBTFUL = 0.15
"""eV/atom; an element whose rows have a larger median cross-validated error is refused, too."""


def read_static(potential: str) -> pd.DataFrame:
    """Return all static single points of a potential."""
    rows = [
        r for p in sorted((WORK / f"static_{potential}").glob("*.json")) for r in json.loads(p.read_text())
    ]
    for row in rows:
        if row["source"] == "wbm_val":  # these carry the older corrections
            row["formation_energy_per_atom"] = on_reference_scale(
                row["composition"], row["formation_energy_per_atom"]
            )
    return pd.DataFrame(rows)


def feature_matrix(frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Return the (N, F) features of rows; those seen 5 times or more."""
    rows = [correction_features(c) for c in frame.composition]
    count = pd.Series([n for r in rows for n in r]).value_counts()
    names = sorted(n for n in count.index if count[n] >= MINIMUM_COUNT)
    index = {n: i for i, n in enumerate(names)}
    matrix = np.zeros((len(rows), len(names)))
    for r, row in enumerate(rows):
        for name, value in row.items():
            if name in index:
                matrix[r, index[name]] = value
    return matrix, names


def robust_fit(matrix: np.ndarray, target: np.ndarray, names: list[str], scale: float = 0.03) -> np.ndarray:
    """Return (F,) coefficients; elements free, the other terms shrunk towards 0 by a prior of 2 eV.

    The ridge is the square of noise over prior: a larger one pulls a term that few rows show (W in oxides,
    4 eV) away from them, whereupon the robust weights give these rows up.
    """
    ridge = np.diag([1e-6 if " " not in n else (scale / 2.0) ** 2 for n in names])
    weights = np.ones(len(target))
    solution = np.zeros(len(names))
    for step in range(60):
        weighted = matrix * weights[:, None]
        solution = np.linalg.solve(weighted.T @ matrix + ridge, weighted.T @ target)
        width = max(scale, 0.5 * 0.8**step)
        weights = 1.0 / (1.0 + ((target - matrix @ solution) / width) ** 2)
    return solution


def cross_validated(frame: pd.DataFrame, matrix: np.ndarray, names: list[str], folds: int = 10) -> np.ndarray:
    """Return (N,) out-of-fold errors, folds by formula."""
    target = (frame.energy_per_atom - frame.formation_energy_per_atom).to_numpy()
    formulas = frame.formula.unique()
    fold_of = dict(zip(formulas, np.random.default_rng(0).permutation(len(formulas)) % folds, strict=True))
    fold = frame.formula.map(fold_of).to_numpy()
    errors = np.zeros(len(frame))
    for k in range(folds):
        solution = robust_fit(matrix[fold != k], target[fold != k], names)
        errors[fold == k] = target[fold == k] - matrix[fold == k] @ solution
    return errors


def figures(frame: pd.DataFrame, errors: np.ndarray) -> dict[str, float]:
    """Return the cross-validated errors, over all and over the rows the search lives among."""
    light = frame.composition.map(lambda c: bool(set(c) & {"B", "C", "N"})).to_numpy()
    wbm = (frame.source == "wbm_val").to_numpy()
    result = {"n": len(frame)}
    for name, mask in (("", np.ones(len(frame), bool)), ("_wbm", wbm), ("_borides_carbides_nitrides", light)):
        result[f"n{name}"] = int(mask.sum())
        result[f"mae{name}"] = round(float(np.abs(errors[mask]).mean()), 4)
        result[f"median_abs{name}"] = round(float(np.median(np.abs(errors[mask]))), 4)
        result[f"bias{name}"] = round(float(np.median(errors[mask])), 4)
        result[f"p90_abs{name}"] = round(float(np.quantile(np.abs(errors[mask]), 0.9)), 4)
    return result


def doubtful_elements(frame: pd.DataFrame, errors: np.ndarray, known: set[str]) -> dict[str, float]:
    """Return elements whose rows are off by more than the limit in the median: element -> that median."""
    found = {}
    for element in sorted(known):
        own = [abs(errors[i]) for i, c in enumerate(frame.composition) if element in c]
        if np.median(own) > DOUBTFUL:
            found[element] = round(float(np.median(own)), 3)
    return found


def fit(potential: str) -> dict[str, object]:
    """Return coefficients and figures of one potential."""
    frame = read_static(potential)
    matrix, names = feature_matrix(frame)
    known = {n for n in names if " " not in n}
    usable = frame.composition.map(lambda c: set(c) <= known).to_numpy()
    frame, matrix = frame[usable].reset_index(drop=True), matrix[usable]
    errors = cross_validated(frame, matrix, names)
    target = (frame.energy_per_atom - frame.formation_energy_per_atom).to_numpy()
    solution = robust_fit(matrix, target, names)
    doubtful = doubtful_elements(frame, errors, known)
    print("  refused", doubtful)
    worst = np.argsort(-np.abs(errors))[:15]
    print(potential, figures(frame, errors))
    print("  worst", [(frame.formula[i], round(errors[i], 2)) for i in worst])
    by = pd.Series(
        {e: np.median([errors[i] for i, c in enumerate(frame.composition) if e in c]) for e in known}
    )
    print("  element medians", by[by.abs() > 0.02].round(3).to_dict())
    return {
        "coefficients": {
            n: round(float(v), 5) for n, v in zip(names, solution, strict=True) if n not in doubtful
        },
        "refused": doubtful,
        "cross_validation": figures(frame, errors),
        "formulas": " ".join(sorted(set(frame.formula))),
    }


def main() -> None:
    """Fit every potential that has single points."""
    result = {p: fit(p) for p in POTENTIALS if (WORK / f"static_{p}").is_dir()}
    path = REPOSITORY / "inverse" / "verification" / "energy_correction.json"
    path.write_text(json.dumps({"format": 1, "unit": "eV/atom", "potentials": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
