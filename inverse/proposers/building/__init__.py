"""From compositions and structure types to crystals."""
