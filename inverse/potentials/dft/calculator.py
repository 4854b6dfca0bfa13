"""A DFT code as an ASE calculator of one crystal, which never computes twice what is remembered."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from inverse.potentials.batches import SinglePoint
from inverse.potentials.dft.code import DftCode
from inverse.potentials.dft.process import CalculationError, DftProcess, Limits, Trouble
from inverse.potentials.dft.protocol import PROTOCOL, DftProtocol, Sampling, sampling_of
from inverse.potentials.loading import PeriodicCell

DIGITS = 10
"""Decimals of lattice (Å) and fractional coordinates that a calculation is asked with."""


class Memory(Protocol):
    """Where calculations are kept, such as the verification store."""

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what is kept under a key, None where nothing is."""
        ...

    def put(
        self, key: str, result: Mapping[str, Any], formula: str, potential: str, task: str, settings: str
    ) -> None:
        """Keep a result."""
        ...


@dataclass(frozen=True)
class Unread:
    """A memory that is written and not asked.

    Attributes:
        memory: that is written.
    """

    memory: Memory

    def get(self, key: str) -> dict[str, Any] | None:
        """Return nothing."""
        return None

    def put(
        self, key: str, result: Mapping[str, Any], formula: str, potential: str, task: str, settings: str
    ) -> None:
        """Keep a result."""
        self.memory.put(key, result, formula, potential, task, settings)


@dataclass(frozen=True)
class _Cell:
    """A cell as arrays; fields as of `PeriodicCell`."""

    numbers: np.ndarray
    lattice: np.ndarray
    frac_coords: np.ndarray


class DftCalculator(Calculator):  # type: ignore[misc]
    """Energies (free, of cold smearing), forces and stresses of the cells of one crystal, on one mesh.

    Vectors and mesh are those of the crystal it was made for: energies of its strained cells are comparable.
    A calculation that does not converge is made once more, with gentler mixing.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress", "magmoms"]  # noqa: RUF012 - ASE's

    def __init__(
        self,
        code: DftCode,
        sampling: Sampling | None = None,
        magmoms: Sequence[float] | None = None,
        protocol: DftProtocol = PROTOCOL,
        memory: Memory | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Plan calculations; no process starts before the first.

        Args:
            code: what computes.
            sampling: vectors and mesh; None takes those of the first cell of each set of atoms.
            magmoms: (A,) to start from, in Bohr magnetons; None computes without spin.
            protocol: everything else.
            memory: of calculations made before; None keeps none.
            limits: of each calculation.
        """
        super().__init__()
        self.code, self.protocol, self.memory = code, protocol, memory
        self.sampling = sampling
        self._sampled: tuple[int, ...] | None = None
        self.magmoms = None if magmoms is None else [float(m) for m in magmoms]
        self.limits = limits or Limits()
        self._own: DftProcess | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results`, as ASE asks for it."""
        super().calculate(atoms, properties, system_changes)
        asked: Any = self.atoms
        cell = _Cell(asked.numbers, asked.cell.array, asked.get_scaled_positions())
        request = self.request(cell)
        if self._own is None:
            self._own = self.code.process(self.limits)
        found = self.computed(request, self._own)
        stress = np.array(found["stress"])
        self.results = {
            "energy": found["energy"],
            "free_energy": found["energy"],
            "forces": np.array(found["forces"]),
            "stress": stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
            "magmoms": np.array(found["magmoms"]),
        }

    def request(self, cell: PeriodicCell) -> dict[str, Any]:
        """Return what a process is asked about a cell: in other vectors, not turned."""
        numbers = tuple(int(z) for z in cell.numbers)
        if self.sampling is None or self._sampled not in (None, numbers):
            self.sampling, self._sampled = sampling_of(cell, self.protocol.spacing), numbers
        basis = np.array(self.sampling.basis)
        return {
            "numbers": list(numbers),
            "lattice": np.round(basis @ cell.lattice, DIGITS).tolist(),
            "frac_coords": np.round(cell.frac_coords @ np.linalg.inv(basis), DIGITS).tolist(),
            "magmoms": self.magmoms,
            "settings": {
                **self.protocol.to_record(),
                "mesh": list(self.sampling.mesh),
                "lattice": np.round(self.sampling.lattice, DIGITS).tolist(),
            },
        }

    def remembered(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a calculation that was made before."""
        return None if self.memory is None else self.memory.get(self._key(request))

    def made(self, request: Mapping[str, Any], process: DftProcess) -> dict[str, Any]:
        """Return a calculation made by a process; neither looked for nor remembered, so that any thread may.

        Raises:
            CalculationError: twice not converged, too long, or the code failed at it.
            MachineError: memory or disk.
        """
        try:
            return process.calculate(request)
        except CalculationError as error:
            if error.trouble is not Trouble.NOT_CONVERGED:
                raise
            settings = {**request["settings"], **self.protocol.gentler().to_record()}
            return process.calculate({**request, "settings": settings})

    def remember(self, request: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Keep a calculation."""
        if self.memory is not None:
            formula = Atoms(numbers=request["numbers"]).get_chemical_formula("metal")
            key, settings = self._key(request), self.protocol.fingerprint
            self.memory.put(key, found, formula, self.code.name, "dft", settings)

    def computed(self, request: Mapping[str, Any], process: DftProcess) -> dict[str, Any]:
        """Return a calculation: remembered, or made and remembered; errors as of `made`."""
        known = self.remembered(request)
        if known is None:
            known = self.made(request, process)
            self.remember(request, known)
        return known

    def _key(self, request: Mapping[str, Any]) -> str:
        content = [
            {k: request[k] for k in ("numbers", "lattice", "frac_coords", "magmoms")},
            request["settings"]["mesh"],
            self.protocol.fingerprint,
            self.code.name,
            self.code.version,
        ]
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def point_of(found: Mapping[str, Any]) -> SinglePoint:
    """Return a calculation as what a potential says about a cell."""
    stress = np.array(found["stress"], dtype=float)
    forces = np.array(found["forces"], dtype=float)
    return SinglePoint(float(found["energy"]), forces, 0.5 * (stress + stress.T), tuple(found["magmoms"]))
