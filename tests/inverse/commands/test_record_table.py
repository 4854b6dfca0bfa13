"""`predict` and `verify` on a terminal: a table for a reader; JSON lines into pipes, as ever."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inverse.commands.cli import main
from inverse.commands.record_table import RecordTable
from tests import crystals


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns, without colours."""
    monkeypatch.setenv("TERM", "dumb")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Carry out a command as if at a terminal; return its status and what it showed."""

    def carry_out(*words: object) -> tuple[int, str]:
        screen = Terminal()
        monkeypatch.setattr("sys.stdout", screen)
        return main([str(word) for word in words]), screen.getvalue()

    return carry_out


def test_one_formula_is_a_list_of_its_values(typed: Callable[..., tuple[int, str]]) -> None:
    status, shown = typed("predict", "--formula", "B2W")
    assert status == 0
    lines = shown.splitlines()
    assert lines[0] == "WB2"
    modulus = next(line for line in lines if line.startswith("bulk modulus K"))
    assert "±" in modulus
    assert " to " in modulus
    assert modulus.split()[-1] == "GPa"
    price = next(line for line in lines if "cost" in line)
    assert "±" not in price  # nothing is estimated there
    assert " to " not in price


def test_several_are_a_table_and_failures_are_said_below(
    typed: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    crystals.fcc().to(str(tmp_path / "cu.cif"))
    status, shown = typed("predict", tmp_path / "cu.cif", tmp_path / "gone.cif", "-f", "TiN", "-f", "WC")
    assert status == 0
    lines = shown.splitlines()
    assert lines[0].split()[0] == "K"
    assert lines[1].split()[:3] == ["formula", "id", "GPa"]
    assert [line.split()[0] for line in lines[2:5]] == ["Cu", "TiN", "WC"]
    assert "…" not in shown
    assert shown.count("TiN, WC: polymorphs: ") == 1  # what holds of several is said once
    assert "\ngone.cif: " in shown
    assert max(map(len, lines[:4])) <= 80


@pytest.mark.parametrize("words", [("--json",), ("--output", "out.jsonl")])
def test_json_lines_can_be_had_on_a_terminal(
    typed: Callable[..., tuple[int, str]],
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, shown = typed("predict", "-f", "WC", *words)
    text = (tmp_path / "out.jsonl").read_text() if "--output" in words else shown
    assert status == 0
    assert json.loads(text)["formula"] == "WC"


def test_a_pipe_gets_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "-f", "WC", "-f", "TiN"]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["WC", "TiN"]


def verdict(formula: str, **changes: Any) -> dict[str, Any]:
    value = {"mean": 300.0, "std": 12.0, "lower": 280.0, "upper": 320.0, "unit": "GPa", "potential": "a"}
    record = {
        "id": f"{formula}.cif",
        "formula": formula,
        "formula_display": formula,
        "converged": True,
        "reason": "",
        "values": {"bulk_modulus_vrh": value},
        "second_opinion": {},
        "hit_class": "known",
        "derivative_of": "",
        "is_stable": True,
        "flags": [],
    }
    return {**record, **changes}


def shown(*records: dict[str, Any]) -> tuple[int, str]:
    screen = Terminal()
    with RecordTable(screen) as table:
        for record in records:
            table.write(record)
    return table.status, screen.getvalue()


def test_who_says_so_and_what_a_second_opinion_says_stand_beside_a_verdict() -> None:
    second = {"bulk_modulus_vrh": {**verdict("WC")["values"]["bulk_modulus_vrh"], "mean": 210.0}}
    status, text = shown(verdict("WC", second_opinion=second, flags=["weak_ground"], is_stable=False))
    assert status == 0
    assert "300 ± 12 280 to 320 GPa a 210 ± 12" in " ".join(text.split())
    assert "known, mechanically unstable" in text
    assert "weak ground" in text


def test_a_verdict_that_never_came_is_said_and_counted() -> None:
    failed = verdict("W3B4", converged=False, reason="did not converge", values={})
    status, text = shown(failed)
    assert (status, text) == (1, "W3B4.cif: did not converge\n")
    status, text = shown(verdict("WC"), verdict("TiN", derivative_of="VN", hit_class="derivative"), failed)
    assert status == 0
    assert "derivative, derivative of VN" in " ".join(text.split())
    assert text.splitlines()[-1] == "W3B4.cif: did not converge"


def test_numbers_that_are_missing_are_dashes() -> None:
    nothing = {"mean": None, "std": None, "lower": None, "upper": None, "unit": "GPa", "potential": "a"}
    _, text = shown(verdict("WC", values={"bulk_modulus_vrh": nothing}))
    assert "–" in text
