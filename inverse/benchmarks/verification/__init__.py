"""Benchmarks of the judges: tensors, scale, hull, novelty, speed, reliability."""
