"""Decoders: latent and condition -> symmetric crystals."""

from inverse.decoders.loading import load_decoder
from inverse.decoders.protocol import Condition, Decoder

__all__ = ["Condition", "Decoder", "load_decoder"]
