"""What a ledger says when a number falls, and what it holds."""

from pathlib import Path

from experiments.ledger import LEDGER, MEASURES, append, fallen, plot, read


def test_what_falls_beyond_its_noise_is_said_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    before = {"ask_speed": 100.0, "bulk_modulus_error": 0.05, "ask_worth": 0.5}
    append(path, before, "aaaaaaa", "2026-11-30")
    rows = read(path)
    assert [row["measure"] for row in rows] == list(before)
    assert fallen(rows, before) == []
    assert fallen(rows, {"ask_speed": 80.0, "bulk_modulus_error": 0.04, "hits_per_core_hour": 1.0}) == []
    (slow,) = fallen(rows, {"ask_speed": 60.0, "ask_worth": 0.9})
    assert "100 before, 60 now (-40%)" in slow
    (worse,) = fallen(rows, {"bulk_modulus_error": 0.06})
    assert "0.05 before, 0.06 now (+20%)" in worse


def test_the_last_row_counts_and_a_plot_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    for commit, speed in (("aaaaaaa", 100.0), ("bbbbbbb", 50.0)):
        append(path, {"ask_speed": speed}, commit, "2026-11-30")
    assert fallen(read(path), {"ask_speed": 49.0}) == []
    plot(read(path), tmp_path / "ledger.png")
    assert (tmp_path / "ledger.png").read_bytes().startswith(b"\x89PNG")


def test_the_ledger_holds_nothing_but_its_measures() -> None:
    assert read(Path("nowhere.csv")) == []
    assert {row["measure"] for row in read(LEDGER)} <= set(MEASURES)
