"""The one unit system: Å, eV, eV/atom, GPa, g/cm³, atomic mass units.

Values in foreign units carry the unit in their name until they pass through here.
"""

GPA_PER_EV_PER_A3 = 160.2176634
"""Pressure: 1 eV/Å³ in GPa (CODATA 2018, exact)."""

G_PER_CM3_PER_AMU_PER_A3 = 1.66053906660
"""Density: 1 amu/Å³ in g/cm³ (CODATA 2018)."""
