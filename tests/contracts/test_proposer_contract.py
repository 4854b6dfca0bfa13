"""What every proposer promises, on a planted problem; a new proposer costs one line in `NAMES`."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from inverse.config import CampaignConfig
from inverse.decoders import load_decoder
from inverse.proposers.bayesian import OuterSearch
from inverse.proposers.decoder_draws import DecoderDraws
from inverse.proposers.descent import DescentSettings
from inverse.proposers.genetic import GeneticSearch
from inverse.proposers.gradient import GradientSearch
from inverse.proposers.hybrid import Hybrid
from inverse.proposers.protocol import Proposal, Proposer
from inverse.proposers.prototypes import Prototype, prototypes
from inverse.proposers.random_search import RandomSearch
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.seeds import SeedSearch, SeedSettings, starts
from inverse.proposers.substitution import Substitution, SubstitutionSettings
from inverse.reference.deduplication import distinct
from inverse.types import Candidate, Origin, Status
from surrogates.errors import EngineError
from tests.fakes import CONFIG, search_space

SIGNATURES = [
    ("WC", "187|1 -26m C|1 -26m W"),
    ("TiC", "225|4 -3mm C|4 -3mm Ti"),
    ("NaCl", "221|1 -3mm Cl|1 -3mm Na"),
    ("TiB2", "191|1 /6mmm Ti|2 -26m B"),
    ("Fe3Al", "221|1 -3mm Al|3 ./4mmm Fe"),
    ("CaTiO3", "221|1 -3mm Ca|1 -3mm Ti|3 ./4mmm O"),
]

SEEDED = SeedSettings(
    n_compositions=12, n_descended=6, descent=DescentSettings(steps=4, species_rate=0.2), fewest=20
)
SMALL = SubstitutionSettings(n_compositions=40, n_structures=80, fewest=40)


@lru_cache(maxsize=1)
def decoder() -> Any:
    try:
        return load_decoder("default")
    except EngineError as error:
        pytest.skip(f"no packaged decoder: {error}")


def known() -> list[Prototype]:
    return prototypes(SIGNATURES, 8, 4)


def make(name: str, space: SearchSpace) -> Proposer:
    makers: dict[str, Callable[[], Proposer]] = {
        "random": lambda: RandomSearch(space),
        "decoder": lambda: DecoderDraws(space, oversampling=2),
        "gradient": lambda: GradientSearch(
            space, DescentSettings(steps=10, species_rate=0.2), most_starts=12
        ),
        "substitution": lambda: Substitution(space, known, settings=SMALL),
        "tpe": lambda: OuterSearch(space, known),
        "seeds": lambda: SeedSearch(space, seeds(), SEEDED),
        "genetic": lambda: GeneticSearch(space, known),
        "hybrid": lambda: Hybrid(
            [Substitution(space, known, settings=SMALL), OuterSearch(space, known)], {"substitution": 0.5}
        ),
    }
    return makers[name]()


NAMES = ["random", "decoder", "gradient", "substitution", "tpe", "genetic", "hybrid", "seeds"]
NEED_DECODER = {"random", "decoder", "gradient"}


def space_for(name: str) -> SearchSpace:
    config = CampaignConfig.from_mapping(CONFIG)
    return search_space(config, decoder() if name in NEED_DECODER else None)


def candidate(k: int, proposal: Proposal) -> Candidate:
    return Candidate(
        f"c{k:06d}",
        proposal.structure,
        proposal.proposer,
        proposal.seed,
        proposal.history,
        key=proposal.key,
        trust=proposal.trust,
        status=Status.PREDICTED,
    )


def described(proposals: list[Proposal]) -> list[tuple[str, float]]:
    return [(p.structure.formula, round(p.structure.volume, 4)) for p in proposals]


@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str) -> None:
    space = space_for(name)
    proposer = make(name, space)
    assert proposer.name == name
    first = proposer.ask(4, 0, 5)
    assert 0 < len(first) <= 4
    allowed = set(space.allowed_elements)
    for proposal in first:
        if proposal.origin is not Origin.SEED:
            assert {e.symbol for e in proposal.structure.composition.elements} <= allowed
        assert proposal.structure.is_ordered
        assert proposal.structure.volume > 1
    assert described(make(name, space).ask(4, 0, 5)) == described(first), "same seed, same proposals"
    proposer.tell([candidate(k, p) for k, p in enumerate(first)])
    second = proposer.ask(4, 1, 5)
    assert described(second) != described(first)
    again = make(name, space)
    again.ask(4, 0, 5)
    again.tell([candidate(k, p) for k, p in enumerate(first)])
    assert described(again.ask(4, 1, 5)) == described(second), "a resumed proposer agrees"


def best_worth(name: str, steps: int = 4, n: int = 12) -> float:
    space = space_for(name)
    proposer = OuterSearch(space, known, "blind") if name == "blind" else make(name, space)
    best = 0.0
    for step in range(steps):
        proposals = proposer.ask(n, step, 5)
        best = max(best, *space.scored([p.structure for p in proposals])) if proposals else best
        proposer.tell([candidate(100 * step + k, p) for k, p in enumerate(proposals)])
    return best


@pytest.mark.parametrize("name", ["substitution", "tpe", "genetic", "hybrid"])
def test_planted_optimum_is_found(name: str) -> None:
    assert best_worth(name) > 0.9


def test_gradient_improves_on_its_own_starts() -> None:
    space = space_for("gradient")
    draws = DecoderDraws(space, oversampling=1).ask(24, 0, 5)
    found = GradientSearch(space, DescentSettings(steps=25, species_rate=0.3), most_starts=24).ask(8, 0, 5)
    assert found
    assert max(space.scored([p.structure for p in found])) > max(space.scored([p.structure for p in draws]))
    assert {"worth_soft", "worth_hard", "lost_by_hardening"} <= set(found[0].history)


def test_a_kill_while_trials_are_rewritten_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials of a repeated step are dropped; those of finished steps stay, whenever the kill falls."""
    from inverse.proposers import bayesian

    def opened(before_step: int) -> bayesian.OuterSearch:
        made = make("tpe", space_for("tpe"))
        assert isinstance(made, bayesian.OuterSearch)
        made.open_trials(tmp_path / "trials.db", before_step)
        return made

    search = opened(0)
    search.ask(4, 0, 5)
    search.save_trials()
    search.ask(4, 1, 5)
    search.save_trials()
    with monkeypatch.context() as patch:
        patch.setattr(bayesian, "_frozen", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt("killed")))
        with pytest.raises(KeyboardInterrupt, match="killed"):
            opened(1)
    resumed = opened(1)
    undisturbed = make("tpe", space_for("tpe"))
    undisturbed.ask(4, 0, 5)
    again = [p.structure for p in resumed.ask(4, 1, 5)]
    assert again == [p.structure for p in undisturbed.ask(4, 1, 5)]


def test_random_draws_do_worse() -> None:
    space = space_for("random")
    drawn = [p.structure for step in range(2) for p in RandomSearch(space).ask(12, step, 5)]
    assert max(space.scored(drawn), default=0.0) < best_worth("substitution")


def test_shares_follow_success() -> None:
    space = space_for("tpe")
    hybrid = make("hybrid", space)
    assert isinstance(hybrid, Hybrid)
    before = hybrid.shares(100)
    proposals = hybrid.ask(12, 0, 5)
    tpe = [candidate(k, p) for k, p in enumerate(proposals) if p.proposer == "tpe"]
    from inverse.types import Verification

    hits = [replace(c, status=Status.HIT, verification=Verification("x", True)) for c in tpe]
    hybrid.tell(hits)
    after = hybrid.shares(100)
    assert sum(before.values()) == pytest.approx(100, abs=2)
    assert hits
    assert after["tpe"] > before["tpe"]


def seeds() -> list[tuple[str, Structure]]:
    carbide = Structure(Lattice.cubic(2.7), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    rock_salt = Lattice([[0.0, 2.3, 2.3], [2.3, 0.0, 2.3], [2.3, 2.3, 0.0]])
    forbidden = Structure(rock_salt, ["Os", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return [("tic.cif", carbide), ("osc.cif", forbidden)]


def test_seeds_come_first_then_what_is_made_of_them() -> None:
    """Every proposal says which seed; one with forbidden elements too; its children keep the rule."""
    found = make("seeds", space_for("seeds")).ask(40, 0, 5)
    assert [p.origin is Origin.SEED for p in found] == [True, True, *[False] * (len(found) - 2)]
    assert [p.structure for p in found[:2]] == [structure for _, structure in seeds()]
    assert {p.history["kind"] for p in found[2:]} <= {"substitution", "descent"}
    assert {p.history["seed"] for p in found[2:]} == {"tic.cif", "osc.cif"}
    assert not any("Os" in p.structure.symbol_set for p in found[2:])
    assert found[2].structure.composition.reduced_formula == "WC", "the planted optimum is one exchange away"


def test_a_seed_in_a_squeezed_cell_is_no_proposal() -> None:
    """The planted surrogate likes 10 Å³ per atom, the seed has 13.5: a denser TiC is still TiC."""
    seed = Structure(Lattice.cubic(3.0), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    settings = SeedSettings(12, 6, DescentSettings(steps=6), fewest=20)
    space = space_for("seeds")
    found = SeedSearch(space, [("tic.cif", seed)], settings).ask(60, 0, 5)
    assert [p.structure for p in found if p.structure.composition.reduced_formula == "TiC"] == [seed]
    assert len(distinct([p.structure for p in found]).kept) == len(found)


def test_a_crystal_offered_before_is_not_offered_in_another_cell() -> None:
    """Whoever offered it: one source's crystal, in a larger and squeezed cell, is told to another source."""
    space = space_for("substitution")
    first = make("substitution", space).ask(3, 0, 5)
    rewritten = [p.structure.copy() for p in first]
    for structure in rewritten:
        structure.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]])
        structure.scale_lattice(structure.volume * 0.8)
    told = [
        replace(candidate(k, p), structure=s, proposer="decoder", history={}, key="")
        for k, (p, s) in enumerate(zip(first, rewritten, strict=True))
    ]
    other = make("substitution", space_for("substitution"))
    other.tell(told)
    after = [p.structure for p in other.ask(6, 1, 5)]
    assert len(after) == 6
    assert distinct([*rewritten, *after]).kept == list(range(9))


def test_a_method_joined_by_seeds_lists_them_first() -> None:
    space = space_for("tpe")
    joined = Hybrid([make("seeds", space), make("tpe", space)], {"seeds": 0.5, "tpe": 0.5}, "tpe", "tpe")
    found = joined.ask(16, 0, 5)
    assert joined.name == "tpe"
    assert len(found) >= 12
    assert found[0].history["kind"] == "seed"
    assert {p.proposer for p in found} == {"seeds", "tpe"}


def test_genetic_search_breeds_from_its_founders() -> None:
    """The founder stands in the first round as itself; a type that is not known founds nothing."""
    space = space_for("genetic")
    rock_salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.3), ["Al", "N"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ).get_primitive_structure()
    odd = Structure(Lattice.orthorhombic(3, 4, 5), ["Al", "N"], [[0, 0, 0], [0.5, 0.4, 0.3]])
    search = GeneticSearch(space, known, [odd, rock_salt])
    numbers = search._drawn(5)
    assert len(numbers) == 32
    (again,) = search._proposals(numbers[:1], 5)
    assert again is not None
    assert again.structure.composition.reduced_formula == "AlN"
    assert again.structure.volume == pytest.approx(rock_salt.volume, rel=0.01)
    blind = GeneticSearch(space, known)._drawn(5)
    assert numbers[2] == blind[2]
    assert numbers[1] != blind[1]


def test_gradient_descends_from_the_seeds() -> None:
    space = space_for("gradient")
    first = starts(space, seeds(), "gradient", 5)
    assert [p.history["seed"] for p in first] == ["tic.cif"]
    short = DescentSettings(steps=4, species_rate=0.2)
    same = GradientSearch(space, short, most_starts=1, starts=lambda seed: first)
    assert same.ask(4, 0, 5) == [], "a seed that keeps its elements is the seed in a strained cell"
    settings = DescentSettings(steps=40, species_rate=0.6)
    search = GradientSearch(space, settings, most_starts=1, starts=lambda seed: first)
    (found,) = search.ask(4, 0, 5)
    assert found.history["start_history"] == {"kind": "seed", "seed": "tic.cif"}
