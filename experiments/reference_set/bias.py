"""What a label is worth: 7net-0 against DFT on crystals of both, by formula and signature.

    python -m experiments.reference_set.bias            # DFT crystals as cheap as the pools'
    python -m experiments.reference_set.label .work/reference_set/dft/pool-1.jsonl.gz --folder dft
    python -m experiments.reference_set.bias --report

The pool holds DFT structures and stays in the scratch folder; only the biases are carried.
"""

import argparse
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.reference_set.candidates import LEAST_OPERATIONS, n_operations
from experiments.reference_set.files import WORK, labelled, pools, read_lines, write_lines
from experiments.reference_set.selection import STIFF_BULK, STIFF_SHEAR
from inverse.benchmarks.dft_rows import doubtful_labels, is_usable
from inverse.reference.signatures import Cell, signature_text
from surrogates.datasets.elasticity import elasticity_rows

LOGGER = logging.getLogger(__name__)

FOLDER = WORK / "dft"
ROWS, MOST_ATOMS, SEED = 160, 5, 20261125

Pair = tuple[float, float, float, float]
"""K and G of the label, K and G of DFT, GPa."""


def dft_pool(n: int = ROWS) -> list[dict[str, Any]]:
    """Return n sound DFT rows in small symmetric cells, one a formula, half of them stiff."""
    doubtful = doubtful_labels()
    rows = [r for r in elasticity_rows(eos=False) if is_usable(r) and r["id"] not in doubtful]
    order = np.random.default_rng(SEED).permutation(len(rows))
    quota, formulas, found = {True: n // 2, False: n - n // 2}, set(), []
    for row in (rows[k] for k in order if len(rows[k]["species"]) <= MOST_ATOMS):
        stiff = row["bulk_modulus_vrh"] > STIFF_BULK or row["shear_modulus_vrh"] > STIFF_SHEAR
        text = signature_text(_cell(row))
        if text is None or n_operations(text) < LEAST_OPERATIONS or row["formula"] in formulas:
            continue
        if quota[stiff] > 0:
            quota[stiff] -= 1
            formulas.add(row["formula"])
            found.append({**row, "signature": text})
    return found


def dft_moduli() -> dict[tuple[str, str], tuple[float, float]]:
    """Return K and G (GPa, geometric means over sources) of the DFT rows by formula and signature."""
    doubtful, groups = doubtful_labels(), dict[tuple[str, str], list[tuple[float, float]]]()
    for row in elasticity_rows(eos=False):
        if is_usable(row) and row["id"] not in doubtful and (text := signature_text(_cell(row))):
            moduli = (row["bulk_modulus_vrh"], row["shear_modulus_vrh"])
            groups.setdefault((row["formula"], text), []).append(moduli)
    means = {key: np.exp(np.log(values).mean(axis=0)) for key, values in groups.items()}
    return {key: (float(bulk), float(shear)) for key, (bulk, shear) in means.items()}


def pairs(
    labels: Iterable[Mapping[str, Any]], dft: Mapping[tuple[str, str], tuple[float, float]]
) -> list[Pair]:
    """Return the moduli of stable labels beside those of DFT where formula and signature agree."""
    found = []
    for row in labels:
        key = (row["formula"], row.get("signature", ""))
        if row.get("is_stable") and key in dft:
            found.append((row["bulk_modulus"], row["shear_modulus"], *dft[key]))
    return found


def biases(found: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Return, for K and G, all and stiff by DFT: n, median log10(label / DFT), its spread, MAE in GPa.

    The spread is the 90th percentile of |log10 ratio - median| / 1.645.
    """
    values = np.array(found, dtype=float).reshape(-1, 4)
    out = {}
    for name, column, stiff in (("K", 0, STIFF_BULK), ("G", 1, STIFF_SHEAR)):
        label, dft = values[:, column], values[:, column + 2]
        for subset, mask in ((name, dft > 0), (f"{name} > {stiff:.0f}", dft > stiff)):
            ratio = np.log10(label[mask] / dft[mask])
            if len(ratio):
                centre = float(np.median(ratio))
                spread = float(np.quantile(np.abs(ratio - centre), 0.9)) / 1.645
                mae = float(np.abs(label[mask] - dft[mask]).mean())
                out[subset] = {"n": len(ratio), "median": centre, "spread": spread, "mae": mae}
    return out


def measured(folder: Path = WORK) -> tuple[dict[str, dict[str, float]], int, int]:
    """Return the biases of every label that DFT knows, how many had no moduli, and how many there were."""
    labels = [*labelled(folder).values(), *labelled(folder / FOLDER.name).values()]
    dft = dft_moduli()
    of_pool = {row["id"] for path in pools(folder / FOLDER.name) for row in read_lines(path)}
    asked = [r for r in labels if r["id"] in of_pool or (r["formula"], r.get("signature", "")) in dft]
    without = sum(not math.isfinite(r.get("bulk_modulus") or math.nan) for r in asked)
    return biases(pairs(asked, dft)), without, len(asked)


def _cell(row: Mapping[str, Any]) -> Cell:
    return Cell(np.array(row["lattice"]), np.array(row["frac_coords"]), tuple(row["species"]))


def main() -> None:
    """Write the pool, or report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not options.report:
        rows = dft_pool()
        write_lines(FOLDER / "pool-1.jsonl.gz", rows)
        LOGGER.info("%d DFT rows", len(rows))
        return
    found, without, asked = measured()
    LOGGER.info("%d labels that DFT knows, %d of them without moduli", asked, without)
    for name, numbers in found.items():
        LOGGER.info("%s: %s", name, {key: round(value, 3) for key, value in numbers.items()})


if __name__ == "__main__":
    main()
