"""Structure types of every known structure -> structure_types.parquet, named_prototypes.json.gz.

    python -m experiments.package_data.build_structure_types

A type is a signature with labels for elements. Those of the carried signatures need no structure; the parent
prototypes (alike elements as one) do, and come from the shared structures: about 3 ms each.
"""

import gzip
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from experiments.package_data.build_signatures import BROKEN, prototype_cell, prototypes
from experiments.package_data.sources import read_rows
from inverse.reference.known import KnownMaterials
from inverse.reference.phases import PACKAGE_DATA
from inverse.reference.signatures import Cell, parent_prototype, signature_text
from inverse.reference.structure_types import structure_type
from surrogates.crystals.formulas import display_formula
from surrogates.errors import StructureError
from surrogates.platform.whole_files import write_atomically

USUAL_NAMES = {
    ("C", "A_cF8_227_a"): "diamond",
    ("C", "A_hP4_194_bc"): "graphite",
    ("C", "A_hP4_194_f"): "lonsdaleite",
    ("La", "A_hP4_194_ac"): "double hcp La",
    ("Po", "A_cP1_221_a"): "alpha Po",
    ("Mn", "A_cI58_217_ac2g"): "alpha Mn",
    ("Mn", "A_cP20_213_cd"): "beta Mn",
    ("U", "A_oC4_63_c"): "alpha U",
    ("Sn", "A_tI4_141_a"): "beta Sn",
    ("P", "A_oC8_64_f"): "black P",
    ("N2", "A_cP8_205_c"): "alpha N2",
    ("O2", "A_mC4_12_i"): "alpha O2",
    ("ZnS", "AB_cF8_216_c_a"): "zincblende",
    ("ZnS", "AB_hP4_186_b_b"): "wurtzite",
    ("BN", "AB_hP4_194_c_d"): "hexagonal BN",
    ("SiC", "AB_hP8_186_ab_ab"): "SiC-4H",
    ("SiC", "AB_hP12_186_a2b_a2b"): "SiC-6H",
    ("SiC", "AB_hR6_160_3a_3a"): "SiC-9R",
    ("TiO2", "A2B_tP6_136_f_a"): "rutile",
    ("TiO2", "A2B_tI12_141_e_a"): "anatase",
    ("TiO2", "A2B_oP24_61_2c_c"): "brookite",
    ("FeS2", "AB2_cP12_205_a_c"): "pyrite",
    ("FeS2", "AB2_oP6_58_a_g"): "marcasite",
    ("SiO2", "A2B_hP9_152_c_a"): "alpha quartz",
    ("SiO2", "A2B_hP9_180_j_c"): "beta quartz",
    ("SiO2", "A2B_tP12_92_b_a"): "alpha cristobalite",
    ("SiO2", "A2B_cF24_227_c_a"): "beta cristobalite",
    ("SiO2", "A2B_mC48_15_ae3f_2f"): "coesite",
    ("SiO2", "A2B_tP36_96_3b_ab"): "keatite",
    ("Fe3C", "AB3_oP16_62_c_cd"): "cementite",
    ("CaTiO3", "AB3C_cP5_221_a_c_b"): "cubic perovskite",
    ("CaTiO3", "AB3C_oP20_62_c_cd_a"): "CaTiO3",
    ("CaCO3", "ABC3_hR10_167_a_b_e"): "calcite",
    ("Al2O3", "A2B3_hR10_167_c_e"): "corundum",
    ("MgAl2O4", "A2BC4_cF56_227_d_a_e"): "spinel",
    ("MnAlCu2", "AB2C_cF16_225_a_c_b"): "Heusler",
    ("MgAgAs", "ABC_cF12_216_b_c_a"): "half-Heusler",
}
"""(Formula, AFLOW label) -> what a prototype is called, where its formula names several or is not usual."""

SHARED = ("elasticity", "mp_structures", "wbm")
"""Files of shared structures whose signatures are carried."""


def of_signatures() -> Counter[str]:
    """Return how many formulas each type has among the carried signatures."""
    known = KnownMaterials.packaged()
    pairs = zip(known.formulas.to_pylist(), known.texts.to_pylist(), strict=True)  # type: ignore[attr-defined]
    return Counter(type_ for _, type_ in {(formula, structure_type(text)) for formula, text in pairs})


def of_parents(cells: Iterable[Cell]) -> set[str]:
    """Return the types that crystals become when alike elements are one."""
    found = set()
    for cell in cells:
        try:
            found.add(structure_type(parent_prototype(cell)))
        except StructureError:
            continue
    return found


def named_prototypes() -> list[dict[str, Any]]:
    """Return pymatgen's prototypes: what they are called, their structure type and their crystal."""
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    found = []
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        structure, label = entry["snl"].structure, str(entry["tags"]["aflow"])
        cell = Cell.from_structure(structure)
        text = signature_text(cell)
        if text is None or (cell.reduced_formula, label) in BROKEN:
            continue
        formula = display_formula(structure.composition)
        found.append(
            {
                "name": USUAL_NAMES.get((formula, label), formula),
                "aflow": label,
                "type": structure_type(text),
                "lattice": np.round(cell.lattice, 4).tolist(),
                "species": list(cell.species),
                "frac_coords": np.round(cell.frac_coords, 5).tolist(),
            }
        )
    return found


def build() -> None:
    """Write the package data and say what is in it."""
    counts, named = of_signatures(), named_prototypes()
    parents = of_parents(map(prototype_cell, prototypes()))
    for name in SHARED:
        began, rows = time.time(), read_rows(name)
        parents |= of_parents(
            Cell(np.array(row["lattice"]), np.array(row["frac_coords"]), tuple(row["species"]))
            for row in rows
        )
        print(f"{name}: {len(rows)} structures, {time.time() - began:.0f} s", flush=True)
    types = sorted({*counts, *parents, *(row["type"] for row in named)})
    table = pa.table({"type": types, "n_formulas": pa.array([counts[t] for t in types], pa.uint16())})
    path = PACKAGE_DATA / "structure_types.parquet"
    parquet.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        column_encoding={"type": "DELTA_BYTE_ARRAY"},
    )
    text = json.dumps(named, separators=(",", ":"))
    names = PACKAGE_DATA / "named_prototypes.json.gz"
    write_atomically(names, gzip.compress(text.encode(), mtime=0))
    print(
        f"{len(types)} types, {len(counts)} of carried signatures, {len(parents - counts.keys())} as parent "
        f"prototypes alone; {len(named)} named prototypes of {len({row['type'] for row in named})} types; "
        f"{(path.stat().st_size + names.stat().st_size) / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    build()
