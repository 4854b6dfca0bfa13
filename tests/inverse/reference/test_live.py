"""Live entries: a recorded answer makes the hull; whatever goes wrong is one line, once."""

import json
from pathlib import Path

import pytest

from inverse.reference import ReferenceHull
from inverse.reference import live as module
from inverse.reference.live import KEY, LivePhases
from inverse.reference.phases import PhaseTable
from surrogates.errors import DataError

RECORDED = Path(__file__).parent / "recorded" / "materials_project_C-W.json"


def hull_of(get) -> ReferenceHull:
    packaged = PhaseTable.packaged()
    return ReferenceHull(packaged, LivePhases(packaged, get))


def test_a_recorded_answer_makes_the_hull(monkeypatch):
    monkeypatch.setenv(KEY, "secret")
    asked = []

    def get(query, key):
        asked.append((query, key))
        return json.loads(RECORDED.read_text())

    hull = hull_of(get)
    # W2C falls apart into W and WC at -0.2 eV/atom
    found = hull.energy_above_hull("W2C", -0.03)
    assert found.energy_above_hull == pytest.approx(-0.03 + 0.2 * 2 / 3)
    assert set(found.decomposition) == {"W", "WC"}
    assert hull("WC", -0.1) == pytest.approx(0.1)
    assert len(asked) == 1, "a system is fetched once"
    assert asked[0][1] == "secret"
    assert set(asked[0][0]["chemsys"].split(",")) == {"C", "W", "C-W"}


def test_pages_are_fetched_until_one_is_short(monkeypatch):
    monkeypatch.setattr(module, "PAGE", 4)
    rows = json.loads(RECORDED.read_text())["data"]
    skips = []

    def get(query, key):
        skips.append(query["_skip"])
        return {"data": rows[query["_skip"] : query["_skip"] + 4]}

    assert hull_of(get)("WC", -0.1) == pytest.approx(0.1)
    assert skips == [0, 4, 8]


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": [{"formula_pretty": "WC"}]}])
def test_another_answer_is_refused_once(answer):
    calls = []

    def get(query, key):
        calls.append(1)
        return answer

    hull = hull_of(get)
    for _ in range(3):
        with pytest.raises(DataError, match="no list of entries; the packaged phases"):
            hull("WC", -0.2)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("status", "text", "match"),
    [(403, "", "refuses the key"), (500, "", "status 500"), (200, "<html>", "no list of entries")],
)
def test_bad_statuses_are_one_line(monkeypatch, status, text, match):
    import requests

    answer = requests.Response()
    answer.status_code, answer._content = status, text.encode()
    monkeypatch.setattr(requests, "get", lambda *args, **options: answer)
    with pytest.raises(DataError, match=match) as caught:
        hull_of(None)("WC", -0.2)
    assert "\n" not in str(caught.value)


def test_no_network_is_one_line(monkeypatch):
    import requests

    def refuse(*args, **options):
        assert options["timeout"] > 0
        raise requests.ConnectionError("no route\nto host")

    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(DataError, match="cannot be reached"):
        hull_of(None)("WC", -0.2)


def test_only_a_key_asks_for_live_entries(monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    assert ReferenceHull.current().live is None
    monkeypatch.setenv(KEY, "secret")
    assert ReferenceHull.current().live is not None


def test_a_refused_key_is_said_before_anything_is_computed(monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    assert module.refusal() == ""
    monkeypatch.setenv(KEY, "secret")
    monkeypatch.setattr(module, "_ask", lambda *_: json.loads(RECORDED.read_text()))
    assert module.refusal() == ""

    def refuse(*_):
        raise DataError("Materials Project refuses the key in MP_API_KEY (status 403)")

    monkeypatch.setattr(module, "_ask", refuse)
    assert module.refusal().endswith("(status 403); the packaged phases are used instead")
