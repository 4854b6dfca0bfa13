"""Known phases: hull energies, facts, signatures, hit classes, nearest known material (package data)."""

from inverse.reference.facts import Facts, Moduli
from inverse.reference.hit_class import Classification, HitClassifier
from inverse.reference.hull import HullEnergy, ReferenceHull
from inverse.reference.known import KnownMaterials
from inverse.reference.phases import Phase, PhaseTable
from inverse.reference.signatures import Signature, end_members, parent_prototype, signature
from inverse.reference.skeletons import Skeleton, Template, skeletons_of

__all__ = [
    "Classification",
    "Facts",
    "HitClassifier",
    "HullEnergy",
    "KnownMaterials",
    "Moduli",
    "Phase",
    "PhaseTable",
    "ReferenceHull",
    "Signature",
    "Skeleton",
    "Template",
    "end_members",
    "parent_prototype",
    "signature",
    "skeletons_of",
]
