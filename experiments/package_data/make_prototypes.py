"""Write inverse/decoders/prototypes.json from pymatgen's AFLOW prototype library (cells of at most 24 atoms).

Run: python -m experiments.package_data.make_prototypes
"""

import json
import sys
import warnings
from pathlib import Path

from surrogates.crystals.standardisation import standardise
from surrogates.crystals.wyckoff import wyckoff_positions
from surrogates.errors import EngineError

PACKAGE = Path(__file__).resolve().parents[2] / "inverse" / "decoders"
MAX_ATOMS = 24


def main() -> None:
    """Write one record per prototype: name, space group, orbits with their element's number, free numbers."""
    warnings.simplefilter("ignore")
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    records = []
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        try:
            crystal = standardise(entry["snl"].structure, 0.01)
        except EngineError as error:
            sys.stderr.write(f"{entry['tags']['aflow']}: {error}\n")
            continue
        positions = wyckoff_positions(crystal.space_group)
        if sum(positions[s.wyckoff].primitive_multiplicity for s in crystal.sites) > MAX_ATOMS:
            continue
        elements = sorted({site.element for site in crystal.sites})
        records.append(
            {
                "name": entry["tags"]["aflow"],
                "space_group": crystal.space_group,
                "wyckoff": [site.wyckoff for site in crystal.sites],
                "species": [elements.index(site.element) for site in crystal.sites],
                "free_coords": [[round(x, 5) for x in site.free_coords] for site in crystal.sites],
                "free_lattice": [round(x, 5) for x in crystal.free_lattice],
            }
        )
    lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in records)
    (PACKAGE / "prototypes.json").write_text(f"[\n{lines}\n]\n")
    sys.stderr.write(f"{len(records)} prototypes\n")


if __name__ == "__main__":
    main()
