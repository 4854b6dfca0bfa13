"""Share of the mass of a compound that elements of the group `toxic` make up."""

from surrogates.physics.element_groups import element_groups
from surrogates.physics.mass import mass_weighted
from surrogates.physics.properties.record import Basis, Digits, OfComposition, Property, register

TOXIC_FRACTION = register(
    Property(
        "toxic_fraction",
        "w_toxic",
        "",
        0.0,
        1.0,
        "group `toxic`: As Be Cd Pb (IARC 2006, 2012), Hg Tl (40 CFR 423)",
        label="mass fraction of toxic elements",
        short="toxic",
        digits=Digits(decimals=3),
        typical=0.1,
        basis=Basis.OF_COMPOSITION,
        formula=OfComposition(mass_weighted(dict.fromkeys(element_groups()["toxic"], 1.0)), is_mean=True),
        also_called=("w_toxic", "toxic", "toxicity"),
    )
)
