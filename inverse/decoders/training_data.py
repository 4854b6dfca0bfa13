"""Training data of the decoder: formulas with property values, standardised structures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from pymatgen.core import Composition
from torch import Tensor

from inverse.decoders.composition_model import END, MAX_AMOUNT, MAX_ELEMENTS, Formulas
from inverse.decoders.conditioning import CONDITIONED
from inverse.decoders.generative import skeletons_of
from inverse.decoders.structure_model import Skeletons
from inverse.decoders.tokens import FreeTokens, free_tokens
from inverse.decoders.training_structures import MAX_ATOMS, write_structures
from surrogates.crystals.batch import ELEMENT_SYMBOLS, N_ELEMENTS
from surrogates.crystals.symmetry import HARD_LOGIT, SymmetricCrystals
from surrogates.errors import DataError
from surrogates.platform.data_folder import SETTING, data_folder

TABLES = {
    "oqmd": ("formation_energy_per_atom",),
    "mp_formation_energy": ("formation_energy_per_atom",),
    "mp_ground_states": ("formation_energy_per_atom",),
    "mp_energy_above_hull": ("energy_above_hull",),
    "mp_elasticity": ("bulk_modulus_vrh", "shear_modulus_vrh"),
    "aflow_bulk_modulus": ("bulk_modulus_vrh",),
    "aflow_shear_modulus": ("shear_modulus_vrh",),
    "mp_band_gap": (),
}
"""Tables in rising order of trust: later values of a formula replace earlier ones, moduli of MP stay."""


@dataclass(frozen=True)
class DecoderFormulas:
    """F distinct reduced formulas of at most 24 atoms.

    Attributes:
        names: F reduced formulas.
        amounts: (F, 103) long.
        values: (F, 4) in the order of CONDITIONED, NaN where unknown.
    """

    names: list[str]
    amounts: np.ndarray
    values: np.ndarray


def read_formulas(work: Path) -> DecoderFormulas:
    """Return all formulas of the tables with lowest formation energy and moduli; kept in a folder.

    Raises:
        DataError: the shared tables are missing; names the setting.
    """
    path = work / "formulas.npz"
    if not path.exists():
        table = _read_tables()
        work.mkdir(parents=True, exist_ok=True)
        np.savez(path, names=np.array(table.names), amounts=table.amounts, values=table.values)
    with np.load(path) as file:
        return DecoderFormulas(file["names"].tolist(), file["amounts"], file["values"])


def _read_tables() -> DecoderFormulas:
    rows: dict[str, list[float]] = {}
    for table, columns in TABLES.items():
        file = data_folder() / "tables" / f"{table}.parquet"
        if not file.is_file():
            raise DataError(f"{file} is missing; set {SETTING} to the folder that holds tables/")
        content = pq.read_table(file).to_pydict()
        for i, name in enumerate(content["reduced_formula"]):
            row = rows.setdefault(name, [np.nan] * len(CONDITIONED))
            for column in columns:
                value, place = content[column][i], CONDITIONED.index(column)
                if value is None or not _is_plausible(column, value):
                    continue
                if column.endswith("vrh"):
                    row[place] = value if np.isnan(row[place]) else row[place]
                else:
                    row[place] = value if np.isnan(row[place]) else min(row[place], value)
    names, amounts, values = [], [], []
    for name, row in rows.items():
        counts = _amounts(name)
        if counts is not None:
            names.append(name)
            amounts.append(counts)
            values.append(row)
    return DecoderFormulas(names, np.array(amounts, dtype=np.int16), np.array(values, dtype=np.float32))


def _is_plausible(column: str, value: float) -> bool:
    return 2.0 < value < 700.0 if column.endswith("vrh") else abs(value) < 6.0


def _amounts(name: str) -> np.ndarray | None:
    try:
        amounts = Composition(name).get_el_amt_dict()
    except ValueError:
        return None
    numbers = np.array(list(amounts.values()))
    if np.abs(numbers - np.round(numbers)).max() > 1e-3:
        return None
    counts = np.round(numbers).astype(int)
    counts //= np.gcd.reduce(counts)
    known = set(amounts) <= set(ELEMENT_SYMBOLS)
    if not known or counts.sum() > MAX_ATOMS or counts.max() > MAX_AMOUNT or len(counts) > MAX_ELEMENTS:
        return None
    row = np.zeros(N_ELEMENTS, dtype=np.int16)
    for symbol, count in zip(amounts, counts, strict=True):
        row[ELEMENT_SYMBOLS.index(symbol)] = count
    return row


def to_formulas(amounts: np.ndarray, order: Tensor) -> Formulas:
    """Return the padded ranks and amounts of (F, 103) element amounts; `order[rank]` is an element column."""
    by_rank = torch.as_tensor(amounts.astype(np.int64))[:, order]
    n_elements = int((by_rank > 0).sum(dim=1).max())
    present = torch.where(by_rank > 0, torch.arange(N_ELEMENTS), END)
    ranks = present.sort(dim=1).values[:, :n_elements]
    counts = torch.where(ranks < END, by_rank.gather(1, ranks.clamp(max=END - 1)), 0)
    return Formulas(ranks, counts)


@dataclass(frozen=True)
class StructureTable:
    """The standardised structures of `training_structures`.

    Attributes:
        crystals: all of them.
        formulas: their reduced formulas.
        values: (C, 4) in the order of CONDITIONED, NaN where unknown.
        sources: where each comes from.
    """

    crystals: SymmetricCrystals
    formulas: np.ndarray
    values: np.ndarray
    sources: np.ndarray


def read_structures(work: Path) -> StructureTable:
    """Return the standardised structures, kept in a folder; errors as those of `write_structures`."""
    path = work / "structures.npz"
    if not path.exists():
        write_structures(path)
    with np.load(path) as file:
        data = {name: file[name] for name in file.files}
    n_sites = torch.as_tensor(data["n_sites"].astype(np.int64))
    element = torch.as_tensor(data["element"].astype(np.int64))
    logits = torch.zeros(len(element), N_ELEMENTS).scatter_(1, element.unsqueeze(1), HARD_LOGIT)
    crystals = SymmetricCrystals(
        space_group=torch.as_tensor(data["space_group"].astype(np.int64)),
        wyckoff=torch.as_tensor(data["wyckoff"].astype(np.int64)),
        site_index=torch.repeat_interleave(torch.arange(len(n_sites)), n_sites),
        species_logits=logits,
        free_coords=torch.as_tensor(data["free_coords"]),
        free_lattice=torch.as_tensor(data["free_lattice"]),
        scale=torch.zeros(len(n_sites), dtype=torch.long),
    )
    return StructureTable(crystals, data["formula"], data["values"], data["source"])


def tokens_of(crystals: SymmetricCrystals, atomic_volume: Tensor) -> tuple[Skeletons, FreeTokens]:
    """Return the discrete and the continuous tokens of crystals in canonical site order."""
    return skeletons_of(crystals), free_tokens(crystals, atomic_volume)
