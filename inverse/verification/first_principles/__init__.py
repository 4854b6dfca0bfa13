"""What DFT says of a crystal: bulk modulus, distance from the hull, shear modulus, magnetic moment."""
