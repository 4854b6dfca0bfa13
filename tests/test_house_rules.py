"""The architecture, enforced: import direction, cycles, print, work at import, vague names."""

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("surrogates", "inverse")
OPEN_TO_INVERSE = {
    "protocol",
    "crystal",
    "periodic_table",
    "formulas",
    "typed_formulas",
    "symmetry",
    "properties",
    "units",
    "errors",
    "elasticity",
    "derived",
    "spread",
    "neighbors",
    "checkpoint",
    "whole_files",
    "devices",
    "process_settings",
}
FORBIDDEN_NAMES = {"utils", "util", "common", "misc", "helpers", "core"}
MAY_PRINT: set[str] = set()

LAZY_KNOTS: set[frozenset[str]] = set()
"""Modules that import each other from inside functions."""

PACKAGE_KNOTS = {
    # debt: what a network sees (graph, ragged rows) has no package of its own yet
    frozenset({"surrogates.datasets", "surrogates.models"}),
}
"""Packages, and modules in none, that import each other."""

PLAYER = (
    "inverse.proposers",
    "inverse.decoders",
    "inverse.evaluation",
    "inverse.prediction",
    "inverse.completion",
    "inverse.correction",
    "surrogates.checkpoint",
    "surrogates.models",
    "surrogates.ensemble",
    "surrogates.stack",
)
"""What proposes, predicts or opens our weights."""


def modules() -> dict[str, Path]:
    """Return dotted module name -> file."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(module: str, top_level_only: bool = False) -> set[str]:
    """Return the project's modules that a module imports (anywhere, or when it is imported)."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    if top_level_only:
        lazy = {
            id(inner)
            for node in nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
            for inner in ast.walk(node)
        }
        nodes = [node for node in nodes if id(node) not in lazy]
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {
                f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in MODULES else node.module
                for alias in node.names
            }
    return {name for name in names if name.split(".")[0] in {*PACKAGES, "experiments"}}


@pytest.mark.parametrize("module", MODULES)
def test_import_direction(module: str) -> None:
    """experiments -> inverse -> surrogates and never back; only the open part of surrogates is seen."""
    for imported in imports(module):
        top = imported.split(".")[0]
        assert top != "experiments", f"{module} imports {imported}"
        if module.startswith("surrogates"):
            assert top == "surrogates", f"{module} imports {imported}"
        elif top == "surrogates" and module != "inverse.assembly":
            part = imported.split(".")[1:2]
            seen = OPEN_TO_INVERSE | ({"datasets"} if module == "inverse.benchmarks.dft_rows" else set())
            assert not part or part[0] in seen, f"{module} imports {imported}"
        if module.startswith("inverse.verification"):
            assert not imported.startswith(("inverse.decoders", "inverse.proposers")), (
                f"{module} imports {imported}"
            )


@pytest.mark.parametrize("module", MODULES)
def test_siblings_do_not_import_each_other(module: str) -> None:
    """Decoders, proposers and verification meet in the campaign only, but for protocols."""
    siblings = ("decoders", "proposers", "verification")
    own = next((s for s in siblings if module.startswith(f"inverse.{s}")), None)
    for imported in imports(module):
        for sibling in siblings:
            if own and sibling != own and imported.startswith(f"inverse.{sibling}"):
                assert imported == f"inverse.{sibling}.protocol", f"{module} imports {imported}"


def package_of(module: str) -> str:
    """Return the package below the top that holds a module; the module itself where none does."""
    package = ".".join(module.split(".")[:2])
    return package if package in MODULES and MODULES[package].name == "__init__.py" else module


def graph(part_of: Callable[[str], str] = str, top_level_only: bool = False) -> nx.DiGraph:
    """Return who imports whom, inside functions too, as modules or as the parts they belong to."""
    edges = (
        (part_of(module), part_of(imported))
        for module in MODULES
        for imported in imports(module, top_level_only) & MODULES.keys()
    )
    return nx.DiGraph((one, other) for one, other in edges if one != other)


def knots(found: nx.DiGraph) -> set[frozenset[str]]:
    """Return the groups of parts that import each other, directly or by way of others."""
    return {frozenset(knot) for knot in nx.strongly_connected_components(found) if len(knot) > 1}


def test_no_import_cycles() -> None:
    """Imports form a directed acyclic graph, those inside functions included, between files and packages.

    What is left is named in LAZY_KNOTS and PACKAGE_KNOTS; a knot that was opened must leave them.
    """
    assert knots(graph(top_level_only=True)) == set()
    assert knots(graph()) == LAZY_KNOTS
    assert knots(graph(package_of)) == PACKAGE_KNOTS


def test_a_knot_is_found_wherever_the_import_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sources = {
        "inverse.a": "def f():\n    from inverse.b import g\n",
        "inverse.b": "from inverse import c\n",
        "inverse.c": "import inverse.a\n",
        "inverse.d": "from inverse.a import f\n",
    }
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setitem(globals(), "MODULES", {name: tmp_path / name for name in sources})
    assert knots(graph()) == {frozenset({"inverse.a", "inverse.b", "inverse.c"})}
    assert knots(graph(top_level_only=True)) == set()


def test_the_judge_shares_nothing_with_the_player() -> None:
    """Nothing that verification imports, at however many removes, opens our weights or proposes; nor back."""
    found = graph()

    def reached(starts: tuple[str, ...]) -> set[str]:
        own = {module for module in MODULES if is_of(module, starts)}
        return own.union(*(nx.descendants(found, module) for module in own if module in found))

    judge = reached(("inverse.verification",))
    assert len(judge) > 50
    assert {module for module in judge if is_of(module, PLAYER)} == set()
    assert {module for module in reached(PLAYER) if is_of(module, ("inverse.verification",))} == set()


def is_of(module: str, names: tuple[str, ...]) -> bool:
    """Return whether a module is one of these or lies below one."""
    return any(module == name or module.startswith(f"{name}.") for name in names)


@pytest.mark.parametrize("module", MODULES)
def test_no_print_and_no_vague_name(module: str) -> None:
    """Nothing prints; no module is a drawer."""
    assert not FORBIDDEN_NAMES & set(module.split(".")), module
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    calls = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not calls or module in MAY_PRINT, f"{module} prints at lines {calls}"


@pytest.mark.parametrize("module", MODULES)
def test_user_input_is_not_asserted(module: str) -> None:
    """`assert` vanishes under -O; errors are named."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    lines = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not lines, f"{module} asserts at lines {lines}"


def test_importing_does_nothing(tmp_path: Path) -> None:
    """Importing every module prints nothing, writes nothing, seeds nothing and reads no argument."""
    names = sorted(MODULES)
    code = (
        "import sys, random, importlib, rich.console  # rich draws a random number of its own\n"
        "state = random.getstate()\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "sys.exit(0 if random.getstate() == state else 3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_no_pickles_and_small_repository() -> None:
    """Tracked files hold no pickle and stay under 20 MB."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=True
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed if name and (ROOT / name).exists()]
    assert not [f for f in files if f.suffix in {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib"}]
    assert sum(f.stat().st_size for f in files) < 20e6
