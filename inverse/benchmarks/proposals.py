"""`inverse bench proposals`: how far predicted energies of what each source proposes are from the judge's.

Proposals of one fixed config are drawn at random after the screen and before any choice, so that nothing was
picked for its prediction. Truth is the distance from the hull by the energy judge alone. What was proposed,
predicted and triaged is kept beside the verification store, where the judge's answers are: a call that runs
out of time is taken up by the next.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pymatgen.core import Structure

from inverse.benchmarks.arguments import Arguments
from inverse.benchmarks.intervals import bootstrapped
from inverse.campaign.provenance import weights
from inverse.candidates.types import Verification
from inverse.inputs.campaign_config import CampaignConfig
from inverse.inputs.records import structure_from_record, structure_to_record
from inverse.prediction.evaluation import predicted_values
from inverse.prediction.triage import GROUP
from inverse.report.progress_bar import progress
from inverse.verification.calibration.energy_correction import formation_energy
from inverse.verification.ladder import ENERGY_PER_ATOM
from inverse.verification.store import default_store_path
from surrogates.errors import ConfigError, EngineError
from surrogates.physics.properties import ENERGY_ABOVE_HULL
from surrogates.platform.whole_files import write_atomically
from surrogates.protocol import Z90

SOURCES = ("substitution", "decoder", "gradient", "tpe", "genetic", "random")

ASKED = 128
"""Proposals of each source, of which some are drawn."""

NEAR = 0.1
"""eV/atom above the hull within which a verification is worth its while."""

MOST_OFF: dict[str, float] = {"substitution": 0.06}
MOST_OFF_OF_OTHERS = 0.10
"""Largest median error of the distance from the hull, eV/atom, by source."""

LARGEST_BIAS, LEAST_AREA, COVERS = 0.03, 0.85, (0.85, 0.95)
"""Bars of the median bias (eV/atom), of the area under the ROC of "near", and of the 90 % interval."""


@dataclass(frozen=True)
class Distance:
    """A distance from the hull as somebody expects it, eV/atom."""

    mean: float
    std: float

    def holds(self, true: float) -> bool:
        """Return whether the 90 % interval holds a value."""
        return abs(self.mean - true) <= Z90 * self.std


@dataclass(frozen=True)
class Proposed:
    """A proposal that was drawn.

    Attributes:
        structure: as proposed.
        hull: formation energy of the hull there, eV/atom.
        predicted: by the surrogate.
        triaged: by the potential that triages; None before it was asked.
    """

    structure: Structure
    hull: float
    predicted: Distance
    triaged: Distance | None = None

    def record(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        said = self.triaged
        known = [] if said is None or not math.isfinite(said.mean) else [said.mean, said.std]
        return {
            "structure": structure_to_record(self.structure),
            "hull": self.hull,
            "predicted": [self.predicted.mean, self.predicted.std],
            "triaged": None if said is None else known,
        }

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Proposed":
        """Return what `record` wrote."""
        triaged = record["triaged"]
        return cls(
            structure_from_record(record["structure"]),
            float(record["hull"]),
            Distance(*record["predicted"]),
            None if triaged is None else Distance(*triaged) if triaged else Distance(math.nan, math.nan),
        )


def run_proposals(
    n: int = 50, seed: int = 0, *, given: Arguments, folder: Path | None = None
) -> dict[str, Any]:
    """Return errors, bias, area under the ROC and coverage of the predicted distances, by source.

    Args:
        n: proposals of each source; a larger n draws the same first.
        seed: of the searches, and of the draw.
        given: who proposes, predicts, triages and judges, and seconds after which nothing is begun.
        folder: where proposals are kept; None takes one beside the verification store.

    Raises:
        EngineError: a source, a model or a potential that is not there.
    """
    if given.judge is None:
        raise ConfigError("bench proposals: nobody relaxes")
    until = time.monotonic() + given.seconds
    folder = folder or default_store_path().parent / "proposals"
    should_stop: Callable[[], bool] = lambda: time.monotonic() > until  # noqa: E731
    parts: dict[str, Any] = {}
    try:
        with progress("proposals", len(SOURCES) * n) as bar:
            for source in SOURCES:
                drawn, wanted = drawn_from(source, seed, n, given, folder, should_stop)
                true = [math.nan] * len(drawn)
                answered = 0
                for position, verdict in given.judge.relax_each(
                    [one.structure for one in drawn], should_stop
                ):
                    answered += 1
                    true[position] = _above_hull(verdict, drawn[position].hull, given.judge.potential)
                    bar.advance(source)
                parts[source] = {"open": wanted - answered, **figures(source, drawn, true, answered)}
    finally:
        given.judge.close()
    return {
        "config": config_of(SOURCES[0], seed).to_mapping(),
        "sources": parts,
        "open": sum(part["open"] for part in parts.values()),
        "table": [
            _row(source, who, part[who]) for source, part in parts.items() for who in ("surrogate", "triage")
        ],
        "passed": all(all(part["surrogate"]["passes"].values()) for part in parts.values()),
    }


def config_of(source: str, seed: int) -> CampaignConfig:
    """Return the config whose proposals are drawn."""
    text = files("inverse.benchmarks").joinpath("class_new.yaml").read_text(encoding="utf-8")
    return CampaignConfig.from_mapping({**yaml.safe_load(text), "search": {"method": source}, "seed": seed})


def drawn_from(
    source: str, seed: int, n: int, given: Arguments, folder: Path, should_stop: Callable[[], bool]
) -> tuple[list[Proposed], int]:
    """Return at most n proposals of a source, drawn at random, and how many there are to be.

    Fewer where there is no time left to propose or to triage them. What is known of them is in their file.
    """
    config = config_of(source, seed)
    told = [config.to_yaml(), ASKED, sorted(record["sha256"] for record in weights().values())]
    path = folder / f"{source}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]}.json"
    if path.exists():
        found = [Proposed.of(record) for record in json.loads(path.read_text(encoding="utf-8"))]
    elif should_stop():
        return [], n
    else:
        found = list(proposed(config, given))
        _write(path, found)
    last = min(n, len(found))
    for first in range(0, last, GROUP):
        group = range(first, min(first + GROUP, last))
        if given.triage is None or all(found[k].triaged is not None for k in group):
            continue
        if should_stop():
            return found[:first], last
        said = given.triage.relax([found[k].structure for k in group])
        for k, one in zip(group, said, strict=True):
            found[k] = replace(found[k], triaged=Distance(one.energy - found[k].hull, one.std))
        _write(path, found)
    return found[:n], last


def proposed(config: CampaignConfig, given: Arguments) -> Iterator[Proposed]:
    """Yield the proposals of a config that pass the screen and that the hull knows, in random order."""
    parts = given.assembled(config)
    parts.verifier.close()
    kept = [
        structure
        for structure in (p.structure for p in parts.proposer.ask(ASKED, 0, config.seed))
        if parts.screening(structure) is None
    ]
    order = np.random.default_rng(config.seed).permutation(len(kept))
    structures = [kept[k] for k in order]
    predictions = parts.evaluator.predict(structures)
    for row, structure in enumerate(structures):
        hull = parts.evaluator.hull_energy(structure.composition.reduced_formula)
        value = predicted_values(predictions, row)[ENERGY_ABOVE_HULL.name]
        if math.isfinite(hull) and math.isfinite(value.mean):
            yield Proposed(structure, hull, Distance(value.mean, (value.upper - value.lower) / (2 * Z90)))


def _write(path: Path, found: Sequence[Proposed]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps([one.record() for one in found]))


def _above_hull(verdict: Verification, hull: float, potential: str) -> float:
    """Return the judge's distance from the hull, eV/atom; NaN where it has none."""
    energy = verdict.values.get(ENERGY_PER_ATOM)
    if verdict.structure is None or energy is None:
        return math.nan
    try:
        return formation_energy(verdict.structure, energy.mean * len(verdict.structure), potential) - hull
    except EngineError:
        return math.nan


def figures(source: str, drawn: Sequence[Proposed], true: Sequence[float], answered: int) -> dict[str, Any]:
    """Return what is known of a source's predicted distances.

    Args:
        source: its name.
        drawn: its proposals.
        true: distances by the judge, eV/atom; NaN where it has none or was not asked.
        answered: that it was asked about.
    """
    known = [(one, float(t)) for one, t in zip(drawn, true, strict=True) if math.isfinite(t)]
    most = MOST_OFF.get(source, MOST_OFF_OF_OTHERS)
    near = np.array([t <= NEAR for _, t in known], dtype=float)
    triaged = [(one.triaged, t) for one, t in known if one.triaged is not None]
    return {
        "drawn": len(drawn),
        "without_energy": answered - len(known),
        "near": _interval(lambda x: float(x.mean()), near),
        "surrogate": errors([(one.predicted, t) for one, t in known], most),
        "triage": errors([(said, t) for said, t in triaged if math.isfinite(said.mean)], most),
    }


def errors(pairs: Sequence[tuple[Distance, float]], most_off: float) -> dict[str, Any]:
    """Return errors of distances, 95 % intervals by bootstrap over crystals, and which bars they keep."""
    if not pairs:
        return {"n": 0, "passes": {}}
    said, true = np.array([d.mean for d, _ in pairs]), np.array([t for _, t in pairs])
    held = np.array([d.holds(t) for d, t in pairs], dtype=float)
    off = said - true
    found: dict[str, Any] = {
        "n": len(pairs),
        "median_absolute": _interval(lambda x: float(np.median(np.abs(x))), off),
        "median_bias": _interval(lambda x: float(np.median(x)), off),
        "mean_bias": _interval(lambda x: float(x.mean()), off),
        "area_under_roc": _area(said, true <= NEAR),
        "coverage_90": _interval(lambda x: float(x.mean()), held),
    }
    area = found["area_under_roc"]["value"]
    found["passes"] = {
        "median_absolute": found["median_absolute"]["value"] <= most_off,
        "median_bias": abs(found["median_bias"]["value"]) <= LARGEST_BIAS,
        "area_under_roc": area is None or area >= LEAST_AREA,
        "coverage_90": COVERS[0] <= found["coverage_90"]["value"] <= COVERS[1],
    }
    return found


def _interval(statistic: Callable[[np.ndarray], float], values: np.ndarray) -> dict[str, Any]:
    return bootstrapped(statistic, values) if len(values) else {"value": None, "interval": None}


def _area(distance: np.ndarray, near: np.ndarray) -> dict[str, Any]:
    """Return the area under the ROC with its interval; crystals near and far are resampled each by itself."""
    if (value := area_under_roc(distance, near)) is None:
        return {"value": None, "interval": None}
    rng = np.random.default_rng(0)
    inside, outside = distance[near], distance[~near]
    draws = [
        _smaller(rng.choice(inside, len(inside)), rng.choice(outside, len(outside))) for _ in range(1000)
    ]
    return {
        "value": value,
        "interval": [round(float(edge), 4) for edge in np.quantile(draws, [0.025, 0.975])],
    }


def area_under_roc(distance: np.ndarray, near: np.ndarray) -> float | None:
    """Return how likely one near the hull has the smaller (N,) distance; None without both kinds.

    >>> area_under_roc(np.array([0.0, 0.3, 0.1]), np.array([True, False, False]))
    1.0
    """
    known = np.isfinite(distance)
    inside, outside = distance[known & near], distance[known & ~near]
    return round(_smaller(inside, outside), 3) if len(inside) and len(outside) else None


def _smaller(inside: np.ndarray, outside: np.ndarray) -> float:
    less = inside[:, None] < outside
    return float((less + 0.5 * (inside[:, None] == outside)).mean())


def _row(source: str, who: str, part: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"source": source, "energy by": who, "n": part["n"]}
    shown = {
        "median error": "median_absolute",
        "median bias": "median_bias",
        "AUC": "area_under_roc",
        "90 % holds": "coverage_90",
    }
    for head, name in shown.items():
        found: dict[str, Any] = part.get(name) or {"value": None}
        row[head] = None
        if found["value"] is not None:
            low, high = found["interval"]
            row[head] = f"{found['value']:.3f} [{low:.3f}, {high:.3f}]"
    return row
