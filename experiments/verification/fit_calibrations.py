"""Fit raw -> DFT on what the store holds: `python -m experiments.verification.fit_calibrations [--write]`.

Nothing is computed here: rows that are neither carried nor in the store (INVERSE_STORE) are left out. Judges
of which too few rows are there keep the calibration that they have.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from inverse.benchmarks.carried_readings import joined_rows
from inverse.benchmarks.dft_rows import calibration_rows
from inverse.benchmarks.stored_verdicts import StoredRow
from inverse.benchmarks.verify_scale import fitted_calibrations, out_of_fold_metrics
from inverse.referee_quality import DFT, write_rows
from inverse.verification.calibration import Calibration, load_calibrations, write_calibrations
from inverse.verification.calibration_fit import Pair, Plan, out_of_fold
from inverse.verification.judge import JudgeSettings
from inverse.verification.store import VerificationStore
from surrogates.properties import BULK_MODULUS, SHEAR_MODULUS


def main() -> None:
    """Fit, print, and with --write replace the package data."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rows = list(joined_rows(VerificationStore(), calibration_rows()))
    fits = []
    for plan, pairs, fit in fitted_calibrations(rows):
        fits.append(replace(fit, metrics=out_of_fold_metrics(plan, pairs)))
        print(json.dumps(asdict(fits[-1]), indent=1), flush=True)
    if options.write:
        write_calibrations(with_others(fits, list(load_calibrations().values())))
        write_rows(refereed(rows))


def refereed(rows: Sequence[StoredRow]) -> dict[str, np.ndarray]:
    """Return what the referee says, calibrated on formulas left out, and what DFT says: (n,) by name, GPa.

    Of the rows that it was asked about; NaN where it calls a crystal unstable or its judges disagree.
    """
    asked = [row for row in rows if row.referee is not None]
    columns = {}
    for prop, name, by in ((BULK_MODULUS, "bulk", "diep"), (SHEAR_MODULUS, "shear", "7net-l3i5")):
        pairs = [Pair(row.row["formula"], row.referee, row.row[prop.name]) for row in asked if row.referee]
        said, _ = out_of_fold(Plan(prop, by, (name,)), JudgeSettings().digest, pairs)
        columns[prop.name], columns[DFT + prop.name] = said, np.array([pair.truth for pair in pairs])
    unfinished = ~np.all([np.isfinite(columns[p.name]) for p in (BULK_MODULUS, SHEAR_MODULUS)], axis=0)
    for prop in (BULK_MODULUS, SHEAR_MODULUS):
        columns[prop.name][unfinished] = np.nan
    return columns


def with_others(fits: Sequence[Calibration], old: Sequence[Calibration]) -> list[Calibration]:
    """Return the fits, and the old calibrations at the same settings of judges that were not fitted now."""
    fitted = {(fit.property, fit.judges) for fit in fits}
    settings = {fit.settings for fit in fits}
    kept = [c for c in old if (c.property, c.judges) not in fitted and c.settings in settings]
    return [*fits, *kept]


if __name__ == "__main__":
    main()
