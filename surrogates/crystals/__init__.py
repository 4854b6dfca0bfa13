"""Batches of crystals, symmetry, Wyckoff tables, neighbours, the periodic table."""
