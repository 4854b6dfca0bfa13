"""Fit raw -> DFT on what the store holds: `python -m experiments.verification.fit_calibrations [--write]`.

Nothing is computed here: rows whose verdicts are not in the store (INVERSE_STORE) yet are left out.
"""

import argparse
import logging
from collections.abc import Iterator

from inverse.benchmarks.dft_rows import calibration_rows, structure_of
from inverse.verification.calibration import Calibration, fit_calibration, write_calibrations
from inverse.verification.judge import Judge, JudgeSettings
from inverse.verification.judges import phase_disagreement
from inverse.verification.store import VerificationStore
from surrogates.errors import DataError
from surrogates.properties import BULK_MODULUS, SHEAR_MODULUS

LOGGER = logging.getLogger(__name__)
THRESHOLDS = {BULK_MODULUS: 300.0, SHEAR_MODULUS: 150.0}


class _Stored(Judge):
    """A judge that only remembers."""

    def _relax(self, *_: object) -> dict:
        raise DataError("not in the store")

    def _tensor(self, *_: object) -> dict:
        raise DataError("not in the store")

    def _remember(self, *_: object) -> None:
        return


def verdicts(store: VerificationStore, rows: list[dict]) -> Iterator[tuple[dict, str, object]]:
    """Yield (row, potential, tensor verdict) of every verdict in the store, judges that disagree left out."""
    for row in rows:
        structure = structure_of(row)
        first = _Stored("7net-l3i5", store=store, prerelax_by="7net-0")
        relaxed = first.relax(structure)
        for name in ("chgnet", "7net-0"):
            own = _Stored(name, store=store).relax(structure)
            if own.structure is not None:
                yield row, name, _Stored(name, store=store).tensor(own.structure)
        if relaxed.structure is None:
            continue
        yield row, "7net-l3i5", first.tensor(relaxed.structure, only_bulk=True)
        yield row, "7net-l3i5", first.tensor(relaxed.structure)
        own = _Stored("diep", store=store).relax(relaxed.structure)
        if own.structure is not None and not phase_disagreement(relaxed.structure, own.structure):
            yield row, "diep", _Stored("diep", store=store).tensor(own.structure)


def fit_all(store: VerificationStore, rows: list[dict]) -> list[Calibration]:
    """Return one calibration per potential and modulus with enough rows."""
    pairs: dict[tuple[str, object], dict[str, tuple[float, float]]] = {}
    for row, name, verdict in verdicts(store, rows):
        for prop in THRESHOLDS:
            raw = getattr(verdict, prop.name.removesuffix("_vrh"))
            key = pairs.setdefault((name, prop), {})
            if raw == raw and row["formula"] not in key:
                key[row["formula"]] = (raw, row[prop.name])
    fits = []
    for (name, prop), found in sorted(pairs.items(), key=str):
        if len(found) < 20:
            LOGGER.info("%s %s: only %d rows", name, prop.name, len(found))
            continue
        raw, truth = zip(*found.values(), strict=True)
        fits.append(fit_calibration(prop, name, JudgeSettings().digest, raw, truth, THRESHOLDS[prop]))
    return fits


def main() -> None:
    """Fit, print, and with --write replace the package data."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=120)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fits = fit_all(VerificationStore(), calibration_rows()[: options.rows])
    for fit in fits:
        print(fit.potential, fit.property, f"n {fit.n} slope {fit.slope:.3f} intercept {fit.intercept:.3f}")
        print("   std of ln, soft", fit.log_std, "stiff", fit.log_std_stiff, fit.metrics)
    if options.write:
        write_calibrations(fits)


if __name__ == "__main__":
    main()
