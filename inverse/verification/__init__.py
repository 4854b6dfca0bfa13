"""Potentials relax a candidate and say what it is: energy, hull, stiffness, stability."""

from inverse.verification.answers import verification_record, verification_records
from inverse.verification.opening import open_verifier
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan
from inverse.verification.protocol import StreamingVerifier, Verifier

__all__ = [
    "StreamingVerifier",
    "VerificationPlan",
    "Verifier",
    "open_verifier",
    "panel_named",
    "verification_record",
    "verification_records",
]
