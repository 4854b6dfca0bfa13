"""What a config and the command line may name: proposers, decoders, surrogates, potentials, property judges.

How names are found is said in `surrogates.platform.registry`. They stand in the lowest room since every room
asks: configs for names, each room for what it makes of them. Names go up, objects come down from whoever
stands above; a registry knows no class of any of them. That of trained architectures is where weights are
read: `surrogates.checkpoints.architectures`.
"""

from surrogates.platform.registry import PROGRAM, Entry, Registry, asked_for

__all__ = [
    "DECODERS",
    "JUDGES",
    "POTENTIALS",
    "PROGRAM",
    "PROPOSERS",
    "SURROGATES",
    "Entry",
    "Registry",
    "asked_for",
]

PROPOSERS = Registry("inverse.proposers", "search method", "PROPOSERS")
"""`search.method`: a class or function that makes a `Proposer` of (space)."""

DECODERS = Registry("inverse.decoders", "decoder", "DECODERS")
"""`search.decoder`: a class or function of nothing or of (device) that makes a `Decoder`."""

SURROGATES = Registry("inverse.surrogates", "surrogate", "SURROGATES", "inverse.prediction")
"""`search.surrogate`: a class or function without arguments that makes a `Surrogate`."""

AUTO = "auto"
"""For `verify.potential`: the judges of record, of those that are installed."""

POTENTIALS = Registry("inverse.potentials", "potential", "POTENTIALS")
"""`verify.potential`: a function of nothing or of (device) that makes a `Potential` or an ASE calculator."""

JUDGES = Registry("inverse.judges", "judge", "JUDGES", "inverse.verification")
"""`verify.also`: a class or function without arguments that makes a `PropertyJudge`."""
