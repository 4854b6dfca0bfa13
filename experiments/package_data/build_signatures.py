"""Signatures of every known structure -> inverse/reference/signatures.parquet.

    python -m experiments.package_data.build_signatures
    python -m experiments.package_data.build_signatures --revise  # energies of elements, textbook phases
    python -m experiments.package_data.build_signatures --revise In Ce  # of these formulas alone

Sharded under .work/reference/signatures/, about 2 ms a structure.
"""

import json
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet
from pymatgen.core import Composition

from experiments.package_data.sources import WORK, read_rows
from inverse.reference.known_energies import COLUMNS, TIER, WEIGHTS_KEY, TabulatedCell, read_cells
from inverse.reference.phases import PACKAGE_DATA
from inverse.reference.signatures import Cell, signature_text
from surrogates.checkpoints.checkpoint import weights_digest
from surrogates.crystals.periodic_table import ELEMENT_SYMBOLS
from surrogates.platform.whole_files import write_atomically

SHARD = 5000
ORIGINS = ("aflow_prototype", "mp", "aflow", "jarvis", "alexandria", "wbm", "textbook")

BROKEN = frozenset((("In", "A_tI2_139_a"),))
"""Formula and AFLOW name of prototypes that pymatgen holds wrongly: indium at twice its volume, 52.3 Å³/atom,
the nearest neighbour at 4.09 Å. No energy rests on another that is: CuPt's, 21.2, and PtS's, 36.8, are too
large as well, and move no more than the median volume of their rows."""


def origin_of(source: str) -> str:
    """Return which collection a row came from."""
    for prefix, origin in (("aflow", "aflow"), ("jarvis", "jarvis"), ("alex", "alexandria"), ("wbm", "wbm")):
        if source.startswith(prefix):
            return origin
    return "mp"


def signatures_of(rows: list[dict[str, Any]], path: Path) -> None:
    """Write [formula, text, volume per atom, origin, row in the shard] to a shard, unless it exists."""
    if path.exists():
        return
    began = time.time()
    found = []
    for index, row in enumerate(rows):
        cell = Cell(np.array(row["lattice"]), np.array(row["frac_coords"]), tuple(row["species"]))
        text = signature_text(cell)
        if text is not None:
            formula = Composition(row["formula"]).reduced_formula
            found.append([formula, text, cell.volume_per_atom, origin_of(row["source"]), index])
    write_atomically(path, json.dumps(found))
    print(f"{path.name}: {len(found)} of {len(rows)}, {time.time() - began:.0f} s", flush=True)


def prototypes() -> list[dict[str, Any]]:
    """Return pymatgen's AFLOW prototypes as rows."""
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    rows = []
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        structure = entry["snl"].structure
        cell = Cell.from_structure(structure)
        if (cell.reduced_formula, entry["tags"]["aflow"]) in BROKEN:
            continue
        rows.append(
            {
                "lattice": cell.lattice,
                "frac_coords": cell.frac_coords,
                "species": cell.species,
                "formula": cell.reduced_formula,
                "source": "prototype",
            }
        )
    return rows


def compute(what_is_there: bool = False) -> list[list[Any]]:
    """Return all shards' rows, computing those that are missing (or only `what_is_there`)."""
    folder = WORK / "signatures"
    folder.mkdir(parents=True, exist_ok=True)
    for name in () if what_is_there else ("elasticity", "mp_structures", "wbm"):
        rows = read_rows(name)
        for start in range(0, len(rows), SHARD):
            signatures_of(rows[start : start + SHARD], folder / f"{name}_{start:05d}.json")
    path = folder / "prototypes.json"
    if not path.exists():
        signatures_of(prototypes(), path)
    found: list[list[Any]] = []
    for path in sorted(folder.glob("*.json")):
        rows = json.loads(path.read_text())
        found += (
            [[*r[:3], "aflow_prototype"] for r in rows]
            if path.name == "prototypes.json"
            else [r[:4] for r in rows]
        )
    return found


def signature_rows(name: str, formulas: Container[str] | None = None) -> list[tuple[int, str, str, float]]:
    """Return (row, formula, signature, volume per atom) of a shared file, from finished shards.

    Args:
        name: of the file.
        formulas: reduced; their rows alone, without any shard.
    """
    found = []
    if formulas is not None:
        for index, row in enumerate(read_rows(name)):
            if (formula := Composition(row["formula"]).reduced_formula) in formulas:
                cell = Cell(np.array(row["lattice"]), np.array(row["frac_coords"]), tuple(row["species"]))
                text = signature_text(cell)
                found += [(index, formula, text, cell.volume_per_atom)] if text is not None else []
        return found
    for path in sorted((WORK / "signatures").glob(f"{name}_*.json")):
        first = int(path.stem.rsplit("_", 1)[1])
        found += [(first + i, f, text, v) for f, text, v, _, i in json.loads(path.read_text())]
    return found


def build(what_is_there: bool = False) -> None:
    """Write the package data: one row per (formula, signature), median volume, first origin, energies."""
    groups: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for formula, text, volume, origin in compute(what_is_there):
        groups[formula, text].append((volume, ORIGINS.index(origin)))
    keys = sorted(groups)
    table = pa.table(
        {
            "formula": [k[0] for k in keys],
            "signature": [k[1] for k in keys],
            "volume_per_atom": pa.array(
                [round(float(np.median([v for v, _ in groups[k]])), 2) for k in keys], pa.float32()
            ),
            "origin": pa.array([min(o for _, o in groups[k]) for k in keys], pa.uint8()),
        }
    )
    write(with_energies(table))


def revise(formulas: Sequence[str] = ()) -> None:
    """Find the energies of some formulas anew.

    Everything else stays as it is carried; a whole `build` gives the same.

    Args:
        formulas: none stands for elements, named phases and formulas with a row that has its distance alone.
    """
    chosen = {Composition(formula).reduced_formula for formula in formulas} or revisable()
    print(f"{len(chosen)} formulas", flush=True)
    table = parquet.read_table(PACKAGE_DATA / "signatures.parquet")
    carried = {
        (formula, cell.signature): [c for c in cells if c.signature == cell.signature]
        for formula, cells in read_cells(PACKAGE_DATA / "signatures.parquet", weights_digest(TIER)).items()
        for cell in cells
    }
    table = table.filter(pc.not_equal(table["origin"], ORIGINS.index("textbook")))  # they come in again
    held = {(row["formula"], signature_text(prototype_cell(row))) for row in prototypes()}
    is_prototype = table["origin"].to_numpy() == ORIGINS.index("aflow_prototype")
    keys = zip(table["formula"].to_pylist(), table["signature"].to_pylist(), strict=True)
    stays = [not own or key in held for own, key in zip(is_prototype, keys, strict=True)]
    write(with_energies(table.filter(pa.array(stays)).drop_columns(list(COLUMNS)), chosen, carried))


def prototype_cell(row: Mapping[str, Any]) -> Cell:
    """Return the cell of a row of `prototypes`."""
    return Cell(row["lattice"], row["frac_coords"], row["species"])


def revisable() -> set[str]:
    """Return elements, named phases and formulas with a row that has its distance above the hull alone."""
    from experiments.package_data.textbook import NAMED

    chosen = {phase.formula for phase in NAMED}
    for name in ("mp_structures", "elasticity"):
        for row in read_rows(name):
            formula = Composition(row["formula"]).reduced_formula
            is_alone = (
                row.get("formation_energy_per_atom") is None and row.get("energy_above_hull") is not None
            )
            if is_alone or len(Composition(formula)) == 1:
                chosen.add(formula)
    return chosen | {Composition(symbol).reduced_formula for symbol in ELEMENT_SYMBOLS}


def with_energies(
    table: pa.Table,
    formulas: Container[str] | None = None,
    carried: Mapping[tuple[str, str], Sequence[TabulatedCell]] | None = None,
) -> pa.Table:
    """Return the table with the cells whose energy is known, and the weights their surrogate energies are of.

    Textbook phases that no file holds come in.

    Args:
        table: formula, signature, volume and origin.
        formulas: whose energies are found; None stands for all.
        carried: cells of the others.
    """
    from experiments.package_data.known_energies import (
        rows_with_signature,
        tabulated,
        with_surrogate_energies,
    )

    cells = dict(tabulated(with_surrogate_energies(rows_with_signature(formulas))))
    for key, own in (carried or {}).items():
        if formulas is not None and key[0] not in formulas:
            cells[key] = list(own)
    keys = list(zip(table["formula"].to_pylist(), table["signature"].to_pylist(), strict=True))
    missing = sorted(cells.keys() - set(keys))
    added = {
        "formula": [k[0] for k in missing],
        "signature": [k[1] for k in missing],
        "volume_per_atom": [round(cells[k][0].volume_per_atom, 2) for k in missing],
        "origin": [ORIGINS.index("textbook")] * len(missing),
    }
    table = pa.concat_tables([table, pa.table(added, schema=table.schema)])
    table = table.sort_by([("formula", "ascending"), ("signature", "ascending")])
    keys = list(zip(table["formula"].to_pylist(), table["signature"].to_pylist(), strict=True))
    names = [field.name for field in fields(TabulatedCell) if field.name != "signature"]
    for column, name in zip(COLUMNS, names, strict=True):
        kind = pa.list_(pa.uint32() if name == "database_id" else pa.float32())
        values = [[getattr(cell, name) for cell in cells.get(key, ())] for key in keys]
        table = table.append_column(column, pa.array(values, kind))
    return table.replace_schema_metadata({WEIGHTS_KEY: weights_digest(TIER).encode()})


def write(table: pa.Table) -> None:
    """Write the package data and say what is in it."""
    path = PACKAGE_DATA / "signatures.parquet"
    parquet.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        column_encoding={"formula": "DELTA_BYTE_ARRAY", "signature": "DELTA_BYTE_ARRAY"},
    )
    energies = [len(cells) for cells in table[COLUMNS[1]].to_pylist()]
    print(
        f"{len(table)} signatures of {len(set(table['formula'].to_pylist()))} formulas, "
        f"{sum(map(bool, energies))} with {sum(energies)} energies, {path.stat().st_size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["--revise"]:
        revise(sys.argv[2:])
    else:
        build("--what-is-there" in sys.argv[1:])
