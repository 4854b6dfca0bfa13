"""Property -> crystal: propose, decode, screen, predict, verify, rank."""
