"""Who waits for the next step: seeds, a few textbook answers, then whoever has a chance, best first."""

import pytest

from inverse.campaign.choice import Option
from inverse.campaign.waiting import Waiting, to_wait, unpredicted
from inverse.candidates.types import Candidate, Origin, Status
from tests.inverse.campaign.test_selection import carbide


def option(name: str, worth: float, origin: Origin = Origin.SEARCH, probability: float = 0.5) -> Option:
    return Option(name, worth, "C-W", probability, origin)


def waits(*options: Option, gone: frozenset[str] = frozenset()) -> list[str]:
    return to_wait(options, gone, lambda o: o.worth)


def test_best_first_equals_by_their_ids_and_none_that_is_gone() -> None:
    options = [option("b", 0.5), option("a", 0.5), option("c", 0.9), option("d", 0.7)]
    assert waits(*options, gone=frozenset({"d"})) == ["c", "a", "b"]
    assert to_wait(options, (), lambda o: -o.worth) == ["a", "b", "d", "c"], "as the next choice sees them"


def test_only_seeds_and_textbook_answers_need_no_chance() -> None:
    small = [option(str(origin), 1e-4, origin, 0.009) for origin in Origin]
    assert waits(*small) == [str(Origin.SEED), str(Origin.TEXTBOOK)]
    worthless = [option(str(origin), 0.0, origin, 0.01) for origin in Origin]
    assert waits(*worthless) == [str(Origin.SEED)]
    assert waits(option("child", 0.1, Origin.CHILD, 0.01)) == ["child"]


def test_textbook_answers_take_no_more_than_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inverse.campaign.waiting.MOST", 16)
    books = [option(f"b{k:02d}", 0.9 - 0.01 * k, Origin.TEXTBOOK) for k in range(20)]
    others = [option(f"o{k:02d}", 0.5 - 0.01 * k) for k in range(20)]
    assert waits(*books, *others) == ["b00", "b01", *[f"o{k:02d}" for k in range(14)]]


def test_after_a_choice_old_and_new_ones_wait_under_their_ids() -> None:
    old, new = (
        Candidate(i, carbide("W"), "test", 0, status=Status.PREDICTED) for i in ("c000001", "c000009")
    )
    after = Waiting([old]).after(["c000009", "c000001"], [new])
    assert list(after) == [new, old]
    assert len(after) == 2
    assert "c000001" in after
    assert "c000002" not in after
    assert len(Waiting([old]).after([], [new])) == 0


def test_what_waits_is_predicted_anew() -> None:
    candidate = Candidate("c000001", carbide("W"), "test", 0, status=Status.PREDICTED, reason="out of domain")
    again = unpredicted(candidate)
    assert (again.status, again.reason, again.id) == (Status.PROPOSED, "", "c000001")
