"""Units, properties, elasticity."""
