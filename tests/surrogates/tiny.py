"""A structure surrogate with random weights and a few crystals, for tests that need no trained weights."""

import torch
from pymatgen.core import Lattice, Structure

from surrogates.models.invariant import InvariantConfig, InvariantNetwork
from surrogates.models.trees import N_BINS, Trees
from surrogates.physics.properties import BULK_MODULUS, FORMATION_ENERGY, SHEAR_MODULUS
from surrogates.tiers.calibration import Calibration
from surrogates.tiers.domain import Domain
from surrogates.tiers.ensemble import MemberGroup, StructureSurrogate
from surrogates.tiers.stack import AccurateSurrogate, StackGroup

N_DESCRIPTORS = 268

LEVELS = tuple(float(q) for q in torch.linspace(0, 2.6, 33))


def tiny_surrogate(n_members: int = 2, dtype: torch.dtype = torch.float64) -> StructureSurrogate:
    """Return untrained members for K, G and one for the formation energy; Pu (Z = 94) is in no row."""
    groups = []
    for properties, n in (((BULK_MODULUS, SHEAR_MODULUS), n_members), ((FORMATION_ENERGY,), 1)):
        shape = InvariantConfig(
            n_outputs=len(properties), channels=12, n_blocks=2, messages=16, n_angular=4, hidden=16
        )
        networks = []
        for k in range(n):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(17 * k + len(properties))
                networks.append(InvariantNetwork(shape).to(dtype).eval().requires_grad_(False))
        one = torch.ones(len(properties))
        groups.append(
            MemberGroup(
                properties,
                tuple(networks),
                (one * 1.5,) * n,
                (one * 0.5,) * n,
                (Calibration(-1.0, 0.8, (0.1, -0.05), (-9.0, 9.0), LEVELS, 5.0),) * len(properties),
            )
        )
    n_rows = tuple(0 if z == 93 else 3 if z == 91 else 50 for z in range(103))
    correlation = torch.tensor([[1.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return StructureSurrogate(groups, Domain(n_rows, 10, (0.01, 2.0), 50.0), correlation, 2.0, "tiny")


def tiny_trees() -> Trees:
    """Return two trees on the first two descriptors: one of two nodes, one that is a single leaf."""
    edges = torch.full((N_DESCRIPTORS, N_BINS - 1), torch.inf)
    edges[:2, :2] = torch.tensor([[-0.5, 0.25], [0.0, 1.0]])
    left, right, leaf = (
        {"leaf_index": 0, "leaf_value": -0.02},
        {"leaf_index": 1, "leaf_value": 0.01},
        {"leaf_index": 2, "leaf_value": 0.03},
    )
    inner = {
        "split_feature": 1,
        "threshold": 1.5,
        "decision_type": "<=",
        "left_child": left,
        "right_child": right,
    }
    root = {
        "split_feature": 0,
        "threshold": 0.5,
        "decision_type": "<=",
        "left_child": inner,
        "right_child": leaf,
    }
    trees = [{"tree_structure": root}, {"tree_structure": {"leaf_value": 1.8}}]
    return Trees.from_dump(trees, edges)


def tiny_stack(dtype: torch.dtype = torch.float64, base_name: str = "structure") -> AccurateSurrogate:
    """Return the tiny surrogate stacked with another family of untrained networks and the tiny trees."""
    base, other = tiny_surrogate(2, dtype), tiny_surrogate(3, dtype)
    first, second = base.groups[0], other.groups[0]
    stack = StackGroup(
        properties=first.properties,
        families=(first, second),
        trees=(tiny_trees(), tiny_trees()),
        weights=torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.6, 0.0]]),
        offsets=torch.tensor([0.01, -0.02]),
        calibrations=first.calibrations,
    )
    return AccurateSurrogate(base, stack, torch.tensor([[1.0, 0.5], [0.5, 1.0]]), {}, base_name)


def crystals() -> list[Structure]:
    """Return rock salt, hexagonal WC, skewed perovskite-like and a low-symmetry crystal."""
    return [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.33), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        Structure(Lattice.hexagonal(2.92, 2.85), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]),
        Structure(Lattice.cubic(3.9), ["Sr", "Ti", "O", "O", "O"], PEROVSKITE),
        Structure(
            Lattice.from_parameters(3.1, 4.2, 5.3, 75, 98, 110),
            ["Fe", "B", "N"],
            [[0.02, 0.01, 0.03], [0.41, 0.55, 0.36], [0.77, 0.21, 0.68]],
        ),
    ]


PEROVSKITE = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
