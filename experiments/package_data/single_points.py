"""Static energies of a potential on DFT cells with known formation energy, in resumable shards.

    python -m experiments.package_data.single_points 7net-l3i5 --limit 900
    python -m experiments.package_data.single_points 7net-l3i5 --broad 1200

Rows: WBM, Materials Project and MP elasticity rows of at most 8 atoms; every boride, carbide and nitride
of the refractory metals, elements, then rows of the rarest elements until each is covered. `--broad` adds
Materials Project rows that show every term of the energy correction (each metal with O and F, each anion,
each element) about equally often.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from experiments.package_data.sources import MP_SCALE_SOURCES, WORK, read_rows, to_structure
from inverse.verification.calibration.energy_correction import correction_features
from surrogates.platform.whole_files import write_atomically

METALS = frozenset(
    element
    for row in ("Sc Y Ti Zr Hf V Nb Ta Cr Mo W", "Mn Fe Co Ni Ru Rh Pd Re Os Ir Pt", "Al Si Be Mg Th U")
    for element in row.split()
)
LIGHT = frozenset({"B", "C", "N"})
SHARD = 60


def labelled_rows() -> list[dict[str, Any]]:
    """Return rows with a formation energy on the MP scale, at most 8 atoms, one per (formula, energy)."""
    rows = read_rows("wbm") + read_rows("mp_structures")
    rows += [r for r in read_rows("elasticity") if r["source"] in MP_SCALE_SOURCES]
    seen: set[tuple[str, float]] = set()
    kept = []
    for row in rows:
        energy = row.get("formation_energy_per_atom")
        if energy is None or len(row["species"]) > 8 or not -5 < energy < 2:
            continue
        key = (row["formula"], round(energy, 3))
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return kept


def choose(rows: list[dict[str, Any]], limit: int, coverage: int = 8) -> list[dict[str, Any]]:
    """Return `limit` rows: refractory interstitials and elements, then the rarest elements, then WBM."""
    rng = np.random.default_rng(20)
    order = [rows[i] for i in rng.permutation(len(rows))]
    order.sort(key=lambda r: len(r["species"]) > 5)
    dense, formulas = [], Counter[str]()
    for row in order:
        species = set(row["species"])
        refractory = species & LIGHT and species <= METALS | LIGHT and len(row["species"]) <= 6
        if (refractory or len(species) == 1) and formulas[row["formula"]] < 2:
            formulas[row["formula"]] += 1
            dense.append(row)
    chosen = {id(r): r for r in dense[: limit // 3]}
    count = Counter(e for r in chosen.values() for e in set(r["species"]))
    elements = {e for r in rows for e in r["species"]}
    for element in sorted(elements, key=lambda e: (sum(e in r["species"] for r in rows), e)):
        for row in order:
            if count[element] >= coverage:
                break
            if element in row["species"] and id(row) not in chosen:
                chosen[id(row)] = row
                count.update(set(row["species"]))
    wbm = [r for r in order if r["source"] == "wbm_val" and len(r["species"]) <= 6]
    for row in wbm:
        if len(chosen) >= limit:
            break
        chosen[id(row)] = row
    return list(chosen.values())


def choose_broad(limit: int, max_atoms: int = 12) -> list[dict[str, Any]]:
    """Return `limit` Materials Project rows; each next one shows the term of the correction seen least."""
    rows = [r for r in read_rows("mp_structures") if len(r["species"]) <= max_atoms]
    rows = [r for r in rows if r["formation_energy_per_atom"] is not None]
    rng = np.random.default_rng(21)
    waiting: dict[str, list[dict[str, Any]]] = {}
    for i in rng.permutation(len(rows)):
        for term in correction_features(Counter(rows[i]["species"])):
            waiting.setdefault(term, []).append(rows[i])
    count: Counter[str] = Counter(dict.fromkeys(waiting, 0))
    chosen: dict[str, dict[str, Any]] = {}
    while len(chosen) < limit and waiting:
        term = min(waiting, key=lambda t: (count[t] * (1 + ("with" not in t)), t))
        row = waiting[term].pop()
        if not waiting[term]:
            del waiting[term]
        if row["formula"] not in chosen:
            chosen[row["formula"]] = row
            count.update(correction_features(Counter(row["species"])).keys())
    return list(chosen.values())


def energy_function(potential: str) -> Callable[[Structure], float]:
    """Return structure -> potential energy, eV per cell, energies only (no force backward for SevenNet)."""
    if potential.startswith("7net"):
        return _sevennet_energy(potential)
    from chgnet.model.dynamics import CHGNetCalculator
    from pymatgen.io.ase import AseAtomsAdaptor

    calculator = CHGNetCalculator(use_device="cpu")

    def energy(structure: Structure) -> float:
        atoms = AseAtomsAdaptor.get_atoms(structure)
        atoms.calc = calculator
        return float(atoms.get_potential_energy())

    return energy


def _sevennet_energy(potential: str) -> Callable[[Structure], float]:
    import torch
    from pymatgen.io.ase import AseAtomsAdaptor
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.calculator import SevenNetCalculator
    from sevenn.train.dataload import unlabeled_atoms_to_graph

    calculator = SevenNetCalculator(potential, device="cpu")
    model = calculator.model
    model._modules.pop("force_output")

    def energy(structure: Structure) -> float:
        atoms = AseAtomsAdaptor.get_atoms(structure)
        data = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, calculator.cutoff))
        if calculator.modal:
            data["data_modality"] = calculator.modal
        data.to("cpu")
        with torch.no_grad():
            return float(model(data)["inferred_total_energy"])

    return energy


def compute(potential: str, rows: list[dict[str, Any]], prefix: str = "") -> None:
    """Fill .work/reference/static_<potential>/ shard by shard; existing shards are kept."""
    import torch

    torch.set_num_threads(1)
    folder = WORK / f"static_{potential}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    energy = energy_function(potential)
    for start in range(0, len(rows), SHARD):
        path = folder / f"{prefix}{start:05d}.json"
        if path.exists():
            continue
        began = time.time()
        results = [_point(row, energy) for row in rows[start : start + SHARD]]
        _write(path, results)
        print(
            f"{start + len(results)}/{len(rows)} {(time.time() - began) / len(results):.2f} s each",
            flush=True,
        )


def _point(row: dict[str, Any], energy: Callable[[Structure], float]) -> dict[str, Any]:
    structure = to_structure(row)
    return {
        "id": row["id"],
        "source": row["source"],
        "formula": row["formula"],
        "composition": {e: float(n) for e, n in structure.composition.get_el_amt_dict().items()},
        "formation_energy_per_atom": row["formation_energy_per_atom"],
        "energy_per_atom": energy(structure) / len(structure),
    }


def _write(path: Path, results: list[dict[str, Any]]) -> None:
    write_atomically(path, json.dumps(results))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("potential")
    parser.add_argument("--limit", type=int, default=900)
    parser.add_argument("--broad", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.broad:
        compute(arguments.potential, choose_broad(arguments.broad), "broad_")
    else:
        compute(arguments.potential, choose(labelled_rows(), arguments.limit))
