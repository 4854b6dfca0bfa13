"""How many small faults in the search loop do the tests notice?

    python -m experiments.studies.mutants --seed 1 -n 50

Copies the tree to a temporary folder and, one after another, changes one expression or statement in the
loop's modules: a comparison, a sign, a number, a condition, a returned value, a dropped statement, swapped
arguments. Then it runs the tests of that module until the first fails. A mutant is killed when a test fails
or takes far longer than without it. Not mutated: what only logs, annotates or words an error, decorators, and
the named numbers of a module (measured choices: 2,401 is no fault where 2,400 stands). Prints a line for
each mutant and the share killed; the tests must pass unchanged first.

    python -m experiments.studies.mutants --seed 1 -n 50 --verdicts seed1.jsonl

writes each verdict down as it falls and, run again, goes on where it was interrupted: a mutant that has a
verdict is not tried again, while its module stands as it stood. `--again` tries those that survived.
"""

import argparse
import ast
import hashlib
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]

_INTEGRATION = "tests/integration"
_CAMPAIGN = f"{_INTEGRATION}/test_campaign.py"
_STATE = f"{_INTEGRATION}/test_campaign_state.py"
_WAITING = f"{_INTEGRATION}/test_waiting.py"
_PHONONS = f"{_INTEGRATION}/test_phonons_of_the_best.py"
_CONTRACT = "tests/contracts/test_proposer_contract.py"
_PROPOSERS = "tests/inverse/proposers"
_SELECTION = "tests/inverse/campaign/test_selection.py"
_TABLE = "tests/inverse/campaign/test_candidate_table.py"
_REFERENCE = "tests/inverse/reference"
_OF_BASELINES = f"{_PROPOSERS}/baselines"
_BASELINES = (f"{_PROPOSERS}/test_baseline_numbers.py", f"{_PROPOSERS}/test_baselines.py")

TESTS: dict[str, tuple[str, ...]] = {
    "inverse/campaign/campaign.py": (
        "tests/inverse/campaign/test_campaign.py",
        _STATE,
        _WAITING,
        _CAMPAIGN,
        f"{_INTEGRATION}/test_phonons_of_the_best.py",
    ),
    "inverse/campaign/selection.py": (_SELECTION, _WAITING, _CAMPAIGN),
    "inverse/campaign/choice.py": ("tests/inverse/campaign/test_choice.py", _SELECTION),
    "inverse/candidates/ranking.py": ("tests/inverse/candidates/test_ranking.py", _TABLE, _STATE),
    "inverse/prediction/correction.py": ("tests/inverse/prediction/test_correction.py", _SELECTION),
    "inverse/prediction/evaluation.py": (
        "tests/inverse/prediction/test_evaluation.py",
        f"{_REFERENCE}/test_known_energies.py",
    ),
    "inverse/proposers/baselines/baselines.py": _BASELINES,
    "inverse/proposers/baselines/assigned_types.py": (f"{_OF_BASELINES}/test_assigned_types.py",),
    "inverse/proposers/baselines/known_phases.py": (
        f"{_OF_BASELINES}/test_lookup.py",
        f"{_OF_BASELINES}/test_assigned_types.py",
        *_BASELINES,
    ),
    "inverse/proposers/baselines/lookup.py": (f"{_OF_BASELINES}/test_lookup.py", *_BASELINES),
    "inverse/proposers/baselines/orderings.py": (f"{_OF_BASELINES}/test_orderings.py", *_BASELINES),
    "inverse/proposers/baselines/ordered_cells.py": (
        f"{_OF_BASELINES}/test_ordered_cells.py",
        *_BASELINES,
    ),
    "inverse/proposers/distinct.py": (f"{_PROPOSERS}/test_distinct.py",),
    "inverse/proposers": (_PROPOSERS, _CONTRACT),
    "inverse/prediction/worth.py": ("tests/inverse/campaign/test_choice.py", _SELECTION),
    "inverse/reference/structure_types.py": (_PROPOSERS, _CONTRACT),
    "inverse/reference/divided_types.py": (
        f"{_REFERENCE}/test_divided_types.py",
        _PROPOSERS,
        _CONTRACT,
    ),
    "inverse/reference/geometries.py": (f"{_REFERENCE}/test_geometries.py", _PROPOSERS, _CONTRACT),
}
"""Module, or folder of the modules not named -> the files and folders of their tests, the quickest first."""

SLOW = (
    "not killed_and_resumed and not signals_end"
    " and not planted_optimum and not tpe_climbs and not random_draws_do_worse"
    " and not everybody_knows_comes_first"
)
"""Tests of whole processes and long searches are left out (pytest's -k): they take as long as all others."""

PRELOADED = ("torch", "pymatgen.core", "pymatgen.io.cif", "spglib", "ase.db", "optuna", "scipy")
"""Imported once, before a process is forked for each mutant."""

PATIENCE = 3.0
"""Times the CPU seconds of the unchanged tests after which a mutant counts as hanging, which is noticed."""

PATIENCE_BY_THE_CLOCK = 10.0
"""The same by the clock, for one that waits: the machine may be busy with something else."""

SYMMETRIC = ("max", "min", "gcd", "math.gcd", "math.hypot")
"""Functions whose arguments may be swapped without any harm."""

_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: of the file, relative to the tree.
        line: where.
        before: what stood there, one line.
        after: what stands there now, one line.
        text: the whole file.
    """

    path: str
    line: int
    before: str
    after: str
    text: str

    @property
    def key(self) -> str:
        """What tells it from every other, whatever else is changed: path and a digest of the whole file."""
        return f"{self.path}:{hashlib.sha256(self.text.encode()).hexdigest()[:16]}"


class Verdicts:
    """How mutants fared, kept in a file of JSON lines so that an interrupted run goes on."""

    def __init__(self, path: Path | None, is_again: bool = False):
        self._path = path
        self._found: dict[str, bool] = {}
        if path is not None and path.exists():
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            self._found = {line["key"]: line["killed"] for line in lines}
        if is_again:
            self._found = {key: killed for key, killed in self._found.items() if killed}

    def of(self, mutant: Mutant) -> bool | None:
        """Return whether a mutant was killed, None where it was not tried."""
        return self._found.get(mutant.key)

    def add(self, mutant: Mutant, is_killed: bool) -> None:
        """Write a verdict down."""
        self._found[mutant.key] = is_killed
        if self._path is not None:
            place = f"{mutant.path}:{mutant.line}"
            line = {"key": mutant.key, "killed": is_killed, "place": place}
            with self._path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line | {"before": mutant.before, "after": mutant.after}) + "\n")


def mutants_of(path: str, text: str) -> list[Mutant]:
    """Return every mutant of a file, in the order of its text."""
    tree = ast.parse(text)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.expr | ast.stmt) and not _is_out(node, parents):
            for changed in _changes(node):
                found.append(_mutant(path, text, node, changed))
    return sorted(found, key=lambda m: (m.line, m.before, m.after))


def _is_out(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Return whether a node only annotates, documents, logs or words an error."""
    child, parent = node, parents.get(node)
    while parent is not None:
        in_annotation = isinstance(parent, ast.arg | ast.AnnAssign) and child is parent.annotation
        in_signature = isinstance(parent, ast.FunctionDef) and child is parent.returns
        in_decorator = isinstance(parent, ast.FunctionDef | ast.ClassDef) and child in parent.decorator_list
        in_named = isinstance(parent, ast.Module) and isinstance(child, ast.Assign | ast.AnnAssign)
        in_words = isinstance(parent, ast.Raise | ast.JoinedStr)
        if in_annotation or in_signature or in_decorator or in_named or in_words:
            return True
        child, parent = parent, parents.get(parent)
        if isinstance(child, ast.Expr) and "LOGGER" in ast.dump(child):
            return True
    return isinstance(node, ast.Expr) and (isinstance(node.value, ast.Constant) or "LOGGER" in ast.dump(node))


def _changes(node: ast.AST) -> Iterator[str]:
    """Yield what may stand in place of a node."""
    if isinstance(node, ast.Compare):
        for k, operator in enumerate(node.ops):
            operators = [*node.ops[:k], _SWAPPED[type(operator)](), *node.ops[k + 1 :]]
            yield ast.unparse(ast.Compare(node.left, operators, node.comparators))  # type: ignore[arg-type]
    elif isinstance(node, ast.BinOp) and type(node.op) in _SWAPPED:
        yield f"({ast.unparse(ast.BinOp(node.left, _SWAPPED[type(node.op)](), node.right))})"  # type: ignore[arg-type]
    elif isinstance(node, ast.BoolOp):
        yield f"({ast.unparse(ast.BoolOp(_SWAPPED[type(node.op)](), node.values))})"  # type: ignore[arg-type]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node.value)
    elif isinstance(node, ast.IfExp):
        yield f"({ast.unparse(ast.IfExp(node.test, node.orelse, node.body))})"
    elif isinstance(node, ast.Call):
        starred = any(isinstance(a, ast.Starred) for a in node.args[:2])
        if len(node.args) > 1 and not starred and ast.unparse(node.func) not in SYMMETRIC:
            swapped = [node.args[1], node.args[0], *node.args[2:]]
            if ast.dump(node.args[0]) != ast.dump(node.args[1]):
                yield ast.unparse(ast.Call(node.func, swapped, node.keywords))
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "return None"
    elif isinstance(node, ast.Continue | ast.Break):
        yield "break" if isinstance(node, ast.Continue) else "continue"
    elif _is_droppable(node):
        yield "pass"


def _is_droppable(node: ast.AST) -> bool:
    """Return whether a statement can be left out without leaving a name undefined."""
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Attribute | ast.Subscript)
    return isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    )


def _other_constants(value: object) -> Iterator[str]:
    if isinstance(value, bool):
        yield str(not value)
    elif isinstance(value, int):
        yield str(value + 1)
    elif isinstance(value, float):
        yield str(value * 2 if value else 1.0)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _mutant(path: str, text: str, node: ast.expr | ast.stmt, changed: str) -> Mutant:
    lines = text.encode().splitlines(keepends=True)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    stop = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    whole = text.encode()
    mutated = (whole[:start] + changed.encode() + whole[stop:]).decode()
    return Mutant(path, node.lineno, _short(whole[start:stop].decode()), _short(changed), mutated)


def _short(text: str) -> str:
    return " ".join(text.split())[:90]


def modules() -> list[str]:
    """Return the paths of the loop's modules."""
    found: dict[str, None] = {}
    for name in TESTS:
        paths = [ROOT / name] if name.endswith(".py") else sorted((ROOT / name).rglob("*.py"))
        found.update((path.relative_to(ROOT).as_posix(), None) for path in paths)
    return list(found)


def tests_of(path: str) -> tuple[str, ...]:
    """Return what tests a module: files that import it first, else in the order of TESTS, each once.

    The baselines' tests test no other proposer.
    """
    listed = next(TESTS[place] for place in (path, *map(str, Path(path).parents)) if place in TESTS)
    found = []
    for name in listed:
        files = [ROOT / name] if name.endswith(".py") else sorted((ROOT / name).rglob("test_*.py"))
        found += [
            f.relative_to(ROOT).as_posix() for f in files if len(files) == 1 or f.stem != "test_baselines"
        ]
    imported = path.removesuffix(".py").replace("/", ".")
    existing = [name for name in dict.fromkeys(found) if (ROOT / name).exists()]
    return tuple(
        sorted(existing, key=lambda name: f"from {imported} import" not in (ROOT / name).read_text("utf-8"))
    )


def drawn(n: int, seed: int) -> list[Mutant]:
    """Return n mutants, drawn evenly from all that the loop's modules have."""
    every = [m for path in modules() for m in mutants_of(path, (ROOT / path).read_text(encoding="utf-8"))]
    chosen = random.Random(seed).sample(range(len(every)), min(n, len(every)))
    return [every[k] for k in sorted(chosen)]


@dataclass(frozen=True)
class Seconds:
    """What tests took, or may take: by the clock and of computing."""

    clock: float = float("inf")
    cpu: float = float("inf")


def run_tests(tree: Path, tests: tuple[str, ...], limit: Seconds = Seconds()) -> tuple[str, Seconds]:
    """Return "passed", "failed" or "hangs" of the tests in a tree, and the seconds taken; forks."""
    began = time.monotonic()
    child = os.fork()
    if not child:
        if limit.cpu < float("inf"):
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit.cpu),) * 2)
        _become_tests(tree, tests)
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        clock = time.monotonic() - began
        if not ended and clock > limit.clock:
            os.killpg(child, signal.SIGKILL)
            ended, status, used = os.wait4(child, 0)
        if ended:
            outcome = "hangs" if os.WIFSIGNALED(status) else "failed" if status else "passed"
            return outcome, Seconds(clock, used.ru_utime + used.ru_stime)
        time.sleep(0.05)


def _become_tests(tree: Path, tests: tuple[str, ...]) -> None:
    """Run the tests in this process, silent, in a group of its own, and leave it."""
    os.setpgid(0, 0)
    os.chdir(tree)
    silent = os.open(tree / "last_tests.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    os.environ["PYTHONPATH"] = str(tree)
    sys.path[:] = [str(tree), *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
    for name in [
        name for name in sys.modules if name.split(".")[0] in ("inverse", "surrogates", "experiments")
    ]:
        del sys.modules[name]
    import pytest

    code = 2
    try:
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-k", SLOW, "--no-header", *tests]))
    finally:
        sys.stdout.flush()
        os._exit(code)


def report(mutants: list[Mutant], tell: Callable[[str], object], verdicts: Verdicts | None = None) -> float:
    """Run the tests on every mutant that has no verdict and tell how each fared; return the share killed."""
    verdicts = verdicts or Verdicts(None)
    killed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        ignored = shutil.ignore_patterns(".git", "__pycache__", "runs", "*_cache", ".venv", ".store")
        shutil.copytree(ROOT, tree, ignore=ignored)
        limits: dict[frozenset[str], Seconds] = {}
        for number, mutant in enumerate(mutants, 1):
            is_killed, told = verdicts.of(mutant), "written down"
            if is_killed is None:
                tests = tests_of(mutant.path)
                if (files := frozenset(tests)) not in limits:
                    limits[files] = _limit(tree, tests, tell)
                is_killed, seconds = _tried(tree, mutant, tests, limits[files])
                verdicts.add(mutant, is_killed)
                told = f"{seconds:.0f} s"
            killed += is_killed
            verdict = "killed" if is_killed else "SURVIVED"
            place = f"{mutant.path}:{mutant.line}"
            tell(f"{number:3d} {verdict:8s} {place}: {mutant.before}  ->  {mutant.after}  ({told})")
    return killed / len(mutants)


def _limit(tree: Path, tests: tuple[str, ...], tell: Callable[[str], object]) -> Seconds:
    """Return the seconds after which tests hang, by those of the unchanged tree, in which they must pass."""
    outcome, seconds = run_tests(tree, tests)
    if outcome != "passed":
        tell((tree / "last_tests.txt").read_text()[-3000:])
        raise SystemExit(f"{', '.join(tests)}: fail without any mutant")
    return Seconds(PATIENCE_BY_THE_CLOCK * seconds.clock + 60.0, PATIENCE * seconds.cpu + 10.0)


def _tried(tree: Path, mutant: Mutant, tests: tuple[str, ...], limit: Seconds) -> tuple[bool, float]:
    """Return whether a mutant is killed in a tree, which is left as it was, and the seconds taken."""
    original = (tree / mutant.path).read_text(encoding="utf-8")
    (tree / mutant.path).write_text(mutant.text, encoding="utf-8")
    outcome, seconds = run_tests(tree, tests, limit)
    (tree / mutant.path).write_text(original, encoding="utf-8")
    return outcome != "passed", seconds.cpu


def main() -> None:
    """Draw, run, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-n", type=int, default=50)
    parser.add_argument("--only", default="", help="regular expression that the paths of modules contain")
    parser.add_argument("--verdicts", type=Path, help="file that verdicts are read from and added to")
    parser.add_argument("--again", action="store_true", help="try those that survived once more")
    asked = parser.parse_args()
    sys.dont_write_bytecode = True  # of a file that changed within a second it would be stale
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    for name in PRELOADED:
        import_module(name)
    mutants = [m for m in drawn(asked.n, asked.seed) if re.search(asked.only, m.path)]
    verdicts = Verdicts(asked.verdicts, asked.again)
    share = report(mutants, lambda line: print(line, flush=True), verdicts)
    sys.stdout.write(f"{round(share * len(mutants))} of {len(mutants)} killed (seed {asked.seed})\n")


if __name__ == "__main__":
    main()
