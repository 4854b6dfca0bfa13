"""Surrogates as a campaign asks them, corrected by its verdicts."""
