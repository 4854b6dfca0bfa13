"""From the judges' own moduli to the DFT (Materials Project PBE) scale, with an honest error."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from inverse.candidates.types import VerifiedValue
from inverse.potentials.loading import potential_version
from inverse.verification.calibration.readings import OF_TENSOR, Readings
from surrogates.errors import DataError, VerificationError
from surrogates.physics.properties import Property
from surrogates.protocol import Z90

CALIBRATION_FILE = Path(__file__).resolve().parent / "moduli.json"

UNCALIBRATED_ERROR = 0.25
"""Relative standard deviation of a modulus by a potential that nobody compared with DFT."""

OTHER_VERSION = "calibrated_by_other_version"
"""Flag of values on the DFT scale by a potential in another version than its calibration was fitted with."""

BLEND = 1.5
"""The error changes from soft to stiff between `stiff_from` divided and multiplied by this."""


@dataclass(frozen=True)
class ModulusCalibration:
    """ln(DFT) = intercept + sum of slopes x ln(raw) + offset of the anion class, and how well that held.

    Attributes:
        property: name of the modulus.
        judges: potentials whose numbers enter, joined by "+"; the first is the modulus' own.
        settings: `JudgeSettings.method` it was fitted at; others are refused.
        intercept: of the fit.
        slopes: by name of the property read, the modulus' own first; none is negative, so the function is
            monotone.
        offsets: by anion class; a class that is not named has none.
        log_std: standard deviation of ln(DFT / calibrated) on the fitted rows, soft crystals; `metrics` say
            how often the interval held on formulas left out.
        log_std_stiff: the same of stiff ones, which potentials know better.
        stiff_from: GPa; around this calibrated value the error goes over from one to the other.
        doubted: factor on the error of crystals with a doubt (`Readings.doubts`).
        n: rows fitted.
        metrics: out-of-fold errors, recall and precision at a threshold.
        versions: of the potentials it was fitted with, by name.
    """

    property: str
    judges: str
    settings: str
    intercept: float
    slopes: Mapping[str, float]
    log_std: float
    log_std_stiff: float
    stiff_from: float
    n: int
    offsets: Mapping[str, float] = field(default_factory=dict)
    doubted: float = 1.0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def on_dft_scale(self, readings: Readings) -> float:
        """Return the calibrated value, GPa; NaN where a reading it needs is missing or not positive."""
        total = self.intercept + self.offsets.get(readings.anion, 0.0)
        for name, slope in self.slopes.items():
            raw = readings[name].value
            if not (math.isfinite(raw) and raw > 0):
                return math.nan
            total += slope * math.log(raw)
        return math.exp(total)

    def log_std_at(self, mean: float, readings: Readings | None = None) -> float:
        """Return the standard deviation of ln(DFT / calibrated) at a calibrated value, GPa.

        With readings, the change between the two strain sizes and their doubts are part of it.
        """
        share = 0.5 + math.log(mean / self.stiff_from) / (2 * math.log(BLEND))
        log_std = self.log_std + min(max(share, 0.0), 1.0) * (self.log_std_stiff - self.log_std)
        if readings is None:
            return log_std
        changes = [readings[name].relative_change * slope for name, slope in self.slopes.items()]
        return math.hypot(log_std, *changes) * (self.doubted if readings.doubts else 1.0)


def other_versions(fit: ModulusCalibration) -> dict[str, str]:
    """Return potential -> installed version, where that is not the one a calibration was fitted with."""
    installed = {name: potential_version(name) for name in fit.versions}
    return {name: version for name, version in installed.items() if version != fit.versions[name]}


@lru_cache(maxsize=4)
def load_calibrations(path: Path = CALIBRATION_FILE) -> dict[tuple[str, str], ModulusCalibration]:
    """Return the packaged calibrations by (property name, judges).

    Raises:
        DataError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text())["calibrations"]
        return {(row["property"], row["judges"]): _from_row(row) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"calibrations {path.name} cannot be read: {error}") from None


def calibration_of(prop: Property, readings: Readings) -> ModulusCalibration | None:
    """Return the calibration of what these judges read: that of several together where there is one."""
    known = load_calibrations()
    for (name, _), fit in known.items():
        if name == prop.name and len(fit.slopes) > 1:
            judges = [readings[term].by for term in fit.slopes]
            if judges == fit.judges.split("+") and math.isfinite(fit.on_dft_scale(readings)):
                return fit
    return known.get((prop.name, readings[prop.name].by))


def calibrated(prop: Property, readings: Readings, settings: str) -> tuple[VerifiedValue, bool]:
    """Return a raw modulus on the DFT scale and whether a calibration said so.

    Without a calibration for these judges the raw value stands, with an error of 25 %.

    Args:
        prop: the modulus.
        readings: of the judges; the raw modulus itself must be positive.
        settings: `JudgeSettings.method` they worked at.

    Raises:
        VerificationError: the calibration was fitted at other settings.
    """
    read = readings[prop.name]
    known = calibration_of(prop, readings)
    if known is not None and known.settings != settings:
        raise VerificationError(
            f"{prop.name} by {known.judges} is calibrated at the settings {known.settings}, not at {settings}"
        )
    mean = read.value if known is None else known.on_dft_scale(readings)
    if known is None:
        log_std = math.hypot(UNCALIBRATED_ERROR, read.relative_change)
    else:
        log_std = known.log_std_at(mean, readings)
    value = VerifiedValue(
        mean=round(mean, 3),
        std=round(mean * log_std, 3),
        lower=round(mean * math.exp(-Z90 * log_std), 3),
        upper=round(mean * math.exp(Z90 * log_std), 3),
        raw=round(read.value, 3),
        potential=read.by,
        unit=prop.unit,
    )
    return value, known is not None


def with_wider_error(value: VerifiedValue, factor: float) -> VerifiedValue:
    """Return a modulus with the error of its logarithm multiplied.

    >>> wide = with_wider_error(VerifiedValue(100, 10, 85, 118, 99, "diep", "GPa"), 2.0)
    >>> wide.std, round(wide.upper)
    (20.0, 139)
    """
    if factor == 1.0:
        return value
    return replace(
        value,
        std=round(value.std * factor, 3),
        lower=round(value.mean * (value.lower / value.mean) ** factor, 3),
        upper=round(value.mean * (value.upper / value.mean) ** factor, 3),
    )


def write_calibrations(calibrations: Sequence[ModulusCalibration], path: Path = CALIBRATION_FILE) -> None:
    """Write the calibrations as one JSON file."""
    text = json.dumps({"calibrations": [_to_row(c) for c in calibrations]}, indent=1)
    path.write_text(text + "\n")


def _from_row(row: Mapping[str, Any]) -> ModulusCalibration:
    """Return a calibration of the file, where readings go by their short terms."""
    names = {known.term: name for name, known in OF_TENSOR.items()}
    return ModulusCalibration(
        **{**row, "slopes": {names[term]: slope for term, slope in row["slopes"].items()}}
    )


def _to_row(fit: ModulusCalibration) -> dict[str, Any]:
    return asdict(fit) | {"slopes": {OF_TENSOR[name].term: slope for name, slope in fit.slopes.items()}}
