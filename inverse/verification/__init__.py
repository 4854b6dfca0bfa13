"""Potentials relax a candidate and say what it is: energy, hull, stiffness, stability."""
