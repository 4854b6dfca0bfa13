"""The mutants: one change each, that can be parsed, and nothing that only documents, annotates or logs."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.studies import mutants

SOURCE = '''"""Doc with 1 < 2."""

import logging

LOGGER = logging.getLogger("x")
MOST = 3


def f(a: int = 1, b: "int | None" = None) -> int:
    """Not 3 < 4."""
    LOGGER.info("%d", a + 1)
    if a < 2 and b is not None:
        raise ValueError(f"{a + 1} is wrong")
    total = pow(a, -2)
    total += max(a, 1)
    for k in range(3):
        if k:
            continue
    print(total)
    return total if a else 0.5
'''


def test_every_kind_of_change_is_made_once() -> None:
    found = {(m.before, m.after) for m in mutants.mutants_of("x.py", SOURCE)}
    assert found == {
        ("1", "2"),
        ("a < 2 and b is not None", "(a < 2 or b is not None)"),
        ("a < 2", "a <= 2"),
        ("2", "3"),
        ("b is not None", "b is None"),
        ("pow(a, -2)", "pow(-2, a)"),
        ("-2", "(2)"),
        ("total += max(a, 1)", "pass"),
        ("3", "4"),
        ("continue", "break"),
        ("print(total)", "pass"),
        ("return total if a else 0.5", "return None"),
        ("total if a else 0.5", "(0.5 if a else total)"),
        ("0.5", "1.0"),
    }


def test_swapping_equal_arguments_is_no_change() -> None:
    source = "def f(a, b):\n    return g(a, a, h(a, b))\n"
    assert {m.after for m in mutants.mutants_of("x.py", source)} == {"return None", "h(b, a)"}


def test_a_mutant_differs_where_it_says() -> None:
    for mutant in mutants.mutants_of("x.py", SOURCE):
        ast.parse(mutant.text)
        lines = zip(SOURCE.splitlines(), mutant.text.splitlines(), strict=True)
        assert [k for k, (one, other) in enumerate(lines, 1) if one != other] == [mutant.line]


def test_draws_follow_the_seed_and_every_module_has_tests() -> None:
    first = mutants.drawn(30, 5)
    assert first == mutants.drawn(30, 5)
    assert first != mutants.drawn(30, 6)
    assert len(first) == 30
    for path in mutants.modules():
        assert mutants.tests_of(path), path


@pytest.mark.parametrize(
    ("body", "limit", "outcome"),
    [
        ("assert True", mutants.Seconds(3600.0, 300.0), "passed"),
        ("assert False", mutants.Seconds(3600.0, 300.0), "failed"),
        ("import time; time.sleep(600)", mutants.Seconds(clock=3.0), "hangs"),
        ("while True: pass", mutants.Seconds(cpu=5.0), "hangs"),
    ],
)
def test_killed_survived_and_hanging(tmp_path: Path, body: str, limit: mutants.Seconds, outcome: str) -> None:
    (tmp_path / "test_it.py").write_text(f"def test_it():\n    {body}\n")
    assert mutants.run_tests(tmp_path, ("test_it.py",), limit)[0] == outcome


def test_tests_that_fail_without_a_mutant_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(source: Path, target: Path, ignore: object) -> None:
        target.mkdir()
        (target / "last_tests.txt").write_text("1 failed")

    told: list[str] = []
    some = mutants.drawn(1, 1)
    monkeypatch.setattr(mutants, "run_tests", lambda *_: ("failed", mutants.Seconds(1.0, 1.0)))
    monkeypatch.setattr(mutants.shutil, "copytree", copied)
    with pytest.raises(SystemExit, match="fail without any mutant"):
        mutants.report(some, told.append)
    assert told == ["1 failed"]


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that changes brings new mutants; survivors are tried again if asked."""
    some, tried = mutants.drawn(5, 1), []

    def survives(tree: Path, mutant: mutants.Mutant, tests: object, limit: object) -> tuple[bool, float]:
        if len(tried) == 3:
            raise KeyboardInterrupt("between two")
        tried.append(mutant)
        return len(tried) != 2, 1.0

    monkeypatch.setattr(mutants, "_tried", survives)
    monkeypatch.setattr(mutants, "_limit", lambda *_: mutants.Seconds())
    monkeypatch.setattr(mutants.shutil, "copytree", lambda *_, ignore: None)
    path, told = tmp_path / "verdicts.jsonl", []
    with pytest.raises(KeyboardInterrupt, match="between two"):
        mutants.report(some, told.append, mutants.Verdicts(path))
    assert tried == some[:3]
    del tried[:]
    assert mutants.report(some, told.append, mutants.Verdicts(path)) == pytest.approx(3 / 5)
    assert tried == some[3:], "the second of these survives, as the second of the first three did"
    assert sum("SURVIVED" in line for line in told[3:]) == 2
    del tried[:]
    assert mutants.report(some, told.append, mutants.Verdicts(path, is_again=True)) == pytest.approx(4 / 5)
    assert tried == [some[1], some[4]]
    changed = [replace(mutant, text=mutant.text + "\n") for mutant in some[:2]]
    del tried[:]
    mutants.report(changed, told.append, mutants.Verdicts(path))
    assert tried == changed
