"""The architecture, enforced: import direction, cycles, print, work at import, vague names."""

import ast
import subprocess
import sys
from pathlib import Path

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
}
FORBIDDEN_NAMES = {"utils", "util", "common", "misc", "helpers", "core"}
MAY_PRINT: set[str] = set()


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


def test_no_import_cycles() -> None:
    """Top-level imports form a directed acyclic graph."""
    graph = {module: imports(module, top_level_only=True) & MODULES.keys() for module in MODULES}
    state: dict[str, int] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        if state.get(module) == 2:
            return
        assert state.get(module) != 1, " -> ".join((*path, module))
        state[module] = 1
        for imported in graph[module]:
            if imported != module:
                visit(imported, (*path, module))
        state[module] = 2

    for module in MODULES:
        visit(module, ())


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
