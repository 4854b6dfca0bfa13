"""Quantum ESPRESSO input that matches the reference: PBE, spin-polarised, the Materials Project's +U."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pymatgen.core import Structure

from surrogates.errors import UnsupportedElementError

KPOINT_SPACING = 0.22
"""Å⁻¹ (2π included) of Quantum ESPRESSO meshes; about the Materials Project's density for small cells."""

MAGNETIC = frozenset(
    {"V", "Cr", "Mn", "Fe", "Co", "Ni", "Mo", "W"}
    | {"Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb"}
)
"""Elements that the Materials Project's sets start with a large moment."""

HUBBARD_U: Mapping[str, tuple[str, float]] = {
    "Co": ("3d", 3.32),
    "Cr": ("3d", 3.7),
    "Fe": ("3d", 5.3),
    "Mn": ("3d", 3.9),
    "Mo": ("4d", 4.38),
    "Ni": ("3d", 6.2),
    "V": ("3d", 3.25),
    "W": ("5d", 6.2),
}
"""eV: the Materials Project's +U, applied to oxides and fluorides only."""


def espresso_input(structure: Structure, calculation: str, prefix: str) -> str:
    """Return the text of a pw.x input; cut-offs are the largest that any element of the crystal asks for.

    Raises:
        UnsupportedElementError: an element without a pseudopotential in the carried table.
    """
    from ase.io.espresso import write_espresso_in
    from pymatgen.io.ase import AseAtomsAdaptor

    symbols = symbols_of(structure)
    rows = {symbol: pseudopotential(symbol) for symbol in symbols}
    plain = Structure.from_sites([*structure.copy(site_properties={})])
    atoms = AseAtomsAdaptor.get_atoms(plain, msonable=False)
    kpoints = [
        max(1, round(length / KPOINT_SPACING + 0.499)) for length in structure.lattice.reciprocal_lattice.abc
    ]
    data: dict[str, dict[str, Any]] = {
        "control": {
            "calculation": calculation,
            "prefix": re.sub(r"[^A-Za-z0-9_]", "_", prefix),
            "pseudo_dir": "./pseudo",
            "outdir": "./out",
            "tstress": True,
            "tprnfor": True,
            "etot_conv_thr": 1e-5 * len(structure),
            "forc_conv_thr": 1e-4,
        },
        "system": {
            "ecutwfc": max(row.wave_cutoff for row in rows.values()),
            "ecutrho": max(row.density_cutoff for row in rows.values()),
            "occupations": "smearing",
            "smearing": "cold",
            "degauss": 0.015,
            "nspin": 2,
        },
        "electrons": {"conv_thr": 2e-10 * len(structure), "mixing_beta": 0.4, "electron_maxstep": 120},
        "ions": {"ion_dynamics": "bfgs"},
        "cell": {"cell_dynamics": "bfgs", "press_conv_thr": 0.1},
    }
    atoms.set_initial_magnetic_moments([0.5 if atom.symbol in MAGNETIC else 0.1 for atom in atoms])
    if calculation == "scf":
        del data["ions"], data["cell"]
    text = io.StringIO()
    write_espresso_in(
        text,
        atoms,
        input_data=data,
        pseudopotentials={symbol: row.file for symbol, row in rows.items()},
        kpts=kpoints,
        koffset=(0, 0, 0),
    )
    return text.getvalue() + hubbard_card(symbols)


def hubbard_card(symbols: Sequence[str]) -> str:
    """Return pw.x's HUBBARD card with the Materials Project's +U; "" unless an oxide or fluoride needs one.

    >>> hubbard_card(["Fe", "O"]).split()
    ['HUBBARD', '(ortho-atomic)', 'U', 'Fe-3d', '5.3']
    """
    lines = [
        f"U {symbol}-{HUBBARD_U[symbol][0]} {HUBBARD_U[symbol][1]}"
        for symbol in symbols
        if symbol in HUBBARD_U
    ]
    if not lines or not {"O", "F"} & set(symbols):
        return ""
    return "\nHUBBARD (ortho-atomic)\n" + "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Pseudopotential:
    """File name and cut-offs (Ry) of wave functions and density."""

    file: str
    wave_cutoff: float
    density_cutoff: float


def pseudopotential(symbol: str) -> Pseudopotential:
    """Return the pseudopotential of an element.

    Raises:
        UnsupportedElementError: not in the table.
    """
    table = _table()
    if symbol not in table:
        raise UnsupportedElementError(
            f"element {symbol} has no pseudopotential in the carried SSSP table ({len(table)} elements)"
        )
    return table[symbol]


def symbols_of(structure: Structure) -> list[str]:
    """Return the elements in the order in which they first stand in the structure."""
    return list(dict.fromkeys(site.specie.symbol for site in structure))


@cache
def _table() -> Mapping[str, Pseudopotential]:
    text = files("inverse.report").joinpath("pseudopotentials.json").read_text(encoding="utf-8")
    return {symbol: Pseudopotential(*row) for symbol, row in json.loads(text)["elements"].items()}
