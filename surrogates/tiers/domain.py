"""Where a structure surrogate may be trusted: elements, densities and bond lengths like those of training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surrogates.checkpoints.strict_records import strict_record
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.errors import CheckpointError, UnsupportedElementError
from surrogates.features.basis import BOND_CENTRES, REDUCED_CENTRES
from surrogates.features.elements import element_property
from surrogates.features.graph import CrystalGraph


@dataclass(frozen=True)
class Domain:
    """What the training set covered.

    Attributes:
        n_rows: (Z,) training rows that hold each element; 0 is refused.
        few_rows: elements with fewer rows are out of domain.
        packing: lowest and highest ratio of summed cubed covalent radii to volume.
        crowding: largest sum of short-bond features a site may have.
    """

    n_rows: tuple[int, ...]
    few_rows: int
    packing: tuple[float, float]
    crowding: float

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Domain":
        """Return the domain of a record.

        Raises:
            CheckpointError: a record that is none.
        """
        domain = strict_record(cls, record, "domain")
        if len(domain.n_rows) != len(ELEMENT_SYMBOLS):
            raise CheckpointError(f"domain.n_rows: {len(domain.n_rows)} numbers, not {len(ELEMENT_SYMBOLS)}")
        return domain

    @property
    def elements(self) -> frozenset[str]:
        """Symbols of the elements that some training row holds."""
        return frozenset(s for s, n in zip(ELEMENT_SYMBOLS, self.n_rows, strict=True) if n > 0)

    def check(self, occupancy: Tensor) -> None:
        """Raise UnsupportedElementError when an element was in no training row."""
        known = torch.tensor(self.n_rows, device=occupancy.device) > 0
        missing = (occupancy.detach().amax(dim=0) > 1e-3) & ~known if len(occupancy) else ~known & False
        if bool(missing.any()):
            names = [ELEMENT_SYMBOLS[z] for z in missing.nonzero().flatten().tolist()]
            raise UnsupportedElementError(
                f"the structure surrogate was not trained on {', '.join(names)}; "
                f"it knows {int(known.sum())} elements, see `inverse doctor`"
            )

    def covers(self, graph: CrystalGraph) -> Tensor:
        """Return (C,) bool: elements, density and shortest bonds like those of training."""
        rare = torch.tensor(self.n_rows, device=graph.occupancy.device) < self.few_rows
        is_rare = (graph.occupancy.detach()[:, rare] > 1e-2).any(dim=1)
        bad = torch.zeros(graph.n_crystals, device=graph.occupancy.device)
        bad = bad.index_add(0, graph.crystal_index, is_rare.float())
        low, high = self.packing
        packing, crowding = density_measures(graph)
        return (bad == 0) & (packing >= low) & (packing <= high) & (crowding <= self.crowding)


def density_measures(graph: CrystalGraph) -> tuple[Tensor, Tensor]:
    """Return packing (C,) and the largest short-bond feature of any site (C,), without gradients."""
    with torch.no_grad():
        radius = element_property("covalent_radius").to(graph.occupancy)
        packing = graph.mean(graph.occupancy @ radius.pow(3).unsqueeze(1)).squeeze(1) / graph.volume_per_atom
        first = len(REDUCED_CENTRES)
        short = graph.radial[:, first : first + sum(c < 0.75 for c in BOND_CENTRES)].sum(dim=1)
        site = short.new_zeros(graph.occupancy.shape[0]).index_add(0, graph.source, short)
        crowding = short.new_zeros(graph.n_crystals)
        return packing, crowding.scatter_reduce(0, graph.crystal_index, site, "amax")
