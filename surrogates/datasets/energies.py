"""Formation energies of crystals on the scale of `mp_structures`, and what strain and shaking add to them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from surrogates.datasets.elasticity import Labels
from surrogates.datasets.reference_set import SOURCE as REFERENCE
from surrogates.datasets.reference_set import fitted_rows
from surrogates.datasets.shared import crystal_rows
from surrogates.physics.units import GPA_PER_EV_PER_A3

ANIONS: frozenset[str] = frozenset(("H", "N", "O", "F", "P", "S", "Cl", "Se", "Br", "Sb", "Te", "I"))
"""WBM energies carry no anion corrections: rows with one of these are left out."""

SOURCES: Mapping[str, float] = {"mp_structures": 1.0, "wbm": 0.5, "elasticity": 0.7}
"""Files used and their weights in the loss."""

REFERENCE_WEIGHT = 1.0
"""Weight of rows of the reference set: hypothetical crystals, few, up to 0.5 eV/atom above the hull."""


def energy_rows(max_atoms: int = 24, reference: bool = False) -> list[dict[str, Any]]:
    """Return the rows with a formation energy on (or shifted by less than 0.03 eV/atom from) one scale.

    Left out: |E| > 5 eV/atom, JARVIS (another functional), WBM rows with an anion, Alexandria rows with Se
    (0.28 eV/atom off), cells above `max_atoms`, and of two equal rows (formula, space group, energy) one.
    With `reference` the rows of the reference set follow, on that scale by the energy correction of 7net-0.

    Raises:
        DataError: the shared data is missing.
    """
    seen: set[tuple[str, int | None, float]] = set()
    rows = []
    for name in SOURCES:
        for row in crystal_rows(name):
            energy = row.get("formation_energy_per_atom")
            if energy is None or abs(energy) > 5 or len(row["species"]) > max_atoms:
                continue
            key = (row["formula"], row["space_group"], round(energy, 3))
            if key in seen or not _is_on_scale(name, row):
                continue
            seen.add(key)
            rows.append({**row, "file": name})
    if reference:
        rows += [{**row, "file": REFERENCE} for row in fitted_rows()]
    return rows


def energy_labels(rows: Sequence[Mapping[str, Any]]) -> Labels:
    """Return formation energies (C, 1), eV/atom; only rows of `mp_structures` are scored."""
    return Labels(
        ids=tuple(row["id"] for row in rows),
        formulas=tuple(row["formula"] for row in rows),
        sources=tuple(row["file"] for row in rows),
        scale=torch.zeros(len(rows), dtype=torch.long),
        targets=torch.tensor([[row["formation_energy_per_atom"]] for row in rows], dtype=torch.float32),
        weight=torch.tensor([SOURCES.get(row["file"], REFERENCE_WEIGHT) for row in rows]),
        is_scored=torch.tensor([row["file"] == "mp_structures" for row in rows]),
    )


def elastic_energy(volume_per_atom: Tensor, bulk: Tensor, shear: Tensor, strain: Tensor) -> Tensor:
    """Return (C,) eV/atom that a homogeneous strain costs an isotropic solid.

    Volume part: Birch-Murnaghan with B' = 4 (doi:10.1103/PhysRev.71.809), so compression costs more than
    expansion; the rest is shear modulus times the squared deviatoric strain.

    Args:
        volume_per_atom: (C,) Å³, unstrained.
        bulk: (C,) GPa.
        shear: (C,) GPa.
        strain: (C, 3, 3) symmetric; the cell is multiplied by 1 + strain.
    """
    eye = torch.eye(3, dtype=strain.dtype)
    ratio = torch.linalg.det(eye + strain)
    eulerian = (ratio.pow(-2.0 / 3.0) - 1.0) / 2.0
    volume_part = 4.5 * bulk * volume_per_atom * eulerian.square()
    trace = strain.diagonal(dim1=1, dim2=2).sum(dim=1)
    deviator = strain - trace[:, None, None] / 3.0 * eye
    shear_part = shear * volume_per_atom * deviator.square().sum(dim=(1, 2))
    return (volume_part + shear_part) / GPA_PER_EV_PER_A3


def shaking_energy(volume_per_atom: Tensor, bulk: Tensor, shear: Tensor, displacement: Tensor) -> Tensor:
    """Return (C,) eV/atom that independent displacements of all atoms cost a Debye solid.

    An atom's mean force constant is 3/5 M w_D², with w_D from the mean sound velocity of K and G: 8.4 eV/Å²
    for Cu by its moduli, 8.0 from its Debye temperature.

    Args:
        volume_per_atom: (C,) Å³.
        bulk: (C,) GPa.
        shear: (C,) GPa.
        displacement: (C,) Å, standard deviation of each coordinate.
    """
    longitudinal = (bulk + 4.0 / 3.0 * shear).pow(-1.5)
    effective = ((longitudinal + 2.0 * shear.pow(-1.5)) / 3.0).pow(-2.0 / 3.0) / GPA_PER_EV_PER_A3
    debye = (6.0 * torch.pi**2) ** (2.0 / 3.0)
    force_constant = 0.6 * debye * effective * volume_per_atom.pow(1.0 / 3.0)
    return 1.5 * force_constant * displacement.square()


def _is_on_scale(name: str, row: Mapping[str, Any]) -> bool:
    species = set(row["species"])
    if name == "wbm":
        return not species & ANIONS
    if name == "elasticity":
        return row["source"] != "jarvis_optb88" and not (row["source"] == "alex_hp_eos" and "Se" in species)
    return True
