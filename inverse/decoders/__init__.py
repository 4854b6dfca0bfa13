"""Decoders: latent and condition -> symmetric crystals."""

from inverse.decoders.loading import DECODER_NAMES, load_decoder
from inverse.decoders.protocol import Condition, Decoder

__all__ = ["DECODER_NAMES", "Condition", "Decoder", "load_decoder"]
