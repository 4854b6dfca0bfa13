"""Bulk and shear modulus, and what follows from them."""

from surrogates.physics.isotropic import chen_hardness, poisson_ratio, pugh_ratio, young_modulus
from surrogates.physics.properties.record import Basis, Digits, Judged, OfProperties, Property, register

MODULUS_DIGITS = Digits(decimals=1, whole_from=20.0)

MOST_SHEAR = 6.0
"""G/K at a Poisson ratio of -0.5, beyond the most auxetic crystal known (cristobalite, G/K below 3)."""

BULK_MODULUS = register(
    Property(
        "bulk_modulus_vrh",
        "K_VRH",
        "GPa",
        0.0,
        1000.0,
        "MP PBE, Voigt-Reuss-Hill",
        True,
        label="bulk modulus K",
        short="K",
        digits=MODULUS_DIGITS,
        typical=100.0,
        basis=Basis.LEARNED,
        judged=Judged.TENSOR,
        also_called=("k", "b", "k_vrh", "b0", "bulk"),
    )
)
SHEAR_MODULUS = register(
    Property(
        "shear_modulus_vrh",
        "G_VRH",
        "GPa",
        0.0,
        1000.0,
        "MP PBE, Voigt-Reuss-Hill",
        True,
        label="shear modulus G",
        short="G",
        digits=MODULUS_DIGITS,
        typical=50.0,
        basis=Basis.LEARNED,
        judged=Judged.TENSOR,
        also_called=("g", "g_vrh", "mu", "shear"),
    )
)

MODULI = (BULK_MODULUS, SHEAR_MODULUS)

YOUNG_MODULUS = register(
    Property(
        "young_modulus_vrh",
        "E_VRH",
        "GPa",
        0.0,
        2500.0,
        "MP PBE, Voigt-Reuss-Hill",
        True,
        label="Young's modulus E",
        short="E",
        digits=MODULUS_DIGITS,
        typical=130.0,
        basis=Basis.OF_PROPERTIES,
        formula=OfProperties(MODULI, young_modulus, rises=(True, True)),
        also_called=("e", "e_vrh", "youngs_modulus"),
    )
)
POISSON_RATIO = register(
    Property(
        "poisson_ratio",
        "nu",
        "",
        -1.0,
        0.5,
        "MP PBE, Voigt-Reuss-Hill",
        label="Poisson's ratio",
        short="ν",
        typical=0.1,
        basis=Basis.OF_PROPERTIES,
        formula=OfProperties(MODULI, poisson_ratio, rises=(True, False)),
        also_called=("nu", "poisson"),
    )
)
PUGH_RATIO = register(
    Property(
        "pugh_ratio",
        "G/K",
        "",
        0.0,
        2.0,
        "MP PBE, Voigt-Reuss-Hill",
        True,
        label="Pugh's ratio G/K",
        short="G/K",
        typical=0.5,
        basis=Basis.OF_PROPERTIES,
        formula=OfProperties(MODULI, pugh_ratio, rises=(False, True), seen=(0.0, MOST_SHEAR)),
        also_called=("g/k", "pugh"),
    )
)
HARDNESS = register(
    Property(
        "vickers_hardness_chen",
        "H_V",
        "GPa",
        0.0,
        200.0,
        "Chen, Niu, Li, Li (2011) from MP PBE K, G",
        label="Vickers hardness (Chen)",
        short="H",
        digits=MODULUS_DIGITS,
        typical=8.0,
        basis=Basis.OF_PROPERTIES,
        formula=OfProperties(MODULI, chen_hardness, rises=(False, True)),
        also_called=("h", "hv", "h_v", "hardness"),
    )
)
