"""Density of compositions, and means of elemental values weighed by mass; differentiable, torch-free."""

from collections.abc import Callable, Mapping
from typing import Any

from surrogates.physics.periodic_table import ATOMIC_MASSES, ELEMENT_SYMBOLS
from surrogates.physics.units import G_PER_CM3_PER_AMU_PER_A3


def mass_per_atom(fractions: Any) -> Any:
    """Return the (C,) mean atomic mass, amu, of (C, Z) atomic fractions."""
    return fractions @ fractions.new_tensor(ATOMIC_MASSES)


def density(mass: Any, volume: Any) -> Any:
    """Return the density, g/cm³, of a mass, amu, in a volume, Å³."""
    return mass / volume * G_PER_CM3_PER_AMU_PER_A3


def density_of(fractions: Any, volume_per_atom: Any) -> Any:
    """Return the (C,) density, g/cm³, of (C, Z) atomic fractions at (C,) volumes per atom, Å³."""
    return density(mass_per_atom(fractions), volume_per_atom)


def mass_weighted(values: Mapping[str, float]) -> Callable[[Any], Any]:
    """Return the function (C, Z) atomic fractions -> (C,) mean of elemental values, weighed by mass.

    Args:
        values: by element symbol; an element without one counts 0 and has its mass.
    """
    row = tuple(m * values.get(s, 0.0) for s, m in zip(ELEMENT_SYMBOLS, ATOMIC_MASSES, strict=True))

    def mean(fractions: Any) -> Any:
        return fractions @ fractions.new_tensor(row) / mass_per_atom(fractions)

    return mean
