"""Energies of the triage against DFT on relaxed hypothetical crystals -> inverse/prediction/triage.json.

    python -m experiments.package_data.calibrate_triage compute --rows 900    (0.4 core-seconds a row)
    python -m experiments.package_data.calibrate_triage fit [--write]

Rows: WBM crystals (made by substitution) of at most 12 atoms, one a formula, in no carried table and none to
which the potential's element energies were fitted. Each starts in the symmetry of the DFT cell, 4 % off in
volume, every atom moved by at most 0.1 Å in what the symmetry leaves free: a single point there, and a
relaxation. Truth: the WBM value moved to the reference's scale. A third of the formulas is held out.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from pymatgen.core import Composition

from experiments.package_data.sources import WORK, read_rows, to_structure
from inverse.benchmarks.intervals import bootstrapped
from inverse.candidates.hit_counts import MAGNETIC_ELEMENTS
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.prediction.triage import (
    FILE,
    GROUP,
    LOOK,
    POTENTIAL,
    RELAXATION,
    EnergyScale,
    Triage,
    TriageScales,
)
from inverse.reference import ReferenceHull
from inverse.reference.energy_scale import ANIONS, on_reference_scale
from inverse.verification.calibration.energy_correction import fitted_formulas, formation_energy
from surrogates.errors import EngineError
from surrogates.platform.whole_files import write_atomically
from surrogates.protocol import Z90

MAX_ATOMS, SYMPREC = 12, 0.1
VOLUME_CHANGE, SHIFT = 0.04, 0.1
FOLDER = WORK / f"triage_{POTENTIAL}"
SHARD = 4 * GROUP
HELD_OUT = 3
"""Every third formula is held out."""

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of what a single point says that the energy would still fall, how much is believed."""


def rows_of_record() -> list[dict[str, Any]]:
    """Return the WBM rows in a fixed random order."""
    known = set(ReferenceHull.packaged().phases.formulas.to_pylist())  # type: ignore[attr-defined]
    known |= fitted_formulas(POTENTIAL)
    pool = [r for r in read_rows("wbm") if r["formula"] not in known and len(r["species"]) <= MAX_ATOMS]
    order = np.random.default_rng(7).permutation(len(pool))
    return list({pool[i]["formula"]: pool[i] for i in order}.values())


def start_of(row: Mapping[str, Any]) -> Any:
    """Return the row's crystal off its relaxed cell, in its own symmetry."""
    rng = np.random.default_rng([7, *row["id"].encode()])
    cell = SymmetricCell.from_structure(to_structure(dict(row)), SYMPREC)
    free = cell.free_displacements
    shift = (rng.normal(size=len(free)) @ free).reshape(-1, 3)
    longest = float(np.linalg.norm(shift, axis=1).max(initial=0.0))
    shift = shift * SHIFT * rng.uniform() / longest if longest > 0 else shift
    strain = np.eye(3) * ((1.0 + VOLUME_CHANGE * rng.choice([-1, 1])) ** (1 / 3) - 1.0)
    return cell.moved(strain, shift).to_structure()


def compute(n: int, seconds: float) -> None:
    """Compute the first n rows in shards; what is there is left alone."""
    triage = Triage(partial(formation_energy, potential=POTENTIAL), scales=_RAW)
    rows, stop = rows_of_record()[:n], time.monotonic() + seconds
    FOLDER.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(rows), SHARD):
        path = FOLDER / f"{first:05d}.json"
        if path.exists() or time.monotonic() > stop:
            continue
        shard = []
        for row in rows[first : first + SHARD]:
            try:
                shard.append((row, start_of(row)))
            except EngineError:
                continue
        starts = [start for _, start in shard]
        began = time.process_time()
        groups = [starts[k : k + GROUP] for k in range(0, len(starts), GROUP)]
        looked_at = [one for group in groups for one in triage.compute(group, LOOK)]
        relaxed = [one for group in groups for one in triage.compute(group, RELAXATION)]
        each = (time.process_time() - began) / len(shard)
        found = zip(shard, looked_at, relaxed, strict=True)
        records = [_record(row, look, done, each) for (row, _), look, done in found]
        write_atomically(path, json.dumps(records))


_RAW = TriageScales(EnergyScale(), EnergyScale())


def _record(row: Mapping[str, Any], look: Any, done: Any, seconds: float) -> dict[str, Any]:
    amounts = to_structure(dict(row)).composition.get_el_amt_dict()
    return {
        "formula": row["formula"],
        "n_atoms": len(row["species"]),
        "true": on_reference_scale(amounts, row["formation_energy_per_atom"]),
        "look": None if look.failure else [look.energy, look.remaining],
        "relaxed": None if done.failure else [done.energy, done.remaining],
        "reason": done.reason,
        "steps": done.steps,
        "seconds": seconds,
    }


@dataclass(frozen=True)
class Rows:
    """N rows as arrays, eV/atom.

    Attributes:
        true: by DFT.
        energy: by the potential, of the cell that it was asked about last.
        remaining: by which that would still fall.
        is_magnetic: holds a metal of `MAGNETIC_ELEMENTS`.
        anion: its most electronegative element where that is one of `ANIONS`, else "".
        is_held_out: kept from the fit.
    """

    true: np.ndarray
    energy: np.ndarray
    remaining: np.ndarray
    is_magnetic: np.ndarray
    anion: np.ndarray
    is_held_out: np.ndarray

    @classmethod
    def read(cls, kind: str) -> "Rows":
        """Return what was computed by single points (`look`) or relaxations (`relaxed`)."""
        records = [r for path in sorted(FOLDER.glob("*.json")) for r in json.loads(path.read_text())]
        rows = [(k, r) for k, r in enumerate(records) if r[kind] is not None]
        compositions = [Composition(r["formula"]) for _, r in rows]
        numbers = np.array([[r["true"], *r[kind]] for _, r in rows])
        return cls(
            *numbers.T,
            np.array(
                [not set(MAGNETIC_ELEMENTS).isdisjoint(e.symbol for e in c.elements) for c in compositions]
            ),
            np.array([_anion(c) for c in compositions]),
            np.array([k % HELD_OUT == 0 for k, _ in rows]),
        )


def _anion(composition: Composition) -> str:
    symbol = max(composition.elements, key=lambda e: e.X if e.X == e.X else 0.0).symbol
    return symbol if symbol in ANIONS else ""


def fitted(rows: Rows, shares: Sequence[float]) -> EnergyScale:
    """Return the scale of the rows that are not held out."""
    kept = ~rows.is_held_out
    errors = {share: rows.true - rows.energy + share * rows.remaining for share in shares}
    offsets = {share: float(np.median(error[kept])) for share, error in errors.items()}
    best = min(shares, key=lambda share: float(np.abs(errors[share] - offsets[share])[kept].mean()))
    left = np.abs(errors[best] - offsets[best])
    plain, magnetic = (
        float(np.quantile(left[kept & (rows.is_magnetic == which)], 0.9)) / Z90 for which in (False, True)
    )
    # proposals start farther off than these rows: half of what would still fall counts as an error
    doubt = 0.5 if len(shares) > 1 else 0.0
    return EnergyScale(round(offsets[best], 4), best, round(plain, 4), round(max(plain, magnetic), 4), doubt)


def figures(rows: Rows, scale: EnergyScale) -> dict[str, Any]:
    """Return errors and coverage on the rows held out, 95 % intervals by bootstrap over them."""
    mask = rows.is_held_out
    said = rows.energy - scale.share_of_remaining * rows.remaining + scale.offset
    errors = (said - rows.true)[mask]
    std = np.array(
        [scale.error(r, bool(m)) for r, m in zip(rows.remaining[mask], rows.is_magnetic[mask], strict=True)]
    )
    by_anion = _by_anion(rows, said)
    return {
        "n": int(mask.sum()),
        "mae": bootstrapped(lambda e: float(np.abs(e).mean()), errors),
        "median_absolute_error": round(float(np.median(np.abs(errors))), 4),
        "bias": bootstrapped(lambda e: float(np.mean(e)), errors),
        "median_bias": round(float(np.median(errors)), 4),
        "coverage_90": bootstrapped(lambda held: float(held.mean()), np.abs(errors) <= Z90 * std),
        "mae_of_magnetic": round(float(np.abs(errors[rows.is_magnetic[mask]]).mean()), 4),
        "mae_with_an_offset_for_each_anion": round(float(np.abs((by_anion - rows.true)[mask]).mean()), 4),
    }


def _by_anion(rows: Rows, said: np.ndarray) -> np.ndarray:
    """Return energies with an offset for each anion, shrunk by ten rows; fitted without those held out."""
    found = said.copy()
    for anion in sorted(set(rows.anion.tolist())):
        own = rows.anion == anion
        kept = own & ~rows.is_held_out
        n = int(kept.sum())
        if n:
            found[own] += n / (n + 10.0) * float(np.median((rows.true - said)[kept]))
    return found


def fit(write: bool) -> dict[str, Any]:
    """Return, and write, the scales of both questions, with their figures."""
    look, relaxed = Rows.read("look"), Rows.read("relaxed")
    scales = {"looked_at": fitted(look, SHARES), "relaxed": fitted(relaxed, (1.0,))}
    record = {
        "format": 1,
        "unit": "eV/atom",
        "potential": POTENTIAL,
        **{name: asdict(scale) for name, scale in scales.items()},
        "fitted_to": {"n": int((~relaxed.is_held_out).sum()), "rows": "WBM, on the reference's scale"},
        "held_out": {
            "looked_at": figures(look, scales["looked_at"]),
            "relaxed": figures(relaxed, scales["relaxed"]),
        },
    }
    if write:
        write_atomically(FILE, json.dumps(record, indent=1) + "\n")
    return record


def main() -> None:
    """Compute or fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("compute", "fit"))
    parser.add_argument("--rows", type=int, default=900)
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.what == "compute":
        compute(given.rows, given.seconds)
    else:
        sys.stdout.write(json.dumps(fit(given.write), indent=1) + "\n")


if __name__ == "__main__":
    main()
