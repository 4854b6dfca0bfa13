"""What a drawn crystal must satisfy before it is handed out: distances, symmetry, no duplicate."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from surrogates.crystals.batch import CrystalBatch
from surrogates.crystals.symmetry import SymmetricCrystals, find_space_groups

MIN_DISTANCE_RATIO = 0.7
"""Atoms stand at least this share of the sum of their covalent radii apart."""

SYMPREC = 0.01
"""Å at which spglib must find the space group asked for."""

_MAX_STRETCH = 1.25


@lru_cache(maxsize=1)
def covalent_radii() -> np.ndarray:
    """Return the (103,) covalent radii in Å (ASE; Cordero et al. 2008), 1.5 where unknown."""
    from ase.data import covalent_radii as radii

    table = np.array(radii[1:104], dtype=float)
    return np.where(table > 0.25, table, 1.5)


def distance_ratios(crystals: CrystalBatch) -> np.ndarray:
    """Return the (C,) smallest distance over the sum of covalent radii, periodic images included; at most
    1.2.

    Args:
        crystals: every atom at one element.
    """
    lattice = crystals.lattice.detach().double().cpu().numpy()
    coords = crystals.frac_coords.detach().double().cpu().numpy()
    radii = covalent_radii()[crystals.occupancy.argmax(dim=1).cpu().numpy()]
    bounds = pairwise([0, *crystals.n_atoms.cumsum(0).tolist()])
    return np.array([_ratio(lattice[c], coords[a:b], radii[a:b]) for c, (a, b) in enumerate(bounds)])


def _ratio(lattice: np.ndarray, coords: np.ndarray, radii: np.ndarray) -> float:
    reach = 1.2 * 2.0 * radii.max()
    heights = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    n = np.minimum(np.ceil(reach / heights + 0.5).astype(int), 6)
    images = np.stack(np.meshgrid(*[np.arange(-k, k + 1) for k in n], indexing="ij"), axis=-1).reshape(-1, 3)
    i, j = np.triu_indices(len(coords))
    delta = coords[i] - coords[j]
    delta -= np.round(delta)
    vectors = (delta @ lattice)[:, None, :] + (images @ lattice)[None, :, :]
    squared = (vectors**2).sum(axis=-1)
    squared[squared < 1e-12] = np.where((i == j)[:, None], np.inf, 0.0)[np.nonzero(squared < 1e-12)[0], 0]
    return float(min(1.2, (np.sqrt(squared.min(axis=1)) / (radii[i] + radii[j])).min()))


def is_sound(crystals: SymmetricCrystals) -> Tensor:
    """Return (C,) bool: atoms far enough apart, and spglib finds the space group at SYMPREC."""
    atoms = crystals.to_crystals()
    sound = torch.as_tensor(distance_ratios(atoms) >= MIN_DISTANCE_RATIO)
    rows = sound.nonzero().squeeze(1)
    if len(rows):
        found = torch.tensor(find_space_groups(crystals.select(rows).to_crystals(), SYMPREC))
        sound[rows] = found == crystals.space_group[rows]
    return sound


def scaled_apart(crystals: SymmetricCrystals) -> SymmetricCrystals:
    """Return the crystals, cells stretched until atoms are just far enough apart, by a quarter at most."""
    ratios = torch.as_tensor(distance_ratios(crystals.to_crystals()), dtype=crystals.free_lattice.dtype)
    stretch = (1.01 * MIN_DISTANCE_RATIO / ratios.clamp(min=0.05)).clamp(1.0, _MAX_STRETCH)
    longer = torch.cat([stretch.log().unsqueeze(1).expand(-1, 3), torch.zeros(len(ratios), 3)], dim=1)
    return crystals.replace(free_lattice=crystals.free_lattice + longer * crystals.is_lattice_free)


def skeleton_keys(crystals: SymmetricCrystals) -> list[tuple]:
    """Return a key per crystal: space group, multiset of (multiplicity, site symmetry, element)."""
    sites: list[list[tuple]] = [[] for _ in range(crystals.n_crystals)]
    columns = zip(
        crystals.site_index.tolist(),
        crystals.multiplicity.tolist(),
        crystals.site_symmetry,
        crystals.species.tolist(),
        strict=True,
    )
    for crystal, multiplicity, symbol, element in columns:
        sites[crystal].append((multiplicity, "".join(sorted(symbol)), element))
    return [(g, *sorted(s)) for g, s in zip(crystals.space_group.tolist(), sites, strict=True)]


class SoundPool:
    """Sound crystals in the order they came, those with a new skeleton first.

    Args:
        n: crystals wanted.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._distinct: list[SymmetricCrystals] = []
        self._repeated: list[SymmetricCrystals] = []
        self._seen: set[tuple] = set()
        self.n_repeated = 0
        self.n_added_last = 0

    @property
    def n_distinct(self) -> int:
        """Skeletons so far."""
        return len(self._seen)

    @property
    def n_all(self) -> int:
        """Crystals so far, repeated skeletons included."""
        return self.n_distinct + self.n_repeated

    @property
    def is_full(self) -> bool:
        """True when there are enough distinct skeletons."""
        return self.n_distinct >= self._n

    def add(self, crystals: SymmetricCrystals) -> None:
        """Take in sound crystals."""
        before, fresh = self.n_distinct, []
        for key in skeleton_keys(crystals):
            fresh.append(key not in self._seen)
            self._seen.add(key)
        is_fresh = torch.tensor(fresh, dtype=torch.bool)
        self._distinct.append(crystals.select(is_fresh))
        self._repeated.append(crystals.select(~is_fresh))
        self.n_repeated += int((~is_fresh).sum())
        self.n_added_last = self.n_distinct - before

    def crystals(self) -> SymmetricCrystals:
        """Return n crystals; repeated skeletons fill up, and in the last resort the same crystals again."""
        every = SymmetricCrystals.concatenate([*self._distinct, *self._repeated])
        return every.select(torch.arange(self._n) % every.n_crystals)
