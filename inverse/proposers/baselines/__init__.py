"""What is known or follows from it without a search: table look-up, orderings of known phases."""
