"""Fit raw -> DFT on what the store holds: `python -m experiments.verification.fit_calibrations [--write]`.

Nothing is computed here: rows that are neither carried nor in the store (INVERSE_STORE) are left out.
"""

import argparse
import json
from dataclasses import asdict, replace

from inverse.benchmarks.carried_readings import joined_rows
from inverse.benchmarks.dft_rows import calibration_rows
from inverse.benchmarks.verify_scale import fitted_calibrations, out_of_fold_metrics
from inverse.verification.calibration import write_calibrations
from inverse.verification.store import VerificationStore


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
        write_calibrations(fits)


if __name__ == "__main__":
    main()
