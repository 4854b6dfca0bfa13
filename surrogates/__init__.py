"""Crystal -> property, differentiable. Knows nothing about design."""
