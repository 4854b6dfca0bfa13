"""The project's own reference set: crystals chosen here, labelled by `7net-0`, packed as package data."""
