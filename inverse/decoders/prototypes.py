"""The prototype decoder: random elements on random AFLOW prototypes, a baseline that has learned nothing."""

import json
from dataclasses import dataclass
from importlib import resources
from itertools import permutations
from math import log

import numpy as np
import torch
from torch import Tensor

from inverse.candidates.registry import DECODERS
from inverse.decoders.acceptance import SoundPool, distance_ratios, is_sound
from inverse.decoders.protocol import Condition
from surrogates.crystals.batch import N_ELEMENTS, element_index
from surrogates.crystals.symmetry import HARD_LOGIT, SymmetricCrystals
from surrogates.errors import CheckpointError, DecodingError

_N_LABELS = 8
_ROUNDS = 12


@dataclass(frozen=True)
class DecodedPrototype:
    """One prototype: orbits, which of them share an element, free numbers.

    Attributes:
        name: AFLOW label.
        space_group: International number.
        wyckoff: index of each orbit's Wyckoff letter.
        species: number of each orbit's element, 0 to n - 1.
        free_coords: x, y, z of each orbit.
        free_lattice: six lattice numbers.
        amounts: atoms of each element in the primitive cell.
    """

    name: str
    space_group: int
    wyckoff: tuple[int, ...]
    species: tuple[int, ...]
    free_coords: tuple[tuple[float, ...], ...]
    free_lattice: tuple[float, ...]
    amounts: tuple[int, ...]

    def crystal(self, elements: list[int]) -> SymmetricCrystals:
        """Return the prototype with these element columns."""
        n = len(self.wyckoff)
        logits = torch.zeros(n, N_ELEMENTS)
        logits[torch.arange(n), torch.tensor([elements[s] for s in self.species])] = HARD_LOGIT
        return SymmetricCrystals(
            space_group=torch.tensor([self.space_group]),
            wyckoff=torch.tensor(self.wyckoff),
            site_index=torch.zeros(n, dtype=torch.long),
            species_logits=logits,
            free_coords=torch.tensor(self.free_coords),
            free_lattice=torch.tensor([self.free_lattice]),
            scale=torch.zeros(1, dtype=torch.long),
        )


@dataclass(frozen=True)
class PrototypeDecoder:
    """Random prototypes behind the `Decoder` protocol.

    The latent chooses a prototype, its elements and the stretch of the cell (atoms touch at 0.85 to 1.15 of
    the covalent radii).
    """

    prototypes: tuple[DecodedPrototype, ...]
    name: str = "prototypes"
    latent_size: int = 3 + _N_LABELS

    @classmethod
    def packaged(cls) -> "PrototypeDecoder":
        """Return the decoder with the prototypes in the package.

        Raises:
            CheckpointError: the list is missing or damaged.
        """
        path = resources.files("inverse.decoders") / "prototypes.json"
        try:
            records = json.loads(path.read_text())
            return cls(tuple(_prototype(record) for record in records))
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"prototypes {path} cannot be read: {error}") from None

    def decode(self, latent: Tensor, condition: Condition) -> SymmetricCrystals:
        """Return one crystal per row of the latent; see `Decoder.decode`."""
        fitting = [p for p in self.prototypes if self._assignments(p, condition)]
        if not fitting:
            raise DecodingError("no prototype meets the condition; widen n_atoms or n_elements")
        rows = latent.detach().double().clamp(0.0, 1 - 1e-9).tolist()
        crystals = [self._decoded(fitting, row, condition) for row in rows]
        drawn = SymmetricCrystals.concatenate(crystals)
        return _stretched(drawn, 0.85 + 0.3 * latent[:, 1].float())

    def sample(self, n: int, condition: Condition, seed: int) -> SymmetricCrystals:
        """Return n sound crystals, distinct skeletons first; generators `default_rng([seed, round])`.

        Raises:
            DecodingError: no prototype meets the condition.
        """
        pool = SoundPool(n)
        for step in range(_ROUNDS):
            rng = np.random.default_rng([seed, step])
            size = int(1.5 * (n - pool.n_distinct)) + 4
            crystals = self.decode(torch.as_tensor(rng.random((size, self.latent_size))), condition)
            pool.add(crystals.select(is_sound(crystals)))
            if pool.is_full:
                break
        if not pool.n_all:
            raise DecodingError("no sound crystal of a prototype meets the condition")
        return pool.crystals()

    def complete(self, skeletons: SymmetricCrystals, seed: int) -> SymmetricCrystals:
        """Return the skeletons with random shapes and coordinates: the most compact of sixteen draws."""
        rng = np.random.default_rng([seed, 0])
        best, widest = skeletons, np.full(skeletons.n_crystals, -1.0)
        for _ in range(16):
            coords = torch.as_tensor(rng.random(skeletons.free_coords.shape))
            shape = torch.as_tensor(rng.normal(0.0, [0.3] * 3 + [0.2] * 3, (skeletons.n_crystals, 6)))
            free = (shape + torch.tensor([2.0] * 3 + [0.0] * 3)) * skeletons.is_lattice_free
            drawn = skeletons.replace(
                free_coords=(coords * skeletons.is_coordinate_free).to(skeletons.free_coords.dtype),
                free_lattice=free.to(skeletons.free_lattice.dtype),
            )
            drawn = _stretched(drawn, torch.ones(drawn.n_crystals))
            compact = 1.0 / drawn.harden().to_crystals().volume.detach().numpy()
            better = torch.as_tensor(compact > widest)
            widest = np.maximum(widest, compact)
            rows = better[drawn.site_index].unsqueeze(1)
            best = best.replace(
                free_coords=torch.where(rows, drawn.free_coords, best.free_coords),
                free_lattice=torch.where(better.unsqueeze(1), drawn.free_lattice, best.free_lattice),
            )
        return best

    def log_likelihood(self, crystals: SymmetricCrystals, condition: Condition | None = None) -> Tensor:
        """Return (C,) nats per atom of a uniform choice of prototype and elements."""
        n_elements = (crystals.harden().amounts.round() > 0).sum(dim=1)
        return -(log(len(self.prototypes)) + n_elements * log(N_ELEMENTS)) / crystals.n_atoms

    def _assignments(self, prototype: DecodedPrototype, condition: Condition) -> list[tuple[int, ...]]:
        """Return the element columns of each way to meet a fixed composition; [()] when open."""
        n, labels = sum(prototype.amounts), len(prototype.amounts)
        fits = condition.n_atoms[0] <= n <= condition.n_atoms[1]
        fits &= condition.n_elements[0] <= labels <= condition.n_elements[1]
        fits &= condition.space_group in (None, prototype.space_group)
        needed, wanted = condition.needed_elements, condition.required_any
        fits &= len(needed) + bool(wanted and not wanted & needed) <= labels <= len(condition.usable_elements)
        usable = condition.usable_elements
        fits &= needed <= usable and not (wanted and not wanted & usable)
        fits &= condition.chemical_system is None or len(needed) == labels
        if not fits:
            return []
        if condition.composition is None:
            return [()]
        from pymatgen.core import Composition

        symbols = list(Composition(condition.composition).get_el_amt_dict())
        if len(symbols) != labels:
            return []
        found = []
        for order in permutations(symbols):
            if condition.is_met(dict(zip(order, prototype.amounts, strict=True)), n):
                found.append(tuple(element_index(s) for s in order))
        return found

    def _decoded(
        self, fitting: list[DecodedPrototype], row: list[float], condition: Condition
    ) -> SymmetricCrystals:
        prototype = fitting[int(row[0] * len(fitting))]
        labels = len(prototype.amounts)
        if condition.composition is not None:
            choices = self._assignments(prototype, condition)
            return prototype.crystal(list(choices[int(row[2] * len(choices))]))
        needed = sorted(condition.needed_elements)
        usable = sorted(condition.usable_elements - set(needed))
        chosen = list(needed)
        if condition.required_any and not condition.required_any & set(needed):
            options = [s for s in usable if s in condition.required_any]
            chosen.append(options[int(row[3] * len(options))])
            usable.remove(chosen[-1])
        for k in range(len(chosen), labels):
            chosen.append(usable.pop(int(row[3 + k] * len(usable))))
        # The latent also turns the elements round, so that a required one is not always first.
        turn = int(row[2] * labels)
        return prototype.crystal([element_index(s) for s in chosen[turn:] + chosen[:turn]])


@DECODERS.register("prototypes")
def packaged() -> PrototypeDecoder:
    """Return random AFLOW prototypes, an honest baseline."""
    return PrototypeDecoder.packaged()


def _prototype(record: dict) -> DecodedPrototype:
    from surrogates.crystals.symmetry import wyckoff_positions

    positions = wyckoff_positions(record["space_group"])
    amounts = [0] * (max(record["species"]) + 1)
    for wyckoff, species in zip(record["wyckoff"], record["species"], strict=True):
        amounts[species] += positions[wyckoff].primitive_multiplicity
    return DecodedPrototype(
        record["name"],
        record["space_group"],
        tuple(record["wyckoff"]),
        tuple(record["species"]),
        tuple(tuple(x) for x in record["free_coords"]),
        tuple(record["free_lattice"]),
        tuple(amounts),
    )


def _stretched(crystals: SymmetricCrystals, ratio: Tensor) -> SymmetricCrystals:
    """Return the crystals with cells stretched until the closest atoms are at `ratio` of covalent radii."""
    log_scale = torch.zeros(crystals.n_crystals)
    scaled = crystals
    for _ in range(4):
        now = torch.as_tensor(distance_ratios(scaled.harden().to_crystals()), dtype=torch.float32)
        log_scale = log_scale + torch.log(ratio / now.clamp(min=0.02))
        longer = torch.cat([log_scale.unsqueeze(1).expand(-1, 3), torch.zeros(len(now), 3)], dim=1)
        free = crystals.free_lattice + (longer * crystals.is_lattice_free).to(crystals.free_lattice.dtype)
        scaled = crystals.replace(free_lattice=free)
    return scaled
