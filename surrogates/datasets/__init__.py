"""Labelled data: sources, splits, graphs."""
