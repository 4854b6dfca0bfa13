"""How concentrated the world's reserves of a compound's elements are, weighed by mass."""

from surrogates.physics.mass import mass_weighted
from surrogates.physics.properties.element_table import element_table
from surrogates.physics.properties.record import Basis, Digits, OfComposition, Property, register

_RESERVES = element_table("supply_risk")

SUPPLY_RISK = register(
    Property(
        "supply_risk",
        "HHI_R",
        _RESERVES.unit,
        0.0,
        10_000.0,
        _RESERVES.source,
        True,
        label="supply risk (HHI of reserves)",
        short="HHI",
        digits=Digits(whole_from=100.0),
        typical=2000.0,
        basis=Basis.OF_COMPOSITION,
        formula=OfComposition(
            mass_weighted(_RESERVES.values), frozenset(_RESERVES.values), "reserve index", is_mean=True
        ),
        also_called=("hhi", "hhi_r", "hhi_reserve"),
    )
)
"""Herfindahl-Hirschman index: the sum of squared shares of countries in percent, 10,000 when one has all."""
