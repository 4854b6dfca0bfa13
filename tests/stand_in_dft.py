"""DFT codes of somebody's own, as `module:factory`: analytic, slow, unconverged, broken."""

import os
import time
from pathlib import Path

from ase.calculators.calculator import CalculationFailed
from ase.calculators.emt import EMT

from tests.morse_pairs import Pairwise

__version__ = "7"

COUNTED = "COUNT_CALCULATIONS_IN"
"""Environment variable: a file to which every calculation adds a line."""


class KohnShamConvergenceError(CalculationFailed):
    """As GPAW names it."""


def _count():
    if COUNTED in os.environ:
        with Path(os.environ[COUNTED]).open("a") as file:
            file.write("calculation\n")


class Counted(Pairwise):
    def calculate(self, *arguments, **named):
        _count()
        super().calculate(*arguments, **named)


def pairwise():
    return Counted()


def emt(settings):
    assert settings["functional"] == "PBE"
    assert len(settings["mesh"]) == 3
    return EMT()


class Gently(Pairwise):
    def __init__(self, mixing):
        super().__init__()
        self.mixing = mixing

    def calculate(self, *arguments, **named):
        if self.mixing > 0.1:
            raise KohnShamConvergenceError("did not converge")
        super().calculate(*arguments, **named)


def gently(settings):
    return Gently(settings["mixing"])


class Never(Pairwise):
    def calculate(self, *arguments, **named):
        raise KohnShamConvergenceError("did not converge")


def never():
    return Never()


class Busy(Pairwise):
    def calculate(self, *arguments, **named):
        _count()
        until = time.process_time() + 60.0
        while time.process_time() < until:
            sum(range(1000))


def busy():
    return Busy()


class Dies(Pairwise):
    def calculate(self, *arguments, **named):
        os.kill(os.getpid(), 9)


def dies():
    return Dies()


class Greedy(Pairwise):
    def calculate(self, *arguments, **named):
        self.room = bytearray(64 * 2**30)


def greedy():
    return Greedy()


def noisy():
    print("what a code prints is no answer")
    return Counted()
