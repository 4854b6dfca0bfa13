"""DFT rows: those that surrogates are measured on, and those of the judges (stiff ones and 250 others)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from surrogates.datasets.crystal_values import TargetConfig, value_rows
from surrogates.datasets.elasticity import TARGETS, ids_digest, scored_rows
from surrogates.datasets.shared import crystal_rows
from surrogates.physics.properties import Property

SOURCES = ("mp_matcalc_binary", "mp_matbench_match", "aflow_ael")
SEED = 20261123
MAX_ATOMS = 12
STIFF = 250.0
N_OTHERS = 250

ODD_RATIO = (0.1, 1.2)
"""G/K of nearly every crystal of these sources: outside, the calculation mostly failed."""

CONTRADICTED_BULK, CONTRADICTED_SHEAR = 1.2, 1.4
"""Factors between two DFT values of one crystal beyond which one of them is wrong, or of another state."""


@dataclass(frozen=True)
class ScoredRows:
    """The R rows that errors of surrogates are reported on.

    Attributes:
        digest: of their ids in order.
        ids: (R,).
        formulas: (R,) reduced.
        sources: (R,).
        n_elements: (R,).
        truth: (R,) by property, GPa; NaN where unknown.
    """

    digest: str
    ids: np.ndarray
    formulas: np.ndarray
    sources: np.ndarray
    n_elements: np.ndarray
    truth: Mapping[Property, np.ndarray]

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "ScoredRows":
        """Return what is asked of rows of the shared file."""
        ids = [row["id"] for row in rows]
        return cls(
            ids_digest(ids),
            np.array(ids),
            np.array([row["formula"] for row in rows]),
            np.array([row["source"] for row in rows]),
            np.array([len(set(row["species"])) for row in rows]),
            {p: np.array([row[p.name] or np.nan for row in rows], dtype=float) for p in TARGETS},
        )


def rows_of_surrogates() -> ScoredRows:
    """Return the scored rows of the shared file.

    Raises:
        DataError: the shared structures are absent.
    """
    return ScoredRows.from_rows(scored_rows())


def rows_of_target(target: Mapping[str, Any]) -> ScoredRows:
    """Return the rows that say the property a surrogate was trained on, by the target in its record.

    Raises:
        DataError: the shared structures are absent.
    """
    config = TargetConfig(**target)
    rows = value_rows(config)
    return ScoredRows(
        ids_digest(row["id"] for row in rows),
        np.array([row["id"] for row in rows]),
        np.array([row["formula"] for row in rows]),
        np.array([row["source"] for row in rows]),
        np.array([len(set(row["species"])) for row in rows]),
        {config.learned: np.array([config.value(row) for row in rows])},
    )


def is_usable(row: dict[str, Any]) -> bool:
    """Return whether a row may be compared: full VRH moduli on the PBE scale, no failed calculation."""
    bulk, shear = row.get("bulk_modulus_vrh"), row.get("shear_modulus_vrh")
    if row["source"] not in SOURCES or bulk is None or shear is None:
        return False
    return bulk >= 5 and shear >= 1 and shear / bulk < 1.3 and len(row["species"]) <= MAX_ATOMS


def calibration_rows() -> list[dict[str, Any]]:
    """Return every usable row with K > 250 GPa and 250 others (one a formula), in a fixed order, well mixed.

    The first row of each (formula, space group) comes before any repetition of it by another source.

    Raises:
        DataError: the shared structures are absent.
    """
    rows = [row for row in crystal_rows("elasticity") if is_usable(row)]
    order = np.random.default_rng(SEED).permutation(len(rows))
    stiff = [rows[i] for i in order if rows[i]["bulk_modulus_vrh"] > STIFF]
    taken = {row["formula"] for row in stiff}
    others: list[dict[str, Any]] = []
    for i in order:
        if rows[i]["formula"] not in taken and len(others) < N_OTHERS:
            taken.add(rows[i]["formula"])
            others.append(rows[i])
    places = np.concatenate([np.arange(len(part)) / len(part) for part in (stiff, others)], axis=0)
    mixed = [(stiff + others)[i] for i in np.argsort(places, kind="stable")]
    seen: set[tuple[str, Any]] = set()
    repeated = []
    for row in mixed:
        key = (row["formula"], row["space_group"])
        repeated.append(key in seen)
        seen.add(key)
    return [mixed[i] for i in np.argsort(repeated, kind="stable")]


def shaken(structure: Structure, volume_change: float, shift: float, rng: np.random.Generator) -> Structure:
    """Return a crystal of another volume, every atom moved by `shift` Å in a random direction of its own.

    Drawn from `rng`, as the cells of record were; `Structure.perturb` takes a seed in recent pymatgen only.
    """
    changed = structure.copy()
    changed.scale_lattice(structure.volume * (1 + volume_change))
    directions = rng.normal(size=(len(changed), 3))
    shifts = shift * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    coords = changed.cart_coords + shifts
    return Structure(changed.lattice, changed.species, coords, coords_are_cartesian=True)


def structure_of(row: dict[str, Any]) -> Structure:
    """Return the DFT structure of a row."""
    return Structure(Lattice(row["lattice"]), row["species"], row["frac_coords"])


def doubtful_labels() -> frozenset[str]:
    """Return the ids of rows whose K or G is doubtful by DFT alone; looks at no judge.

    Another calculation of the same formula and space group in the shared file (equation-of-state fits marked
    good included) differs by more than a factor of 1.2 in K or 1.4 in G, or G/K is outside 0.1 to 1.2.

    Raises:
        DataError: the shared structures are absent.
    """
    groups: dict[tuple[str, Any], list[dict[str, Any]]] = {}
    for row in crystal_rows("elasticity"):
        groups.setdefault((row["formula"], row["space_group"]), []).append(row)
    found = set()
    for members in groups.values():
        for row in members:
            doubtful = _is_odd(row) or any(_contradicts(other, row) for other in members)
            if row["source"] in SOURCES and doubtful:
                found.add(row["id"])
    return frozenset(found)


def _is_odd(row: dict[str, Any]) -> bool:
    bulk, shear = row.get("bulk_modulus_vrh"), row.get("shear_modulus_vrh")
    return bool(bulk and shear and not ODD_RATIO[0] <= shear / bulk <= ODD_RATIO[1])


def _contradicts(other: dict[str, Any], row: dict[str, Any]) -> bool:
    bulk = other.get("bulk_modulus_vrh")
    if bulk is None and str(other.get("label")).endswith("good"):
        bulk = other.get("bulk_modulus_eos")
    pairs = (
        (bulk, row.get("bulk_modulus_vrh"), CONTRADICTED_BULK),
        (other.get("shear_modulus_vrh"), row.get("shear_modulus_vrh"), CONTRADICTED_SHEAR),
    )
    return any(a and b and max(a / b, b / a) > factor for a, b, factor in pairs)
