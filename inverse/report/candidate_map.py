"""A map of candidates: their chemistry and density in a plane, alike ones near each other, in clusters."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec

import numpy as np
from pymatgen.core import Element, Structure

from surrogates.errors import MissingExtraError

DESCRIPTORS = (
    "mean electronegativity",
    "spread of electronegativity",
    "mean covalent radius",
    "spread of covalent radius",
    "mean period",
    "mean group",
    "spread of group",
    "number of elements",
    "volume per atom",
)
"""What places a crystal on the map; each counts the same."""

PER_CLUSTER, MOST_CLUSTERS = 12, 6
"""Candidates that a cluster has on average, and clusters at most."""


class Clusters(StrEnum):
    """How candidates are put together."""

    K_MEANS = "k-means"
    HIERARCHICAL = "hierarchical"
    NONE = "none"


@dataclass(frozen=True)
class CandidateMap:
    """Where crystals lie.

    Attributes:
        places: (C, 2) coordinates on the two principal components of the standardised descriptors.
        shares: of the variance, of both.
        axes: the two descriptors that weigh most in each.
        clusters: (C,) number of the cluster, from 0; all 0 without any.
        n_clusters: how many; 0 where nobody was asked.
    """

    places: np.ndarray
    shares: tuple[float, float]
    axes: tuple[str, str]
    clusters: np.ndarray
    n_clusters: int


def map_of(structures: Sequence[Structure], clusters: Clusters | None = None) -> CandidateMap:
    """Return where crystals lie; signs are such that the heaviest descriptor of an axis rises along it.

    Args:
        structures: three or more, ordered.
        clusters: None takes k-means where scikit-learn is installed, and none elsewhere.

    Raises:
        MissingExtraError: clusters were asked for, and scikit-learn is not installed.
    """
    values = np.array([_descriptors(structure) for structure in structures])
    spread = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)
    _, singular, components = np.linalg.svd(scaled, full_matrices=False)
    heaviest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(len(components)), heaviest])
    components = (components * signs[:, None])[:2]
    shares = singular[:2] ** 2 / max(float((singular**2).sum()), 1e-12)
    found, n = _clusters(scaled, clusters)
    return CandidateMap(
        scaled @ components.T,
        (float(shares[0]), float(shares[1])),
        (_heaviest(components[0]), _heaviest(components[1])),
        found,
        n,
    )


def _descriptors(structure: Structure) -> list[float]:
    from ase.data import atomic_numbers, covalent_radii

    amounts = structure.composition.fractional_composition.get_el_amt_dict()
    elements, weights = [Element(symbol) for symbol in amounts], np.array(list(amounts.values()))
    attraction = np.array([_electronegativity(e) for e in elements])
    radius = np.array([covalent_radii[atomic_numbers[e.symbol]] for e in elements])
    group = np.array([float(e.group) for e in elements])
    period = np.array([float(e.row) for e in elements])
    return [
        *_mean_and_spread(attraction, weights),
        *_mean_and_spread(radius, weights),
        float(weights @ period),
        *_mean_and_spread(group, weights),
        float(len(elements)),
        structure.volume / len(structure),
    ]


def _electronegativity(element: Element) -> float:
    """Return Pauling's value; 0 for those that have none, of which pymatgen warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(element.X)
    return 0.0 if math.isnan(value) else value


def _mean_and_spread(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    mean = float(weights @ values)
    return mean, float(np.sqrt(weights @ (values - mean) ** 2))


def _heaviest(component: np.ndarray) -> str:
    first, second = np.argsort(-np.abs(component))[:2]
    return f"{DESCRIPTORS[first]}, {DESCRIPTORS[second]}"


def _clusters(scaled: np.ndarray, clusters: Clusters | None) -> tuple[np.ndarray, int]:
    is_there = find_spec("sklearn") is not None
    if clusters is None:
        clusters = Clusters.K_MEANS if is_there else Clusters.NONE
    n = min(MOST_CLUSTERS, len(scaled) // PER_CLUSTER)
    if clusters is Clusters.NONE or n < 2:
        return np.zeros(len(scaled), dtype=int), 0
    if not is_there:
        raise MissingExtraError(
            f'{clusters} clusters need scikit-learn; pip install "inverse-crystals[notebook]"'
        )
    from sklearn.cluster import AgglomerativeClustering, KMeans

    if clusters is Clusters.K_MEANS:
        return KMeans(n, n_init=4, random_state=0).fit_predict(scaled), n
    return AgglomerativeClustering(n).fit_predict(scaled), n


def outline(places: np.ndarray) -> np.ndarray:
    """Return the corners of the convex hull of points in a plane, closed; (0, 2) of fewer than three.

    Args:
        places: (N, 2).
    """
    from scipy.spatial import ConvexHull, QhullError

    if len(places) < 3:
        return np.empty((0, 2))
    try:
        corners = ConvexHull(places).vertices
    except QhullError:  # all on one line
        return np.empty((0, 2))
    return places[[*corners, corners[0]]]
