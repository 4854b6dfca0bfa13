"""Crystals that no judge can make sense of, and calculators that misbehave."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from pymatgen.core import Lattice, Structure

from inverse.benchmarks.constraints import prototypes

METALS = ("Ti", "Fe", "Mo", "W", "Al", "Zr", "Ni", "Cu")
LIGHT = ("B", "C", "N", "O", "Si", "S")


def broken_crystals(n: int, seed: int = 0) -> list[tuple[str, Structure]]:
    """Return n (kind of damage, structure), the kinds in turn."""
    rng = np.random.default_rng(seed)
    names = list(KINDS)
    return [(names[i % len(names)], KINDS[names[i % len(names)]](rng)) for i in range(n)]


def sound_crystal(rng: np.random.Generator) -> Structure:
    """Return an AFLOW prototype of at most 6 atoms with other elements and a plausible volume."""
    known = [p for p in prototypes() if 2 <= len(p) <= 6 and 2 <= len(p.symbol_set) <= 3]
    structure = known[int(rng.integers(len(known)))].copy()
    pool = [*rng.permutation(METALS)[:2], rng.choice(LIGHT)]
    symbols = sorted({str(s) for s in structure.symbol_set})
    structure.replace_species(dict(zip(symbols, pool[-len(symbols) :], strict=True)))
    structure.scale_lattice(len(structure) * rng.uniform(9.0, 14.0))
    return structure


def _scaled(rng: np.random.Generator, low: float, high: float) -> Structure:
    structure = sound_crystal(rng)
    structure.scale_lattice(structure.volume * rng.uniform(low, high))
    return structure


def _overlapping(rng: np.random.Generator) -> Structure:
    structure = sound_crystal(rng)
    start = structure[0].coords + rng.uniform(0.0, 0.2, 3) * rng.integers(0, 2)
    structure.append(structure[-1].specie, start, coords_are_cartesian=True)
    return structure


def _with_lattice(rng: np.random.Generator, lattice: Any) -> Structure:
    base = sound_crystal(rng)
    return Structure(Lattice(np.array(lattice, dtype=float)), base.species, base.frac_coords)


def _flat(rng: np.random.Generator) -> Structure:
    lattice = np.array(sound_crystal(rng).lattice.matrix)
    lattice[2] = lattice[0] + lattice[1] + rng.uniform(1e-6, 0.05, 3)
    return _with_lattice(rng, lattice)


def _needle(rng: np.random.Generator) -> Structure:
    return _with_lattice(rng, np.diag([1.1, 1.2, rng.uniform(40, 90)]))


def _slab(rng: np.random.Generator) -> Structure:
    base = sound_crystal(rng)
    lattice = np.array(base.lattice.matrix)
    lattice[2] *= (base.lattice.c + rng.uniform(20, 60)) / base.lattice.c
    return Structure(Lattice(lattice), base.species, base.cart_coords, coords_are_cartesian=True)


def _lone_atom(rng: np.random.Generator) -> Structure:
    return Structure(Lattice.cubic(rng.uniform(12, 40)), [rng.choice(METALS)], [[0, 0, 0]])


def _far_apart(rng: np.random.Generator) -> Structure:
    coords = rng.uniform(0, 1, (3, 3))
    return Structure(Lattice.cubic(rng.uniform(25, 40)), [*rng.choice(METALS, 2), "O"], coords)


def _unknown_element(rng: np.random.Generator) -> Structure:
    structure = sound_crystal(rng)
    structure.replace(0, rng.choice(["Es", "Og", "X0+", "Lr", "Po", "He"]))
    return structure


def _not_a_number(rng: np.random.Generator) -> Structure:
    base = sound_crystal(rng)
    coords = np.array(base.frac_coords)
    coords[0, int(rng.integers(3))] = rng.choice([np.nan, np.inf, -np.inf, 1e300])
    return Structure(base.lattice, base.species, coords)


def _absurd_lattice(rng: np.random.Generator) -> Structure:
    values = [np.nan, np.inf, 0.0, 1e-8, 1e6, -3.0]
    lattice = np.diag([3.0, 3.0, 3.0])
    lattice[2, 2] = rng.choice(values)
    return _with_lattice(rng, lattice)


def _sixty_atoms(rng: np.random.Generator) -> Structure:
    species = [*rng.choice(METALS, 30), *rng.choice(LIGHT, 30)]
    return Structure(Lattice.cubic(rng.uniform(7.5, 10.0)), species, rng.uniform(0, 1, (60, 3)))


def _shaken(rng: np.random.Generator) -> Structure:
    structure = sound_crystal(rng) * (2, 1, 1)
    coords = structure.cart_coords + rng.normal(0.0, 0.7, (len(structure), 3))
    return Structure(structure.lattice, structure.species, coords, coords_are_cartesian=True)


def _partly_occupied(rng: np.random.Generator) -> Structure:
    structure = sound_crystal(rng)
    structure.replace(0, {"Ti": 0.5, "Zr": 0.3})
    return structure


def _empty(rng: np.random.Generator) -> Structure:
    return Structure(Lattice.cubic(rng.uniform(3, 5)), [], [])


KINDS: dict[str, Callable[[np.random.Generator], Structure]] = {
    "collapsed": lambda rng: _scaled(rng, 0.02, 0.3),
    "exploded": lambda rng: _scaled(rng, 8.0, 60.0),
    "overlapping": _overlapping,
    "flat cell": _flat,
    "needle": _needle,
    "huge vacuum": _slab,
    "lone atom": _lone_atom,
    "atoms far apart": _far_apart,
    "unknown element": _unknown_element,
    "not a number": _not_a_number,
    "absurd lattice": _absurd_lattice,
    "sixty atoms at random": _sixty_atoms,
    "shaken": _shaken,
    "partly occupied": _partly_occupied,
    "no atoms": _empty,
}
"""Kind of damage -> a generator of it."""


class Misbehaving(Calculator):
    """An ASE calculator with one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.implemented_properties = ["energy", "forces", "stress"]
        self.fault = fault

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Do what the fault says."""
        super().calculate(atoms, properties, system_changes)
        cell: Any = self.atoms
        forces, stress = np.zeros((len(cell), 3)), np.zeros(6)
        if self.fault == "memory":
            raise MemoryError("cannot allocate 64 GiB")
        if self.fault == "hang":
            time.sleep(3600)
        if self.fault == "killed":
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        if self.fault == "nan":
            forces[0, 0] = np.nan
        if self.fault == "exploding":
            stress[:3] = -5.0
        self.results = {"energy": -float(cell.get_volume()), "forces": forces, "stress": stress}


def nan_forces() -> Calculator:
    """Return a calculator whose first force is NaN."""
    return Misbehaving("nan")


def exploding() -> Calculator:
    """Return a calculator that blows every cell up."""
    return Misbehaving("exploding")


def out_of_memory() -> Calculator:
    """Return a calculator that finds no memory."""
    return Misbehaving("memory")


def hanging() -> Calculator:
    """Return a calculator that never answers."""
    return Misbehaving("hang")


def killed() -> Calculator:
    """Return a calculator whose process the system ends, as it does when memory runs out."""
    return Misbehaving("killed")
