"""Measure the packaged decoder: speed, soundness, novelty, steering, constraints.

Run: python -m experiments.studies.decoder_samples [--n 1000] [--decoder default] [--conditions 50]

Prints one JSON object; numbers that count are written to experiments/log by hand.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Structure
from pymatgen.io.cif import CifWriter

from inverse.decoders import Condition, Decoder, load_decoder
from inverse.decoders.acceptance import MIN_DISTANCE_RATIO, distance_ratios, is_sound
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.crystals.symmetry import SymmetricCrystals, find_space_groups


def quality(decoder: Decoder, n: int, seed: int) -> dict[str, object]:
    """Return the bars of the issue on n unconditional samples, files included."""
    wall, processor = time.time(), time.process_time()
    crystals = decoder.sample(n, Condition(), seed)
    structures = crystals.to_structures()
    result: dict[str, object] = {
        "n": crystals.n_crystals,
        "seconds_wall": round(time.time() - wall, 1),
        "seconds_cpu": round(time.process_time() - processor, 1),
    }
    readable, found = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for i, structure in enumerate(structures):
            path = Path(folder) / f"{i}.cif"
            CifWriter(structure, significant_figures=10).write_file(path)
            read = Structure.from_file(path)
            readable += len(read) == len(structure)
            found.append(read)
    groups = find_space_groups(SymmetricCrystals.from_structures(found).to_crystals())
    ratios = distance_ratios(crystals.to_crystals())
    result |= {
        "readable": readable / n,
        "space_group_as_asked": float(np.mean(np.array(groups) == crystals.space_group.numpy())),
        "far_enough": float((ratios >= MIN_DISTANCE_RATIO).mean()),
        "distinct": n_distinct(structures) / n,
        "formulas": len(set(crystals.formulas())),
        "space_groups": len(set(crystals.space_group.tolist())),
        "sites_per_crystal": round(float(crystals.n_sites.float().mean()), 2),
        "atoms_per_crystal": round(float(crystals.n_atoms.float().mean()), 2),
    }
    return result


def n_distinct(structures: list[Structure]) -> int:
    """Return the number of groups that StructureMatcher finds."""
    by_formula: dict[str, list[Structure]] = {}
    for structure in structures:
        by_formula.setdefault(structure.composition.reduced_formula, []).append(structure)
    matcher = StructureMatcher()
    return sum(
        len(matcher.group_structures(members)) if len(members) > 1 else 1 for members in by_formula.values()
    )


def as_drawn(decoder: Decoder, n: int, seed: int) -> dict[str, float]:
    """Return the share of raw draws (no rejection) that are far apart, and sound altogether."""
    latent = torch.as_tensor(np.random.default_rng(seed).random((n, decoder.latent_size)))
    crystals = decoder.decode(latent, Condition())
    ratios = distance_ratios(crystals.to_crystals())
    return {
        "raw_far_enough": float((ratios >= MIN_DISTANCE_RATIO).mean()),
        "raw_sound": float(is_sound(crystals).float().mean()),
    }


def known_formulas() -> dict[str, float]:
    """Return reduced formula -> bulk modulus (NaN where unknown) of the tables; empty without shared data."""
    from surrogates.platform.data_folder import data_folder

    if not (data_folder() / "tables").exists():
        return {}
    from inverse.decoders.training_data import read_formulas

    table = read_formulas(Path(".work/decoder"))
    return dict(zip(table.names, table.values[:, 0].tolist(), strict=True))


def steering(decoder: Decoder, n: int, seed: int, known: dict[str, float]) -> dict[str, object]:
    """Return how compositions answer to a wanted bulk modulus."""
    result: dict[str, object] = {}
    for wanted in (20.0, 100.0, 200.0, 350.0):
        crystals = decoder.sample(n, Condition(targets={"bulk_modulus_vrh": wanted}), seed)
        amounts = crystals.amounts.sum(dim=0)
        top = amounts.argsort(descending=True)[:10].tolist()
        formulas = crystals.formulas()
        moduli = [known[f] for f in formulas if f in known and not np.isnan(known[f])]
        result[f"K={wanted:g}"] = {
            "elements": [ELEMENT_SYMBOLS[z] for z in top],
            "median_K_of_known": round(float(np.median(moduli)), 1) if moduli else None,
            "with_known_K": len(moduli),
            "formula_in_tables": round(float(np.mean([f in known for f in formulas])), 3),
        }
    return result


def violations(decoder: Decoder, n_conditions: int, n: int, seed: int) -> dict[str, int]:
    """Return how many of n samples under random conditions break any hard constraint."""
    rng = np.random.default_rng(seed)
    tried = broken = refused = 0
    for k in range(n_conditions):
        allowed = rng.choice(ELEMENT_SYMBOLS[:94], size=int(rng.integers(6, 70)), replace=False).tolist()
        low = int(rng.integers(1, 3))
        condition = Condition(
            targets={"bulk_modulus_vrh": float(rng.uniform(20, 400))} if rng.random() < 0.5 else {},
            allowed_elements=frozenset(allowed),
            required_any=frozenset(allowed[:3]) if rng.random() < 0.5 else frozenset(),
            required_all=frozenset(allowed[3:4]) if rng.random() < 0.3 else frozenset(),
            chemical_system="-".join(sorted(allowed[2:4])) if rng.random() < 0.2 else None,
            n_elements=(low, low + int(rng.integers(1, 3))),
            n_atoms=(int(rng.integers(1, 5)), int(rng.integers(6, 24))),
        )
        try:
            crystals = decoder.sample(n, condition, seed + k)
        except Exception as error:
            sys.stderr.write(f"{condition}: {error}\n")
            refused += 1
            continue
        for structure in crystals.to_structures():
            tried += 1
            amounts = Composition(structure.composition).get_el_amt_dict()
            broken += not condition.is_met(amounts, len(structure))
    return {"conditions": n_conditions, "samples": tried, "violations": broken, "refused": refused}


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--decoder", default="default")
    parser.add_argument("--conditions", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    decoder = load_decoder(options.decoder)
    known = known_formulas()
    sys.stdout.write(json.dumps({"quality": quality(decoder, options.n, options.seed)}) + "\n")
    sys.stdout.write(json.dumps({"as_drawn": as_drawn(decoder, options.n // 2, options.seed)}) + "\n")
    sys.stdout.write(json.dumps({"steering": steering(decoder, options.n // 5, options.seed, known)}) + "\n")
    kept = violations(decoder, options.conditions, 20, options.seed)
    sys.stdout.write(json.dumps({"constraints": kept}) + "\n")


if __name__ == "__main__":
    main()
