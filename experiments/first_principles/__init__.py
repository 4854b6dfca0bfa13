"""What DFT says: convergence of the protocol, known crystals, hits, labels; kept and resumed."""
