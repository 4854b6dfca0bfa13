"""What the elements of a compound cost: the mean of their prices, weighed by mass."""

from surrogates.physics.mass import mass_weighted
from surrogates.physics.properties.element_table import element_table
from surrogates.physics.properties.record import Basis, Digits, OfComposition, Property, register

_PRICES = element_table("elemental_cost")

ELEMENTAL_COST = register(
    Property(
        "elemental_cost",
        "cost",
        _PRICES.unit,
        0.0,
        1e15,
        _PRICES.source,
        True,
        label="cost of the elements",
        digits=Digits(whole_from=100.0),
        typical=10.0,
        basis=Basis.OF_COMPOSITION,
        formula=OfComposition(
            mass_weighted(_PRICES.values), frozenset(_PRICES.values), "price", is_mean=True
        ),
        short="cost",
        also_called=("cost", "price", "price_per_kg"),
    )
)
