"""Density and volume per atom: what the cell says by itself."""

from typing import Any

from surrogates.physics.mass import density_of
from surrogates.physics.properties.record import Basis, Crystals, OfCell, Property, register


def volume_of(crystals: Crystals) -> Any:
    """Return the (C,) volume per atom of crystals as they are, Å³; differentiable."""
    return crystals.volume / crystals.n_atoms.to(crystals.volume.dtype)


def density_of_crystals(crystals: Crystals) -> Any:
    """Return the (C,) density of crystals as they are, g/cm³; differentiable."""
    return density_of(crystals.composition, volume_of(crystals))


DENSITY = register(
    Property(
        "density",
        "rho",
        "g/cm³",
        0.01,
        40.0,
        "MP PBE",
        True,
        short="ρ",
        typical=6.0,
        basis=Basis.OF_CELL,
        formula=OfCell(density_of_crystals),
        also_called=("rho",),
    )
)
VOLUME = register(
    Property(
        "volume_per_atom",
        "V",
        "Å³/atom",
        1.0,
        200.0,
        "MP PBE",
        True,
        label="volume per atom",
        short="V",
        typical=18.0,
        basis=Basis.OF_CELL,
        formula=OfCell(volume_of),
        also_called=("v", "volume"),
    )
)
