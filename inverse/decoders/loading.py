"""Decoders by name, of this program and of installed packages; weights are read when one is asked for."""

from inverse.candidates.registry import DECODERS, asked_for
from inverse.decoders.protocol import Decoder

PROMISED = ("decode", "sample", "complete", "log_likelihood")
"""What is called on a decoder; see `Decoder`."""


def takes_device(name: str) -> bool:
    """Return whether whoever makes a decoder asks where it is to draw; the others draw on the CPU.

    Raises:
        UnknownNameError: no such decoder.
    """
    return bool(asked_for(DECODERS.get(name), {"device": "cpu"}))


def load_decoder(name: str = "default", device: str = "cpu") -> Decoder:
    """Return the decoder called `name`.

    Args:
        name: as `search.decoder` names it.
        device: told to who makes it, where they ask (`takes_device`).

    Raises:
        UnknownNameError: no such decoder.
        CheckpointError: its weights are missing or damaged.
        ConfigError: whoever brings it does not keep what its group promises.
    """
    decoder: Decoder = DECODERS.make(name, device=device)
    for promised in PROMISED:
        if not callable(getattr(decoder, promised, None)):
            raise DECODERS.refusal(name, f"makes a {type(decoder).__name__} without {promised}()")
    if not isinstance(getattr(decoder, "latent_size", None), int):
        raise DECODERS.refusal(name, f"makes a {type(decoder).__name__} without a whole `latent_size`")
    if not isinstance(getattr(decoder, "name", None), str):
        raise DECODERS.refusal(name, f"makes a {type(decoder).__name__} without a `name`")
    return decoder
