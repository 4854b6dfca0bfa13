"""The search method `hybrid`: known types, decoder, gradients, TPE and the user's seeds behind one ask."""

from inverse.candidates.registry import PROPOSERS
from inverse.proposers.baselines.known_phases import textbook_answers
from inverse.proposers.bayesian import tpe
from inverse.proposers.decoder_draws import DecoderDraws
from inverse.proposers.given import GivenSeeds
from inverse.proposers.gradient import GradientSearch
from inverse.proposers.hybrid import Hybrid
from inverse.proposers.protocol import Proposer, Seeding
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.seeds import SeedSearch
from inverse.proposers.substitution import Substitution, substitution

FIRST_SHARES = {
    "seeds": 0.5,
    "substitution": 0.5,
    "tpe": 0.1,
    "gradient": 0.12,
    "decoder": 0.12,
    "lookup": 0.1,
}
"""Success expected of each source of the hybrid before any verdict."""


@PROPOSERS.register("hybrid")
def hybrid(space: SearchSpace) -> Hybrid:
    """Return all sources behind one ask; the tables' answers are among them where known ones are welcome."""
    sources: list[Proposer] = [SeedSearch(space, space.seeds)] if space.seeds else []
    if space.constraints.novelty == "any":
        sources.append(textbook_answers(space))
    sources += [substitution(space), tpe(space)]
    if space.decoder is not None:
        sources += [GradientSearch(space, most_starts=48), DecoderDraws(space)]
    return Hybrid(sources, FIRST_SHARES, Substitution.name)


def with_seeds(proposer: Proposer, space: SearchSpace) -> Proposer:
    """Return a source joined by the user's seeds as it wants them; the source alone without seeds."""
    if not space.seeds or proposer.seeding is Seeding.OWN:
        return proposer
    is_list = proposer.seeding is Seeding.LIST
    seeds = GivenSeeds(space, space.seeds) if is_list else SeedSearch(space, space.seeds)
    shares = {seeds.name: 0.5, proposer.name: 0.5}
    return Hybrid([seeds, proposer], shares, proposer.name, proposer.name)
