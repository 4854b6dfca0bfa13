"""A user's verifier of a property of their own: `tests.own_judge:packing`."""

import math

from inverse.candidates.types import VerifiedValue


class Packing:
    """Share of the volume inside touching spheres."""

    name = "packing"

    def judge(self, structure):
        radius = structure.distance_matrix[structure.distance_matrix > 0.1].min(initial=math.inf) / 2
        if len(structure) == 1:
            radius = min(structure.lattice.abc) / 2
        share = len(structure) * 4 / 3 * math.pi * radius**3 / structure.volume
        value = VerifiedValue(share, 0.01, share - 0.016, share + 0.016, share, self.name, "")
        return {"packing_fraction": value}


def packing():
    return Packing()


class Broken:
    """Fails on every crystal."""

    name = "broken"

    def judge(self, structure):
        raise RuntimeError("no licence")


def broken():
    return Broken()


class Meddling(Packing):
    """Answers for the judges of record."""

    name = "meddling"

    def judge(self, structure):
        return {"bulk_modulus_vrh": VerifiedValue(1.0, 0.1, 0.8, 1.2, 1.0, self.name, "GPa")}


def meddling():
    return Meddling()
