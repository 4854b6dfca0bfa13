"""Labels -> package data: `python -m experiments.reference_set.pack`.

Applies the gates and writes surrogates/reference_set/: reference_set.parquet, failures.parquet (what did not
enter, at which gate and why) and CARD.md; keeps pools and labels in experiments/reference_set/kept/. Needs
the shared DFT rows, to leave out what they hold.
"""

import argparse
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from experiments.reference_set import bias, table
from experiments.reference_set.card import card
from experiments.reference_set.files import WORK, keep, labelled, pools, read_lines
from experiments.reference_set.gates import Passed, passed
from inverse.inputs.records import structure_from_record, structure_to_record
from inverse.verification.store import canonical_structure
from surrogates.datasets.reference_set import FOLDER
from surrogates.errors import DataError

LOGGER = logging.getLogger(__name__)

MOST_BYTES = 4_000_000
"""Of the rows' file."""


def joined(folder: Path = WORK) -> list[dict[str, Any]]:
    """Return every labelled row of the pools in their order, with its origin.

    Where a label holds a relaxed cell, the one it started from (`start_*`) stands beside it.
    """
    labels = labelled(folder)
    pool = {row["id"]: row for path in pools(folder) for row in read_lines(path)}
    return [_with_origin(labels[name], row) for name, row in pool.items() if name in labels]


def _with_origin(label: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    found = {"prototype": row["prototype"], "species": row["species"], **label, "origin": row["origin"]}
    if "lattice" in label:
        start = structure_to_record(canonical_structure(structure_from_record(row)))
        found |= {f"start_{name}": value for name, value in start.items()}
    return found


def pack(
    rows: list[dict[str, Any]],
    dft: Iterable[tuple[str, str]],
    biases: Mapping[str, Mapping[str, float]],
    without: tuple[int, int],
    target: Path = FOLDER,
) -> Passed:
    """Write the rows that pass the gates, those that do not, and the card.

    Args:
        rows: of `joined`.
        dft: (formula, signature) of the DFT rows.
        biases: see `bias.biases`.
        without: of the crystals that DFT knows, how many had no moduli, and how many there were.
        target: folder.

    Raises:
        DataError: labels of several potentials or versions, nothing to pack, or a file too large to ship.
    """
    about = {}
    for name in ("potential", "version", "settings"):
        about[name] = ", ".join(sorted({row[name] for row in rows}))
    if "," in about["potential"] + about["version"]:
        raise DataError(f"labels of several potentials: {about['potential']} ({about['version']})")
    found = passed(rows, dft)
    if not found.rows:
        raise DataError("no label passes the gates")
    table.write(table.to_table(found.rows), target / "reference_set.parquet", about)
    table.write(_failures(found), target / "failures.parquet", about)
    (target / "CARD.md").write_text(card(found, about, biases, without), encoding="utf-8")
    size = (target / "reference_set.parquet").stat().st_size
    if size > MOST_BYTES:
        raise DataError(f"reference_set.parquet has {size} bytes, more than {MOST_BYTES}")
    return found


def _failures(found: Passed) -> pa.Table:
    columns = {name: [row[name] for row, _ in found.removed] for name in ("id", "formula", "prototype")}
    gates = [gate for _, gate in found.removed]
    reasons = [row.get("reason") or "" for row, _ in found.removed]
    return pa.table({**columns, "gate": pa.array(gates).dictionary_encode(), "reason": reasons})


def main() -> None:
    """Pack what has been labelled, and keep pools and labels for who goes on."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found, without, asked = bias.measured()
    result = pack(joined(), bias.dft_moduli(), found, (without, asked))
    LOGGER.info("%d rows; removed: %s; %d labels kept", len(result.rows), result.counts, keep())


if __name__ == "__main__":
    main()
