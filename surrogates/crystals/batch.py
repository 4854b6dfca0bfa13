"""CrystalBatch: one flat ragged batch of crystals; the only code that talks to pymatgen Structure."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as dataclass_replace
from typing import Any

import numpy as np
import torch
from pymatgen.core import Lattice, Structure
from torch import Tensor

from surrogates.crystals.formulas import display_formula
from surrogates.errors import ShapeError, StructureError, UnknownNameError
from surrogates.physics.periodic_table import ELEMENT_SYMBOLS, N_ELEMENTS, element_index

__all__ = [
    "ELEMENT_SYMBOLS",
    "N_ELEMENTS",
    "SCALES",
    "SCALE_OF_SOURCE",
    "CrystalBatch",
    "element_index",
    "scale_index",
]

SCALES: tuple[str, ...] = ("mp_pbe", "aflow_pbe", "jarvis_optb88", "alex_eos", "potential_7net0")
"""Levels of theory a value can be asked for on; index 0 is the default everywhere."""

SCALE_OF_SOURCE: dict[str, str] = {
    "mp_matcalc_binary": "mp_pbe",
    "mp_matbench_match": "mp_pbe",
    "matten_n100": "mp_pbe",
    "megnet_100": "mp_pbe",
    "aflow_ael": "aflow_pbe",
    "jarvis_optb88": "jarvis_optb88",
    "alex_hp_eos": "alex_eos",
    "reference_7net0": "potential_7net0",
}
"""Scale on which the values of each source of the elasticity set and of the reference set stand."""


def scale_index(name: str) -> int:
    """Return the index of a scale.

    Raises:
        UnknownNameError: no such scale.
    """
    if name not in SCALES:
        raise UnknownNameError.among("scale", name, SCALES)
    return SCALES.index(name)


@dataclass(frozen=True)
class CrystalBatch:
    """C crystals with A atoms in all, flat.

    Attributes:
        lattice: (C, 3, 3) Å, rows are vectors.
        frac_coords: (A, 3).
        occupancy: (A, Z) rows sum to 1; soft rows give composition gradients.
        crystal_index: (A,) long, non-decreasing; the crystal of each atom.
        scale: (C,) long; index into SCALES, the level of theory asked for.
    """

    lattice: Tensor
    frac_coords: Tensor
    occupancy: Tensor
    crystal_index: Tensor
    scale: Tensor

    def __post_init__(self) -> None:
        """Check shapes and devices once.

        Raises:
            ShapeError: a field does not fit the others.
        """
        c, a = self.lattice.shape[0], self.frac_coords.shape[0]
        wanted = {
            "lattice": (c, 3, 3),
            "frac_coords": (a, 3),
            "occupancy": (a, N_ELEMENTS),
            "crystal_index": (a,),
            "scale": (c,),
        }
        for name, shape in wanted.items():
            tensor: Tensor = getattr(self, name)
            if tuple(tensor.shape) != shape:
                raise ShapeError(f"CrystalBatch.{name} is {tuple(tensor.shape)}, not {shape}")
            if tensor.device != self.lattice.device:
                raise ShapeError(
                    f"CrystalBatch.{name} is on {tensor.device}, lattice on {self.lattice.device}"
                )

    @property
    def n_crystals(self) -> int:
        """Number of crystals C."""
        return int(self.lattice.shape[0])

    @property
    def n_atoms(self) -> Tensor:
        """(C,) atoms of each crystal."""
        return torch.bincount(self.crystal_index, minlength=self.n_crystals)

    @property
    def volume(self) -> Tensor:
        """(C,) cell volumes, Å³; differentiable in the lattice."""
        return torch.linalg.det(self.lattice).abs()

    @property
    def composition(self) -> Tensor:
        """(C, Z) mean occupancy of each crystal, rows sum to 1; differentiable in the occupancy."""
        total = self.occupancy.new_zeros(self.n_crystals, N_ELEMENTS)
        total = total.index_add(0, self.crystal_index, self.occupancy)
        return total / self.n_atoms.clamp(min=1).unsqueeze(1).to(total.dtype)

    @classmethod
    def from_structures(
        cls,
        structures: Sequence[Structure],
        scale: str | Sequence[str] = "mp_pbe",
        dtype: torch.dtype = torch.float32,
    ) -> "CrystalBatch":
        """Return the batch of ordered or disordered structures (partial occupancy becomes soft rows).

        Raises:
            StructureError: an empty structure, or site occupancies that do not sum to 1.
            UnsupportedElementError: an element beyond Lr, or a dummy species.
        """
        scales = [scale] * len(structures) if isinstance(scale, str) else list(scale)
        if len(scales) != len(structures):
            raise ShapeError(f"{len(scales)} scales for {len(structures)} structures")
        coords: list[np.ndarray] = []
        occupancy = np.zeros((sum(len(s) for s in structures), N_ELEMENTS))
        index: list[int] = []
        row = 0
        for c, structure in enumerate(structures):
            if len(structure) == 0:
                raise StructureError("a structure without atoms")
            coords.append(np.asarray(structure.frac_coords))
            for site in structure:
                for species, amount in site.species.items():
                    symbol = getattr(species, "element", species).symbol
                    occupancy[row, element_index(symbol)] += amount
                if abs(occupancy[row].sum() - 1.0) > 1e-3:
                    formula = display_formula(structure.composition)
                    raise StructureError(f"{formula}: a site holds {occupancy[row].sum():.3f} atoms, not 1")
                index.append(c)
                row += 1
        return cls(
            lattice=torch.as_tensor(
                np.array([s.lattice.matrix for s in structures]).reshape(-1, 3, 3), dtype=dtype
            ),
            frac_coords=torch.as_tensor(np.concatenate(coords or [np.zeros((0, 3))]), dtype=dtype),
            occupancy=torch.as_tensor(occupancy, dtype=dtype),
            crystal_index=torch.as_tensor(index, dtype=torch.long),
            scale=torch.as_tensor([scale_index(s) for s in scales], dtype=torch.long),
        )

    def to_structures(self) -> list[Structure]:
        """Return one pymatgen Structure per crystal.

        Raises:
            StructureError: fractional occupancy; harden the species first.
        """
        if bool((self.occupancy.max(dim=1).values < 1 - 1e-4).any()):
            raise StructureError("fractional occupancy has no Structure; harden the species first")
        lattice = self.lattice.detach().cpu().double().numpy()
        coords = self.frac_coords.detach().cpu().double().numpy()
        species = self.occupancy.argmax(dim=1).cpu().numpy()
        index = self.crystal_index.cpu().numpy()
        return [
            Structure(
                Lattice(lattice[c]),
                [ELEMENT_SYMBOLS[z] for z in species[index == c]],
                coords[index == c],
                to_unit_cell=True,
            )
            for c in range(self.n_crystals)
        ]

    def select(self, index: Tensor) -> "CrystalBatch":
        """Return the crystals of an index (R,) long without repeats, in its order."""
        place = torch.full((self.n_crystals,), -1, dtype=torch.long, device=index.device)
        place[index] = torch.arange(len(index), device=index.device)
        own = place[self.crystal_index]
        atoms = torch.argsort(own, stable=True)[int((own < 0).sum()) :]
        return CrystalBatch(
            self.lattice[index],
            self.frac_coords[atoms],
            self.occupancy[atoms],
            own[atoms],
            self.scale[index],
        )

    def replace(self, **changes: Any) -> "CrystalBatch":
        """Return a copy with some fields changed, checked again."""
        return dataclass_replace(self, **changes)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "CrystalBatch":
        """Return the batch on another device or in another floating dtype."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)

        return CrystalBatch(
            move(self.lattice),
            move(self.frac_coords),
            move(self.occupancy),
            move(self.crystal_index),
            move(self.scale),
        )
