"""The composition root: names in a config -> objects; the one module that names concrete classes."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pymatgen.core import Structure

from inverse.acquisition import LEAST_TRUST, STABLE_WITHIN, Standing
from inverse.completion import CompletedSurrogate, JoinedCompositions
from inverse.config import CampaignConfig
from inverse.correction import CorrectedSurrogate
from inverse.decoders import Condition, load_decoder
from inverse.doctor import versions, weights
from inverse.evaluation import Evaluator
from inverse.inputs import fingerprint, read_seeds
from inverse.objective import Objective
from inverse.parts import Parts
from inverse.placement import PlacedSurrogate, device_named
from inverse.proposers.baselines import baselines
from inverse.proposers.bayesian import OuterSearch
from inverse.proposers.decoder_draws import DecoderDraws
from inverse.proposers.genetic import GeneticSearch
from inverse.proposers.gradient import GradientSearch
from inverse.proposers.hybrid import Hybrid
from inverse.proposers.lookup import Lookup
from inverse.proposers.orderings import Orderings
from inverse.proposers.protocol import Proposer
from inverse.proposers.prototypes import Prototype, prototypes
from inverse.proposers.random_search import RandomSearch
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.seeds import SeedSearch, starts
from inverse.proposers.substitution import Substitution
from inverse.ranking import Kinship
from inverse.reference import HitClassifier, KnownMaterials, ReferenceHull
from inverse.reference.known import ORIGINS
from inverse.reference.signatures import Cell, signature_text
from inverse.reference.skeletons import anonymous
from inverse.screening import Screen
from inverse.types import HitClass
from inverse.verification.energy_correction import corrected_potentials, formation_energy
from inverse.verification.judge import Judge
from inverse.verification.judges import load_verifier, panel_named
from inverse.verification.potentials import limit_threads
from inverse.verification.store import VerificationStore
from surrogates.checkpoint import load_surrogate
from surrogates.errors import ConfigError, EngineError, nearest
from surrogates.properties import ENERGY_ABOVE_HULL
from surrogates.protocol import CompositionSurrogate, Surrogate

LOGGER = logging.getLogger("inverse.assembly")

SECONDS_PER_VERIFICATION = 120.0
"""Wall time after which one verification is given up and recorded as such."""

HOPELESS_ABOVE_HULL = 0.3
"""eV/atom above which a candidate's stiffness is not computed any more; it could not be a hit."""

TRUST_SYMPREC = 0.1
"""Å, at which a proposed structure is compared with known types."""

FIRST_SHARES = {"seeds": 0.5, "substitution": 0.5, "tpe": 0.1, "gradient": 0.12, "decoder": 0.12}
"""Success expected of each source of the hybrid before any verdict."""

MOST_ELEMENTS = 4
"""Elements of the largest structure types that substitution fills."""


def assemble(config: CampaignConfig) -> Parts:
    """Return what a campaign of this config is made of.

    Raises:
        ConfigError: a target that nothing predicts, or a judge that is not installed.
        CheckpointError: weights that are missing or damaged.
    """
    limit_threads()  # small networks beside busy workers: a second thread only waits for its turn
    panel_named(config.verify.potential)  # what is not installed is said before weights are read
    device_named(config.device)
    objective = Objective(config.targets)
    hull, known = ReferenceHull.packaged(), KnownMaterials.packaged()
    classifier = HitClassifier(known)
    screen = Screen(config.constraints, known, classifier)
    own = [load_surrogate(trained.folder) for trained in config.trained]
    compositions = _composition_surrogate(own)
    shipped: Surrogate = CompletedSurrogate(
        load_structure_surrogate(config.device), _composition_surrogate(), own, objective.properties
    )
    corrected = CorrectedSurrogate(shipped)
    below = hull_below(hull)
    base = Evaluator(shipped, below, objective.properties)
    space = SearchSpace(
        objective=objective,
        constraints=config.constraints,
        base=base,
        corrected=Evaluator(corrected, below, objective.properties, beside=base),
        compositions=compositions,
        decoder=_decoder(),
        condition=Condition,
        composition_reason=screen.composition_reason,
        screening=screen.reason,
        is_known_formula=lambda formula: formula in known_formulas(),
        is_new=lambda s: classifier.classify(s).hit_class is HitClass.NEW,
    )
    verifier = load_verifier(
        config.verify.potential,
        reuse=config.verify.reuse,
        workers=n_workers(),
        seconds_limit=SECONDS_PER_VERIFICATION,
        stop_above_hull=_hopeless(objective),
        device=config.device,
    )
    return Parts(
        surrogate=corrected,
        evaluator=space.corrected,
        proposer=proposer_named(config.search.method, space, config),
        verifier=verifier,
        screening=screen.reason,
        rescreening=screen.relaxed_reason,
        classify=lambda s: kinship(classifier, s),
        confirm=lambda s: kinship(_with_energy(known, hull, config), s),
        preview=lambda s: _preview(classifier, s),
        trust=lambda s: trust(s, config.constraints.n_atoms[1]),
        baselines=lambda: baselines(config),
        description=description(config, shipped, space),
    )


def load_structure_surrogate(device: str = "auto") -> Surrogate:
    """Return the shipped structure-level surrogate on a device; answers come back to the caller's.

    Raises:
        ConfigError: a device that is not there.
    """
    place = device_named(device)
    surrogate = load_surrogate("structure")
    if not isinstance(surrogate, Surrogate):
        raise ConfigError("the packaged surrogate 'structure' does not take structures")
    if place.type == "cpu":
        return surrogate
    return PlacedSurrogate(surrogate.to(place), place)  # type: ignore[attr-defined]


@lru_cache(maxsize=4)
def known_prototypes(max_atoms: int) -> list[Prototype]:
    """Return the structure types of known materials up to this size, most frequent first; read once."""
    known = KnownMaterials.packaged()
    computed = ORIGINS.index("WBM (computed, by substitution)")
    rows = zip(known.formulas.to_pylist(), known.texts.to_pylist(), known.origins.tolist())  # type: ignore[attr-defined]
    return prototypes(((f, text) for f, text, origin in rows if origin != computed), max_atoms, MOST_ELEMENTS)


@lru_cache(maxsize=1)
def known_formulas() -> frozenset[str]:
    """Return every formula of the carried tables and signatures."""
    known = KnownMaterials.packaged()
    return frozenset(known.phases.formulas.to_pylist()) | frozenset(known.formulas.to_pylist())  # type: ignore[attr-defined]


Seeds = Sequence[tuple[str, Structure]]
"""(name, structure) of the crystals that the user starts from."""

PROPOSERS: Mapping[str, Callable[[SearchSpace, Seeds], Proposer]] = {
    "decoder": lambda space, seeds: _seeded(DecoderDraws(space), space, seeds),
    "random": lambda space, seeds: _seeded(RandomSearch(space), space, seeds),
    "gradient": lambda space, seeds: _seeded(_gradient(space, seeds), space, seeds),
    "substitution": lambda space, seeds: _seeded(_substitution(space), space, seeds),
    "tpe": lambda space, seeds: _seeded(OuterSearch(space, _types_within(space)), space, seeds),
    "genetic": lambda space, seeds: _seeded(_genetic(space, seeds), space, seeds),
    "hybrid": lambda space, seeds: _hybrid(space, seeds),
}
"""search.method -> constructor from the search space and the seeds."""

BASELINES: Mapping[str, Callable[..., Proposer]] = {"lookup": Lookup, "orderings": Orderings}
"""search.method -> constructor from (config, the decoder's `complete`): what every search has to beat."""


def _types_within(space: SearchSpace) -> Callable[[], list[Prototype]]:
    return lambda: known_prototypes(space.constraints.n_atoms[1])


def _substitution(space: SearchSpace) -> Substitution:
    return Substitution(space, _types_within(space), types_of)


def _gradient(space: SearchSpace, seeds: Seeds) -> GradientSearch:
    return GradientSearch(space, starts=lambda seed: starts(space, seeds, GradientSearch.name, seed))


def _genetic(space: SearchSpace, seeds: Seeds) -> GeneticSearch:
    return GeneticSearch(space, _types_within(space), [structure for _, structure in seeds])


def _seeded(proposer: Proposer, space: SearchSpace, seeds: Seeds) -> Proposer:
    """Return the proposer joined by what is made from the seeds; the proposer alone without seeds."""
    if not seeds:
        return proposer
    shares = {SeedSearch.name: 0.5, proposer.name: 0.5}
    return Hybrid([SeedSearch(space, seeds), proposer], shares, proposer.name, proposer.name)


def _hybrid(space: SearchSpace, seeds: Seeds) -> Hybrid:
    sources: list[Proposer] = [SeedSearch(space, seeds)] if seeds else []
    sources += [_substitution(space), OuterSearch(space, _types_within(space))]
    if space.decoder is not None:
        sources += [GradientSearch(space, most_starts=48), DecoderDraws(space)]
    return Hybrid(sources, FIRST_SHARES, Substitution.name)


def types_of(formula: str) -> frozenset[str]:
    """Return the structure types that the carried signatures of a known formula have."""
    found = KnownMaterials.packaged().signatures_of(formula)
    return frozenset(anonymous(s.text)[0] for s in found if s.text.count("|") <= 2 * MOST_ELEMENTS)


def proposer_named(method: str, space: SearchSpace, config: CampaignConfig) -> Proposer:
    """Return the proposer of a search method.

    Raises:
        ConfigError: no such method.
    """
    if method in BASELINES:
        return BASELINES[method](config, None if space.decoder is None else space.decoder.complete)
    if method not in PROPOSERS:
        raise ConfigError(f"search.method: {method!r}; {nearest(method, [*PROPOSERS, *BASELINES])}")
    return PROPOSERS[method](space, [(s.name, s.structure) for s in read_seeds(config.seed_structures)])


def hull_below(hull: ReferenceHull) -> Callable[[str], float]:
    """Return formula -> formation energy of the hull of known phases there, eV/atom."""
    return hull.below


def kinship(classifier: HitClassifier, structure: Structure) -> Kinship:
    """Return where a relaxed structure stands among known materials."""
    found = classifier.classify(structure)
    return Kinship(
        found.hit_class, found.derivative_of, found.nearest_known, found.parent_prototype, found.vacancy_of
    )


_BY_ENERGY: dict[str, HitClassifier] = {}


def _with_energy(known: KnownMaterials, hull: ReferenceHull, config: CampaignConfig) -> HitClassifier:
    """Return the classifier that relaxes end members known by formula only, with the energy judge."""
    name = config.verify.potential
    if name not in _BY_ENERGY:
        panel = panel_named(name)
        judge = Judge(panel.energy, store=VerificationStore(None), prerelax_by=panel.prerelax_by)
        _BY_ENERGY[name] = HitClassifier(known, lambda s: _relaxed_energy(judge, s), hull)
    return _BY_ENERGY[name]


def _relaxed_energy(judge: Judge, structure: Structure) -> tuple[Structure, float] | None:
    found = judge.relax(structure, time.monotonic() + SECONDS_PER_VERIFICATION)
    if found.structure is None or judge.potential not in corrected_potentials():
        return None
    try:
        return found.structure, formation_energy(found.structure, found.energy, judge.potential)
    except EngineError:
        return None


def trust(structure: Structure, max_atoms: int) -> float:
    """Return how far predictions are believed: by the known formulas of this type with such elements."""
    text = signature_text(Cell.from_structure(structure), TRUST_SYMPREC)
    if text is None:
        return LEAST_TRUST
    label, elements = anonymous(text)
    found = _types_by_text(max_atoms).get(label)
    return LEAST_TRUST if found is None else found.trust(elements)


@lru_cache(maxsize=4)
def _types_by_text(max_atoms: int) -> Mapping[str, Prototype]:
    return {p.text: p for p in known_prototypes(max_atoms)}


def _preview(classifier: HitClassifier, structure: Structure) -> Standing:
    found = classifier.classify(structure)
    return Standing(found.parent_prototype, found.hit_class is HitClass.NEW)


def _hopeless(objective: Objective) -> float | None:
    limits = [t.upper for t in objective.hard if t.property == ENERGY_ABOVE_HULL] or [STABLE_WITHIN]
    limit = max(limits)
    return limit + HOPELESS_ABOVE_HULL if limit < 10 else None


def _composition_surrogate(own: Sequence[Any] = ()) -> CompositionSurrogate | None:
    """Return the shipped surrogate of compositions, joined by those of the user's tables of formulas."""
    try:
        shipped: CompositionSurrogate = load_surrogate("composition")
    except EngineError as error:
        LOGGER.warning("no composition surrogate: %s", error)
        return None
    of_formulas = [surrogate for surrogate in own if surrogate.level == "composition"]
    return JoinedCompositions(shipped, of_formulas) if of_formulas else shipped


@lru_cache(maxsize=1)
def _decoder() -> Any:
    try:
        return load_decoder("default")
    except EngineError as error:
        LOGGER.warning("no decoder: %s", error)
        return None


def n_workers() -> int:
    """Return how many verifications run side by side."""
    from inverse.verification.workers import default_workers

    return default_workers()


def description(config: CampaignConfig, surrogate: Surrogate, space: SearchSpace) -> dict[str, Any]:
    """Return versions, weights, judges and settings for the manifest."""
    panel = panel_named(config.verify.potential)
    names = {"structure": surrogate.name}
    names["composition"] = space.compositions.name if space.compositions is not None else "none"
    names["decoder"] = space.decoder.name if space.decoder is not None else "none"
    own = {trained.property.name: fingerprint(trained.folder) for trained in config.trained}
    return {
        "versions": versions(),
        "weights": names | {f"table {name}": digest for name, digest in own.items()},
        "weight_files": {place: str(record["sha256"]) for place, record in weights().items()},
        "judges": {
            "formation_energy_per_atom": panel.energy if panel.has_energy else None,
            "energy_above_hull": panel.energy if panel.has_energy else None,
            "bulk_modulus_vrh": panel.bulk,
            "shear_modulus_vrh": panel.shear,
        },
        "settings": {"seconds_per_verification": SECONDS_PER_VERIFICATION, "workers": n_workers()},
    }
