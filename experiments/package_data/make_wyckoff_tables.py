"""Write surrogates/crystals/wyckoff_tables.safetensors: representatives of the 1,731 Wyckoff positions.

The positions come from pyxtal's table (MIT; International Tables A, origin choice 2, monoclinic unique axis
b, rhombohedral groups in hexagonal axes); site-symmetry symbols are asked of spglib, crystal by crystal,
which proves the table against spglib at the same time.

Run: python -m experiments.package_data.make_wyckoff_tables
"""

import ast
import csv
import importlib.util
import json
import re
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import spglib
from safetensors.numpy import save_file

DENOMINATOR = 24
PACKAGE = Path(__file__).resolve().parents[2] / "surrogates" / "crystals"
CENTERING = {
    "P": [(0, 0, 0)],
    "A": [(0, 0, 0), (0, 12, 12)],
    "C": [(0, 0, 0), (12, 12, 0)],
    "I": [(0, 0, 0), (12, 12, 12)],
    "F": [(0, 0, 0), (0, 12, 12), (12, 0, 12), (12, 12, 0)],
    "R": [(0, 0, 0), (16, 8, 8), (8, 16, 16)],
}


def pyxtal_folder() -> Path:
    """Return pyxtal's folder without importing it (slow)."""
    spec = importlib.util.find_spec("pyxtal")
    if spec is None or spec.origin is None:
        raise SystemExit("pyxtal is not installed")
    return Path(spec.origin).parent


def read_positions() -> dict[int, list[list[str]]]:
    """Return the coordinate triplets of every Wyckoff position, position a first."""
    csv.field_size_limit(10**9)
    with (pyxtal_folder() / "database" / "wyckoff_list.csv").open() as file:
        rows = [row for row in csv.reader(file) if row[0] and row[1].startswith("[")]
    return {int(row[0]): ast.literal_eval(row[1])[::-1] for row in rows}


def hall_numbers() -> list[int]:
    """Return the Hall number of the setting of each group in pyxtal's table."""
    text = (pyxtal_folder() / "symmetry.py").read_text()
    match = re.search(r"pyxtal_hall_numbers = \[([^\]]*)\]", text)
    assert match is not None
    return [int(number) for number in match.group(1).replace("\n", " ").split(",") if number.strip()]


def parse_row(text: str) -> list[int]:
    """Return (x, y, z, constant * 24) of one coordinate such as '-x+y+1/3'."""
    row = [0, 0, 0, 0]
    for sign, coefficient, letter, number in re.findall(r"([+-]?)(\d*)([xyz])|([+-]?\d+(?:/\d+)?)", text):
        if letter:
            row["xyz".index(letter)] += (-1 if sign == "-" else 1) * int(coefficient or 1)
        else:
            row[3] += int(Fraction(number) * DENOMINATOR)
    return row


def parse(triplet: str) -> np.ndarray:
    """Return (3, 4) integers of a triplet, the last column in 24ths."""
    return np.array([parse_row(part.replace(" ", "")) for part in triplet.split(",")], dtype=np.int8)


def representatives(triplets: list[str], centering: list[tuple[int, int, int]]) -> np.ndarray:
    """Return the triplets that differ by more than a centring vector, (n, 3, 4)."""
    kept: list[np.ndarray] = []
    seen: set[tuple[int, ...]] = set()
    for operation in map(parse, triplets):
        keys = set()
        for shift in centering:
            shifted = operation.astype(int).copy()
            shifted[:, 3] = (shifted[:, 3] + np.array(shift)) % DENOMINATOR
            keys.add(tuple(shifted.ravel().tolist()))
        if not keys & seen:
            kept.append(operation)
        seen |= keys
    assert len(kept) * len(centering) == len(triplets), (len(kept), len(triplets))
    return np.array(kept)


def lattice_of(group: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random conventional lattice that has the group's metric and no more."""
    a, b, c = rng.uniform(6.0, 11.0, 3)
    alpha, beta, gamma = 90.0, 90.0, 90.0
    if group <= 2:
        alpha, beta, gamma = 81.0, 74.0, 68.0
    elif group <= 15:
        beta = 104.0
    elif group >= 195:
        b = c = a
    elif group >= 75:
        b = a
        gamma = 120.0 if group >= 143 else 90.0
    ca, cb, cg = np.cos(np.radians([alpha, beta, gamma]))
    sg = np.sin(np.radians(gamma))
    cx, cy = c * cb, c * (ca - cb * cg) / sg
    return np.array([[a, 0, 0], [b * cg, b * sg, 0], [cx, cy, np.sqrt(c * c - cx * cx - cy * cy)]])


def symbol_by_spglib(group: int, hall: int, positions: list[np.ndarray], w: int, centering: list) -> str:
    """Return spglib's site-symmetry symbol of position w; stop when it finds another group or letter."""
    rng = np.random.default_rng([group, w])
    for _ in range(40):
        coords, numbers = [], []
        for number, operations in ((1, positions[-1]), (2, positions[-1]), (3, positions[w])):
            x = rng.uniform(0.0, 1.0, 3)
            points = operations[:, :, :3] @ x + operations[:, :, 3] / DENOMINATOR
            for shift in centering:
                coords.append(points + np.array(shift) / DENOMINATOR)
                numbers += [number] * len(points)
        cell = (lattice_of(group, rng), np.concatenate(coords) % 1.0, numbers)
        found = spglib.get_symmetry_dataset(cell, symprec=1e-4, hall_number=hall)
        letters = "abcdefghijklmnopqrstuvwxyzA"
        if (
            found is None
            or found.number != group
            or np.abs(found.transformation_matrix - np.eye(3)).max() > 1e-6
        ):
            continue
        if np.abs((found.origin_shift + 1e-6) % 1.0).max() > 1e-4:
            continue
        got = {letters.index(letter) for letter in found.wyckoffs[-len(positions[w]) :]}
        if got == {w}:
            return found.site_symmetry_symbols[-1]
    raise SystemExit(f"spglib disagrees with the table: group {group}, position {w}")


def main() -> None:
    """Write the tables."""
    halls = hall_numbers()
    operations, start, offset, hall_default, symbols, centerings = [], [0], [0], [], [], []
    for group, triplets in sorted(read_positions().items()):
        kind = spglib.get_spacegroup_type(halls[group - 1]).international_short[0]
        centering = CENTERING[kind]
        positions = [representatives(position, centering) for position in triplets]
        for w, position in enumerate(positions):
            operations.append(position)
            start.append(start[-1] + len(position))
            symbols.append(symbol_by_spglib(group, halls[group - 1], positions, w, centering))
        offset.append(offset[-1] + len(positions))
        centerings.append(kind)
    first = [
        next(h for h in range(1, 531) if spglib.get_spacegroup_type(h).number == g) for g in range(1, 231)
    ]
    hall_default = [0 if h == f else h for h, f in zip(halls, first, strict=True)]
    arrays = {
        "operations": np.concatenate(operations),
        "operation_start": np.array(start, dtype=np.int32),
        "position_start": np.array(offset, dtype=np.int32),
        "hall_number": np.array(hall_default, dtype=np.int32),
    }
    save_file(
        arrays,
        PACKAGE / "wyckoff_tables.safetensors",
        metadata={"centering": "".join(centerings), "site_symmetry": json.dumps(symbols), "format": "1"},
    )
    sys.stderr.write(f"{len(symbols)} positions, {start[-1]} operations\n")


if __name__ == "__main__":
    main()
