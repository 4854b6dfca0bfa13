"""Proposers: what to try next, behind one ask/tell protocol."""
