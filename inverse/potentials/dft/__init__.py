"""Density functional theory through any ASE calculator, in this interpreter or another."""

from inverse.potentials.dft.calculator import DftCalculator, Memory, Unread
from inverse.potentials.dft.code import DftCode, code_named
from inverse.potentials.dft.process import DftProcess, Limits
from inverse.potentials.dft.protocol import PROTOCOL, DftProtocol, Sampling, mesh_of, sampling_of

__all__ = [
    "PROTOCOL",
    "DftCalculator",
    "DftCode",
    "DftProcess",
    "DftProtocol",
    "Limits",
    "Memory",
    "Sampling",
    "Unread",
    "code_named",
    "mesh_of",
    "sampling_of",
]
