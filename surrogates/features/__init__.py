"""What a network sees of a crystal or a composition."""
