"""What a second opinion is worth, on planted rows: of one that sees mistakes and of one that shares them."""

from dataclasses import replace

import pytest

from inverse.benchmarks.verification.scale import PLANS
from inverse.benchmarks.verification.second_opinions import doubts
from inverse.benchmarks.verification.stored_verdicts import StoredRow
from inverse.verification.calibration.readings import Reading
from tests.inverse.benchmarks.verification.test_verify_scale import planted
from tests.readings import G, K, read

N_WRONG = 15


def rows(n: int = 240, n_asked: int = 240) -> list[StoredRow]:
    """The judges are 60 % too high in K on every sixteenth row; `sees` is not, `shares` is as they are."""
    found = []
    for i, row in enumerate(planted(n, noise=0.02)):
        truth, shear = row.row["bulk_modulus_vrh"], row.judges[G].value
        said = 1.6 * truth if i % 16 == 0 else truth
        judges = row.judges.replaced({K: replace(row.judges[K], value=said)})
        alone = {"sees": read(truth, shear, "sees", "sees"), "shares": read(said, shear, "shares", "shares")}
        found.append(replace(row, judges=judges, alone=alone if i < n_asked else {"sees": alone["sees"]}))
    return found


def test_one_that_sees_mistakes_doubts_them_and_one_that_shares_them_does_not() -> None:
    found = doubts(rows(), PLANS, ("sees", "shares", "absent"))
    assert set(found) == {"sees", "shares"}
    sees, shares = found["sees"], found["shares"]
    assert sees["n"] == shares["n"] == 240
    assert sees["wrong"] >= N_WRONG  # beside them what lies outside 90 % intervals anyway
    assert sees["doubted_of_wrong"]["n"] >= 0.8 * N_WRONG
    assert sees["doubted_of_right"]["share"] < 0.05
    assert shares["doubted_of_wrong"]["n"] <= 0.7 * sees["doubted_of_wrong"]["n"]
    low, high = sees["doubted_of_wrong"]["interval"]
    assert low < sees["doubted_of_wrong"]["share"] < high
    assert sees["doubted_of_wrong"]["of"] + sees["doubted_of_right"]["of"] == 240


def test_two_are_compared_on_the_rows_that_both_were_asked_about() -> None:
    found = doubts(rows(n_asked=80), PLANS, ("sees", "shares"))
    assert (found["sees"]["n"], found["shares"]["n"]) == (240, 80)
    assert found["sees"]["on_shared"]["n"] == found["shares"]["on_shared"]["n"] == 80
    assert set(doubts(rows(n_asked=20), PLANS, ("sees", "shares"))) == {"sees"}


@pytest.mark.parametrize("gives_way", [True, False])
def test_a_crystal_that_gives_way_is_doubted(gives_way: bool) -> None:
    own = rows()
    if gives_way:
        for i in range(1, 240, 10):
            lost = own[i].alone["sees"].replaced({G: Reading(float("nan"), "sees")})
            own[i] = replace(own[i], alone={**own[i].alone, "sees": lost})
    found = doubts(own, PLANS, ("sees",))["sees"]["doubted_of_right"]
    assert (found["n"] >= 20) is gives_way


def test_rows_that_the_judges_could_not_finish_are_left_out() -> None:
    own = rows()
    own[3] = replace(own[3], judges=own[3].judges.replaced({G: Reading(float("nan"), "diep")}))
    own[4] = replace(own[4], judges=None)
    assert doubts(own, PLANS, ("sees",))["sees"]["n"] == 238
