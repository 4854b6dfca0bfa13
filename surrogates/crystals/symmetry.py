"""SymmetricCrystals: crystals written by what symmetry leaves free; the only code that talks to spglib."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as dataclass_replace
from itertools import pairwise
from typing import Any

import numpy as np
import spglib
import torch
from pymatgen.core import Structure
from torch import Tensor

from surrogates.crystals.batch import ELEMENT_SYMBOLS, N_ELEMENTS, CrystalBatch, element_index
from surrogates.crystals.wyckoff import (
    LETTERS,
    WyckoffPosition,
    WyckoffTables,
    wyckoff_positions,
    wyckoff_tables,
)
from surrogates.errors import ShapeError, StructureError

__all__ = [
    "HARD_LOGIT",
    "LETTERS",
    "SymmetricCrystals",
    "WyckoffPosition",
    "WyckoffTables",
    "find_space_groups",
    "wyckoff_positions",
    "wyckoff_tables",
]

HARD_LOGIT = 30.0
"""Logit of the species of a hardened site (the others are 0); its softmax is 1 in float32."""


@dataclass(frozen=True)
class SymmetricCrystals:
    """C crystals with S symmetric sites (orbits) in all, flat.

    `free_lattice` holds log a, log b, log c (Å) and three angle parameters u, v, w of the conventional cell:
    cos alpha = tanh u, cos beta = tanh v, cos gamma = cos alpha cos beta + sin alpha sin beta tanh w, so that
    every real vector is a lattice. Slots that the crystal system fixes (see `is_lattice_free`) are ignored;
    so are the slots of `free_coords` outside `is_coordinate_free`. Setting: see
    `surrogates.crystals.wyckoff`.

    Attributes:
        space_group: (C,) long, 1 to 230.
        wyckoff: (S,) long, index of the Wyckoff letter in that group (a is 0).
        site_index: (S,) long, non-decreasing; the crystal of each site.
        species_logits: (S, Z); their softmax is the occupancy of the orbit.
        free_coords: (S, 3) x, y, z of the first representative of the orbit.
        free_lattice: (C, 6).
        scale: (C,) long, index into `surrogates.crystals.batch.SCALES`.
    """

    space_group: Tensor
    wyckoff: Tensor
    site_index: Tensor
    species_logits: Tensor
    free_coords: Tensor
    free_lattice: Tensor
    scale: Tensor

    def __post_init__(self) -> None:
        """Check shapes, devices and letters once.

        Raises:
            ShapeError: a field does not fit the others.
            StructureError: a space group or a Wyckoff letter that does not exist.
        """
        c, s = self.space_group.shape[0], self.wyckoff.shape[0]
        wanted = {
            "space_group": (c,),
            "wyckoff": (s,),
            "site_index": (s,),
            "species_logits": (s, N_ELEMENTS),
            "free_coords": (s, 3),
            "free_lattice": (c, 6),
            "scale": (c,),
        }
        for name, shape in wanted.items():
            tensor: Tensor = getattr(self, name)
            if tuple(tensor.shape) != shape:
                raise ShapeError(f"SymmetricCrystals.{name} is {tuple(tensor.shape)}, not {shape}")
            if tensor.device != self.free_lattice.device:
                raise ShapeError(
                    f"SymmetricCrystals.{name} is on {tensor.device}, "
                    f"free_lattice on {self.free_lattice.device}"
                )
        if bool(((self.space_group < 1) | (self.space_group > 230)).any()):
            raise StructureError("a space group that does not exist; valid: 1 to 230")
        if s and (bool((self.site_index.diff() < 0).any()) or int(self.site_index[-1]) >= c):
            raise ShapeError(f"SymmetricCrystals.site_index must rise and stay below {c}")
        n_positions = self._tables().n_positions[self.space_group[self.site_index] - 1]
        if bool(((self.wyckoff < 0) | (self.wyckoff >= n_positions)).any()):
            raise StructureError("a Wyckoff letter that its space group does not have")

    def _tables(self) -> WyckoffTables:
        return wyckoff_tables(self.free_lattice.device, self.free_lattice.dtype)

    @property
    def position(self) -> Tensor:
        """(S,) flat index into the Wyckoff tables."""
        return self._tables().position_start[self.space_group[self.site_index] - 1] + self.wyckoff

    @property
    def n_crystals(self) -> int:
        """Number of crystals C."""
        return int(self.space_group.shape[0])

    @property
    def n_sites(self) -> Tensor:
        """(C,) symmetric sites of each crystal."""
        return torch.bincount(self.site_index, minlength=self.n_crystals)

    @property
    def primitive_multiplicity(self) -> Tensor:
        """(S,) atoms of each orbit in the primitive cell."""
        return self._tables().n_representatives[self.position]

    @property
    def multiplicity(self) -> Tensor:
        """(S,) atoms of each orbit in the conventional cell."""
        return self.primitive_multiplicity * self._tables().n_centring[self.space_group[self.site_index] - 1]

    @property
    def n_atoms(self) -> Tensor:
        """(C,) atoms of each primitive cell."""
        total = torch.zeros_like(self.space_group)
        return total.index_add(0, self.site_index, self.primitive_multiplicity)

    @property
    def site_symmetry(self) -> list[str]:
        """S site-symmetry symbols as spglib writes them."""
        symbols = self._tables().site_symmetry
        return [symbols[p] for p in self.position.tolist()]

    @property
    def is_coordinate_free(self) -> Tensor:
        """(S, 3) bool, the slots of `free_coords` that count."""
        return self._tables().is_free[self.position]

    @property
    def is_lattice_free(self) -> Tensor:
        """(C, 6) bool, the slots of `free_lattice` that count."""
        return self._tables().is_lattice_free[self.space_group - 1]

    @property
    def n_free(self) -> Tensor:
        """(C,) free numbers of each crystal, lattice and coordinates."""
        coords = self.is_coordinate_free.sum(dim=1)
        return self.is_lattice_free.sum(dim=1).index_add(0, self.site_index, coords)

    @property
    def species(self) -> Tensor:
        """(S,) long, most likely element of each site (0 is H)."""
        return self.species_logits.argmax(dim=1)

    @property
    def amounts(self) -> Tensor:
        """(C, Z) atoms of each element in the primitive cell; differentiable in the logits."""
        soft = self.species_logits.softmax(dim=1) * self.primitive_multiplicity.unsqueeze(1)
        return soft.new_zeros(self.n_crystals, N_ELEMENTS).index_add(0, self.site_index, soft)

    def formulas(self) -> list[str]:
        """Return the reduced formula of each crystal, every site at its most likely element."""
        from pymatgen.core import Composition

        amounts = self.harden().amounts.round().long().tolist()
        return [
            Composition({ELEMENT_SYMBOLS[z]: n for z, n in enumerate(row) if n}).reduced_formula
            for row in amounts
        ]

    def lattice(self) -> Tensor:
        """Return the (C, 3, 3) conventional lattices in Å, rows are vectors; differentiable."""
        tables = self._tables()
        group = self.space_group - 1
        free = self.free_lattice * tables.is_lattice_free[group].to(self.free_lattice.dtype)
        values = free.gather(1, tables.lattice_source[group]) + tables.lattice_constant[group]
        a, b, c = values[:, :3].exp().unbind(dim=1)
        u, v, w = values[:, 3:].unbind(dim=1)
        sin_alpha, sin_beta = 1.0 / u.cosh(), 1.0 / v.cosh()
        cos_gamma = u.tanh() * v.tanh() + sin_alpha * sin_beta * w.tanh()
        sin_gamma = (1.0 - cos_gamma.square()).sqrt()
        c_x, zero = c * v.tanh(), torch.zeros_like(a)
        c_y = c * (u.tanh() - v.tanh() * cos_gamma) / sin_gamma
        c_z = c * sin_alpha * sin_beta / w.cosh() / sin_gamma
        rows = [a, zero, zero, b * cos_gamma, b * sin_gamma, zero, c_x, c_y, c_z]
        return torch.stack(rows, dim=1).reshape(-1, 3, 3)

    def to_crystals(self, primitive: bool = True) -> CrystalBatch:
        """Return all atoms of each crystal.

        Differentiable in `species_logits` (soft occupancy), `free_coords` and `free_lattice`. Atoms stand in
        the order of their sites.

        Args:
            primitive: the primitive instead of the conventional cell.
        """
        tables = self._tables()
        position = self.position
        counts = tables.n_representatives[position]
        site = torch.repeat_interleave(torch.arange(len(position), device=position.device), counts)
        rank = torch.arange(len(site), device=site.device) - (counts.cumsum(0) - counts)[site]
        operation = tables.operation_start[position[site]] + rank
        free = self.free_coords * tables.is_free[position].to(self.free_coords.dtype)
        coords = torch.einsum("nij,nj->ni", tables.rotations[operation], free[site])
        coords = coords + tables.translations[operation]
        lattice = self.lattice()
        if primitive:
            rows = tables.primitive_rows[self.space_group - 1]
            inverse = torch.linalg.inv(rows)[self.site_index[site]]
            coords = torch.einsum("ni,nij->nj", coords, inverse)
            lattice = rows @ lattice
        else:
            copies = tables.n_centring[self.space_group - 1][self.site_index[site]]
            atom = torch.repeat_interleave(torch.arange(len(site), device=site.device), copies)
            rank = torch.arange(len(atom), device=site.device) - (copies.cumsum(0) - copies)[atom]
            site = site[atom]
            group = self.space_group[self.site_index[site]] - 1
            coords = coords[atom] + tables.centring_vectors[group, rank]
        return CrystalBatch(
            lattice=lattice,
            frac_coords=coords - coords.detach().floor(),
            occupancy=self.species_logits.softmax(dim=1)[site],
            crystal_index=self.site_index[site],
            scale=self.scale,
        )

    def to_structures(self, primitive: bool = True) -> list[Structure]:
        """Return one pymatgen Structure per crystal, every site at its most likely element."""
        return self.harden().to_crystals(primitive).to_structures()

    @classmethod
    def from_structures(
        cls, structures: Sequence[Structure], symprec: float = 0.01, dtype: torch.dtype = torch.float32
    ) -> "SymmetricCrystals":
        """Return the structures as spglib standardises them.

        Sites are in canonical order: by Wyckoff letter, then atomic number, then coordinates.

        Args:
            structures: ordered crystals.
            symprec: Å, spglib's tolerance.
            dtype: of the floating fields.

        Raises:
            StructureError: a partially occupied site, or spglib finds no symmetry; names the structure.
            UnsupportedElementError: an element beyond Lr.
        """
        from surrogates.crystals.standardisation import standardise

        crystals = [standardise(structure, symprec) for structure in structures]
        counts = [len(crystal.sites) for crystal in crystals]
        sites = [site for crystal in crystals for site in crystal.sites]
        logits = torch.zeros(len(sites), N_ELEMENTS, dtype=dtype)
        if sites:
            logits[torch.arange(len(sites)), torch.tensor([site.element for site in sites])] = HARD_LOGIT
        return cls(
            space_group=torch.tensor([crystal.space_group for crystal in crystals], dtype=torch.long),
            wyckoff=torch.tensor([site.wyckoff for site in sites], dtype=torch.long),
            site_index=torch.repeat_interleave(
                torch.arange(len(crystals)), torch.tensor(counts, dtype=torch.long)
            ),
            species_logits=logits,
            free_coords=torch.tensor(
                np.array([site.free_coords for site in sites]).reshape(-1, 3), dtype=dtype
            ),
            free_lattice=torch.tensor(
                np.array([crystal.free_lattice for crystal in crystals]).reshape(-1, 6), dtype=dtype
            ),
            scale=torch.zeros(len(crystals), dtype=torch.long),
        )

    @classmethod
    def from_skeleton(
        cls, space_group: int, wyckoffs: Sequence[str], species: Sequence[str], volume_per_atom: float = 15.0
    ) -> "SymmetricCrystals":
        """Return one crystal of given orbits and elements; its free numbers are placeholders for a decoder's
        `complete`.

        Args:
            space_group: International number.
            wyckoffs: letter of each orbit.
            species: element of each orbit.
            volume_per_atom: Å³; sets the scale of a cell with equal axes.

        Raises:
            StructureError: a letter that the group does not have.
        """
        letters = [position.letter for position in wyckoff_positions(space_group)]
        for letter in wyckoffs:
            if letter not in letters:
                raise StructureError(
                    f"space group {space_group} has no Wyckoff position {letter!r}; "
                    f"valid: {letters[0]} to {letters[-1]}"
                )
        logits = torch.zeros(len(species), N_ELEMENTS)
        logits[torch.arange(len(species)), torch.tensor([element_index(s) for s in species])] = HARD_LOGIT
        crystal = cls(
            space_group=torch.tensor([space_group]),
            wyckoff=torch.tensor([letters.index(letter) for letter in wyckoffs], dtype=torch.long),
            site_index=torch.zeros(len(species), dtype=torch.long),
            species_logits=logits,
            free_coords=torch.tensor([[0.13, 0.29, 0.37]]).repeat(len(species), 1),
            free_lattice=torch.zeros(1, 6),
            scale=torch.zeros(1, dtype=torch.long),
        )
        n_atoms = int(crystal.multiplicity.sum())
        log_length = torch.log(volume_per_atom * n_atoms / torch.linalg.det(crystal.lattice()).abs()) / 3.0
        free_lattice = torch.cat([log_length.unsqueeze(1).repeat(1, 3), torch.zeros(1, 3)], dim=1)
        return crystal.replace(free_lattice=free_lattice * crystal.is_lattice_free)

    def harden(self) -> "SymmetricCrystals":
        """Return the crystals with every site at its most likely element."""
        logits = torch.zeros_like(self.species_logits)
        logits = logits.scatter(1, self.species_logits.argmax(dim=1, keepdim=True), HARD_LOGIT)
        return self.replace(species_logits=logits)

    def select(self, index: Tensor | Sequence[int]) -> "SymmetricCrystals":
        """Return some of the crystals, by position or boolean mask; a position may repeat."""
        chosen = torch.as_tensor(index, device=self.space_group.device)
        chosen = chosen.nonzero().squeeze(1) if chosen.dtype == torch.bool else chosen.long()
        counts = self.n_sites[chosen]
        start = (self.n_sites.cumsum(0) - self.n_sites)[chosen]
        new_index = torch.repeat_interleave(torch.arange(len(chosen), device=chosen.device), counts)
        rank = torch.arange(len(new_index), device=chosen.device) - (counts.cumsum(0) - counts)[new_index]
        site = start[new_index] + rank
        return SymmetricCrystals(
            space_group=self.space_group[chosen],
            wyckoff=self.wyckoff[site],
            site_index=new_index,
            species_logits=self.species_logits[site],
            free_coords=self.free_coords[site],
            free_lattice=self.free_lattice[chosen],
            scale=self.scale[chosen],
        )

    @classmethod
    def concatenate(cls, parts: Sequence["SymmetricCrystals"]) -> "SymmetricCrystals":
        """Return all crystals of the parts, in order; none at all for no parts."""
        if not parts:
            return cls.from_structures([])
        offsets = np.cumsum([0] + [part.n_crystals for part in parts[:-1]])
        fields = {
            name: torch.cat([getattr(part, name) for part in parts])
            for name in (
                "space_group",
                "wyckoff",
                "species_logits",
                "free_coords",
                "free_lattice",
                "scale",
            )
        }
        index = torch.cat(
            [part.site_index + int(offset) for part, offset in zip(parts, offsets, strict=True)]
        )
        return cls(site_index=index, **fields)

    def replace(self, **changes: Any) -> "SymmetricCrystals":
        """Return a copy with some fields changed, checked again."""
        return dataclass_replace(self, **changes)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "SymmetricCrystals":
        """Return the crystals on another device or in another floating dtype."""
        return SymmetricCrystals(
            **{
                name: value.to(device=device, dtype=dtype if value.is_floating_point() else None)
                for name, value in vars(self).items()
            }
        )


def find_space_groups(crystals: CrystalBatch, symprec: float = 0.01) -> list[int]:
    """Return spglib's space group of each crystal; 0 where it finds none."""
    lattice = crystals.lattice.detach().cpu().double().numpy()
    coords = crystals.frac_coords.detach().cpu().double().numpy()
    species = crystals.occupancy.argmax(dim=1).cpu().numpy()
    groups = []
    for c, (start, end) in enumerate(pairwise([0, *crystals.n_atoms.cumsum(0).tolist()])):
        cell: Any = (lattice[c], coords[start:end], species[start:end] + 1)
        try:
            found = spglib.get_symmetry_dataset(cell, symprec=symprec)
        except Exception:  # spglib 2.7 and later can be told to raise instead of returning None
            found = None
        groups.append(0 if found is None else int(found.number))
    return groups
