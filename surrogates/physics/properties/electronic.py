"""Formation energy, energy above hull, band gap."""

from surrogates.physics.properties.record import Basis, Digits, Judged, Property, register

ENERGY_DIGITS = Digits(decimals=3)

FORMATION_ENERGY = register(
    Property(
        "formation_energy_per_atom",
        "E_f",
        "eV/atom",
        -10.0,
        10.0,
        "MP PBE/PBE+U, corrected",
        label="formation energy",
        short="E_form",
        digits=ENERGY_DIGITS,
        typical=0.5,
        basis=Basis.LEARNED,
        judged=Judged.ENERGY,
        also_called=("e_f", "e_form", "formation_energy"),
    )
)
ENERGY_ABOVE_HULL = register(
    Property(
        "energy_above_hull",
        "E_hull",
        "eV/atom",
        -1.0,
        10.0,
        "MP PBE/PBE+U, corrected",
        label="energy above hull",
        short="E_hull",
        digits=ENERGY_DIGITS,
        typical=0.1,
        basis=Basis.HULL,
        judged=Judged.ENERGY,
        also_called=("e_hull", "ehull", "e_above_hull", "stability"),
    )
)
BAND_GAP = register(
    Property(
        "band_gap",
        "E_g",
        "eV",
        0.0,
        25.0,
        "MP PBE/PBE+U, Kohn-Sham gap",
        label="band gap (PBE)",
        short="E_gap",
        digits=Digits(decimals=2),
        typical=1.0,
        basis=Basis.LEARNED,
        also_called=("e_g", "eg", "gap", "bandgap"),
    )
)
