"""Elastic tensors and phonons of relaxed crystals."""
