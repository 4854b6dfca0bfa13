"""The trained decoder: composition model, then structure model, then checks."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from inverse.candidates.registry import DECODERS
from inverse.decoders.acceptance import SoundPool, is_sound, scaled_apart
from inverse.decoders.composition_draw import FormulaDraw
from inverse.decoders.composition_model import MAX_ELEMENTS, FormulaNetwork, Formulas
from inverse.decoders.conditioning import wanted_vector
from inverse.decoders.constraints import allowed_totals, element_rules, fixed_amounts
from inverse.decoders.protocol import Condition
from inverse.decoders.skeleton_draw import MAX_SITES, draw_skeletons, unit_choices
from inverse.decoders.structure_model import Skeletons, StructureNetwork, sites_of_tokens
from inverse.decoders.tokens import (
    N_BINS,
    FreeTokens,
    free_tokens,
    layout,
    limits,
    site_ranks,
    value_in_bin,
    with_free_values,
)
from surrogates.crystals.batch import N_ELEMENTS
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.errors import DecodingError

_N_COMPOSITION = 2 * MAX_ELEMENTS + 2
_N_SKELETON = 2 + 2 * MAX_SITES
_N_FREE = 6 + 3 * MAX_SITES
_GOLDEN = 0.6180339887498949
_ROUNDS = 12
_REDRAWS = 4


@dataclass(frozen=True)
class GenerativeDecoder:
    """Composition model and structure model behind the `Decoder` protocol.

    The latent is uniform numbers: 18 for the composition, 50 for the skeleton, 78 for lattice and
    coordinates, in which the crystal is continuous.

    Attributes:
        compositions: the composition model.
        structures: the structure model.
        element_order: (103,) element column of each rank of the composition model.
        temperature: of the discrete choices; above 1 gives more unusual crystals.
        guidance: how strongly wanted properties act on the composition; 1 is the model itself.
        name: of this decoder.
    """

    compositions: FormulaNetwork
    structures: StructureNetwork
    element_order: Tensor
    temperature: float = 1.0
    guidance: float = 1.5
    name: str = "default"

    @property
    def latent_size(self) -> int:
        """Width of the latent."""
        return _N_COMPOSITION + _N_SKELETON + _N_FREE

    @classmethod
    def packaged(cls, name: str = "default") -> "GenerativeDecoder":
        """Return the decoder with the weights in the package.

        Raises:
            CheckpointError: weights are missing or damaged.
        """
        from inverse.decoders.weights_io import load_networks

        return cls(*load_networks(name))

    @torch.no_grad()
    def decode(self, latent: Tensor, condition: Condition) -> SymmetricCrystals:
        """Return one crystal per row of the latent; see `Decoder.decode`. Distances are not checked."""
        latent = latent.detach().float().clamp(1e-6, 1 - 1e-6)
        amounts = self._amounts(latent[:, :_N_COMPOSITION], condition)
        skeletons, state, context = draw_skeletons(
            self.structures,
            amounts,
            latent[:, _N_COMPOSITION : _N_COMPOSITION + _N_SKELETON],
            wanted_vector(condition.targets),
            condition,
            self.temperature,
        )
        crystals = crystals_of(skeletons)
        return self._with_free(crystals, skeletons, state, context, latent[:, _N_COMPOSITION + _N_SKELETON :])

    def sample(self, n: int, condition: Condition, seed: int) -> SymmetricCrystals:
        """Return n sound crystals (0.7 of the covalent radii apart, spglib finds the space group), distinct
        skeletons first.

        Generators: `default_rng([seed, round])` per round of draws. When a narrow condition has fewer than n
        skeletons, the same skeleton comes back with other free numbers.

        Raises:
            DecodingError: no crystal meets the condition.
        """
        pool = SoundPool(n)
        for step in range(_ROUNDS):
            rng = np.random.default_rng([seed, step])
            size = max(16, int(1.25 * (n - pool.n_distinct)) + 4)
            crystals = self.decode(torch.as_tensor(rng.random((size, self.latent_size))), condition)
            crystals, sound = self._made_sound(crystals, rng, condition.targets)
            pool.add(crystals.select(sound))
            if pool.is_full or (step >= 3 and pool.n_added_last == 0 and pool.n_all >= n):
                break
        if not pool.n_all:
            raise DecodingError(
                "no sound crystal meets the condition; widen n_atoms, elements or the space group"
            )
        return pool.crystals()

    def complete(self, skeletons: SymmetricCrystals, seed: int) -> SymmetricCrystals:
        """Return the skeletons with drawn lattices and free coordinates, in the order and site order given.

        Up to eight draws each; the first sound one is kept, else the one with the widest gaps, scaled apart.
        """
        if skeletons.n_crystals == 0:
            return skeletons
        ordered, order = canonical(skeletons.harden())
        rng = np.random.default_rng([seed, 0])
        completed, _ = self._made_sound(self._free_draw(ordered, rng), rng, redraws=8)
        back = torch.argsort(order)
        return skeletons.replace(
            free_coords=completed.free_coords[back].to(skeletons.free_coords.dtype),
            free_lattice=completed.free_lattice.to(skeletons.free_lattice.dtype),
        )

    @torch.no_grad()
    def log_likelihood(self, crystals: SymmetricCrystals, condition: Condition | None = None) -> Tensor:
        """Return (C,) nats per atom of the primitive cell, teacher-forced, constraints not counted.

        Free numbers enter as densities per unit of their range (`inverse.decoders.tokens.RANGES`), so values
        may be positive.
        """
        if crystals.n_crystals == 0:
            return torch.zeros(0)
        ordered, _ = canonical(crystals.harden().to("cpu", torch.float32))
        vector = wanted_vector({} if condition is None else condition.targets).expand(crystals.n_crystals, -1)
        skeletons = skeletons_of(ordered)
        formulas = self._formulas(skeletons.amounts)
        total = self.compositions.log_likelihood(formulas, vector)
        discrete, state, context = self.structures.skeleton_log_likelihood(skeletons, vector)
        tokens = free_tokens(ordered, self.structures.atomic_volume)
        free = self.structures.free_log_likelihood(skeletons, tokens, state, context)
        return (total + discrete + free) / ordered.n_atoms

    def _formulas(self, amounts: Tensor) -> Formulas:
        by_rank = amounts[:, self.element_order]
        rank = torch.where(by_rank > 0, torch.arange(N_ELEMENTS), N_ELEMENTS)
        ranks = rank.sort(dim=1).values[:, : int((by_rank > 0).sum(dim=1).max())]
        counts = by_rank.gather(1, ranks.clamp(max=N_ELEMENTS - 1))
        return Formulas(ranks, torch.where(ranks < N_ELEMENTS, counts, 0))

    def _amounts(self, latent: Tensor, condition: Condition) -> Tensor:
        """Return (C, Z) reduced amounts that can be built under the condition."""
        fixed = fixed_amounts(condition)
        if fixed is not None:
            unit_choices(fixed, condition)
            return fixed.expand(len(latent), -1)
        draw = FormulaDraw(
            self.compositions,
            wanted_vector(condition.targets),
            element_rules(condition, self.element_order),
            allowed_totals(condition),
            self.temperature,
            self.guidance if condition.targets else 1.0,
        )
        amounts = torch.zeros(len(latent), N_ELEMENTS, dtype=torch.long)
        todo = torch.arange(len(latent))
        for attempt in range(64):
            drawn = draw.formulas((latent[todo] + attempt * _GOLDEN) % 1.0)
            rows = self._by_element(drawn)
            amounts[todo] = rows
            if condition.space_group is None:
                return amounts
            fits = torch.tensor([bool(unit_choices(row, condition, strict=False)) for row in rows])
            todo = todo[~fits]
            if len(todo) == 0:
                return amounts
        raise DecodingError(
            f"space group {condition.space_group} holds none of the compositions asked for; allow more atoms"
        )

    def _by_element(self, formulas: Formulas) -> Tensor:
        amounts = torch.zeros(len(formulas.ranks), N_ELEMENTS + 1, dtype=torch.long)
        columns = torch.cat([self.element_order, torch.tensor([N_ELEMENTS])])[formulas.ranks]
        amounts.scatter_(1, columns, formulas.amounts)
        amounts = amounts[:, :N_ELEMENTS]
        return amounts // common_factor(amounts).unsqueeze(1)

    def _free_draw(
        self,
        crystals: SymmetricCrystals,
        rng: np.random.Generator,
        targets: Mapping[str, float] = MappingProxyType({}),
    ) -> SymmetricCrystals:
        """Return crystals (canonical order) with new free numbers."""
        skeletons = skeletons_of(crystals)
        width = 6 + 3 * int(skeletons.is_site.shape[1])
        uniforms = torch.as_tensor(rng.random((crystals.n_crystals, width)), dtype=torch.float32)
        vector = wanted_vector(targets).expand(crystals.n_crystals, -1)
        with torch.no_grad():
            _, state, context = self.structures.skeleton_log_likelihood(skeletons, vector)
            return self._with_free(crystals, skeletons, state, context, uniforms)

    def _with_free(
        self,
        crystals: SymmetricCrystals,
        skeletons: Skeletons,
        state: Tensor,
        context: Tensor,
        uniforms: Tensor,
    ) -> SymmetricCrystals:
        """Return the crystals with free numbers by inverse cumulative probability, one after the other."""
        net, tokens = self.structures, layout(crystals)
        none = net.position.num_embeddings - 1
        position, element = sites_of_tokens(skeletons, tokens, none)
        column = torch.where(tokens.site >= 0, 3 * tokens.site + tokens.kind, tokens.kind)
        uniform = uniforms.gather(1, column.clamp(max=uniforms.shape[1] - 1)).clamp(1e-6, 1 - 1e-6)
        low, high = limits(tokens.kind)
        value = torch.zeros_like(tokens.value)
        previous, kind = torch.zeros(len(value), 1), torch.full((len(value), 1), 9)
        hidden = net.free_start(state).tanh().unsqueeze(0)
        for q in range(tokens.kind.shape[1]):
            at = slice(q, q + 1)
            inputs = net.free_step(
                context, skeletons.group, tokens.kind[:, at], position[:, at], element[:, at], kind, previous
            )
            output, hidden = net.free_recurrent(inputs, hidden)
            logits = net.free_logits(output, tokens.kind[:, at], position[:, at], element[:, at])[:, 0]
            value[:, q] = _inverse_cumulative(logits, uniform[:, q], tokens.kind[:, q])
            previous = ((value[:, at] - low[:, at]) / (high[:, at] - low[:, at])) * tokens.is_token[:, at]
            kind = tokens.kind[:, at]
        drawn = FreeTokens(tokens.kind, tokens.site, value * tokens.is_token, tokens.is_token)
        return with_free_values(crystals, drawn, net.atomic_volume)

    def _made_sound(
        self,
        crystals: SymmetricCrystals,
        rng: np.random.Generator,
        targets: Mapping[str, float] = MappingProxyType({}),
        redraws: int = _REDRAWS,
    ) -> tuple[SymmetricCrystals, Tensor]:
        """Return the crystals, redrawn where atoms clash or symmetry rose, and which are sound at last."""
        sound = is_sound(crystals)
        for _ in range(redraws):
            bad = (~sound).nonzero().squeeze(1)
            if len(bad) == 0:
                return crystals, sound
            crystals, sound = _merged(
                crystals, sound, bad, self._free_draw(crystals.select(bad), rng, targets)
            )
        bad = (~sound).nonzero().squeeze(1)
        if len(bad):
            crystals, sound = _merged(crystals, sound, bad, scaled_apart(crystals.select(bad)))
        return crystals, sound


@DECODERS.register("default")
def packaged() -> GenerativeDecoder:
    """Return the trained generative model."""
    return GenerativeDecoder.packaged()


def _merged(
    crystals: SymmetricCrystals, sound: Tensor, rows: Tensor, changed: SymmetricCrystals
) -> tuple[SymmetricCrystals, Tensor]:
    """Return the crystals with some rows replaced, and which are sound now."""
    lattice, coords = crystals.free_lattice.clone(), crystals.free_coords.clone()
    lattice[rows] = changed.free_lattice
    coords[torch.isin(crystals.site_index, rows)] = changed.free_coords
    now = sound.clone()
    now[rows] = is_sound(changed)
    return crystals.replace(free_lattice=lattice, free_coords=coords), now


def _inverse_cumulative(logits: Tensor, uniform: Tensor, kind: Tensor) -> Tensor:
    """Return the values where the piecewise linear cumulative probability reaches the uniform numbers."""
    probability = logits.double().softmax(dim=1)
    cumulative = probability.cumsum(dim=1)
    chosen = (cumulative < uniform.double().unsqueeze(1)).sum(dim=1).clamp(max=N_BINS - 1)
    share = probability.gather(1, chosen.unsqueeze(1)).squeeze(1)
    before = cumulative.gather(1, chosen.unsqueeze(1)).squeeze(1) - share
    fraction = ((uniform.double() - before) / share.clamp(min=1e-12)).clamp(0.0, 1.0)
    return value_in_bin(kind, chosen, fraction).float()


def common_factor(amounts: Tensor) -> Tensor:
    """Return the (C,) greatest common divisor of each row; 1 for an empty row."""
    return torch.as_tensor(np.gcd.reduce(amounts.numpy(), axis=1)).clamp(min=1)


def canonical(crystals: SymmetricCrystals) -> tuple[SymmetricCrystals, Tensor]:
    """Return the crystals with sites in canonical order, and the (S,) order that makes it so."""
    coords = (crystals.free_coords * crystals.is_coordinate_free).double().numpy().round(4)
    keys = [*coords.T[::-1], crystals.species.numpy(), crystals.wyckoff.numpy(), crystals.site_index.numpy()]
    order = torch.as_tensor(np.lexsort(keys))
    return (
        crystals.replace(
            wyckoff=crystals.wyckoff[order],
            species_logits=crystals.species_logits[order],
            free_coords=crystals.free_coords[order],
        ),
        order,
    )


def skeletons_of(crystals: SymmetricCrystals) -> Skeletons:
    """Return the discrete choices of crystals whose sites are in canonical order."""
    c = crystals.n_crystals
    width = max(1, int(crystals.n_sites.max()))
    rank = site_ranks(crystals)
    wyckoff, element = torch.zeros(c, width, dtype=torch.long), torch.zeros(c, width, dtype=torch.long)
    is_site = torch.zeros(c, width, dtype=torch.bool)
    wyckoff[crystals.site_index, rank] = crystals.wyckoff
    element[crystals.site_index, rank] = crystals.species
    is_site[crystals.site_index, rank] = True
    total = crystals.amounts.round().long()
    units = common_factor(total)
    return Skeletons(total // units.unsqueeze(1), units, crystals.space_group, wyckoff, element, is_site)


def crystals_of(skeletons: Skeletons) -> SymmetricCrystals:
    """Return the crystals of skeletons, all free numbers 0."""
    from surrogates.crystals.symmetry import HARD_LOGIT

    index = skeletons.is_site.nonzero()
    element = skeletons.element[skeletons.is_site]
    logits = torch.zeros(len(element), N_ELEMENTS).scatter_(1, element.unsqueeze(1), HARD_LOGIT)
    c = len(skeletons.group)
    return SymmetricCrystals(
        space_group=skeletons.group,
        wyckoff=skeletons.wyckoff[skeletons.is_site],
        site_index=index[:, 0],
        species_logits=logits,
        free_coords=torch.zeros(len(element), 3),
        free_lattice=torch.zeros(c, 6),
        scale=torch.zeros(c, dtype=torch.long),
    )
