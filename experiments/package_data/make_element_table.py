"""Write surrogates/features/elements.json: properties of the elements H to Lr (pymatgen and ase tables).

A value that the tables do not have is interpolated from the nearest elements of the same group and row.
Run: python -m experiments.package_data.make_element_table
"""

import json
from pathlib import Path

import numpy as np
from ase.data import covalent_radii
from pymatgen.core import Element

COLUMNS = {
    "electronegativity": lambda e: e.X,
    "row": lambda e: e.row,
    "group": lambda e: e.group,
    "covalent_radius": lambda e: float(covalent_radii[e.Z]),
    "atomic_radius": lambda e: float(e.atomic_radius),
    "van_der_waals_radius": lambda e: float(e.van_der_waals_radius),
    "log_molar_volume": lambda e: np.log(float(e.molar_volume)),
    "log_melting_point": lambda e: np.log(float(e.melting_point)),
    "log_boiling_point": lambda e: np.log(float(e.boiling_point)),
    "log_bulk_modulus": lambda e: np.log(float(e.bulk_modulus)),
    "log_youngs_modulus": lambda e: np.log(float(e.youngs_modulus)),
    "poissons_ratio": lambda e: float(e.poissons_ratio),
    "log_density_of_solid": lambda e: np.log(float(e.density_of_solid)),
    "ionization_energy": lambda e: float(e.ionization_energies[0]),
    "second_ionization_energy": lambda e: np.log(float(e.ionization_energies[1])),
    "electron_affinity": lambda e: float(e.electron_affinity),
    "mendeleev_number": lambda e: float(e.mendeleev_no),
    "highest_oxidation_state": lambda e: float(e.max_oxidation_state),
    "lowest_oxidation_state": lambda e: float(e.min_oxidation_state),
    "s_electrons": lambda e: shell(e, "s"),
    "p_electrons": lambda e: shell(e, "p"),
    "d_electrons": lambda e: shell(e, "d"),
    "f_electrons": lambda e: shell(e, "f"),
    "d_unfilled": lambda e: (10 - shell(e, "d")) if e.is_transition_metal else 0.0,
    "metal_d_bonding": lambda e: (
        (shell(e, "d") * (10 - shell(e, "d")) / 25) if e.is_transition_metal else 0.0
    ),
    "is_metal": lambda e: float(e.is_metal),
    "atomic_mass": lambda e: np.log(float(e.atomic_mass)),
}


def shell(element: Element, letter: str) -> float:
    """Return the electrons in the valence subshells of one letter."""
    top = element.row
    wanted = {"s": top, "p": top, "d": top - 1 if element.block == "d" else top, "f": top - 2}
    return float(
        sum(
            n
            for level, kind, n in element.full_electronic_structure
            if kind == letter and level == wanted[letter]
        )
    )


def value(column: str, element: Element) -> float:
    """Return one value or NaN."""
    try:
        got = float(COLUMNS[column](element))
        return got if np.isfinite(got) else np.nan
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return np.nan


def main() -> None:
    """Write the table."""
    elements = [Element.from_Z(z) for z in range(1, 104)]
    table = np.array([[value(c, e) for c in COLUMNS] for e in elements])
    place = np.array(
        [[3.0 * (e.group if not e.is_rare_earth else 3), 2.0 * e.row, 0.2 * e.Z] for e in elements]
    )
    distance = np.linalg.norm(place[:, None] - place[None], axis=2)
    for k in range(table.shape[1]):
        known = np.isfinite(table[:, k])
        for z in np.flatnonzero(~known):
            near = np.flatnonzero(known)[np.argsort(distance[z, known])[:3]]
            table[z, k] = np.average(table[near, k], weights=1 / distance[z, near] ** 2)
    out = {"columns": list(COLUMNS), "values": np.round(table, 4).tolist()}
    Path("surrogates/features/elements.json").write_text(json.dumps(out) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
