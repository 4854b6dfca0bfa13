"""A fast analytic potential for any element, and badly behaved ones: `tests.stand_in_potential:pairwise`."""

import os
import time

import torch
from ase.calculators.calculator import all_changes

from tests.morse_pairs import Pairwise


def pairwise():
    return Pairwise()


class _Slow(Pairwise):
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        if 79 in atoms.numbers:
            time.sleep(3600)
        super().calculate(atoms, properties, system_changes)


def hangs_on_gold():
    """Never answers for crystals with gold."""
    return _Slow()


THREADS = []


class _Counting(Pairwise):
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        THREADS.append(torch.get_num_threads())
        super().calculate(atoms, properties, system_changes)


def counts_threads():
    """Notes in `THREADS` how many threads torch has."""
    return _Counting()


BURNT = 0.6
"""CPU seconds that `burns` spends on each new set of atoms."""


class _Burning(Pairwise):
    seen = frozenset()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        numbers = tuple(sorted(atoms.numbers))
        if numbers not in self.seen:
            until = time.process_time() + BURNT
            while time.process_time() < until:
                pass
            self.seen |= {numbers}
        super().calculate(atoms, properties, system_changes)


def burns():
    """Spends `BURNT` seconds of the processor on each new set of atoms."""
    return _Burning()


class _Moody(Pairwise):
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        if 79 in atoms.numbers:
            os._exit(3)
        if 47 in atoms.numbers:
            raise SystemExit("no licence left")
        if 78 in atoms.numbers:
            open("/no/such/folder/vasprun.xml").close()  # as after a program that left no output
        super().calculate(atoms, properties, system_changes)


def moody():
    """Takes the process down for gold, asks it to end for silver, finds no file for platinum."""
    return _Moody()


class _Held(Pairwise):
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        held = os.environ["HELD"]
        if os.path.exists(held):
            open(f"{held}.begun", "w").close()
        while os.path.exists(held):
            time.sleep(0.01)
        super().calculate(atoms, properties, system_changes)


def held():
    """Stays in the middle of a calculation while the file `$HELD` stands, and says so by `$HELD.begun`."""
    return _Held()


class _Nan(Pairwise):
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = float("nan")


def says_nan():
    """Returns an energy that is not a number."""
    return _Nan()


class OutOfMemory(Pairwise):
    """Fails as a full GPU does, until `is_healthy` is set."""

    is_healthy = False

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        if not OutOfMemory.is_healthy:
            raise torch.OutOfMemoryError("CUDA error: out of memory")
        super().calculate(atoms, properties, system_changes)


def out_of_memory():
    return OutOfMemory()


class _DeviceLost(Pairwise):
    """Fails in the first process that asks about gold, as a lost CUDA context does: for good."""

    is_lost = False

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        marker = os.environ["DEVICE_LOST_ONCE"]
        if 79 in atoms.numbers and not os.path.exists(marker):
            open(marker, "w").close()
            _DeviceLost.is_lost = True
        if _DeviceLost.is_lost:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        super().calculate(atoms, properties, system_changes)


def loses_its_device_once():
    return _DeviceLost()


def not_a_calculator():
    return 7


def needs_a_licence():
    raise RuntimeError("no licence")


def tersoff():
    """Silicon carbide by matscipy, a package that users would install themselves."""
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms import TersoffBrenner
    from matscipy.calculators.manybody.explicit_forms.tersoff_brenner import Erhart_PRB_71_035211_SiC

    return Manybody(**TersoffBrenner(Erhart_PRB_71_035211_SiC))


ALUMINIUM = -3.0
"""eV/atom, what `with_a_scale` says of the element."""


def with_a_scale():
    """Says on what its formation energies rest, as a calculator may."""
    made = Pairwise()
    made.element_energies = {"Al": ALUMINIUM, "C": -8.0}
    made.formation_energy_error = 0.03
    return made


def binds_strongly():
    """Says that its elements are far above what it gives compounds: all of them are stable."""
    made = Pairwise()
    made.element_energies = {"Cu": 5.0, "Au": 5.0, "Pt": 5.0}
    return made


def with_a_bad_scale():
    """Says a formula where a symbol belongs."""
    made = Pairwise()
    made.element_energies = {"Al2": -3.0}
    return made
