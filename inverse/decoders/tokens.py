"""Free numbers <-> bins: volume, shape and coordinates of a crystal as a sequence of continuous tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from surrogates.crystals.symmetry import SymmetricCrystals

N_BINS = 120
"""Bins of every continuous token."""

VOLUME, RATIO_C, RATIO_B, ANGLE_U, ANGLE_V, ANGLE_W, COORD_X, COORD_Y, COORD_Z = range(9)

RANGES: tuple[tuple[float, float], ...] = (
    (-0.75, 0.75),
    (-1.6, 2.6),
    (-2.0, 2.0),
    (-0.75, 0.75),
    (-0.75, 0.75),
    (-0.75, 0.75),
    (0.0, 1.0),
    (0.0, 1.0),
    (0.0, 1.0),
)
"""Of: log volume over the sum of atomic volumes, log(c/a), log(b/a), tanh of the angle numbers, x, y, z."""

HEAD_OF_TYPE: tuple[int, ...] = (0, 1, 2, 3, 3, 3, 4, 4, 4)
"""Output head of each type: volume, c/a, b/a, angles, coordinates."""

N_HEADS = 5


@dataclass(frozen=True)
class FreeTokens:
    """What is continuous in C crystals, padded to Q tokens.

    Attributes:
        kind: (C, Q) type of each token, 0 where padded.
        site: (C, Q) place of its site within the crystal, -1 for the lattice.
        value: (C, Q) in RANGES of its type.
        is_token: (C, Q) False where padded.
    """

    kind: Tensor
    site: Tensor
    value: Tensor
    is_token: Tensor

    @property
    def bins(self) -> Tensor:
        """(C, Q) long, bin of each value; values beyond the range fall into the last bin."""
        low, high = limits(self.kind)
        unit = ((self.value - low) / (high - low) * N_BINS).floor().long()
        return unit.clamp(0, N_BINS - 1)


def limits(kind: Tensor) -> tuple[Tensor, Tensor]:
    """Return lower and upper end of the range of each type."""
    table = torch.tensor(RANGES)[kind]
    return table[..., 0], table[..., 1]


def value_in_bin(kind: Tensor, chosen: Tensor, fraction: Tensor) -> Tensor:
    """Return the value at a fraction (0 to 1) of the width of a bin."""
    low, high = limits(kind)
    return low + (high - low) * (chosen + fraction) / N_BINS


def layout(crystals: SymmetricCrystals) -> FreeTokens:
    """Return which tokens the crystals have, lattice before coordinates, all values 0."""
    lattice = crystals.is_lattice_free[:, [0, 2, 1, 3, 4, 5]]
    c, s = crystals.n_crystals, max(1, int(crystals.n_sites.max()) if crystals.n_crystals else 1)
    rank = site_ranks(crystals)
    coords = torch.zeros(c, s, 3, dtype=torch.bool)
    coords[crystals.site_index, rank] = crystals.is_coordinate_free
    is_free = torch.cat([lattice, coords.reshape(c, -1)], dim=1)
    kind = torch.cat([torch.arange(6), torch.arange(COORD_X, COORD_Z + 1).repeat(s)]).expand(c, -1)
    site = torch.cat([torch.full((6,), -1), torch.arange(s).repeat_interleave(3)]).expand(c, -1)
    order = torch.argsort((~is_free).long(), dim=1, stable=True)
    width = max(1, int(is_free.sum(dim=1).max())) if c else 1
    order = order[:, :width]
    is_token = is_free.gather(1, order)
    return FreeTokens(
        kind=kind.gather(1, order) * is_token,
        site=torch.where(is_token, site.gather(1, order), -1),
        value=torch.zeros(c, width),
        is_token=is_token,
    )


def site_ranks(crystals: SymmetricCrystals) -> Tensor:
    """Return (S,) place of each site within its crystal."""
    start = crystals.n_sites.cumsum(0) - crystals.n_sites
    return torch.arange(len(crystals.site_index)) - start[crystals.site_index]


def free_tokens(crystals: SymmetricCrystals, atomic_volume: Tensor) -> FreeTokens:
    """Return the tokens of crystals with their values.

    Args:
        crystals: every site at one element.
        atomic_volume: (Z,) Å³, whose sum over the cell is the reference of the volume token.
    """
    tokens = layout(crystals)
    free = crystals.free_lattice.float() * crystals.is_lattice_free
    reference = torch.log(_reference_volume(crystals, atomic_volume))
    numbers = torch.stack(
        [
            torch.log(torch.linalg.det(crystals.lattice().float()).abs()) - reference,
            free[:, 2] - free[:, 0],
            free[:, 1] - free[:, 0],
            free[:, 3].tanh(),
            free[:, 4].tanh(),
            free[:, 5].tanh(),
        ],
        dim=1,
    )
    coords = torch.zeros(crystals.n_crystals, max(1, int(crystals.n_sites.max())), 3)
    coords[crystals.site_index, site_ranks(crystals)] = crystals.free_coords.float() % 1.0
    from_coords = coords.reshape(crystals.n_crystals, -1).gather(
        1, (tokens.site.clamp(min=0) * 3 + (tokens.kind - COORD_X).clamp(min=0))
    )
    value = torch.where(tokens.kind >= COORD_X, from_coords, numbers.gather(1, tokens.kind.clamp(max=5)))
    return FreeTokens(tokens.kind, tokens.site, value * tokens.is_token, tokens.is_token)


def with_free_values(
    crystals: SymmetricCrystals, tokens: FreeTokens, atomic_volume: Tensor
) -> SymmetricCrystals:
    """Return the crystals with the lattice and the coordinates that the token values say."""
    numbers = torch.zeros(crystals.n_crystals, 6)
    row = torch.arange(crystals.n_crystals).unsqueeze(1).expand_as(tokens.kind)
    is_lattice = tokens.is_token & (tokens.kind < COORD_X)
    numbers[row[is_lattice], tokens.kind[is_lattice]] = tokens.value[is_lattice]
    angles = torch.atanh(numbers[:, 3:].clamp(-0.98, 0.98))
    ratios = torch.stack([torch.zeros(len(numbers)), numbers[:, 2], numbers[:, 1]], dim=1)
    free = torch.cat([ratios, angles], dim=1) * crystals.is_lattice_free
    wanted = numbers[:, 0] + torch.log(_reference_volume(crystals, atomic_volume))
    volume = torch.log(torch.linalg.det(crystals.replace(free_lattice=free).lattice()).abs())
    free = torch.cat([free[:, :3] + ((wanted - volume) / 3.0).unsqueeze(1), free[:, 3:]], dim=1)
    coords = torch.zeros_like(crystals.free_coords)
    start = crystals.n_sites.cumsum(0) - crystals.n_sites
    is_coord = tokens.is_token & (tokens.kind >= COORD_X)
    site = start[row[is_coord]] + tokens.site[is_coord]
    coords[site, tokens.kind[is_coord] - COORD_X] = tokens.value[is_coord]
    return crystals.replace(free_lattice=free * crystals.is_lattice_free, free_coords=coords)


def _reference_volume(crystals: SymmetricCrystals, atomic_volume: Tensor) -> Tensor:
    """Return (C,) sum of the atomic volumes of the conventional cell, Å³."""
    volume = atomic_volume[crystals.species] * crystals.multiplicity
    return torch.zeros(crystals.n_crystals).index_add(0, crystals.site_index, volume)
