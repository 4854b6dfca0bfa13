"""From a potential's own moduli to the DFT (Materials Project PBE) scale, with an honest error."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from inverse.types import VerifiedValue
from surrogates.errors import DataError, VerificationError
from surrogates.properties import Property
from surrogates.protocol import Z90

CALIBRATION_FILE = Path(__file__).resolve().parent / "calibrations" / "moduli.json"

UNCALIBRATED_ERROR = 0.25
"""Relative standard deviation of a modulus by a potential that nobody compared with DFT."""

STIFF_FROM = {"bulk_modulus_vrh": 200.0, "shear_modulus_vrh": 80.0}
"""GPa; above it the errors of the potentials are about half as large, relative to the value."""

BLEND = 1.5
"""The error changes from soft to stiff between `stiff_from` divided and multiplied by this."""

HUBER = 1.5
"""Residuals beyond this many standard deviations pull the fit linearly, not quadratically."""


@dataclass(frozen=True)
class Calibration:
    """ln(DFT) = intercept + slope * ln(raw), and how well that held on rows left out.

    Attributes:
        property: name of the modulus.
        potential: whose values are translated.
        settings: digest of the settings it was fitted at; others are refused.
        intercept: of the fit.
        slope: of the fit.
        log_std: standard deviation of ln(DFT / calibrated) on rows left out, soft crystals.
        log_std_stiff: the same of stiff ones, which potentials know better.
        stiff_from: GPa; around this calibrated value the error goes over from one to the other.
        n: rows fitted.
        metrics: left-one-out errors, median ratio, recall and precision at a threshold.
    """

    property: str
    potential: str
    settings: str
    intercept: float
    slope: float
    log_std: float
    log_std_stiff: float
    stiff_from: float
    n: int
    metrics: dict[str, Any]

    def on_dft_scale(self, raw: float) -> float:
        """Return the calibrated value of a positive raw modulus, GPa."""
        return math.exp(self.intercept + self.slope * math.log(raw))

    def log_std_at(self, mean: float) -> float:
        """Return the standard deviation of ln(DFT / calibrated) at a calibrated value, GPa."""
        share = 0.5 + math.log(mean / self.stiff_from) / (2 * math.log(BLEND))
        return self.log_std + min(max(share, 0.0), 1.0) * (self.log_std_stiff - self.log_std)


@lru_cache(maxsize=4)
def load_calibrations(path: Path = CALIBRATION_FILE) -> dict[tuple[str, str], Calibration]:
    """Return the packaged calibrations by (property name, potential).

    Raises:
        DataError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text())["calibrations"]
        return {(row["property"], row["potential"]): Calibration(**row) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"calibrations {path.name} cannot be read: {error}") from None


def calibrated(
    prop: Property, potential: str, settings: str, raw: float, amplitude: float = float("nan")
) -> tuple[VerifiedValue, bool]:
    """Return a raw modulus on the DFT scale and whether a calibration said so.

    Without a calibration for this potential the raw value stands, with an error of 25 %.

    Args:
        prop: the modulus.
        potential: whose value it is.
        settings: digest of the settings it was computed at.
        raw: GPa, positive.
        amplitude: difference at twice the strain, GPa, added to the error; NaN when unknown.

    Raises:
        VerificationError: the calibration was fitted at other settings.
    """
    known = load_calibrations().get((prop.name, potential))
    if known is not None and known.settings != settings:
        raise VerificationError(
            f"{potential}'s {prop.name} is calibrated at the settings {known.settings}, not at {settings}"
        )
    mean = raw if known is None else known.on_dft_scale(raw)
    log_std = UNCALIBRATED_ERROR if known is None else known.log_std_at(mean)
    slope = 1.0 if known is None else known.slope
    change = slope * amplitude / raw if math.isfinite(amplitude) else 0.0
    log_std = math.hypot(log_std, change)
    value = VerifiedValue(
        mean=round(mean, 3),
        std=round(mean * log_std, 3),
        lower=round(mean * math.exp(-Z90 * log_std), 3),
        upper=round(mean * math.exp(Z90 * log_std), 3),
        raw=round(raw, 3),
        potential=potential,
        unit=prop.unit,
    )
    return value, known is not None


def fit_calibration(
    prop: Property,
    potential: str,
    settings: str,
    raw: Sequence[float],
    reference: Sequence[float],
    threshold: float,
) -> Calibration:
    """Return the robust log-linear calibration of raw moduli to DFT ones, judged by leaving one out.

    Args:
        prop: the modulus.
        potential: whose values are translated.
        settings: digest of the settings they were computed at.
        raw: (n,) GPa, positive.
        reference: (n,) DFT values, GPa, positive.
        threshold: GPa; recall and precision of exceeding it are reported.

    Raises:
        DataError: fewer than 10 pairs, or values that are not positive.
    """
    x, y = np.log(np.asarray(raw, dtype=float)), np.log(np.asarray(reference, dtype=float))
    if len(x) < 10 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError(f"calibration of {prop.name} by {potential}: {len(x)} usable pairs")
    intercept, slope = _robust_line(x, y)
    keep = ~np.eye(len(x), dtype=bool)
    lines = [_robust_line(x[mask], y[mask]) for mask in keep]
    left_out = np.array([a + b * value for (a, b), value in zip(lines, x, strict=True)])
    stiff_from = STIFF_FROM[prop.name]
    soft, stiff = left_out < math.log(stiff_from), left_out >= math.log(stiff_from)
    metrics = _metrics(np.exp(x), np.exp(left_out), np.exp(y), threshold)
    return Calibration(
        prop.name,
        potential,
        settings,
        round(intercept, 6),
        round(slope, 6),
        _spread(y - left_out, soft),
        _spread(y - left_out, stiff),
        stiff_from,
        len(x),
        metrics,
    )


def write_calibrations(calibrations: Sequence[Calibration], path: Path = CALIBRATION_FILE) -> None:
    """Write the calibrations as one JSON file."""
    text = json.dumps({"calibrations": [asdict(c) for c in calibrations]}, indent=1)
    path.write_text(text + "\n")


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a proportion; (0, 1) without trials.

    >>> wilson_interval(0, 0)
    (0.0, 1.0)
    """
    if trials == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    p, scale = successes / trials, 1 + z * z / trials
    centre = (p + z * z / (2 * trials)) / scale
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def _robust_line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return intercept and slope by iteratively re-weighted least squares (Huber)."""
    weights = np.ones_like(x)
    design = np.stack([np.ones_like(x), x], axis=1)
    line = np.zeros(2)
    for _ in range(30):
        root = np.sqrt(weights)
        line = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
        residual = np.abs(y - design @ line)
        spread = max(1.4826 * float(np.median(residual)), 1e-6)
        weights = np.minimum(1.0, HUBER * spread / np.maximum(residual, 1e-12))
    return float(line[0]), float(line[1])


def _spread(residual: np.ndarray, where: np.ndarray) -> float:
    """Return the 90 % quantile of the residuals' size / 1.645, of all rows where these are few.

    Not the root mean square: one magnetic compound that a potential does not know would rule it.
    """
    size = np.abs(residual[where] if where.sum() >= 12 else residual)
    return round(float(np.quantile(size, 0.9)) / Z90, 6)


def _metrics(raw: np.ndarray, mean: np.ndarray, truth: np.ndarray, threshold: float) -> dict[str, Any]:
    said, true = mean > threshold, truth > threshold
    right = int((said & true).sum())
    return {
        "mae": round(float(np.abs(mean - truth).mean()), 2),
        "mae_raw": round(float(np.abs(raw - truth).mean()), 2),
        "mae_above_threshold": round(float(np.abs(mean - truth)[true].mean()), 2) if true.any() else None,
        "median_ratio_raw": round(float(np.median(raw / truth)), 3),
        "threshold": threshold,
        "recall": _proportion(right, int(true.sum())),
        "precision": _proportion(right, int(said.sum())),
    }


def _proportion(successes: int, trials: int) -> dict[str, Any]:
    low, high = wilson_interval(successes, trials)
    value = round(successes / trials, 3) if trials else None
    return {"value": value, "of": trials, "interval_95": [round(low, 3), round(high, 3)]}
