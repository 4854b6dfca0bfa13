"""Decoders by name; weights are package data and are read when a decoder is asked for."""

from inverse.decoders.protocol import Decoder
from surrogates.errors import UnknownNameError

DECODER_NAMES: tuple[str, ...] = ("default", "prototypes")
"""`default`: the trained generative model; `prototypes`: random AFLOW prototypes, an honest baseline."""


def load_decoder(name: str = "default") -> Decoder:
    """Return the decoder called `name`.

    Raises:
        UnknownNameError: no such decoder.
        CheckpointError: its weights are missing or damaged.
    """
    if name == "default":
        from inverse.decoders.generative import GenerativeDecoder

        return GenerativeDecoder.packaged()
    if name == "prototypes":
        from inverse.decoders.prototypes import PrototypeDecoder

        return PrototypeDecoder.packaged()
    raise UnknownNameError.among("decoder", name, DECODER_NAMES)
