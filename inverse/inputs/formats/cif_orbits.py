"""The atoms that sites of a CIF stand for: images under the operations, on special positions if rounded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.inputs.formats.cells import FULL, MAX_ATOMS
from inverse.inputs.formats.cif_sites import Site
from inverse.inputs.formats.contacts import SAME_PLACE
from inverse.inputs.formats.space_groups import Setting
from surrogates.errors import StructureError

ROUNDING_AT_MOST = 0.35
"""Å; further apart, no rounding of coordinates is what parts two images of a site."""

MOST_TURNS = 5
"""Averages over images that rounding parts: over a group one suffices, over a mere look-alike none does."""


@dataclass(frozen=True, eq=False)
class CifOrbit:
    """The atoms that one site, or several on one place, stand for.

    Attributes:
        sites: rows of the table.
        images: (N, 3) fractional.
        shift: Å by which rounded coordinates were moved.
    """

    sites: tuple[Site, ...]
    images: np.ndarray
    shift: float


def expand(sites: Sequence[Site], chosen: Setting, matrix: np.ndarray) -> tuple[CifOrbit, ...]:
    """Return the atoms that the sites stand for; sites on one place become one orbit.

    Raises:
        StructureError: images of a site that are neither one atom nor several, too many atoms, more than one
            atom on a place.
    """
    orbits: list[CifOrbit] = []
    total = 0
    for site in sites:
        orbit = _orbit(site, chosen, matrix)
        total += len(orbit.images)
        if total > 2 * MAX_ATOMS:
            raise StructureError(f"more than {MAX_ATOMS} atoms in the cell")
        orbits.append(orbit)
    return tuple(_joined(orbits, matrix))


def _orbit(site: Site, chosen: Setting, matrix: np.ndarray) -> CifOrbit:
    """Return the images of one site, on the special position that its digits allow."""
    rotations, translations = chosen.rotations, chosen.translations
    coords = site.coords
    stabiliser = None
    for _ in range(MOST_TURNS):
        step = rotations @ coords + translations - coords
        shift = np.rint(step)
        rest = step - shift
        distance = np.linalg.norm(rest @ matrix, axis=1)
        bound = np.abs(rotations - np.eye(3)) @ site.error + 1e-6
        is_rounding = (np.abs(rest) <= bound).all(axis=1) & (distance <= ROUNDING_AT_MOST)
        fixes = is_rounding | (distance <= SAME_PLACE)
        if stabiliser is not None and (fixes == stabiliser).all() and distance[fixes].max() < 1e-4:
            break
        stabiliser = fixes
        coords = coords + rest[fixes].mean(axis=0)
    else:
        raise StructureError(
            f"site {site.label!r}: some of its images are {distance[fixes].max():.2g} Å apart, "
            "neither one atom nor several"
        )
    n_images, left = divmod(len(rotations), int(stabiliser.sum()))
    images = _distinct(np.mod(rotations @ coords + translations, 1.0), matrix)
    if left or len(images) != n_images:
        raise StructureError(f"site {site.label!r}: its images do not make an orbit of the group")
    moved = float(np.linalg.norm((coords - site.coords) @ matrix))
    return CifOrbit((site,), images, moved)


def _distinct(images: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the images that are not one another's up to a lattice translation, first come first."""
    kept: list[np.ndarray] = []
    for image in images:
        if kept:
            rest = np.array(kept) - image
            rest -= np.rint(rest)
            if np.linalg.norm(rest @ matrix, axis=1).min() < 1e-3:
                continue
        kept.append(image)
    return np.array(kept)


def _joined(orbits: Sequence[CifOrbit], matrix: np.ndarray) -> Iterator[CifOrbit]:
    """Yield the orbits; those of sites on one place as one."""
    starts = np.array([orbit.images[0] for orbit in orbits])
    errors = np.array([orbit.sites[0].error for orbit in orbits])
    taken: set[int] = set()
    for k, orbit in enumerate(orbits):
        if k in taken:
            continue
        members = [k]
        later = np.array([j for j in range(k + 1, len(orbits)) if j not in taken], dtype=int)
        for image in orbit.images if later.size else ():
            rest = starts[later] - image
            rest -= np.rint(rest)
            distance = np.linalg.norm(rest @ matrix, axis=1)
            is_rounding = (np.abs(rest) <= errors[later] + errors[k]).all(axis=1)
            near = (distance <= SAME_PLACE) | (is_rounding & (distance <= ROUNDING_AT_MOST))
            members.extend(int(j) for j in later[near])
            later = later[~near]
        taken.update(members)
        if len(members) == 1:
            yield orbit
            continue
        sites = tuple(site for j in members for site in orbits[j].sites)
        yield replace(orbit, sites=sites, shift=max(orbits[j].shift for j in members))


def amounts(orbit: CifOrbit) -> dict[str, float]:
    """Return element -> occupancy of one atom of the orbit, 1 within the tolerance.

    Raises:
        StructureError: more than one atom on the place.
    """
    elements = {site.element for site in orbit.sites}
    if len(elements) == 1 and all(site.occupancy == 1 for site in orbit.sites):
        return {orbit.sites[0].element: 1.0}
    found: dict[str, float] = {}
    for site in orbit.sites:
        found[site.element] = found.get(site.element, 0.0) + site.occupancy
    total = sum(found.values())
    if total > 1 + FULL + 1e-9:
        names = " and ".join(site.label for site in orbit.sites)
        raise StructureError(f"sites {names} stand on one place with {total:.4g} atoms in all")
    if total >= 1 - FULL - 1e-9:
        found = {element: amount / total for element, amount in found.items()}
    return found


def structure_of(orbits: Sequence[CifOrbit], matrix: np.ndarray) -> Structure:
    """Return the crystal of orbits; each atom is labelled by its sites.

    Raises:
        StructureError: too many atoms.
    """
    species, coords, labels = [], [], []
    for orbit in orbits:
        kind = amounts(orbit)
        label = "/".join(site.label for site in orbit.sites)
        for image in orbit.images:
            species.append(kind)
            coords.append(image)
            labels.append(label)
    if len(species) > MAX_ATOMS:
        raise StructureError(f"{len(species)} atoms in the cell; at most {MAX_ATOMS}")
    return Structure(Lattice(matrix), species, np.array(coords), labels=labels)
