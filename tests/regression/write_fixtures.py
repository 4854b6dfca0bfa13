"""Write the run folders and weights of an earlier version that tests/regression reads.

To be run by the code of that version, in a checkout of it, which is not this one:

    git worktree add --detach OLD a09e451
    cd OLD && PYTHONPATH=$PWD python THIS/tests/regression/write_fixtures.py THIS/tests/regression/a09e451

Six minutes on two busy cores with torch 2.13.0, numpy 2.4.6, sevenn 0.13.0 and diep 2.0.0. Another run may
differ in the last digits; the tests compare what is read with what was written. Modules of that version are
imported inside functions, since this one has them elsewhere.
"""

import csv
import inspect
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml
from pymatgen.core import Lattice, Structure

import inverse

KEPT = 400_000
"""Bytes at most of all that is written."""

WORK = Path("work")
"""Of what is trained on and run; relative, since weights remember where they were written."""

MODELS = Path("models")
"""Of weights, one folder a kind; that version took a folder `structure` beside it for its own."""

TINY = {"channels": 8, "n_blocks": 1, "messages": 4, "n_angular": 2, "hidden": 8}
FIT = {"epochs": 2, "batch_size": 16}

FINISHED: dict[str, Any] = {
    "name": "finished",
    "targets": {
        "bulk_modulus_vrh": {"min": 200},
        "shear_modulus_vrh": {"min": 100},
        "energy_above_hull": {"max": 0.1},
        "density": {"minimise": True, "weight": 0.2},
    },
    "constraints": {"elements": {"only": ["W", "Ti", "C", "N"]}, "n_atoms": {"max": 4}},
    "seed_structures": ["WC.cif"],
    "verify": {"reuse": False, "phonons": False},
    "budget": {"verifications": 4},
    "seed": 7,
}
"""Judges of record: a finished run with hits, what the referee says, and a seed."""

KILLED: dict[str, Any] = {
    "name": "killed",
    "targets": {"yield_strength": {"min": 500}, "bulk_modulus_vrh": {"min": 50}},
    "constraints": {"elements": {"only": ["Fe", "Ni", "Cr", "C"]}, "n_atoms": {"max": 4}},
    "surrogates": ["table"],
    "verify": {"potential": "tests.stand_in_potential:pairwise", "reuse": False, "phonons": False},
    "budget": {"verifications": 2},
    "seed": 5,
}
"""A potential and a property of the user's: one step done, and the process gone in the middle of the next."""


def write_table(path: Path) -> None:
    """Write forty steels whose strength grows with carbon and nickel."""
    draw = np.random.default_rng(3)
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["formula", "yield_strength"])
        for _ in range(40):
            c, ni, cr = draw.uniform(0.001, 0.02), draw.uniform(0, 0.2), draw.uniform(0, 0.15)
            value = 300 + 40_000 * c + 2_000 * ni + 500 * cr + draw.normal(0, 20)
            rows.writerow([f"Fe{1 - c - ni - cr:.5f}C{c:.5f}Ni{ni:.5f}Cr{cr:.5f}", f"{value:.1f}"])


def rock_salts() -> list[tuple[str, Structure]]:
    """Return primitive rock-salt cells of eight metals with C and N, two volumes each."""
    draw, found = np.random.default_rng(1), []
    for metal in ("Ti", "V", "Cr", "W", "Al", "Mo", "Nb", "Ta"):
        for other in ("C", "N"):
            for twin in range(2):
                half = float(draw.uniform(3.8, 5.2)) / 2
                lattice = Lattice(half * (np.ones((3, 3)) - np.eye(3)))
                found.append(
                    (f"{metal}{other}{twin}", Structure(lattice, [metal, other], [[0] * 3, [0.5] * 3]))
                )
    return found


def rows() -> list[dict[str, Any]]:
    """Return the rock salts as rows of the structure tables: K and G fall with the volume."""
    found = []
    for k, (name, cell) in enumerate(rock_salts()):
        stiff = 300 * (10.0 / (cell.volume / 2)) ** 1.5
        found.append(
            {
                "id": name,
                "formula": cell.reduced_formula,
                "source": "mp_matbench_match",
                "file": "mp_structures",
                "lattice": cell.lattice.matrix.tolist(),
                "species": [site.specie.symbol for site in cell],
                "frac_coords": cell.frac_coords.tolist(),
                "bulk_modulus_vrh": stiff,
                "shear_modulus_vrh": 0.5 * stiff,
                "bulk_modulus_eos": None,
                "label": "",
                "formation_energy_per_atom": -1.0 + 0.02 * k,
            }
        )
    return found


def formula_values() -> Any:
    """Return a table of formulas whose values follow from the amounts."""
    from surrogates.datasets.tables import formula_table

    values: dict[str, dict[str, float]] = {}
    for metal in ("Ti", "V", "Cr", "Nb", "Mo", "Hf", "Ta", "W", "Al", "Fe"):
        for other in ("C", "N", "O", "B"):
            for n, m in ((1, 1), (2, 1), (1, 2), (3, 2), (2, 3), (3, 1)):
                formula, x = f"{metal}{n}{other}{m}", m / (n + m)
                for name, value in (
                    ("formation_energy_per_atom", -2 * x * (1 - x)),
                    ("volume_per_atom", 16 - 6 * x),
                    ("band_gap", max(0.0, 4 * x - 2)),
                    ("bulk_modulus_vrh", 150 + 200 * x),
                    ("shear_modulus_vrh", 80 + 100 * x),
                ):
                    values.setdefault(name, {})[formula] = value
    return formula_table([("mp", name, own) for name, own in values.items()])


def write_models() -> None:
    """Train one small model of each kind that `inverse train` knew."""
    from inverse.training import train

    write_table(WORK / "steels.csv")
    table = {"kind": "table", "data": str(WORK / "steels.csv"), "value": "yield_strength", "unit": "MPa"}
    train(table, MODELS / "table")
    (WORK / "cifs").mkdir()
    lines = ["file,hardness"]
    for name, cell in rock_salts():
        cell.to(str(WORK / "cifs" / f"{name}.cif"), fmt="cif")
        lines.append(f"{name},{2000 / cell.volume:.3f}")
    (WORK / "values.csv").write_text("\n".join(lines) + "\n")
    own = {"kind": "table", "data": str(WORK / "values.csv"), "structures": str(WORK / "cifs")}
    train({**own, "value": "hardness", "unit": "GPa"}, MODELS / "table_of_structures")
    with (
        patch("surrogates.training.elasticity_rows", rows),
        patch("surrogates.energy_training.energy_rows", lambda *_: rows()),
        patch("surrogates.new_crystals.held_rows", list),
    ):
        moduli = {"kind": "structure", "n_folds": 2, "n_disturbed": 1, "network": TINY, "fit": FIT}
        energy = {"n_members": 1, "copies": [[-0.03, 0.03, 0.05]], "network": TINY, "fit": FIT}
        train({**moduli, "energy": energy}, MODELS / "structure")
    (WORK / "tables").mkdir()
    with patch("surrogates.models.composition_fit.read_formula_tables", lambda folder: formula_values()):
        networks = {"members": 1, "steps": 20, "batch": 32, "width": 8, "trunk": 12}
        config = {"kind": "composition", "data": str(WORK), **networks}
        train({**config, "energy": {**networks, "fractions": 6}}, MODELS / "composition")
    for model in MODELS.iterdir():
        shutil.rmtree(model / "work", ignore_errors=True)


def write_finished() -> None:
    """Run a campaign to its end, ask the referee, and pack its folder."""
    carbide = Structure(Lattice.hexagonal(2.91, 2.84), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
    carbide.to(str(WORK / "WC.cif"), fmt="cif")
    (WORK / "finished.yaml").write_text(yaml.safe_dump(FINISHED, sort_keys=False))
    run = inverse.run(WORK / "finished.yaml", Path("finished"))
    assert any(candidate.status.value == "hit" for candidate in run.candidates)
    inverse.referee_run(Path("finished"))
    pack(Path("finished"))


def write_killed() -> None:
    """Run a step, and a second one that ends with the process after its first verdict."""
    from inverse.cli import main

    shutil.copytree(MODELS / "table", WORK / "table")
    (WORK / "killed.yaml").write_text(yaml.safe_dump(KILLED, sort_keys=False))
    assert main(["run", str(WORK / "killed.yaml"), "--output", "killed"]) == 0
    ended = subprocess.run([sys.executable, __file__, "--die"])
    assert ended.returncode == 9
    pack(Path("killed"))


def pack(folder: Path) -> None:
    """Replace a run folder by an archive of it, a tenth of its size."""
    (folder / "report.html").unlink()
    with tarfile.open(folder.with_suffix(".tar.xz"), "w:xz") as archive:
        archive.add(folder, folder.name)
    shutil.rmtree(folder)


def die() -> None:
    """Go on with the run and leave as a killed process does, once one more verdict is on disk."""
    from inverse.storage import RunFolder

    write = RunFolder.write_verification

    def write_and_go(self: Any, *given: Any) -> None:
        write(self, *given)
        os._exit(9)

    RunFolder.write_verification = write_and_go  # type: ignore[method-assign]
    inverse.run(WORK / "killed.yaml", Path("killed"), resume=True, budget=5)


def write_interface() -> None:
    """Write what scripts and config files of that version count on, and what it answered."""
    from inverse.cli import app
    from typer.main import get_command

    salt = rock_salts()[0][1]
    judged = inverse.verify(salt, KILLED["verify"]["potential"], reuse=False)
    asked: dict[str, dict[str, Any]] = {
        "table": {"formulas": ["Fe0.9C0.02Ni0.08"]},
        "table_of_structures": {"structures": [salt]},
        "structure": {"structures": [salt]},
        "composition": {"formulas": ["WC", "Mo2N"]},
    }
    commands = get_command(app).commands  # type: ignore[attr-defined]
    record = {
        "functions": {
            name: [[p.name, p.kind.name, repr(p.default)] for p in inspect.signature(f).parameters.values()]
            for name, f in ((name, getattr(inverse, name)) for name in inverse.__all__)
        },
        "commands": {
            name: sorted(option for p in command.params for option in (*p.opts, *p.secondary_opts))
            for name, command in commands.items()
        },
        "keys": {
            "predict": [sorted(inverse.predict([salt], ["WC"])[k]) for k in (0, 1)],
            "verify": [sorted(judged[0])],
            "properties": [sorted(inverse.properties()[0])],
            "diagnose": [sorted(inverse.diagnose())],
        },
        "properties": sorted(found["name"] for found in inverse.properties()),
        "crystal": salt.as_dict(),
        "predictions": {name: inverse.predict(**given, model=MODELS / name) for name, given in asked.items()},
    }
    text = json.dumps(record, indent=1, sort_keys=True, default=str)
    Path("interface.json").write_text(text + "\n", encoding="utf-8")
    source = Path(inverse.__file__).parents[1]
    for kind, folder in (("configs", "inverse/configs"), ("training", "experiments/surrogates")):
        Path(kind).mkdir()
        for config in (source / folder).glob("*.yaml"):
            shutil.copy(config, Path(kind) / config.name)


def write_all() -> None:
    """Write everything into the working directory and see that it is small."""
    WORK.mkdir()
    write_models()
    write_finished()
    write_killed()
    shutil.rmtree(WORK)
    write_interface()
    size = sum(path.stat().st_size for path in Path().rglob("*") if path.is_file())
    assert size < KEPT, size


if __name__ == "__main__":
    if sys.argv[1] == "--die":
        die()
    else:
        Path(sys.argv[1]).mkdir()
        os.chdir(sys.argv[1])
        write_all()
