"""Somebody else's package, and the test that installs and uses it."""
