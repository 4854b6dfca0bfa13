"""Builders of the reference package data: hull, facts, signatures, element energies."""
