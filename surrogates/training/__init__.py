"""One fit loop, the recipes, and their measures."""
