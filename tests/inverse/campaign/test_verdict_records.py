"""A verdict becomes a record once, where it is made, and is read once; the journal takes that record."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inverse.campaign.campaign import rounded
from inverse.inputs import records
from inverse.inputs.records import verification_from_record, verification_received, verification_to_record
from tests import crystals, fakes


class Piped(fakes.AnalyticVerifier):
    """Verdicts as a pool of the judges hands them over: rounded, made into a record elsewhere, read here."""

    def verify_each(self, structures: Any, should_stop: Any) -> Any:
        for position, verdict in super().verify_each(structures, should_stop):
            yield position, verification_received(verification_to_record(rounded(verdict)))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often verdicts are made into records, and read from them."""
    found: Counter[str] = Counter()

    def counting(name: str) -> None:
        original = getattr(records, name)

        def count(*given: Any) -> Any:
            found[name] += 1
            return original(*given)

        monkeypatch.setattr(records, name, count)

    counting("_verification_record")
    counting("verification_from_record")
    return found


def test_a_verdict_is_serialised_once_on_its_way_into_the_journal(
    tmp_path: Path, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes, "AnalyticVerifier", Piped)
    with fakes.campaign(tmp_path / "run", budget={"verifications": 8}) as run:
        assert run.step()
        n = run.n_started
        assert n > 0
        of_candidates = n  # with the values that follow from the judges', for journal and database together
        assert counted["_verification_record"] == n + of_candidates
        assert counted["verification_from_record"] == n
        stored = run.folder.verifications()
        for candidate in run.folder.candidates():
            if candidate.verification is not None:
                written = verification_to_record(candidate.verification)
                for name, value in verification_to_record(stored[candidate.id])["values"].items():
                    assert written["values"][name] == value


def test_a_record_is_kept_only_of_what_it_says() -> None:
    record = verification_to_record(fakes.AnalyticVerifier().verdict(crystals.fcc()))
    received = verification_received(record)
    assert received == verification_from_record(record)
    assert verification_to_record(received) == record
    assert verification_to_record(replace(received, seconds=7.0)) == {**record, "seconds": 7.0}
