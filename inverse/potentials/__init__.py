"""Interatomic potentials: loading, batching, relaxing. No weights of ours, no judgement."""
