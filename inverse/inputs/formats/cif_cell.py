"""The cell of a CIF block; angles that are not given are right ones."""

import numpy as np
from pymatgen.core import Lattice

from inverse.inputs.formats.cells import require_lattice
from inverse.inputs.formats.cif_syntax import CifBlock, number
from inverse.inputs.remarks import Remark
from surrogates.errors import StructureError

VOLUME_WITHIN = 0.05
"""Relative difference of the volume that the file states and that of its cell parameters."""

LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")


def read_cell(block: CifBlock, remarks: list[Remark]) -> np.ndarray:
    """Return the lattice of a block, rows are vectors, Å; angles that are not given are 90.

    Raises:
        StructureError: a length is missing, a number makes no cell, or the stated volume is another.
    """
    lengths, angles = [], []
    for name in LENGTHS:
        text = block.value(name)
        if text is None:
            raise StructureError(f"broken CIF: no {name}")
        lengths.append(number(text, name)[0])
    for name in ANGLES:
        text = block.value(name)
        angles.append(90.0 if text is None else number(text, name)[0])
    if not all(0 < length < 1e5 for length in lengths) or not all(0 < angle < 180 for angle in angles):
        shown = ", ".join(f"{value:g}" for value in (*lengths, *angles))
        raise StructureError(f"lengths and angles {shown} make no cell")
    cosines = np.cos(np.radians(angles))
    if 1 - cosines @ cosines + 2 * cosines.prod() <= 1e-6:
        shown = ", ".join(f"{value:g}" for value in angles)
        raise StructureError(f"angles {shown} make no cell")
    lattice = Lattice.from_parameters(*lengths, *angles)
    require_lattice(np.array(lattice.matrix))
    text = block.value("_cell_volume")
    if text is not None:
        try:
            stated = number(text, "_cell_volume")[0]
        except StructureError:
            stated = lattice.volume
        if stated > 0 and abs(stated - lattice.volume) > VOLUME_WITHIN * lattice.volume:
            raise StructureError(
                f"lengths and angles give {lattice.volume:.1f} Å³, _cell_volume says {stated:g}"
            )
    return np.array(lattice.matrix)
