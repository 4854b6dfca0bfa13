"""One prediction with weights that somebody else may have made: whether their parts fit each other."""

from typing import Any

import torch

from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import CheckpointError
from surrogates.physics.periodic_table import ELEMENT_SYMBOLS
from surrogates.platform.blame import said_of
from surrogates.protocol import CompositionBatch, CompositionSurrogate, Level, Prediction, Surrogate

OWN = ("surrogates", "inverse")
"""Packages whose code is trusted: where it fails, the weights are to blame."""

SPACING = 3.2
"""Å between the atoms of the simple cubic crystals that are tried."""


def tried(surrogate: Surrogate | CompositionSurrogate) -> Surrogate | CompositionSurrogate:
    """Return the surrogate after it has answered about one element.

    Raises:
        CheckpointError: it knows no element, or fails in a way that no crystal is to blame for.
    """
    symbol = next((e for e in ELEMENT_SYMBOLS if e in surrogate.elements), None)
    if symbol is None:
        raise CheckpointError("it knows no element")
    asked: Any = surrogate
    try:
        with torch.no_grad():
            answer = asked.predict(_element(symbol, surrogate.level), surrogate.properties)
    except Exception as error:  # of this program's own code it is torch, of tensors that do not fit
        is_own = type(surrogate).__module__.partition(".")[0] in OWN
        what = "its parts do not fit each other" if is_own else "its predict failed"
        raise CheckpointError(f"{what}: {said_of(error, None if is_own else surrogate)}") from error
    if not all(isinstance(p, Prediction) and p.mean.shape == (1,) for p in answer.values()):
        raise CheckpointError("its parts do not fit each other: an answer of the wrong shape")
    if silent := [prop.name for prop in surrogate.properties if prop not in answer]:
        raise CheckpointError(f"it says nothing of {silent[0]}, which it names")
    return surrogate


def _element(symbol: str, level: Level) -> CompositionBatch | CrystalBatch:
    from pymatgen.core import Lattice, Structure

    if level is Level.COMPOSITION:
        return CompositionBatch.from_formulas([symbol])
    return CrystalBatch.from_structures([Structure(Lattice.cubic(SPACING), [symbol], [[0, 0, 0]])])
