"""Learn the usual cell shape and coordinates of every structure type from the shared structures.

For each (structure type, Wyckoff letters) the free numbers of the structures of at most twelve atoms are
grouped; the mean of each group that at least two formulas share goes to prototype_geometries.json.gz.
No structure of a single formula enters. Lengths are in units of the cube root of the volume per atom.
Those of 13 to 24 atoms go to large_prototype_geometries.json.gz, with pymatgen's AFLOW prototypes (MIT) of
at most 24 atoms whose types have no shape in either file.

    python -m experiments.package_data.prototype_geometries [small] [large]
"""

import gzip
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from pymatgen.core import Structure

from inverse.reference.geometries import LARGE, MOST_SEARCHED, SMALL, packaged_geometries
from inverse.reference.signatures import Orbit, format_signature
from inverse.reference.skeletons import LABELS, anonymous
from inverse.reference.structure_types import alike_class
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.crystals.standardisation import standardise
from surrogates.crystals.wyckoff import wyckoff_positions
from surrogates.datasets.shared import crystal_rows
from surrogates.errors import EngineError

SIZES = {SMALL: (1, MOST_SEARCHED), LARGE: (MOST_SEARCHED + 1, 24)}
"""Least and most atoms of the cells of each file."""

MOST_ELEMENTS = 4
WIDTH = 0.06
"""Largest difference of any free number within a group (relative length, angle parameter, fraction)."""
MOST_GROUPS = 4
FOLDER = Path(__file__).parents[2] / "inverse" / "reference"


def rows(least, most):
    for name in ("mp_structures", "elasticity"):
        for row in crystal_rows(name):
            if least <= len(row["species"]) <= most and len(set(row["species"])) <= MOST_ELEMENTS:
                yield row


def prototypes(most):
    """Yield pymatgen's AFLOW prototypes as rows."""
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    for entry in AFLOW_PROTOTYPE_LIBRARY:
        structure = entry["snl"].structure
        species = [site.specie.symbol for site in structure]
        if structure.is_ordered and len(species) <= most and len(set(species)) <= len(LABELS):
            yield {
                "lattice": structure.lattice.matrix,
                "species": species,
                "frac_coords": structure.frac_coords,
                "formula": structure.composition.reduced_formula,
            }


def described(row):
    structure = Structure(row["lattice"], row["species"], row["frac_coords"])
    crystal = standardise(structure, 0.01)
    positions = wyckoff_positions(crystal.space_group)
    elements = [ELEMENT_SYMBOLS[s.element] for s in crystal.sites]
    orbits = [
        Orbit(positions[s.wyckoff].multiplicity, "".join(sorted(positions[s.wyckoff].site_symmetry)), e)
        for s, e in zip(crystal.sites, elements, strict=True)
    ]
    text, order = anonymous(format_signature(crystal.space_group, orbits))
    label = dict(zip(order, LABELS[: len(order)], strict=True))
    sites = sorted(
        (positions[s.wyckoff].letter, label[e], *[round(float(x) % 1.0, 6) for x in s.free_coords])
        for s, e in zip(crystal.sites, elements, strict=True)
    )
    length = np.log((structure.volume / len(structure)) ** (1 / 3))
    lattice = [float(x) - (length if k < 3 and x != 0 else 0.0) for k, x in enumerate(crystal.free_lattice)]
    key = (text, tuple((letter, name) for letter, name, *_ in sites))
    numbers = [*lattice, *[x for site in sites for x in site[2:]]]
    return key, numbers, tuple(alike_class(e) for e in order), row["formula"]


def grouped(members):
    """Return groups of close free numbers, largest first: (numbers, formulas, kinds)."""
    groups = []
    for numbers, kinds, formula in members:
        for group in groups:
            difference = np.abs(np.array(numbers) - group["first"])
            difference[6:] = np.minimum(difference[6:], 1 - difference[6:])
            if difference.max() <= WIDTH:
                shift = np.array(numbers) - group["first"]
                shift[6:] -= np.round(shift[6:])
                group["shifts"].append(shift)
                group["formulas"].add(formula)
                group["kinds"]["|".join(kinds)] += 1
                break
        else:
            groups.append(
                {
                    "first": np.array(numbers),
                    "shifts": [np.zeros(len(numbers))],
                    "formulas": {formula},
                    "kinds": Counter(["|".join(kinds)]),
                }
            )
    return sorted(groups, key=lambda g: -len(g["formulas"]))


def collected(found):
    """Return (structure type, sites) -> free numbers, kinds and formula of each row."""
    members = defaultdict(list)
    failed = total = 0
    for row in found:
        total += 1
        if total % 2000 == 0:
            sys.stderr.write(f"{total}\n")
        try:
            key, numbers, kinds, formula = described(row)
        except EngineError:
            failed += 1
            continue
        members[key].append((numbers, kinds, formula))
    sys.stderr.write(f"{total} structures, {failed} unread\n")
    return members


def learned(members, fewest):
    """Return the records of groups that at least so many formulas share."""
    result = []
    for (text, sites), listed in sorted(members.items()):
        for group in grouped(listed)[:MOST_GROUPS]:
            if len(group["formulas"]) < fewest:
                continue
            mean = group["first"] + np.mean(group["shifts"], axis=0)
            result.append(
                {
                    "type": text,
                    "sites": ["".join(site) for site in sites],
                    "lattice": np.round(mean[:6], 3).tolist(),
                    "coords": np.round(mean[6:].reshape(-1, 3) % 1.0, 3).tolist(),
                    "count": len(group["formulas"]),
                    "kinds": dict(sorted(group["kinds"].items(), key=lambda item: -item[1])[:12]),
                }
            )
    return result


def write(name, records):
    text = "[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in records) + "\n]\n"
    (FOLDER / name).write_bytes(gzip.compress(text.encode(), mtime=0))
    sys.stderr.write(f"{name}: {len(records)} geometries, {(FOLDER / name).stat().st_size} bytes\n")


def main() -> None:
    chosen = sys.argv[1:] or ["small", "large"]
    if "small" in chosen:
        write(SMALL, learned(collected(rows(*SIZES[SMALL])), 2))
    if "large" in chosen:
        small = set(packaged_geometries())  # some rows are no primitive cells
        records = [r for r in learned(collected(rows(*SIZES[LARGE])), 2) if r["type"] not in small]
        known = {record["type"] for record in records} | small
        others = learned(collected(prototypes(SIZES[LARGE][1])), 1)
        write(LARGE, [*records, *(r for r in others if r["type"] not in known)])


if __name__ == "__main__":
    main()
