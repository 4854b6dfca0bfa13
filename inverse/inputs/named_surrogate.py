"""The one door to surrogates that a config names: by name, as module:factory, or as a folder of weights."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pymatgen.core import Composition

from inverse.candidates.registry import SURROGATES
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.checkpoints.trial import tried
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import CheckpointError, ConfigError, EngineError, SurrogateError
from surrogates.physics.periodic_table import ELEMENT_SYMBOLS
from surrogates.physics.properties import Property
from surrogates.physics.properties.record import TRACE
from surrogates.platform.blame import said_of
from surrogates.platform.factories import is_factory, made_by
from surrogates.protocol import CompositionBatch, Prediction

PROMISED = ("name", "properties", "level", "elements", "predict")
"""What is asked of a surrogate; see `surrogates.protocol.Surrogate`."""


def surrogate_named(name: str) -> Any:
    """Return the surrogate that a config names; one of others has answered about one element before.

    Args:
        name: of this program or of an installed package, module:factory, or a folder of weights that
            `inverse train` wrote.

    Raises:
        UnknownNameError: no such surrogate, module, factory or folder.
        CheckpointError: its weights are missing or damaged.
        ConfigError: whoever brings it does not keep what its group promises.
    """
    if name in SURROGATES or is_factory(name):
        return _made(name)
    return load_surrogate(Path(name) if Path(name).is_dir() else name)


@lru_cache(maxsize=8)
def _made(name: str) -> Any:
    """Return the surrogate of a name or module:factory, made once; errors as those of its caller."""
    is_named = name in SURROGATES
    made = SURROGATES.make(name) if is_named else made_by(name, SURROGATES.what)
    if is_named and SURROGATES.is_packaged(name):
        return made
    if lacking := [part for part in PROMISED if not hasattr(made, part)]:
        raise _refusal(name, f"makes a {type(made).__name__} without {', '.join(lacking)}")
    try:
        return Brought(tried(made), name)
    except CheckpointError as error:
        raise _refusal(name, f"cannot be used: {error}") from None


class Brought:
    """A surrogate of somebody else's code: where that fails, one line names crystal, file and place."""

    def __init__(self, surrogate: Any, name: str) -> None:
        self._surrogate, self._name = surrogate, name

    def __getattr__(self, name: str) -> Any:
        """Return all else as the surrogate has it."""
        if name.startswith("__") or name == "_surrogate":
            raise AttributeError(name)
        found = getattr(self._surrogate, name)
        if name != "to":
            return found
        return lambda *where: Brought(found(*where), self._name)

    def predict(
        self, crystals: CrystalBatch | CompositionBatch, properties: Sequence[Property]
    ) -> Mapping[Property, Prediction]:
        """Return what the surrogate says.

        Raises:
            SurrogateError: its code fails; of several crystals the first that it fails for alone is named.
            EngineError: as the surrogate's own.
        """
        try:
            answer: Mapping[Property, Prediction] = self._surrogate.predict(crystals, properties)
        except EngineError:
            raise
        except Exception as error:
            culprit = self._culprit(crystals, properties)
            said = said_of(error, self._surrogate)
            raise SurrogateError(f"surrogate {self._name!r} failed{culprit}: {said}") from error
        return answer

    def _culprit(self, crystals: CrystalBatch | CompositionBatch, properties: Sequence[Property]) -> str:
        """Return " for FORMULA", the first that it fails for alone; "" where it is only all together."""
        for k, formula in enumerate(_formulas(crystals)):
            try:
                with torch.no_grad():
                    self._surrogate.predict(_one(crystals, k), properties)
            except Exception:
                return f" for {formula}"
        return ""


def _formulas(crystals: CrystalBatch | CompositionBatch) -> list[str]:
    """Return what to call each crystal, whose elements may be soft."""
    rows = crystals.composition if isinstance(crystals, CrystalBatch) else crystals.fractions
    shares = [{ELEMENT_SYMBOLS[z]: x for z, x in enumerate(row) if x > TRACE} for row in rows.tolist()]
    return [Composition(share).get_integer_formula_and_factor()[0] for share in shares]


def _one(crystals: CrystalBatch | CompositionBatch, k: int) -> CrystalBatch | CompositionBatch:
    if isinstance(crystals, CrystalBatch):
        return crystals.select(torch.tensor([k], device=crystals.lattice.device))
    return CompositionBatch(crystals.fractions[k : k + 1], crystals.scale[k : k + 1])


def _refusal(name: str, reason: str) -> ConfigError:
    if name in SURROGATES:
        return SURROGATES.refusal(name, reason)
    return ConfigError(f"{SURROGATES.what} {name!r} {reason}")
