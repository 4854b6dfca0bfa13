"""`inverse sample`: crystals drawn from the decoder, as CIFs and one table."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pymatgen.core import Structure

from inverse.decoders import Condition, Decoder
from inverse.decoders.cif_writer import cif_text
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.crystals.formulas import display_formula
from surrogates.errors import ConfigError, nearest
from surrogates.physics.properties import PROPERTIES, nearest_property

COLUMNS = ("id", "formula", "formula_display", "space_group", "n_atoms", "log_likelihood", "cif")
"""Columns of samples.csv."""

CHUNK = 100
"""Crystals decoded at once."""


@dataclass(frozen=True)
class Sample:
    """One drawn crystal.

    Attributes:
        structure: primitive cell.
        space_group: International number that the decoder wrote.
        log_likelihood: nats per atom.
    """

    structure: Structure
    space_group: int
    log_likelihood: float


def draw(n: int, condition: Condition, seed: int, decoder: Decoder) -> Iterator[Sample]:
    """Yield at most n crystals of a decoder; the same arguments give the same crystals.

    Raises:
        DecodingError: no crystal of the decoder meets the condition.
    """
    for first in range(0, n, CHUNK):
        crystals = decoder.sample(min(CHUNK, n - first), condition, seed * 1_000_003 + first)
        likelihood = decoder.log_likelihood(crystals, condition)
        groups = crystals.space_group.tolist()
        for k, structure in enumerate(crystals.to_structures()):
            yield Sample(structure, int(groups[k]), float(likelihood[k]))


def condition_of(
    n: int, targets: Mapping[str, float], elements: Sequence[str], n_atoms: tuple[int, int]
) -> Condition:
    """Return the decoder's condition, checked.

    Raises:
        ConfigError: fewer than one sample, an unknown property or element, or an unphysical target.
    """
    if n < 1:
        raise ConfigError(f"number of samples: {n} is not more than zero")
    for name, value in targets.items():
        if name not in PROPERTIES:
            raise ConfigError(f"target: unknown property {name!r}; {nearest_property(name)}")
        prop = PROPERTIES[name]
        if not prop.minimum <= value <= prop.maximum:
            limits = f"{prop.minimum:g} to {prop.maximum:g} {prop.unit}".strip()
            raise ConfigError(f"target {name}: {value:g} is outside the physical range {limits}")
    for symbol in elements:
        if symbol not in ELEMENT_SYMBOLS:
            raise ConfigError(f"elements: {symbol!r} is not an element; {nearest(symbol, ELEMENT_SYMBOLS)}")
    allowed = frozenset(elements) or frozenset(ELEMENT_SYMBOLS)
    return Condition(targets=dict(targets), allowed_elements=allowed, n_atoms=n_atoms)


def write_samples(samples: Iterable[Sample], folder: Path) -> int:
    """Write s000001.cif ... and samples.csv (paths relative to the folder); return how many.

    Raises:
        ConfigError: the folder cannot be made, or holds samples already.
    """
    if (folder / "samples.csv").exists():
        raise ConfigError(f"--output {folder}: holds samples.csv already; name a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write_all(samples, folder)
    except OSError as error:
        raise ConfigError(f"--output {folder}: cannot be written ({error.strerror})") from None


def _write_all(samples: Iterable[Sample], folder: Path) -> int:
    count = 0
    with (folder / "samples.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for count, one in enumerate(samples, start=1):
            name = f"s{count:06d}.cif"
            (folder / name).write_text(cif_text(one.structure), encoding="utf-8")
            composition = one.structure.composition
            formulas = composition.reduced_formula, display_formula(composition)
            likelihood = f"{one.log_likelihood:.4f}"
            table.writerow(
                [f"s{count:06d}", *formulas, one.space_group, len(one.structure), likelihood, name]
            )
            stream.flush()
    return count
