"""How much a reader jumps between files: climbs and returns of the first calls; conversions of one crystal.

    python -m experiments.studies.call_paths run          # a config until its campaign proposes
    python -m experiments.studies.call_paths report       # a finished run until its page is written
    python -m experiments.studies.call_paths verify       # a structure file until its record
    python -m experiments.studies.call_paths conversions  # of one crystal, verified in this process

A file stands as high as the longest chain of imports below it. A climb is a call in a higher file than the
one before, a return a call in a file that was left before. What runs while a module is imported does not
count, nor do lambdas and comprehensions. The counts are of the package that is imported: those of another
version with that one first on the path and this file run by its name.
"""

import argparse
import ast
import json
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Any

import networkx as nx
from pymatgen.core import Lattice, Structure

import inverse

ROOT = Path(inverse.__file__).resolve().parents[1]
CALLS = 400
"""Calls of functions in the packages that are looked at."""

POTENTIAL = "ase.calculators.emt:EMT"

CONVERSIONS = (
    *("from_structure", "from_structures", "to_structure", "to_structures"),
    *("structure_to_record", "structure_from_record", "canonical_structure", "get_atoms", "get_structure"),
    *("verification_from_record", "_verification_record", "verification_to_record"),
)
"""Names of the functions that make one form of a crystal, or of a verdict, out of another."""


class _Enough(BaseException):
    """The calls are counted."""


def main() -> None:
    """Print what is asked for as JSON."""
    options = argparse.ArgumentParser()
    options.add_argument("path", choices=["run", "report", "verify", "conversions"])
    path = options.parse_args().path
    with TemporaryDirectory() as folder:
        found = conversions(Path(folder)) if path == "conversions" else travels(path, Path(folder))
    sys.stdout.write(json.dumps({"path": path, **found}, indent=1) + "\n")


def travels(path: str, folder: Path) -> dict[str, Any]:
    """Return files, climbs and returns of the first calls on a path."""
    places = traced(prepared(path, folder))
    ranks = heights()
    stays = [place for k, place in enumerate(places) if k == 0 or places[k - 1] != place]
    pairs = list(pairwise(stays))
    return {
        "calls": len(places),
        "files": len(set(stays)),
        "climbs": sum(ranks.get(b, 0) > ranks.get(a, 0) for a, b in pairs),
        "returns": sum(place in stays[:k] for k, place in enumerate(stays)),
    }


def prepared(path: str, folder: Path) -> Callable[[], object]:
    """Return the call that is followed; what it starts from is made here."""
    crystal = folder / "cu3au.cif"
    Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.75), ["Au", "Cu"], [[0, 0, 0], [0.5, 0.5, 0]]).to(
        str(crystal)
    )
    config = {
        "targets": {"bulk_modulus_vrh": {"min": 100}},
        "constraints": {"elements": {"only": ["Cu", "Au", "Al"]}},
        "search": {"method": "random"},
        "verify": {"potential": POTENTIAL},
        "budget": {"verifications": 2},
    }
    if path == "run":
        return lambda: inverse.run(config, folder / "run")
    if path == "verify":
        return lambda: inverse.verify(crystal, potential=POTENTIAL)
    inverse.run(config, folder / "run")
    return lambda: inverse.build_report(folder / "run")


def traced(call: Callable[[], object]) -> list[Path]:
    """Return the files of the first calls of functions of the packages, in order."""
    places: list[Path] = []
    importing = 0

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal importing
        if frame.f_code.co_name == "<module>":
            importing += {"call": 1, "return": -1}.get(event, 0)
        elif event != "call" or importing or frame.f_code.co_name.startswith("<"):
            return
        elif (place := _place(frame.f_code)) is not None:
            places.append(place)
            if len(places) == CALLS:
                raise _Enough

    sys.setprofile(watch)
    try:
        call()
    except _Enough:
        pass
    finally:
        sys.setprofile(None)
    return places


def _place(code: CodeType) -> Path | None:
    path = Path(code.co_filename)
    is_ours = path.is_relative_to(ROOT / "inverse") or path.is_relative_to(ROOT / "surrogates")
    return path if is_ours else None


def heights() -> dict[Path, int]:
    """Return the longest chain of imports below each file, those inside functions included."""
    files = {
        ".".join(part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"): path
        for top in ("inverse", "surrogates")
        for path in (ROOT / top).rglob("*.py")
    }
    imports = nx.DiGraph()
    imports.add_nodes_from(files)
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                found = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            imports.add_edges_from((name, other) for other in found if other in files and other != name)
    knots = nx.condensation(imports)
    rank: dict[int, int] = {}
    for knot in reversed(list(nx.topological_sort(knots))):
        rank[knot] = max((rank[below] + 1 for below in knots.successors(knot)), default=0)
    return {files[name]: rank[knots.graph["mapping"][name]] for name in files}


def conversions(folder: Path) -> dict[str, Any]:
    """Return how often each conversion ran for one crystal that `inverse verify` verified, by name."""
    call = prepared("verify", folder)
    call()  # what is read once in a process is read
    found: Counter[str] = Counter()

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name in CONVERSIONS:
            found[f"{frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name})"] += 1

    sys.setprofile(watch)
    try:
        inverse.verify(folder / "cu3au.cif", potential=POTENTIAL, reuse=False)
    finally:
        sys.setprofile(None)
    return {"conversions": sum(found.values()), "of": dict(found.most_common())}


if __name__ == "__main__":
    main()
