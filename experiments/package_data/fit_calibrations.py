"""Fit raw -> DFT on what the store holds: `python -m experiments.package_data.fit_calibrations [--write]`.

`--only NAME` fits a potential alone, where it judges by itself; all else stays as it is.

Nothing is computed here: rows that are neither carried nor in the store (INVERSE_STORE) are left out. Judges
of which too few rows are there keep the calibration that they have.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from inverse.benchmarks.dft_rows import calibration_rows
from inverse.benchmarks.verification.carried_readings import joined_rows, rows_with
from inverse.benchmarks.verification.scale import (
    PLANS,
    fitted_calibrations,
    out_of_fold_metrics,
)
from inverse.benchmarks.verification.stored_verdicts import StoredRow
from inverse.verification.calibration.moduli import ModulusCalibration, load_calibrations, write_calibrations
from inverse.verification.calibration.moduli_fit import FitPlan, Pair, out_of_fold
from inverse.verification.calibration.referee_quality import DFT, JUDGES, write_rows
from inverse.verification.judge import JudgeSettings
from inverse.verification.panel import OF_REFEREE, REFEREED
from inverse.verification.store import VerificationStore

REFEREE_PLANS = tuple(FitPlan(prop, OF_REFEREE.judges[prop.name], (prop,)) for prop in REFEREED)
"""How the referee is calibrated: each potential by its own modulus alone."""


def main() -> None:
    """Fit, print, and with --write replace the package data."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="", help="a potential")
    options = parser.parse_args()
    store, wanted = VerificationStore(), calibration_rows()
    rows = list(rows_with(store, wanted, options.only) if options.only else joined_rows(store, wanted))
    fits = []
    for plan, pairs, fit in fitted_calibrations(rows):
        if options.only not in ("", plan.judges):
            continue
        fits.append(replace(fit, metrics=out_of_fold_metrics(plan, pairs)))
        print(json.dumps(asdict(fits[-1]), indent=1), flush=True)
    if options.write:
        write_calibrations(with_others(fits, list(load_calibrations().values())))
        if not options.only:
            write_rows(refereed(rows))


def refereed(rows: Sequence[StoredRow]) -> dict[str, np.ndarray]:
    """Return what referee and judges say, calibrated on formulas left out, and what DFT says, GPa.

    (n,) by column of `referee_quality`, of the rows that the referee was asked about; NaN where one is
    missing. Rows on whose phase the judges disagree are no hits and are left out.
    """
    asked = [row for row in rows if row.referee is not None and row.judges is not None]
    columns: dict[str, np.ndarray] = {}
    for prefix, plans in (("", REFEREE_PLANS), (JUDGES, PLANS)):
        for plan in plans:
            read = [row.referee if plan in REFEREE_PLANS else row.judges for row in asked]
            name = plan.property.name
            pairs = [
                Pair(r.row["formula"], q, r.row[name])
                for r, q in zip(asked, read, strict=True)
                if q is not None
            ]
            columns[prefix + name], _ = out_of_fold(plan, JudgeSettings().method, pairs)
            columns[DFT + name] = np.array([pair.truth for pair in pairs])
        names = [prefix + plan.property.name for plan in plans]
        unfinished = ~np.all([np.isfinite(columns[name]) for name in names], axis=0)
        for name in names:
            columns[name][unfinished] = np.nan
    return columns


def with_others(
    fits: Sequence[ModulusCalibration], old: Sequence[ModulusCalibration]
) -> list[ModulusCalibration]:
    """Return the fits, and the old calibrations at the same settings of judges that were not fitted now."""
    fitted = {(fit.property, fit.judges) for fit in fits}
    settings = {fit.settings for fit in fits}
    kept = [c for c in old if (c.property, c.judges) not in fitted and c.settings in settings]
    return [*fits, *kept]


if __name__ == "__main__":
    main()
