"""Adversarial ascents on K, checked by the judge: `python -m experiments.studies.adversarial`

Training-like cells in which every atom is a random mixture of elements climb the predicted K: 200 steps of
Adam, all atoms, the cell and the species free. Each atom then is its heaviest element, and the last quarter
of the steps descends the predicted formation energy of the hard crystal. The climb follows one member of the
fast tier; what the accurate tier, most of which was not climbed, says of the end, as it does in a campaign,
is the claim; the judge relaxes the crystal without help and says what K is.

    python -m experiments.studies.adversarial climb -n 500       all ascents (minutes)
    python -m experiments.studies.adversarial verify --seconds 290 --part 1/2   resumes from the store
    python -m experiments.studies.adversarial report
"""

import argparse
import hashlib
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.package_data.queue import share
from inverse.benchmarks.dft_rows import structure_of
from inverse.benchmarks.intervals import bootstrapped
from inverse.inputs.records import structure_from_record, structure_to_record
from inverse.potentials.limits import Limit
from inverse.potentials.loading import limit_threads
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.building.descent import keep_finite, overlap
from inverse.reference import ReferenceHull
from inverse.verification.calibration.moduli import calibrated
from inverse.verification.calibration.readings import Readings, anion_class, reading
from inverse.verification.judge import Judge
from inverse.verification.store import VerificationStore
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.crystals.batch import N_ELEMENTS, CrystalBatch
from surrogates.datasets.elasticity import elasticity_rows
from surrogates.physics.properties import BULK_MODULUS, FORMATION_ENERGY
from surrogates.protocol import Z90

LOGGER = logging.getLogger(__name__)

FOLDER = Path(".work/surrogates")
STEPS, SOFT_STEPS, AT_ONCE = 200, 150, 50
N_MIXED = 6
"""Elements of every atom's mixture."""

GEOMETRY_RATE, SPECIES_RATE = 0.01, 0.1
SHARPENING = 4.0
"""Factor on the logits at the last soft step, from 1 at the first."""

ENERGY_UNIT = 0.05
"""eV/atom that weigh as much as a factor e in K, for the geometry alone."""

OVERLAP = 20.0
FEWEST_ATOMS, MOST_ATOMS = 2, 4
FEWEST_ROWS = 60
"""Rows of the elasticity set that an element of a mixture must have."""

LEAST_RISE = 0.25
SECONDS_PER_CRYSTAL = 120.0


def starts(n: int, seed: Sequence[int]) -> tuple[CrystalBatch, Tensor]:
    """Return n cells of the elasticity set, and logits (A, Z) of random mixtures, others at -1e9."""
    rows = [r for r in elasticity_rows(eos=False) if FEWEST_ATOMS <= len(r["species"]) <= MOST_ATOMS]
    rng = np.random.default_rng(seed)
    chosen = [rows[i] for i in rng.choice(len(rows), n, replace=len(rows) < n)]
    crystals = CrystalBatch.from_structures([structure_of(row) for row in chosen])
    domain = load_surrogate("structure").domain
    common = np.flatnonzero(np.array(domain.n_rows) >= FEWEST_ROWS)
    logits = torch.full((len(crystals.frac_coords), N_ELEMENTS), -1e9)
    for atom in range(len(logits)):
        elements = rng.choice(common, N_MIXED, replace=False)
        logits[atom, elements] = torch.tensor(rng.normal(size=N_MIXED), dtype=torch.float32)
    return crystals, logits


def climbed(crystals: CrystalBatch, logits: Tensor, guarded: bool = True) -> list[dict[str, Any]]:
    """Return the record of each ascent: K at the start, the hard crystal at the end, what is claimed of it.

    Args:
        crystals: C cells.
        logits: (A, Z) of the species.
        guarded: climb the lower end of one standard deviation, hold the cell by the predicted energy and keep
            atoms apart; otherwise climb the plain prediction.
    """
    climber, accurate = load_surrogate("structure").fast(1), load_surrogate("accurate")
    strain = torch.zeros(crystals.n_crystals, 3, 3, requires_grad=True)
    shift = torch.zeros_like(crystals.frac_coords, requires_grad=True)
    soft = logits.clone().requires_grad_(True)
    groups = [{"params": [strain, shift], "lr": GEOMETRY_RATE}, {"params": [soft], "lr": SPECIES_RATE}]
    optimiser = torch.optim.Adam(groups)
    with torch.no_grad():
        first = accurate.predict(_at(crystals, strain, shift, soft.softmax(dim=1)), [BULK_MODULUS])
    hard = soft.detach()
    for step in range(STEPS):
        is_soft = step < SOFT_STEPS
        if is_soft:
            occupancy = (soft * (1 + (SHARPENING - 1) * step / SOFT_STEPS)).softmax(dim=1)
        else:
            if step == SOFT_STEPS:
                hard = torch.nn.functional.one_hot(soft.detach().argmax(dim=1), N_ELEMENTS).to(soft)
            occupancy = hard
        loss = _loss(climber, crystals, strain, shift, occupancy, is_soft, guarded)
        optimiser.zero_grad()
        loss.sum().backward()
        keep_finite(strain, shift, soft)
        optimiser.step()
    with torch.no_grad():
        ends = _at(crystals, strain, shift, hard).to_structures()
    claims = Evaluator(accurate, ReferenceHull.packaged().below, [BULK_MODULUS]).predict(ends)[BULK_MODULUS]
    return [
        {
            "structure": structure_to_record(structure),
            "start": float(first[BULK_MODULUS].mean[k]),
            "claim": float(claims.mean[k]),
            "std": float(claims.std[k]),
            "in_domain": bool(claims.in_domain[k]),
        }
        for k, structure in enumerate(ends)
    ]


def _loss(
    surrogate: Any,
    crystals: CrystalBatch,
    strain: Tensor,
    shift: Tensor,
    occupancy: Tensor,
    is_soft: bool,
    guarded: bool,
) -> Tensor:
    """Return (C,) what is descended."""
    now = _at(crystals, strain, shift, occupancy)
    loss = now.lattice.new_zeros(now.n_crystals)
    if is_soft or not guarded:
        bulk = surrogate.predict(now, [BULK_MODULUS])[BULK_MODULUS]
        loss = loss - bulk.mean.log() + (bulk.std / bulk.mean if guarded else 0.0)
    if guarded:
        fixed = _at(crystals, strain, shift, occupancy.detach())
        energy = surrogate.predict(fixed, [FORMATION_ENERGY])[FORMATION_ENERGY]
        loss = loss + energy.mean / ENERGY_UNIT + OVERLAP * overlap(fixed)
    return loss


def _at(crystals: CrystalBatch, strain: Tensor, shift: Tensor, occupancy: Tensor) -> CrystalBatch:
    """Return the crystals with a symmetric log strain (C, 3, 3), atoms moved (A, 3) Å, species (A, Z)."""
    lattice = crystals.lattice @ torch.linalg.matrix_exp((strain + strain.transpose(1, 2)) / 2)
    inverse = torch.linalg.inv(crystals.lattice)[crystals.crystal_index]
    moved = crystals.frac_coords + torch.einsum("ai,aij->aj", shift, inverse)
    return CrystalBatch(lattice, moved, occupancy, crystals.crystal_index, crystals.scale)


def verified(record: Mapping[str, Any], judge: Judge) -> dict[str, Any]:
    """Return what the judge says of K of the end of an ascent, on the DFT scale; or why it cannot."""
    relaxed = judge.relax(structure_from_record(record["structure"]), Limit.of(SECONDS_PER_CRYSTAL))
    if relaxed.structure is None:
        return {"reason": relaxed.reason}
    tensor = judge.tensor(relaxed.structure, Limit.of(SECONDS_PER_CRYSTAL), only_bulk=True)
    bulk = reading(BULK_MODULUS.name, tensor)
    if not (math.isfinite(bulk.value) and bulk.value > 0):
        return {"reason": tensor.reason or "no positive bulk modulus"}
    read = Readings({BULK_MODULUS.name: bulk}, anion_class(relaxed.structure))
    value, _ = calibrated(BULK_MODULUS, read, judge.settings.method)
    return {"verdict": value.mean, "verdict_std": value.std, "reason": ""}


def has_risen(row: Mapping[str, Any]) -> bool:
    """Return whether the claim is so far above the K predicted of the start that the ascent counts."""
    return bool(row["claim"] >= (1 + LEAST_RISE) * row["start"])


def report(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how many rose, the optimism gaps of those that were asked, and how often the interval held.

    The gap is claim over verdict minus one, without its sign a failure counts as 1.
    """
    rose = [row for row in rows if has_risen(row)]
    asked = [row for row in rose if "reason" in row]
    failed = np.array([bool(row["reason"]) for row in asked])
    gap = np.array([1.0 if row["reason"] else row["claim"] / row["verdict"] - 1 for row in asked])
    inside = np.array([not row["reason"] and _holds(row) for row in asked])
    trusted = np.array([row["in_domain"] for row in asked])
    worst = np.argsort(-gap)[:12]
    return {
        "n": len(rows),
        "rose": len(rose),
        "asked": len(asked),
        "failed": int(failed.sum()),
        "median_gap": bootstrapped(lambda g: float(np.median(g)), gap),
        "median_size_of_gap": bootstrapped(lambda g: float(np.median(np.abs(g))), gap),
        "quantile_90_gap": bootstrapped(lambda g: float(np.quantile(g, 0.9)), gap),
        "interval_holds": bootstrapped(lambda i: float(i.mean()), inside.astype(float)),
        "in_domain": _by_domain(gap, inside, trusted),
        "out_of_domain": _by_domain(gap, inside, ~trusted),
        "median_claim": float(np.median([row["claim"] for row in asked])),
        "median_start": float(np.median([row["start"] for row in asked])),
        "elements": _elements(asked),
        "worst": [_told(asked[i]) for i in worst],
    }


def _by_domain(gap: np.ndarray, inside: np.ndarray, where: np.ndarray) -> dict[str, float]:
    """Return what `in_domain` is worth: gaps and intervals of the ascents that it tells apart."""
    if not where.any():
        return {"n": 0}
    return {
        "n": int(where.sum()),
        "median_size_of_gap": round(float(np.median(np.abs(gap[where]))), 3),
        "quantile_90_gap": round(float(np.quantile(gap[where], 0.9)), 3),
        "interval_holds": round(float(inside[where].mean()), 3),
    }


def _holds(row: Mapping[str, Any]) -> bool:
    error = math.hypot(row["std"] / row["claim"], row["verdict_std"] / row["verdict"])
    return abs(math.log(row["claim"] / row["verdict"])) <= Z90 * error


def _elements(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    count = Counter(s for row in rows for s in structure_from_record(row["structure"]).symbol_set)
    return dict(count.most_common(12))


def _told(row: Mapping[str, Any]) -> str:
    structure = structure_from_record(row["structure"])
    said = row["reason"] or f"{row['verdict']:.0f} ± {row['verdict_std']:.0f}"
    return f"{structure.composition.reduced_formula} {row['claim']:.0f} ± {row['std']:.0f}, judge: {said}"


def main() -> None:
    """Climb, verify or report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("climb", "verify", "report"))
    parser.add_argument("-n", type=int, default=500, help="ascents")
    parser.add_argument("--seconds", type=float, default=290.0)
    parser.add_argument("--seed", type=int, default=1, help="0 is what the climb was developed on")
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--plain", action="store_true", help="without what makes it robust")
    given = parser.parse_args()
    torch.set_num_threads(1)
    limit_threads()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    name = "adversarial-plain" if given.plain else "adversarial"
    ascents = FOLDER / f"{name}-{given.seed}.json"
    if given.what == "climb":
        rows: list[dict[str, Any]] = []
        for first in range(0, given.n, AT_ONCE):
            crystals, logits = starts(min(AT_ONCE, given.n - first), seed=(given.seed, first))
            rows += climbed(crystals, logits, guarded=not given.plain)
            LOGGER.info("%d of %d", len(rows), given.n)
        ascents.write_text(json.dumps(rows))
        return
    rows = json.loads(ascents.read_text())[: given.n]
    if given.what == "verify":
        verify(rows, ascents, given.part, time.monotonic() + given.seconds)
        return
    known = verdicts(ascents)
    print(json.dumps(report([{**r, **known.get(_key(r), {})} for r in rows]), indent=1, ensure_ascii=False))


def verify(rows: Sequence[Mapping[str, Any]], ascents: Path, part: str, stop: float) -> None:
    """Ask the judge about one share of the ascents that rose, until the monotonic time `stop`.

    Each verdict, of a crystal that ran out of time as well, is a line of a file beside the ascents.
    """
    judge = Judge("7net-l3i5", store=VerificationStore(), prerelax_by="7net-0")
    known = verdicts(ascents)
    path = ascents.with_suffix(f".{part.replace('/', '-of-')}.jsonl")
    with path.open("a", encoding="utf-8") as file:
        for k, row in enumerate(share([row for row in rows if has_risen(row)], part)):
            if time.monotonic() > stop:
                break
            if _key(row) not in known:
                found = verified(row, judge)
                file.write(json.dumps({"key": _key(row), **found}) + "\n")
                file.flush()
                LOGGER.info("%d %s", k, _told({**row, **found}))


def verdicts(ascents: Path) -> dict[str, dict[str, Any]]:
    """Return what the judge said so far, by the ascent's end."""
    found = {}
    for path in sorted(ascents.parent.glob(f"{ascents.stem}.*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            verdict = json.loads(line)
            found[verdict.pop("key")] = verdict
    return found


def _key(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row["structure"], sort_keys=True).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
