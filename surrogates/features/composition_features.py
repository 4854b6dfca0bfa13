"""Composition statistics made from elemental properties; differentiable in the fractions."""

from dataclasses import dataclass

import torch
from torch import Tensor

N_EXTRA = 6
"""Statistics beside the four of each elemental property."""

PRESENCE = 0.1
"""Atomic fraction at which an element counts as half present in soft extremes."""

SHARPNESS = 2.0
"""Inverse temperature of the soft extremes, in units of the standardised elemental property."""

KINK = 0.02
"""Below this deviation (standardised) the absolute value is rounded off."""


@dataclass(frozen=True)
class ElementNodes:
    """The elements of each composition, flat.

    Attributes:
        composition: (N,) long, index of the composition.
        element: (N,) long, column of the element.
        fraction: (N,) atomic fraction; carries the gradient.
        n_compositions: C.
    """

    composition: Tensor
    element: Tensor
    fraction: Tensor
    n_compositions: int

    @classmethod
    def from_fractions(cls, fractions: Tensor) -> "ElementNodes":
        """Return the nodes of (C, Z) fractions.

        Absent elements are left out unless gradients are asked for: they add nothing to any value,
        but the derivative with respect to their fraction is not zero.
        """
        mask = torch.ones_like(fractions, dtype=torch.bool) if fractions.requires_grad else fractions > 0
        composition, element = mask.nonzero(as_tuple=True)
        return cls(composition, element, fractions[composition, element], fractions.shape[0])

    def total(self, values: Tensor) -> Tensor:
        """Return (C, D) sums of (N, D) node values over each composition."""
        return values.new_zeros(self.n_compositions, values.shape[1]).index_add(0, self.composition, values)


def statistics(nodes: ElementNodes, table: Tensor) -> Tensor:
    """Return (C, 4 F + 6) statistics of elemental properties.

    Mean, mean absolute deviation, soft maximum and soft minimum of each of the F properties; pairwise
    terms of electronegativity and radius differences; power sums of the fractions and the soft number
    of elements. Differentiable in the fractions, also at zero.

    Args:
        nodes: N elements of C compositions.
        table: (Z, F) standardised elemental properties; column 0 electronegativity, 3 covalent radius.
    """
    values = table[nodes.element]
    x = nodes.fraction.unsqueeze(1)
    mean = nodes.total(x * values)
    centred = values - mean[nodes.composition]
    # |c|, but smooth at 0: elements that share a property would put a kink at every such composition
    deviation = nodes.total(x * centred**2 / torch.sqrt(centred**2 + KINK**2))
    presence = x / (x + PRESENCE)
    extremes = []
    for sign in (1.0, -1.0):
        weight = presence * torch.exp(sign * SHARPNESS * values)
        extremes.append(nodes.total(weight * values) / nodes.total(weight).clamp(min=1e-12))
    # sum_ij x_i x_j (p_i - p_j)^2 = 2 var(p); the ionicity term saturates as Pauling's does
    variance = nodes.total(x * centred[:, [0, 3]] ** 2)
    ionicity = nodes.total(x * (1 - torch.exp(-(centred[:, :1] ** 2))))
    shape = torch.cat([nodes.total(x**2), nodes.total(x**3), nodes.total(presence)], dim=1)
    return torch.cat([mean, deviation, *extremes, variance, ionicity, shape], dim=1)
