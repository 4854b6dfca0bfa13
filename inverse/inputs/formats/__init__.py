"""What each format of structure files means: text to cells, species and coordinates, or a named refusal."""
