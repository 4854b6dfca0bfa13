"""Gradient descent on what symmetry leaves free: lattice, coordinates and, when asked, soft species."""

from dataclasses import dataclass

import torch
from torch import Tensor

from inverse.candidates.objective import Objective
from inverse.prediction.evaluation import Evaluator, Predictions
from surrogates.crystals.batch import ELEMENT_SYMBOLS, N_ELEMENTS, CrystalBatch
from surrogates.crystals.neighbors import periodic_edges
from surrogates.crystals.symmetry import HARD_LOGIT, SymmetricCrystals
from surrogates.physics.properties import FORMATION_ENERGY

OVERLAP = 0.75
"""Two atoms closer than this share of the sum of their covalent radii are pushed apart."""

OVERLAP_REACH = 3.0
"""Å, up to which overlaps are looked for."""

ENERGY_UNIT = 0.05
"""eV/atom that weigh as much as one unit of loss."""

HULL_EVERY = 10
"""Steps after which the facet of the hull below a soft composition is looked up again; in between its plane
is followed, which is the hull itself inside a facet and lies below it outside.
"""

MAX_LOG_STRAIN, MAX_SHIFT = 0.15, 0.08
"""Farthest that log lengths and fractional coordinates go from their start: the trust region."""

LEAST_HINT = 1e-6
"""Least weight of an allowed element beside the hints, so that none is out for good."""

UNPREDICTED = 1e3
"""Loss of what the surrogate has no number for: worse than whatever it has one for."""


@dataclass(frozen=True)
class DescentSettings:
    """How far and how fast.

    Attributes:
        steps: of Adam.
        learning_rate: of lattice and coordinates.
        species_rate: of species logits; 0 keeps the elements.
        prior: weight of the squared distance from the start (the decoder's draw), in trust regions.
        overlap: weight of overlapping atoms.
    """

    steps: int = 30
    learning_rate: float = 0.012
    species_rate: float = 0.0
    prior: float = 0.5
    overlap: float = 20.0


def relaxed(
    evaluator: Evaluator, crystals: SymmetricCrystals, settings: DescentSettings
) -> SymmetricCrystals:
    """Return crystals of lower predicted formation energy, elements and symmetry kept.

    The best step of each crystal is kept, so none ends above its start.
    """
    return _descend(evaluator, None, crystals, settings, None)


def improved(
    evaluator: Evaluator,
    objective: Objective,
    crystals: SymmetricCrystals,
    settings: DescentSettings,
    allowed: Tensor,
) -> SymmetricCrystals:
    """Return crystals of lower objective loss; species stay soft, never outside `allowed`.

    Args:
        evaluator: predictions with gradients.
        objective: what is wanted.
        crystals: starts; species logits may be soft.
        settings: `species_rate` > 0 frees the species.
        allowed: (Z,) bool; other elements get no weight.
    """
    return _descend(evaluator, objective, crystals, settings, allowed)


def allowed_mask(symbols: frozenset[str]) -> Tensor:
    """Return (Z,) bool of the allowed elements."""
    return torch.tensor([symbol in symbols for symbol in ELEMENT_SYMBOLS])


def softened(
    crystals: SymmetricCrystals, allowed: Tensor, weight: float, hint: Tensor | None = None
) -> SymmetricCrystals:
    """Return crystals whose species keep `weight` on their element and share the rest among allowed ones.

    Args:
        crystals: hardened.
        allowed: (Z,) bool.
        weight: in (0, 1).
        hint: (Z,) how promising each element is; None treats them alike.
    """
    own = torch.nn.functional.one_hot(crystals.species, N_ELEMENTS).float()
    share = allowed.float() if hint is None else allowed.float() * hint.clamp(min=LEAST_HINT)
    share = torch.nn.functional.normalize(share, p=1, dim=0)
    mixed = weight * own + (1.0 - weight) * share
    return crystals.replace(species_logits=mixed.log().clamp(min=-HARD_LOGIT))


def overlap(crystals: CrystalBatch) -> Tensor:
    """Return (C,) summed squared overlaps, Å², of atoms closer than 0.75 of the sum of covalent radii."""
    edges = periodic_edges(crystals, OVERLAP_REACH)
    radius = crystals.occupancy @ _radii().to(crystals.occupancy)
    gap = OVERLAP * (radius[edges.source] + radius[edges.target]) - edges.distance
    total = crystals.lattice.new_zeros(crystals.n_crystals)
    return total.index_add(0, crystals.crystal_index[edges.source], gap.clamp(min=0.0).square())


def _descend(
    evaluator: Evaluator,
    objective: Objective | None,
    start: SymmetricCrystals,
    settings: DescentSettings,
    allowed: Tensor | None,
) -> SymmetricCrystals:
    if start.n_crystals == 0:
        return start
    lattice = start.free_lattice.detach().clone().requires_grad_(True)
    coords = start.free_coords.detach().clone().requires_grad_(True)
    logits = start.species_logits.detach().clone()
    groups = [{"params": [lattice, coords], "lr": settings.learning_rate}]
    if settings.species_rate > 0:
        logits.requires_grad_(True)
        groups.append({"params": [logits], "lr": settings.species_rate})
    optimizer = torch.optim.Adam(groups)
    best, best_loss = start, torch.full((start.n_crystals,), float("inf"))
    hull = evaluator.hull_of_formulas(start.formulas())
    for step in range(settings.steps + 1):
        now = _assembled(start, lattice, coords, logits, allowed)
        batch = now.to_crystals()
        if settings.species_rate > 0 and step % HULL_EVERY == 0:
            hull = evaluator.hull_of_mixtures(batch.composition)
        loss = _loss(evaluator.predict_crystals(batch, hull), objective)
        loss = loss + settings.overlap * overlap(batch) + settings.prior * _distance(now, to=start)
        loss = torch.nan_to_num(loss, nan=UNPREDICTED, posinf=UNPREDICTED)
        best, best_loss = _better(best, best_loss, now, loss.detach())
        if step < settings.steps:
            optimizer.zero_grad()
            loss.sum().backward()
            keep_finite(lattice, coords, logits)
            optimizer.step()
    return best


def keep_finite(*parameters: Tensor) -> None:
    """Set gradients that are not finite to zero, so that one odd crystal never stops a batch."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = torch.nan_to_num(parameter.grad, posinf=0.0, neginf=0.0)


def _assembled(
    start: SymmetricCrystals, lattice: Tensor, coords: Tensor, logits: Tensor, allowed: Tensor | None
) -> SymmetricCrystals:
    """Return the crystals at the present variables, held inside the trust region and the allowed elements."""
    strain = MAX_LOG_STRAIN * torch.tanh((lattice - start.free_lattice) / MAX_LOG_STRAIN)
    shift = MAX_SHIFT * torch.tanh((coords - start.free_coords) / MAX_SHIFT)
    if allowed is not None and logits.requires_grad:
        logits = torch.where(allowed, logits, torch.full_like(logits, -HARD_LOGIT))
    return start.replace(
        free_lattice=start.free_lattice + strain * start.is_lattice_free,
        free_coords=start.free_coords + shift * start.is_coordinate_free,
        species_logits=logits,
    )


def _loss(predictions: Predictions, objective: Objective | None) -> Tensor:
    if objective is None:
        return predictions[FORMATION_ENERGY].mean / ENERGY_UNIT
    return objective.loss(predictions)


def _distance(now: SymmetricCrystals, to: SymmetricCrystals) -> Tensor:
    """Return (C,) squared distance in units of the trust region."""
    strain = ((now.free_lattice - to.free_lattice) / MAX_LOG_STRAIN).square().sum(dim=1)
    moved = ((now.free_coords - to.free_coords) / MAX_SHIFT).square().sum(dim=1)
    return strain + strain.new_zeros(strain.shape).index_add(0, now.site_index, moved)


def _better(
    best: SymmetricCrystals, best_loss: Tensor, now: SymmetricCrystals, loss: Tensor
) -> tuple[SymmetricCrystals, Tensor]:
    wins = loss < best_loss
    site = wins[now.site_index][:, None]
    return best.replace(
        free_lattice=torch.where(wins[:, None], now.free_lattice, best.free_lattice).detach(),
        free_coords=torch.where(site, now.free_coords, best.free_coords).detach(),
        species_logits=torch.where(site, now.species_logits, best.species_logits).detach(),
    ), torch.where(wins, loss, best_loss)


def _radii() -> Tensor:
    from ase.data import covalent_radii

    return torch.tensor(covalent_radii[1 : N_ELEMENTS + 1])
