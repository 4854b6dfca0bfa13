"""Weights on disk: safetensors and JSON, read strictly, tried before they are used."""
