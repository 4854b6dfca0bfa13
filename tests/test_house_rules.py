"""The architecture, enforced: import direction, cycles, print, work at import, vague names."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("surrogates", "inverse")
ROOMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "surrogates": (
        ("errors",),
        ("settings",),
        ("platform",),
        ("physics",),
        ("crystals",),
        ("protocol",),
        ("checkpoints",),
        ("derived",),
        ("features",),
        ("datasets",),
        ("models",),
        ("tiers",),
        ("training",),
    ),
    "inverse": (
        ("candidates",),
        ("inputs",),
        ("decoders", "reference", "potentials"),
        ("prediction",),
        ("proposers", "verification"),
        ("campaign",),
        ("report",),
        ("benchmarks",),
        ("assembly",),
        ("commands",),
    ),
}
"""What stands at the top of each package, in one order: each imports only what stands before it."""

OPEN_TO_INVERSE = (
    "surrogates.errors",
    "surrogates.protocol",
    "surrogates.derived",
    "surrogates.platform",
    "surrogates.physics",
    "surrogates.crystals",
    "surrogates.checkpoints.architecture",
    "surrogates.checkpoints.checkpoint",
    "surrogates.checkpoints.of_table",
    "surrogates.checkpoints.trial",
    "surrogates.tiers.spread",
)
"""What design may know of the surrogates; how they are made and trained is their own affair."""

A_MODULUS = re.compile(r"bulk_modulus|shear_modulus|\b[KG]_VRH\b|\bBULK|\bSHEAR")
"""A name of the bulk or the shear modulus."""

MAY_NAME_A_MODULUS = {
    "inverse.benchmarks.bookkeeping": "a stand-in campaign needs some target",
    "inverse.benchmarks.constraints": "a stand-in campaign needs some target",
    "inverse.benchmarks.dft_rows": "DFT rows of record of K and G, with their columns",
    "inverse.benchmarks.held_out": "errors of K and G, the subject of the benchmark",
    "inverse.benchmarks.surrogates": "errors of K and G and their bars, the subject of the benchmark",
    "inverse.benchmarks.verification.elasticity": "tensors against relaxed strained cells: K and G",
    "inverse.benchmarks.verification.known_materials": "K of the literature of seven crystals",
    "inverse.benchmarks.verification.scale": "bars that the calibrations of K and G must meet",
    "inverse.benchmarks.verification.speed": "tensors against another program's: K and G",
    "inverse.candidates.elastic_constants": "names of what follows from a tensor, in files",
    "inverse.commands.cli": "an example in a help text",
    "inverse.decoders.element_features": "K of the elements, a feature of mendeleev's",
    "inverse.decoders.training_data": "file names and columns of the tables of moduli",
    "inverse.potentials.symmetric_cell": "elasticity: the factor of shear strains",
    "inverse.proposers.baselines.lookup": "looks up the carried moduli of DFT",
    "inverse.proposers.baselines.orderings": "mixes the carried moduli of DFT",
    "inverse.reference.facts": "the record of the carried moduli of DFT, with its columns",
    "inverse.verification.first_principles.bulk_modulus": "K by an equation of state",
    "inverse.verification.first_principles.candidate": "which calculation gives which property",
    "inverse.verification.first_principles.crystal": "which calculation gives which property",
    "inverse.verification.first_principles.plan": "elasticity: calculations of an equation of state",
    "inverse.verification.judge": "elasticity: the verdict that holds a tensor",
    "inverse.verification.mechanics.elastic_summary": "elasticity: averages and what follows from them",
    "inverse.verification.mechanics.stiffness": "elasticity: the tensor",
    "inverse.verification.mechanics.weak_ground": "where potentials are known to be wrong about G",
    "surrogates.datasets.elasticity": "DFT rows of K and G, with their columns",
    "surrogates.datasets.reference_set": "columns of the reference set",
    "surrogates.datasets.tables": "columns of the tables of moduli",
    "surrogates.physics.elasticity": "elasticity: averages of a tensor",
    "surrogates.physics.properties": "names the records of properties",
    "surrogates.physics.properties.elastic": "the records of the elastic properties",
}
"""Module -> why it may name K or G; all else goes by property. Examples in docstrings do not count."""

MEANT_APART = {
    "AT_ONCE": "what fits into memory: rows of training, formulas of a survey",
    "CHUNK": "what is handled at once: rows of a file, orbits",
    "Column": "surrogates and inverse each read tables of their own",
    "DIGITS": "of a file that is shown, of a fingerprint that is compared",
    "FORMAT_VERSION": "of weights, of manifests: they change apart",
    "LEAST_SHARE": "of weights in a mean, of spread: limits of two divisions",
    "LET_PASS": "the calculation server runs by itself, in another interpreter",
    "MAX_ATOMS": "what a decoder writes, what it was trained on: the second may be less",
    "N_SAMPLES": "draws of two tiers",
    "POTENTIAL": "each benchmark says with which potential it runs",
    "PRERELAX_BY": "each benchmark says with which potential it runs",
    "REFEREE": "the role in a panel, the column of a file of readings",
    "Record": "a type variable",
    "SHAPES": "each search's own number",
    "SYMPREC": "tolerance of a decoder's symmetry, of a primitive cell",
    "T": "a type variable",
}
"""Public name of equal values in several modules -> why these are several and not one."""

FORBIDDEN_NAMES = {"utils", "util", "common", "misc", "helpers", "core"}
MAY_PRINT: set[str] = set()

PLAYER = (
    "inverse.proposers",
    "inverse.decoders",
    "inverse.prediction",
    "surrogates.checkpoints.checkpoint",
    "surrogates.checkpoints.of_table",
    "surrogates.models",
    "surrogates.tiers",
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


def room_of(module: str) -> tuple[str, int]:
    """Return the package of a module and the place of its room in the order; -1 for what stands above it."""
    top, *rest = module.split(".")
    places = [k for k, rooms in enumerate(ROOMS[top]) if rest and rest[0] in rooms]
    return top, places[0] if places else -1


@pytest.mark.parametrize("module", MODULES)
def test_each_room_imports_only_what_stands_before_it(module: str) -> None:
    """experiments -> inverse -> surrogates and never back; in each the rooms stand in one order."""
    top, place = room_of(module)
    own = module.split(".")[:2]
    for imported in imports(module):
        assert imported.split(".")[0] != "experiments", f"{module} imports {imported}"
        if imported.split(".")[0] != top:
            assert top == "inverse", f"{module} imports {imported}"
            is_open = is_of(imported, OPEN_TO_INVERSE)
            is_rows = module == "inverse.benchmarks.dft_rows" and is_of(imported, ("surrogates.datasets",))
            assert is_open or is_rows or module == "inverse.assembly", f"{module} imports {imported}"
        elif place >= 0 and imported.split(".")[:2] != own:
            assert -1 < room_of(imported)[1] < place, f"{module} imports {imported}"


@pytest.mark.parametrize("top", PACKAGES)
def test_few_names_at_the_top_each_with_its_place(top: str) -> None:
    named = {module.split(".")[1] for module in MODULES if module.startswith(f"{top}.")} - {"__main__"}
    placed = [name for rooms in ROOMS[top] for name in rooms]
    assert named == set(placed)
    assert len(placed) <= 13


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
    """Imports form a directed acyclic graph, those inside functions included, between files and packages."""
    assert knots(graph()) == set()
    assert knots(graph(package_of)) == set()


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

    judge = reached(("inverse.verification", "inverse.potentials"))
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


def named_in(tree: ast.Module) -> set[str]:
    """Return the names and texts that code goes by: all but its docstrings and comments."""
    with_body = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, with_body)]
    prose = {id(one.value) for body in bodies for one in body if isinstance(one, ast.Expr)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            found.add(node.value)
        elif isinstance(node, ast.Name | ast.Attribute):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
        elif isinstance(node, ast.alias | ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            found.add(node.arg)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_properties_are_data(module: str) -> None:
    """No module names the bulk or the shear modulus but those that are about them, each with its reason."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    named = sorted(name for name in named_in(tree) if A_MODULUS.search(name))
    if module in MAY_NAME_A_MODULUS:
        assert named, f"{module} names none any more: take it off the list"
    else:
        assert not named, f"{module} names {named}: go by property, or say in MAY_NAME_A_MODULUS why not"


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("a = values['bulk_modulus_vrh']", True),
        ("from surrogates.physics.properties import SHEAR_MODULUS", True),
        ("def f(shear_modulus):\n    return shear_modulus", True),
        ("symbol = 'K_VRH'", True),
        ("def f():\n    'bulk_modulus_vrh, say'", False),
        ("x = 1\n'In the unit of bulk_modulus_vrh.'\n# G_VRH", False),
        ("unit = prop.unit", False),
    ],
)
def test_a_modulus_is_seen_in_code_and_not_in_prose(text: str, is_named: bool) -> None:
    assert any(A_MODULUS.search(name) for name in named_in(ast.parse(text))) == is_named


def constants(module: str) -> dict[str, str]:
    """Return the public constants of a module: name -> source of the value."""
    found = {}
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        named = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(named, ast.Name) and value is not None:
            found[named.id] = ast.unparse(value)
        elif isinstance(named, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = zip(named.elts, value.elts, strict=True)
            found |= {ast.unparse(own): ast.unparse(its) for own, its in pairs}
    return {name: value for name, value in found.items() if name[0] != "_" and name != "LOGGER"}


def test_what_means_the_same_is_defined_once() -> None:
    """A constant of one name and one value in two modules is imported, or `MEANT_APART` says why not.

    Constants of one name and unequal values are each module's own; so are the commands, which are named as
    the functions of the Python API that they call.
    """
    where: dict[tuple[str, str], list[str]] = {}
    for module in MODULES:
        for pair in constants(module).items():
            where.setdefault(pair, []).append(module)
    twice = {name: modules for (name, _), modules in where.items() if len(modules) > 1}
    assert {name: modules for name, modules in twice.items() if name not in MEANT_APART} == {}
    assert sorted(MEANT_APART) == sorted(twice), "take off the list what is defined once by now"


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
    """Tracked files hold no pickle and stay under 28 MB."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=True
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed if name and (ROOT / name).exists()]
    assert not [f for f in files if f.suffix in {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib"}]
    assert sum(f.stat().st_size for f in files) < 28e6
