"""The composition root: names in a config -> objects; the one module that names concrete classes."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from pymatgen.core import Structure

from inverse.benchmarks.arguments import Arguments
from inverse.campaign.confirming import Confirming, confirmed_by_dft, said_of
from inverse.campaign.dynamical_stability import AskPhonons
from inverse.campaign.parts import AskFirstPrinciples, AskFunctionals, Judging, Parts
from inverse.campaign.provenance import versions, weights
from inverse.candidates.objective import Objective
from inverse.candidates.registry import AUTO, DECODERS, PROPOSERS, SURROGATES
from inverse.candidates.types import Candidate, FunctionalHull, HitClass, HullMargin
from inverse.decoders import Condition, Decoder, load_decoder
from inverse.decoders.loading import takes_device
from inverse.decoders.sampling import Sample, condition_of, draw
from inverse.inputs.campaign_config import NO_WITNESS, CampaignConfig
from inverse.inputs.carried_files import Seed, fingerprint, read_seeds
from inverse.inputs.named_surrogate import surrogate_named
from inverse.inputs.structure_files import Given
from inverse.potentials.dft import Limits
from inverse.potentials.loading import available_potentials, check_potential, load_potential, one_thread
from inverse.prediction.answers import iterate_predictions, surrogates_of
from inverse.prediction.completion import (
    OF_ONE_PROPERTY,
    CompletedSurrogate,
    JoinedCompositions,
    answering_crystals,
)
from inverse.prediction.correction import CorrectedSurrogate
from inverse.prediction.evaluation import Evaluator
from inverse.prediction.placement import PlacedSurrogate
from inverse.prediction.triage import POTENTIAL as TRIAGES
from inverse.prediction.triage import Triage
from inverse.proposers.all_sources import with_seeds
from inverse.proposers.baselines.baselines import baselines
from inverse.proposers.protocol import Proposer, completed
from inverse.proposers.screening import Screen
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.substitution import n_surveyed
from inverse.reference import HitClassifier, KnownMaterials, ReferenceHull, live
from inverse.reference.chemical_potentials import packaged_potentials
from inverse.reference.deduplication import distinct
from inverse.reference.familiarity import (
    SECONDS_PER_VERIFICATION,
    kinship,
    known_formulas,
    standing,
    trust,
)
from inverse.reference.hull import SAME_HULL
from inverse.reference.known_energies import KnownEnergies
from inverse.reference.known_types import KnownTypes
from inverse.verification.calibration.energy_correction import formation_energy
from inverse.verification.classification import classifier_by_energy
from inverse.verification.first_principles.competitors import Competitors
from inverse.verification.first_principles.pool import Calculated
from inverse.verification.functionals import CHANNELS, Functionals, shares_on_hull
from inverse.verification.judge import Judge
from inverse.verification.mechanics.phonons import PhononVerdict
from inverse.verification.opening import open_pool
from inverse.verification.panel import Panel, alone, panel_named
from inverse.verification.plan import Bounds, VerificationPlan
from inverse.verification.store import VerificationStore
from inverse.verification.workers import VerifierPool, default_workers
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.errors import ConfigError, EngineError
from surrogates.physics.properties import ENERGY_ABOVE_HULL, FORMATION_ENERGY, MEASURED, judged_from
from surrogates.platform.cpu_time import cpu_seconds
from surrogates.platform.devices import device_named, require_cpu
from surrogates.platform.factories import is_factory, source_version
from surrogates.protocol import CompositionSurrogate, Level, Surrogate

LOGGER = logging.getLogger("inverse.assembly")

FAST, ACCURATE = "structure", "accurate"
"""Packaged tiers of the structure-level surrogate: searches use the first, choices and answers the second."""

HOPELESS_ABOVE_HULL = 0.3
"""eV/atom above which a candidate's stiffness is not computed any more; it could not be a hit."""

WIDE_OPEN = 10.0
"""eV/atom above the hull from which on a bound says nothing."""


def assemble(config: CampaignConfig) -> Parts:
    """Return what a campaign of this config is made of.

    Args:
        config: of the campaign, whose cost counts from now.

    Raises:
        ConfigError: a target that nothing predicts, or a judge that is not installed.
        CheckpointError: weights that are missing or damaged.
    """
    began = cpu_seconds()
    objective = Objective.of(config)
    plan = verification_plan(config, objective)  # what is not installed is said before weights are read
    device_named(config.device)
    if no_entries := live.refusal():
        LOGGER.warning("%s", no_entries)
    verifier = _verifier(plan)
    try:
        parts = _parts(config, objective, plan, verifier)
        return replace(parts, spent=lambda: cpu_seconds() - began + verifier.cpu_seconds)
    except BaseException:
        verifier.close()
        raise


def judging(config: CampaignConfig) -> Judging:
    """Return who judges candidates of a config, and how hits are told, without anything that searches.

    The store answers what it can, whatever the config says of it; nobody gives a second opinion.

    Raises:
        EngineError: as of `assemble`, of the judges.
    """
    plan = verification_plan(config, Objective.of(config))
    plan = replace(plan, panel=replace(plan.panel, second=""), reuse=True, shortlist=None)
    known = KnownMaterials.packaged()
    classifier = HitClassifier(known)
    screen = Screen(config.constraints, known, classifier)
    return Judging(
        _verifier(plan),
        screen.relaxed_breach,
        lambda s: kinship(classifier, s),
        lambda s: kinship(classifier_by_energy(plan.panel, plan.reuse, plan.device), s),
    )


def arguments_of_benchmarks(runs: Sequence[Path], seconds: float) -> Arguments:
    """Return what benchmarks of runs and of searches ask; nothing is loaded before it is asked.

    Args:
        runs: folders.
        seconds: of one call.
    """
    panel = panel_named()
    judge = replace(alone(panel.energy), prerelax_by=panel.prerelax_by)
    has_triage = available_potentials().get(TRIAGES)
    return Arguments(
        judging,
        assemble,
        tuple(runs),
        seconds,
        judge=open_pool(VerificationPlan(judge)),
        triage=Triage(partial(formation_energy, potential=TRIAGES), TRIAGES) if has_triage else None,
        witness=open_pool(VerificationPlan(alone(panel.second))) if panel.second else None,
    )


def as_begun(config: CampaignConfig, begun: CampaignConfig) -> CampaignConfig:
    """Return a config whose sources, and second opinion, are those of a run that was begun with another.

    Args:
        config: what the run goes on with.
        begun: what its folder holds.
    """
    search = config.search.model_copy(update={"structures": n_surveyed(begun)})
    verify = config.verify.model_copy(update={"second_opinion": begun.verify.second_opinion})
    return config.model_copy(update={"search": search, "verify": verify})


def verification_plan(config: CampaignConfig, objective: Objective) -> VerificationPlan:
    """Return how the candidates of a campaign are verified.

    Raises:
        UnknownNameError: no such potential.
        MissingExtraError: its package is not installed.
    """
    panel = with_second(panel_named(config.verify.potential), config.verify.second_opinion)
    limit = objective.hull.upper
    return VerificationPlan(
        panel,
        config.verify.reuse,
        seconds_limit=SECONDS_PER_VERIFICATION,
        stop_above_hull=limit + HOPELESS_ABOVE_HULL if limit < WIDE_OPEN else None,
        shortlist=_shortlist(objective, panel),
        also=tuple(config.verify.also),
        wanted=tuple(p.name for p in objective.properties),
        device=config.device,
    )


def with_second(panel: Panel, witness: str) -> Panel:
    """Return the panel with another second opinion; where nobody gives one, nobody does.

    Args:
        panel: the judges.
        witness: `verify.second_opinion` of a config.

    Raises:
        ConfigError: one of the judges.
    """
    if witness == AUTO or not panel.second:
        return panel
    if witness == NO_WITNESS:
        return replace(panel, second="")
    if witness in {panel.energy, panel.stability, panel.appeal, *panel.judges.values()}:
        raise ConfigError(f"verify.second_opinion: {witness} is a judge of this run")
    return replace(panel, second=witness)


def _verifier(plan: VerificationPlan) -> VerifierPool:
    """Return the judges in their workers; where the plan names code, they begin to load it."""
    pool = open_pool(plan, n_workers())
    if plan.runs_code:
        pool.start()
    return pool


def _parts(
    config: CampaignConfig, objective: Objective, plan: VerificationPlan, verifier: VerifierPool
) -> Parts:
    hull, known = ReferenceHull.packaged(), KnownMaterials.packaged()
    classifier = HitClassifier(known)
    screen = Screen(config.constraints, known, classifier)
    # sources may start beside the bounds of a price; what they propose is held against them
    deciding_screen = Screen(config.constraints, known, classifier, objective.targets)
    own = [load_surrogate(trained.folder) for trained in config.trained]
    if config.search.surrogate:
        place = device_named(config.device)
        own.insert(0, _placed(surrogate_named(config.search.surrogate), place))
    compositions = _composition_surrogate(own)
    beside = [load_structure_surrogate(config.device, name) for name in OF_ONE_PROPERTY]
    fast, accurate = (
        CompletedSurrogate(
            load_structure_surrogate(config.device, tier),
            _composition_surrogate(),
            own,
            objective.properties,
            beside,
        )
        for tier in (FAST, ACCURATE)
    )
    searching = CorrectedSurrogate(fast)
    deciding = CorrectedSurrogate(accurate, [searching], lambda candidate: candidate.start)
    below = hull_below(hull)
    of_own_table = any(FORMATION_ENERGY in surrogate.properties for surrogate in own)
    base = Evaluator(
        fast,
        below,
        objective.properties,
        potentials=packaged_potentials,
        known=None if of_own_table else KnownEnergies.packaged(),  # a user's energies are on their own scale
    )
    why_no_triage = why_without_triage(config, plan.panel, objective.hull.upper < WIDE_OPEN, of_own_table)
    if config.search.triage and why_no_triage:
        raise ConfigError(f"search.triage: {why_no_triage}")
    space = SearchSpace(
        config=config,
        objective=objective,
        constraints=config.constraints,
        base=base,
        corrected=Evaluator(searching, below, objective.properties, beside=base),
        compositions=compositions,
        decoder=_decoder(config.search.decoder, config.device),
        condition=Condition,
        composition_reason=screen.composition_breach,
        screening=screen.breach,
        is_known_formula=lambda formula: formula in known_formulas(),
        is_new=lambda s: classifier.classify(s).hit_class is HitClass.NEW,
    )
    return Parts(
        surrogate=deciding,
        evaluator=Evaluator(deciding, below, objective.properties, beside=base),
        proposer=proposer_named(config.search.method, space),
        verifier=verifier,
        screening=deciding_screen.breach,
        rescreening=screen.relaxed_breach,
        classify=lambda s: kinship(classifier, s),
        confirm=lambda s: kinship(classifier_by_energy(plan.panel, plan.reuse, plan.device), s),
        preview=lambda s: standing(classifier, s),
        trust=lambda s: trust(s, config.constraints.n_atoms[1]),
        baselines=lambda: baselines(config),
        description=description(config, accurate, space, plan.panel, why_no_triage),
        phonons=_phonons(verifier) if config.verify.phonons else None,
        first_principles=_first_principles(config) if config.verify.confirm else None,
        functionals=_functionals(plan) if config.verify.functionals else None,
        margin=lambda candidate: _margin(hull, objective, candidate),
        relax_each=verifier.relax_each if config.verify.orderings else None,
        type_of=lambda found: KnownTypes.packaged().of(found),
        triage=None if why_no_triage else _triage(config),
    )


def _margin(hull: ReferenceHull, objective: Objective, candidate: Candidate) -> HullMargin | None:
    """Return how far competing phases would have to move.

    None where nothing bounds the distance from above, or where it is a distance from another hull.
    """
    if not objective.hull.upper < WIDE_OPEN:
        return None
    energy = candidate.values.get(FORMATION_ENERGY.name)
    distance = candidate.values.get(ENERGY_ABOVE_HULL.name)
    if energy is None or distance is None:
        return None
    formula = candidate.structure.composition.reduced_formula
    try:
        if abs(hull(formula, energy.mean) - distance.mean) > SAME_HULL:
            return None
        return hull.margin(formula, energy.mean, objective.hull.upper)
    except EngineError:
        return None


def _triage(config: CampaignConfig) -> Triage:
    """Return who triages; a potential that cannot be loaded is said before a run begins.

    Raises:
        EngineError: its weights are damaged or missing.
    """
    load_potential(TRIAGES, config.device)
    return Triage(partial(formation_energy, potential=TRIAGES), TRIAGES, device=config.device)


def why_without_triage(
    config: CampaignConfig, panel: Panel, has_hull_bound: bool = True, has_own_energies: bool = False
) -> str:
    """Return why a run does without the triage, "" where it has one.

    Args:
        config: of the run.
        panel: the judges; whoever decides among them is not asked beforehand.
        has_hull_bound: a bound on the hull decides hits.
        has_own_energies: energies are predicted on the scale of a user's table.
    """
    if not config.search.triage:
        return "switched off"
    if not available_potentials().get(TRIAGES):
        return f"{TRIAGES} is not installed: pip install 'inverse-crystals[sevenn]'"
    if TRIAGES in {panel.energy, panel.stability, panel.appeal, *panel.judges.values()}:
        return f"{TRIAGES} is a judge of this run"
    if has_own_energies:
        return "energies are on the scale of the user's own table"
    return "" if has_hull_bound else "no target bounds the energy above the hull"


def _first_principles(config: CampaignConfig) -> AskFirstPrinciples:
    """Return who takes the best to DFT; what is wrong with the code is said before the run begins.

    Raises:
        EngineError: the code, its interpreter or a property that is not there.
    """
    dft = config.verify.dft
    confirming = Confirming(
        properties=dft.properties,
        code=dft.code,
        python=dft.python,
        processes=dft.processes,
        limits=Limits(dft.seconds, dft.memory),
    )
    confirming.check()

    def ask(
        candidates: Sequence[Candidate], told: Callable[[str], None], should_stop: Callable[[], bool]
    ) -> Iterator[Candidate]:
        def tell(name: str, one: Calculated) -> None:
            told(said_of(name, one))

        return confirmed_by_dft(candidates, config, confirming, tell, should_stop)

    return ask


def _functionals(plan: VerificationPlan) -> AskFunctionals:
    """Return who is asked whether hits survive another functional; what is not installed is said at once.

    Raises:
        MissingExtraError: the package of the channels is not installed.
    """
    for potential in CHANNELS.values():
        check_potential(potential)
    store = VerificationStore(plan.store)
    asked = Functionals(
        Competitors(plan.panel, plan.device),
        lambda name: Judge(name, store=store, reuse=plan.reuse, device=plan.device),
        shares_on_hull,
    )

    def ask(structure: Structure, should_stop: Callable[[], bool]) -> Mapping[str, FunctionalHull] | None:
        with one_thread():
            return asked(structure, should_stop)

    return ask


def _phonons(verifier: VerifierPool) -> AskPhonons:
    """Return who computes phonons: the energy judge, whose relaxed structures are asked about."""

    def ask(structure: Structure, deadline: float, should_stop: Callable[[], bool]) -> PhononVerdict:
        return verifier.phonons(structure, deadline - time.monotonic(), should_stop)

    return ask


def load_structure_surrogate(device: str = "auto", tier: str = FAST) -> Surrogate:
    """Return a structure-level surrogate on a device; answers come back to the caller's.

    Args:
        device: as in a config.
        tier: FAST for inner loops, ACCURATE for what is shown and what is worth a verification, or any name.

    Raises:
        ConfigError: a device that is not there.
    """
    place = device_named(device)
    surrogate: Any = surrogate_named(tier)
    if surrogate.level is not Level.STRUCTURE:
        raise ConfigError(f"the surrogate {tier!r} does not take structures")
    return _placed(surrogate, place)


def _placed(surrogate: Any, place: torch.device) -> Surrogate:
    """Return a surrogate on a device; one of compositions, or that cannot be moved, answers where it is."""
    if place.type == "cpu" or not hasattr(surrogate, "to") or surrogate.level is Level.COMPOSITION:
        found: Surrogate = surrogate
        return found
    return PlacedSurrogate(surrogate.to(place), place)


def predictions(
    structures: Iterable[Given],
    formulas: Sequence[str],
    model: str | Path | None = None,
    device: str = "auto",
) -> Iterator[dict[str, Any]]:
    """Return the records of `inverse predict`, see `iterate_predictions`.

    Args:
        structures: files, folders, structures and ASE Atoms.
        formulas: answered at composition level.
        model: folder of weights that `inverse train` wrote; None asks the shipped surrogates.
        device: as in a config; compositions are answered on the CPU.

    Raises:
        ConfigError: a device that is not there.
        UnknownNameError: no weights there.
        DataError: none of the paths exists, and no formula is given.
    """
    place = device_named(device)
    own, of_formulas = surrogates_of(model)
    if own is not None and own is not of_formulas:
        own = _placed(own, place)
    return iterate_predictions(
        structures,
        formulas,
        own,
        of_formulas,
        shipped=lambda: answering_crystals(load_structure_surrogate(device, ACCURATE)),
    )


def samples(
    n: int,
    targets: Mapping[str, float],
    elements: Sequence[str] = (),
    seed: int = 0,
    n_atoms: tuple[int, int] = (1, 24),
    decoder: str = "default",
    device: str = "auto",
) -> Iterator[Sample]:
    """Return the crystals of `inverse sample`; what is wrong with the arguments is said before any is drawn.

    Args:
        n: how many at most.
        targets: property name -> wanted value; a wish, not a promise.
        elements: allowed ones; all without any.
        seed: the same arguments give the same crystals.
        n_atoms: least and most in the primitive cell.
        decoder: by name.
        device: as in a config; told to decoders that ask for it, and the others draw on the CPU.

    Raises:
        ConfigError: fewer than one sample, an unknown property or element, an unphysical target, or a device
            that is not there or of no use to the decoder.
        UnknownNameError: no such decoder.
        DecodingError: no crystal of the decoder meets the condition; when the first is asked for.
    """
    condition = condition_of(n, targets, elements, n_atoms)
    return draw(n, condition, seed, decoder_named(decoder, device))


def decoder_named(name: str, device: str = "auto") -> Decoder:
    """Return the decoder of a name, on a device where whoever makes it asks for one.

    Raises:
        ConfigError: a device that is not there, or that this decoder has no use for.
        UnknownNameError: no such decoder.
    """
    if takes_device(name):
        return load_decoder(name, str(device_named(device)))
    require_cpu(device, f"the decoder {name!r} draws")
    return load_decoder(name)


def training(
    config: str | Path | Mapping[str, Any], output: str | Path | None = None, device: str | None = None
) -> dict[str, Any]:
    """Return the report of `inverse train`; see `inverse.prediction.training.train`."""
    from inverse.prediction.training import train  # what only training needs is not read by a search

    return train(config, output, device)


def proposer_named(method: str, space: SearchSpace) -> Proposer:
    """Return the proposer of a search method, joined by the seeds of the space's config.

    Raises:
        UnknownNameError: no such method.
        ConfigError: whoever brings it does not keep what its group promises.
    """
    given = _seeds(space.config)
    seeds = [(seed.name, seed.structure) for seed in given]
    space = replace(space, seeds=seeds, remarks={seed.name: seed.flags for seed in given})
    try:
        made = completed(PROPOSERS.make(method, space=space), method)
    except TypeError as error:
        raise PROPOSERS.refusal(method, str(error)) from None
    return with_seeds(made, space)


def _seeds(config: CampaignConfig) -> list[Seed]:
    """Return the crystals that the user starts from, each once; the log tells of flags and of repeats.

    A repeat, at whatever volume, is named among the flags of the seed that is kept.
    """
    given = read_seeds(config.seed_structures)
    for seed in given:
        for flag in seed.flags:
            LOGGER.warning("seed %s: %s", seed.name, flag)
    met = distinct([seed.structure for seed in given])
    repeats: dict[int, tuple[str, ...]] = {}
    for number, seed in enumerate(given):
        if (first := met.first[number]) != number:
            LOGGER.warning("seed %s: the same crystal as seed %s; left out", seed.name, given[first].name)
            own, other = (s.volume / len(s) for s in (given[first].structure, seed.structure))
            said = f"{seed.name} holds the same crystal ({other:.2f} Å³ per atom, here {own:.2f}), left out"
            repeats[first] = (*repeats.get(first, ()), said)
    return [replace(given[k], flags=(*given[k].flags, *repeats.get(k, ()))) for k in met.kept]


def hull_below(hull: ReferenceHull) -> Callable[[str], float]:
    """Return formula -> formation energy of the hull of known phases there, eV/atom."""
    return hull.below


def _shortlist(objective: Objective, panel: Panel) -> Bounds:
    """Return the bounds within which a candidate earns a second opinion: those of a hit, where judged."""
    bounds = {target.property: (target.lower, target.upper) for target in objective.deciding}
    return {p.name: b for p, b in bounds.items() if p.name in panel.judges}


def _composition_surrogate(own: Sequence[Any] = ()) -> CompositionSurrogate | None:
    """Return the shipped surrogate of compositions, joined by those of the user's tables of formulas."""
    try:
        shipped: CompositionSurrogate = surrogate_named("composition")
    except EngineError as error:
        LOGGER.warning("no composition surrogate: %s", error)
        return None
    of_formulas = [surrogate for surrogate in own if surrogate.level is Level.COMPOSITION]
    return JoinedCompositions(shipped, of_formulas) if of_formulas else shipped


@lru_cache(maxsize=2)
def _decoder(name: str, device: str) -> Any:
    try:
        return load_decoder(name, str(device_named(device)))
    except EngineError as error:
        if name != "default":  # what was asked for is not left out
            raise
        LOGGER.warning("no decoder: %s", error)
        return None


def n_workers() -> int:
    """Return how many verifications run side by side."""
    return default_workers()


def _brought(config: CampaignConfig) -> dict[str, str]:
    """Return which packages bring what the config names beside this program's own."""
    named = (
        (PROPOSERS, config.search.method),
        (SURROGATES, config.search.surrogate),
        (DECODERS, config.search.decoder),
    )
    return {
        f"{registry.what} {name}": registry.brought_by(name) if name in registry else _state_of(name)
        for registry, name in named
        if name and not registry.is_packaged(name)
    }


def _state_of(surrogate: str) -> str:
    """Return what tells one state of a surrogate, module:factory or folder, from another."""
    return source_version(surrogate) if is_factory(surrogate) else fingerprint(Path(surrogate))


def description(
    config: CampaignConfig, surrogate: Surrogate, space: SearchSpace, panel: Panel, why_no_triage: str = ""
) -> dict[str, Any]:
    """Return versions, weights, judges and settings for the manifest; why there is no triage, "" with one."""
    names = {"structure": surrogate.name}
    names["composition"] = space.compositions.name if space.compositions is not None else "none"
    names["decoder"] = space.decoder.name if space.decoder is not None else "none"
    own = {trained.property.name: fingerprint(trained.folder) for trained in config.trained}
    return {
        "versions": versions(),
        "weights": names | _brought(config) | {f"table {name}": digest for name, digest in own.items()},
        "weight_files": {place: str(record["sha256"]) for place, record in weights().items()},
        "judges": {prop.name: ", ".join(panel.judges_of(prop)) or None for prop in judged_from(*MEASURED)},
        "settings": {
            "seconds_per_verification": SECONDS_PER_VERIFICATION,
            "workers": n_workers(),
            "triage": f"none: {why_no_triage}" if why_no_triage else TRIAGES,
            "second_opinion": panel.second or NO_WITNESS,
        },
    }
