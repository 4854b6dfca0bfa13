"""Graphs of labelled crystals, reduced to one site per symmetry orbit and cached on disk."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surrogates.crystals.batch import N_ELEMENTS, CrystalBatch, element_index
from surrogates.crystals.neighbors import periodic_edges
from surrogates.features.graph import cutoff_radius
from surrogates.platform.whole_files import replacing

GRAPH_REACH = 2.1
"""Reach of the cached edges; a little more than any network's, so that strain may bring edges in."""

CHUNK = 256
"""Crystals turned into graphs at once."""


@dataclass(frozen=True)
class GraphStore:
    """Reduced graphs of C crystals, flat.

    Attributes:
        element: (N,) long occupancy column of each site.
        weight: (N,) multiplicity of its orbit.
        site_start: (C + 1,) first site of each crystal.
        source: (E,) long, counted within the crystal.
        target: (E,) long, counted within the crystal.
        vector: (E, 3) Å.
        edge_start: (C + 1,) first edge of each crystal.
        volume_per_atom: (C,) Å³.
    """

    element: Tensor
    weight: Tensor
    site_start: Tensor
    source: Tensor
    target: Tensor
    vector: Tensor
    edge_start: Tensor
    volume_per_atom: Tensor

    @property
    def n_edges(self) -> Tensor:
        """(C,) edges of each crystal."""
        return self.edge_start[1:] - self.edge_start[:-1]

    def joined(self, other: "GraphStore") -> "GraphStore":
        """Return the graphs of both, this one's crystals first."""
        parts = {name: torch.cat([own, vars(other)[name]]) for name, own in vars(self).items()}
        for name in ("site_start", "edge_start"):
            own = vars(self)[name]
            parts[name] = torch.cat([own, own[-1] + vars(other)[name][1:]])
        return GraphStore(**parts)


def cached_graphs(
    rows: Sequence[Mapping[str, Any]], reach: float, folder: Path, symprec: float = 0.01
) -> GraphStore:
    """Return the reduced graphs of rows, read from `folder` when they were made before."""
    from safetensors.torch import load_file, save_file

    digest = hashlib.sha256(f"2|{reach}|{symprec}".encode())
    for row in rows:
        digest.update(f"{row['id']}|{row['formula']}|{row['lattice']}|{len(row['species'])}\n".encode())
    path = folder / f"graphs-{digest.hexdigest()[:16]}.safetensors"
    if path.is_file():
        return GraphStore(**load_file(str(path)))
    store = reduced_graphs(rows, reach, symprec)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as fresh:
        save_file(vars(store), str(fresh))
    return store


def reduced_graphs(rows: Sequence[Mapping[str, Any]], reach: float, symprec: float = 0.01) -> GraphStore:
    """Return graphs of rows (`lattice`, `species`, `frac_coords`) with one site per orbit found by spglib."""
    parts = [_reduce(rows[i : i + CHUNK], reach, symprec) for i in range(0, len(rows), CHUNK)]
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    n_sites, n_edges = joined.pop("n_sites"), joined.pop("n_edges")
    zero = torch.zeros(1, dtype=torch.long)
    return GraphStore(
        site_start=torch.cat([zero, n_sites.cumsum(0)]),
        edge_start=torch.cat([zero, n_edges.cumsum(0)]),
        **joined,
    )


def _reduce(rows: Sequence[Mapping[str, Any]], reach: float, symprec: float) -> dict[str, Tensor]:
    crystals, representative = _crystals(rows, symprec)
    volume = crystals.volume / crystals.n_atoms
    edges = periodic_edges(crystals, cutoff_radius(volume, reach))
    own = torch.arange(len(representative))
    is_site = representative == own
    new_index = is_site.long().cumsum(0) - 1
    n_sites = torch.bincount(crystals.crystal_index[is_site], minlength=len(rows))
    first = (n_sites.cumsum(0) - n_sites)[crystals.crystal_index]
    local = new_index[representative] - first
    kept = is_site[edges.source]
    source, target = edges.source[kept], edges.target[kept]
    return {
        "element": crystals.occupancy[is_site].argmax(dim=1).to(torch.uint8),
        "weight": torch.bincount(representative, minlength=len(own))[is_site].float(),
        "source": local[source].to(torch.int16),
        "target": local[target].to(torch.int16),
        "vector": edges.vector[kept].float(),
        "volume_per_atom": volume.float(),
        "n_sites": n_sites,
        "n_edges": torch.bincount(crystals.crystal_index[source], minlength=len(rows)),
    }


def _crystals(rows: Sequence[Mapping[str, Any]], symprec: float) -> tuple[CrystalBatch, Tensor]:
    """Return the batch in float64 and, for each atom, the first atom of its orbit."""
    numbers = [np.array([element_index(s) for s in row["species"]]) for row in rows]
    sizes = np.array([len(n) for n in numbers])
    starts = np.cumsum(sizes) - sizes
    orbits = [
        start + orbit_representatives(row["lattice"], row["frac_coords"], z, symprec)
        for row, z, start in zip(rows, numbers, starts, strict=True)
    ]
    element = torch.as_tensor(np.concatenate(numbers))
    crystals = CrystalBatch(
        lattice=torch.tensor(np.array([row["lattice"] for row in rows]), dtype=torch.float64),
        frac_coords=torch.tensor(np.concatenate([row["frac_coords"] for row in rows]), dtype=torch.float64),
        occupancy=torch.nn.functional.one_hot(element, N_ELEMENTS).double(),
        crystal_index=torch.as_tensor(np.repeat(np.arange(len(rows)), sizes)),
        scale=torch.zeros(len(rows), dtype=torch.long),
    )
    return crystals, torch.as_tensor(np.concatenate(orbits))


def orbit_representatives(lattice: Any, frac_coords: Any, numbers: np.ndarray, symprec: float) -> np.ndarray:
    """Return (A,) the first atom of each atom's orbit; each atom its own where spglib finds no symmetry."""
    import spglib

    cell: Any = (np.asarray(lattice), np.asarray(frac_coords), numbers + 1)
    try:
        found = spglib.get_symmetry_dataset(cell, symprec=symprec)
    except Exception:
        found = None
    if found is None:
        return np.arange(len(numbers))
    return np.asarray(found.equivalent_atoms)


def ragged_rows(start: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of some ragged rows in turn, and how many each has."""
    count = start[which + 1] - start[which]
    offset = torch.repeat_interleave(start[which] - (count.cumsum(0) - count), count)
    return torch.arange(int(count.sum())) + offset, count
