"""Potentials relax a candidate and say what it is: energy, hull, stiffness, stability."""

from inverse.verification.answers import verification_record, verification_records
from inverse.verification.judges import load_verifier
from inverse.verification.protocol import StreamingVerifier, Verifier

__all__ = [
    "StreamingVerifier",
    "Verifier",
    "load_verifier",
    "verification_record",
    "verification_records",
]
