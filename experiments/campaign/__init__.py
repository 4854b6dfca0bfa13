"""Whole campaigns, measured: what a change of the search is worth in hits and in computing."""
