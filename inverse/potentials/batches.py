"""Many cells in one call of a potential, through the graph collation of its own package."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from surrogates.physics.units import GPA_PER_EV_PER_A3


@dataclass(frozen=True)
class SinglePoint:
    """What a potential says about one cell.

    Attributes:
        energy: of the cell, eV.
        forces: (A, 3) eV/Å.
        stress: (3, 3) eV/Å³, Cauchy, positive when the cell wants to shrink.
        magmoms: (A,) Bohr magnetons, of what computes with spin; empty else.
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray
    magmoms: tuple[float, ...] = ()


Batch = Callable[[Sequence[Atoms]], list[SinglePoint]]
"""Cells -> what the potential says about each, in order; several in one pass through the network."""


def sevenn_batch(calculator: Any) -> Batch:
    """Return the batched call of a `SevenNetCalculator`."""
    import sevenn._keys as key
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import unlabeled_atoms_to_graph
    from torch_geometric.loader.dataloader import Collater

    collate = Collater([], follow_batch=None, exclude_keys=None)
    model = calculator.model

    def evaluate(cells: Sequence[Atoms]) -> list[SinglePoint]:
        graphs = []
        for atoms in cells:
            graph = unlabeled_atoms_to_graph(atoms, calculator.cutoff, with_shift=False)
            graph[key.CELL_VOLUME] = np.atleast_1d(graph[key.CELL_VOLUME])
            graphs.append(AtomGraphData.from_numpy_dict(graph))
            if calculator.modal:
                graphs[-1][key.DATA_MODALITY] = calculator.modal
        model.set_is_batch_data(True)
        try:
            output = model(collate(graphs).to(calculator.device))
        finally:
            model.set_is_batch_data(False)
        energies = _array(output[key.PRED_TOTAL_ENERGY]).reshape(-1)
        forces = _split(_array(output[key.PRED_FORCE]), cells)
        # order of sevenn: xx yy zz xy yz zx
        stresses = -_array(output[key.PRED_STRESS])[:, [0, 3, 5, 3, 1, 4, 5, 4, 2]].reshape(-1, 3, 3)
        return _points(energies, forces, stresses)

    return evaluate


def diep_batch(calculator: Any) -> Batch:
    """Return the batched call of a `DIEPCalculator`."""
    import torch
    from torch_geometric.data import Batch as GraphBatch

    potential, device = calculator.potential, next(calculator.potential.parameters()).device

    def evaluate(cells: Sequence[Atoms]) -> list[SinglePoint]:
        graphs, lattices = [], []
        for atoms in cells:
            wrapped = atoms.copy()
            wrapped.wrap()
            graph, lattice, state = calculator.graph_converter.get_graph(wrapped)
            graphs.append(graph)
            lattices.append(lattice.reshape(3, 3))
        state = torch.tensor(np.stack([np.asarray(state, dtype=np.float32)] * len(cells)), device=device)
        batch = GraphBatch.from_data_list(graphs).to(device)
        energies, forces, stresses, *_ = potential(batch, torch.stack(lattices).to(device), state)
        split = _split(_array(forces), cells)
        return _points(
            _array(energies).reshape(-1), split, _array(stresses).reshape(-1, 3, 3) / GPA_PER_EV_PER_A3
        )

    return evaluate


def chgnet_batch(calculator: Any) -> Batch:
    """Return the batched call of a `CHGNetCalculator`."""
    from pymatgen.io.ase import AseAtomsAdaptor

    model = calculator.model

    def evaluate(cells: Sequence[Atoms]) -> list[SinglePoint]:
        graphs = [model.graph_converter(AseAtomsAdaptor.get_structure(atoms)) for atoms in cells]
        found = model.predict_graph(graphs, task="efs", batch_size=len(graphs))
        return [
            SinglePoint(
                float(one["e"]) * (len(atoms) if model.is_intensive else 1),
                np.array(one["f"], dtype=float),
                np.array(one["s"], dtype=float) * calculator.stress_weight,
            )
            for one, atoms in zip(found, cells, strict=True)
        ]

    return evaluate


def _array(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=float)


def _split(forces: np.ndarray, cells: Sequence[Atoms]) -> list[np.ndarray]:
    return np.split(forces, np.cumsum([len(atoms) for atoms in cells])[:-1])


def _points(energies: np.ndarray, forces: list[np.ndarray], stresses: np.ndarray) -> list[SinglePoint]:
    return [SinglePoint(float(e), f, s) for e, f, s in zip(energies, forces, stresses, strict=True)]
