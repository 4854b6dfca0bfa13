"""The sources of a hybrid: who is dry is replaced by whoever can deliver, and named once."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import Candidate, Status
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines.divided_cells import divided
from inverse.proposers.bayesian import OuterSearch
from inverse.proposers.building.descent import DescentSettings
from inverse.proposers.hybrid import Hybrid
from inverse.proposers.protocol import Proposal, Proposer
from inverse.proposers.seeds import GivenSeeds, SeedSearch, SeedSettings
from inverse.proposers.substitution import Substitution, SubstitutionSettings
from inverse.reference.structure_types import Prototype, prototypes
from surrogates.errors import DataError
from tests.fakes import CONFIG, AnalyticSurrogate, AnalyticVerifier, search_space

ELEMENTS = ("Li", "Be", "Mg", "Ca", "Sr", "Ba", "Sc", "Y", "Ti", "Zr", "Hf", "V", "Nb", "Ta", "Cr", "Mo", "W")


class Source:
    """Hands out a list of crystals, each as often as it is asked; fails when told to."""

    def __init__(self, name: str, light: str, n: int, error: str = "") -> None:
        self.name, self._error = name, error
        self._crystals = [
            Structure(Lattice.cubic(3.0), [metal, light], [[0, 0, 0], [0.5, 0.5, 0.5]]) for metal in ELEMENTS
        ][:n]

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        if self._error:
            raise DataError(self._error)
        return [Proposal(s, self.name, seed) for s in self._crystals[:n]]

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Learn nothing."""


def named(proposals: Sequence[Proposal]) -> Counter[str]:
    return Counter(p.proposer for p in proposals)


def test_a_failed_or_empty_source_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    sources = [Source("rich", "N", 17), Source("dry", "C", 0), Source("broken", "O", 9, "no weights")]
    hybrid = Hybrid(sources, {"rich": 0.4, "dry": 0.3, "broken": 0.3})
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            assert named(hybrid.ask(10, step, 5)) == {"rich": 10}
    warnings = sorted(record.getMessage() for record in caplog.records)
    assert [w.split(":")[0] for w in warnings] == ["broken proposes nothing", "dry proposes nothing"]
    assert "no weights" in warnings[0]


class Noted(Source):
    """Writes down what it is asked for, told and handed."""

    def __init__(self, name: str, light: str, n: int, asks: list[tuple[str, int]]) -> None:
        super().__init__(name, light, n)
        self._asks, self.told, self.opened, self.n_saved = (
            asks,
            list[Candidate](),
            list[tuple[Path, int]](),
            0,
        )

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        self._asks.append((self.name, n))
        return super().ask(n, step, seed)

    def tell(self, candidates: Sequence[Candidate]) -> None:
        self.told += candidates


class Stored(Noted):
    def open_trials(self, path: Path, before_step: int) -> None:
        self.opened.append((path, before_step))

    def save_trials(self) -> None:
        self.n_saved += 1


SHARES = {"some": 0.1, "filler": 0.5, "more": 0.25}
"""Of 20: 20 (0.08 + 0.76 * 0.1 / 0.85) = 3.4, 10.5 and 6.1; of 2: 0.3, 1.1 and 0.6; of 7: 1.2, 3.7, 2.1."""


def trio(some: int = 17, filler: int = 17, more: int = 17) -> tuple[Hybrid, list[tuple[str, int]]]:
    asks: list[tuple[str, int]] = []
    sources = [
        Noted("some", "C", some, asks),
        Noted("filler", "N", filler, asks),
        Noted("more", "O", more, asks),
    ]
    return Hybrid(sources, SHARES, "filler"), asks


@pytest.mark.parametrize(
    ("n", "asks", "shares"),
    [
        (20, [("more", 6), ("some", 3), ("filler", 11)], {"some": 0.15, "filler": 0.55, "more": 0.3}),
        (7, [("more", 2), ("some", 1), ("filler", 4)], {"some": 0.143, "filler": 0.571, "more": 0.286}),
        (2, [("more", 1), ("filler", 1)], {"filler": 0.5, "more": 0.5}),
        (1, [("filler", 1)], {"filler": 1.0}),
        (0, [], {}),
    ],
)
def test_sources_are_asked_for_their_shares_the_filler_last(
    n: int, asks: list[tuple[str, int]], shares: dict[str, float]
) -> None:
    """Proposals come in the order of the sources and say which share theirs was asked for."""
    hybrid, noted = trio()
    found = hybrid.ask(n, 0, 5)
    assert noted == asks
    assert list(named(found).items()) == [
        (k, dict(asks)[k]) for k in ("some", "filler", "more") if k in dict(asks)
    ]
    assert {p.proposer: p.history["share"] for p in found} == shares


@pytest.mark.parametrize(
    ("some", "more", "again", "found"),
    [
        (17, 17, [("more", 15)], {"some": 3, "filler": 2, "more": 15}),
        (17, 14, [("more", 15), ("some", 4)], {"some": 4, "filler": 2, "more": 14}),
        (17, 8, [("more", 15), ("some", 10)], {"some": 10, "filler": 2, "more": 8}),
        (17, 5, [("some", 13)], {"some": 13, "filler": 2, "more": 5}),
        (2, 5, [], {"some": 2, "filler": 2, "more": 5}),
    ],
)
def test_when_the_filler_is_short_whoever_delivered_is_asked_for_more_the_most_successful_first(
    some: int, more: int, again: list[tuple[str, int]], found: dict[str, int]
) -> None:
    hybrid, asks = trio(some, 2, more)
    assert named(hybrid.ask(20, 0, 5)) == found
    left = 20 - min(some, 3) - min(more, 6)
    assert asks == [("more", 6), ("some", 3), ("filler", left), *again]


def test_the_first_source_fills_where_nobody_else_is_named_to() -> None:
    """What two sources both propose counts once: of six and three carbides six are left."""
    asks: list[tuple[str, int]] = []
    sources = [Noted("filler", "N", 17, asks), Noted("some", "C", 17, asks), Noted("more", "C", 17, asks)]
    hybrid = Hybrid(sources, SHARES)
    assert named(hybrid.ask(20, 0, 5)) == {"filler": 14, "some": 3, "more": 3}
    assert asks == [("more", 6), ("some", 3), ("filler", 14)]
    assert (hybrid.name, hybrid.source_names) == ("hybrid", ("filler", "some", "more"))


def test_every_source_is_told_and_the_one_that_stores_trials_is_handed_them(tmp_path: Path) -> None:
    asks: list[tuple[str, int]] = []
    plain, stored = Noted("plain", "N", 17, asks), Stored("stored", "C", 17, asks)
    hybrid = Hybrid([plain, stored], {})
    candidates = told(hybrid.ask(2, 0, 5))
    hybrid.tell(candidates)
    assert plain.told == stored.told == candidates
    hybrid.open_trials(tmp_path, 3)
    hybrid.save_trials()
    assert (stored.opened, stored.n_saved) == ([(tmp_path, 3)], 1)


SIGNATURES = [
    ("WC", "187|1 -26m C|1 -26m W"),
    ("TiC", "225|4 -3mm C|4 -3mm Ti"),
    ("NaCl", "221|1 -3mm Cl|1 -3mm Na"),
    ("TiB2", "191|1 /6mmm Ti|2 -26m B"),
    ("Fe3Al", "221|1 -3mm Al|3 ./4mmm Fe"),
]


def known() -> list[Prototype]:
    return prototypes(SIGNATURES, 8, 4)


def test_every_source_still_proposes_in_the_last_step_of_a_long_run() -> None:
    """Eight steps of 16 proposals; the first batches of the pools hold about 20 crystals."""
    constraints = {"elements": {"only": [*ELEMENTS, "B", "C", "N", "O"]}, "n_atoms": {"max": 8}}
    space = search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": constraints}))
    seed = Structure(Lattice.cubic(3.0), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    small = SubstitutionSettings(n_compositions=16, n_structures=20, fewest=12)
    narrow = SeedSettings(4, 1, DescentSettings(steps=1, species_rate=0.2), fewest=12)
    sources = [
        SeedSearch(space, [("tic.cif", seed)], narrow),
        Substitution(space, known, settings=small),
        OuterSearch(space, known),
    ]
    hybrid = Hybrid(sources, {source.name: 0.25 for source in sources}, "substitution")
    judge, number = AnalyticVerifier(), 0
    for step in range(8):
        proposals = hybrid.ask(16, step, 5)
        assert len(proposals) == 16, f"step {step}"
        candidates = []
        for p in proposals:
            verdict = judge.verdict(p.structure)
            status = Status.VERIFIED if verdict.converged else Status.FAILED
            candidates.append(
                Candidate(
                    f"c{number:06d}",
                    p.structure,
                    p.proposer,
                    p.seed,
                    p.history,
                    key=p.key,
                    trust=p.trust,
                    status=status,
                    verification=verdict,
                )
            )
            number += 1
        hybrid.tell(candidates)
    assert set(named(proposals)) == {"seeds", "substitution", "tpe"}


def test_a_seed_whose_compositions_are_used_up_is_refilled_from_its_doubled_cells() -> None:
    """A carbide and two elements to exchange: two-atom cells are soon used up, cells of four are not."""
    constraints = {"elements": {"only": ["Ti", "V", "W", "C", "N"]}, "n_atoms": {"max": 4}}
    space = search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": constraints}))
    seed = Structure(Lattice.cubic(3.0), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    few = SeedSettings(40, 1, DescentSettings(steps=1), fewest=8)
    source = SeedSearch(space, [("tic.cif", seed)], few)
    sizes, number = [], 0
    for step in range(6):
        proposals = source.ask(8, step, 5)
        sizes.append({len(p.structure) for p in proposals})
        told = [Candidate(f"c{number + k:06d}", p.structure, "seeds", 0) for k, p in enumerate(proposals)]
        source.tell([replace(c, key=p.key) for c, p in zip(told, proposals, strict=True)])
        number += len(proposals)
        assert len(proposals) == 8, f"step {step}"
        assert {p.history["seed"] for p in proposals} == {"tic.cif"}
        assert not any({"Pu", "Np"} & set(p.structure.symbol_set) for p in proposals)
    assert sizes[0] == {2}
    assert sizes[-1] == {4}


def test_each_ordering_of_rock_salt_is_made_once() -> None:
    """Of the seven doubled cells of a face-centred lattice four are layered and three tetragonal."""
    lattice = Lattice([[0, 2.1, 2.1], [2.1, 0, 2.1], [2.1, 2.1, 0]])
    cells = divided(Structure(lattice, ["Ti", "N"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert sorted(c.get_space_group_info()[0] for c in cells) == ["P4/mmm", "P4/mmm", "R-3m", "R-3m"]
    assert all(len(c) == 4 and c.volume == pytest.approx(4 * 2.1**3) for c in cells)


def pair(metal: str, light: str) -> Structure:
    return Structure(Lattice.cubic(3.0), [metal, light], [[0, 0, 0], [0.5, 0.5, 0.5]])


def told(proposals: Sequence[Proposal], number: int = 0) -> list[Candidate]:
    return [
        Candidate(f"c{number + k:06d}", p.structure, p.proposer, p.seed, key=p.key)
        for k, p in enumerate(proposals)
    ]


@pytest.fixture
def without_xenon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AnalyticSurrogate, "elements", AnalyticSurrogate.elements - {"Xe"})


@pytest.mark.usefixtures("without_xenon")
def test_a_list_that_came_to_its_end_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Nor is a seed that the models do not know named in every step."""
    space = search_space(CampaignConfig.from_mapping(CONFIG))
    given = GivenSeeds(space, [("tic.cif", pair("Ti", "C")), ("xec.cif", pair("Xe", "C"))])
    hybrid = Hybrid([given, Source("rich", "N", 17)], {"seeds": 0.5, "rich": 0.5}, "rich")
    with caplog.at_level(logging.WARNING):
        assert not given.is_finished
        for step, wanted in enumerate(({"seeds": 1, "rich": 7}, {"rich": 8}, {"rich": 8})):
            found = hybrid.ask(8, step, 5)
            assert named(found) == wanted
            assert {p.seed for p in found} == {5}
            hybrid.tell(told(found, 8 * step))
        assert given.is_finished
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "seed xec.cif: not verified, the models do not know Xe"


@pytest.mark.usefixtures("without_xenon")
def test_a_list_without_a_known_element_is_finished_before_it_begins(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = GivenSeeds(search_space(CampaignConfig.from_mapping(CONFIG)), [("xec.cif", pair("Xe", "C"))])
    hybrid = Hybrid([given, Source("rich", "N", 17)], {"seeds": 0.5, "rich": 0.5}, "rich")
    assert [named(hybrid.ask(8, step, 5)) for step in range(2)] == [{"rich": 8}] * 2
    assert [record.getMessage()[:12] for record in caplog.records] == ["seed xec.cif"]


@pytest.mark.parametrize("makes_children", [False, True])
def test_all_seeds_come_before_any_share(makes_children: bool) -> None:
    """Six seeds of eight proposals, where the shares are 3, 2 and 2; then as many as there is room for."""
    space = search_space(CampaignConfig.from_mapping(CONFIG))
    crystals = [(f"{metal}.cif", pair(metal, "C")) for metal in ("Ti", "V", "Nb", "Ta", "Mo", "W")]
    small = SeedSettings(2, 0, fewest=1)

    def sources() -> list[Proposer]:
        own = SeedSearch(space, crystals, small) if makes_children else GivenSeeds(space, crystals)
        return [own, Source("filler", "N", 17), Source("rich", "O", 17)]

    found = Hybrid(sources(), dict.fromkeys(("seeds", "filler", "rich"), 0.3), "filler").ask(8, 0, 5)
    assert [p.history.get("seed") for p in found[:6]] == [name for name, _ in crystals]
    assert {p.history["kind"] for p in found[:6]} == {"seed"}
    assert named(found) == {"seeds": 6, "rich": 2}
    hybrid = Hybrid(sources(), dict.fromkeys(("seeds", "filler", "rich"), 0.3), "filler")
    first = hybrid.ask(4, 0, 5)
    hybrid.tell(told(first))
    both = [*first, *hybrid.ask(4, 1, 5)[:2]]
    assert [p.history["seed"] for p in both] == [name for name, _ in crystals]


def test_a_refill_of_small_batches_is_resumed_where_it_was() -> None:
    constraints = {"elements": {"only": ["Ti", "V", "W", "C", "N"]}, "n_atoms": {"max": 4}}
    config = CampaignConfig.from_mapping({**CONFIG, "constraints": constraints})
    settings = SeedSettings(40, 1, DescentSettings(steps=1), fewest=8, most_cells=6)

    def fresh() -> SeedSearch:
        return SeedSearch(search_space(config), [("tic.cif", pair("Ti", "C"))], settings)

    undisturbed, before = fresh(), list[Candidate]()
    for step in range(4):
        before += told(found := undisturbed.ask(8, step, 5), len(before))
        assert len(found) == 8
        undisturbed.tell(before[-8:])
    resumed = fresh()
    resumed.tell(before)
    keys = [[p.key for p in source.ask(8, 4, 5)] for source in (undisturbed, resumed)]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 8
