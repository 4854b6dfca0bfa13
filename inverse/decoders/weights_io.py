"""Weights of the generative decoder: safetensors plus JSON, package data."""

import json
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from inverse.decoders.composition_model import FormulaNetwork
from inverse.decoders.structure_model import StructureNetwork
from surrogates.crystals.batch import element_index
from surrogates.errors import CheckpointError

FORMAT = 1
"""Version of the files; a loader refuses what it does not know."""


def _folder() -> Path:
    return Path(str(resources.files("inverse.decoders") / "weights"))


def save_networks(
    compositions: FormulaNetwork,
    structures: StructureNetwork,
    element_order: list[str],
    facts: dict[str, object],
    name: str = "default",
    folder: Path | None = None,
) -> None:
    """Write `<name>.safetensors` (half precision) and `<name>.json`.

    Args:
        compositions: the composition model.
        structures: the structure model.
        element_order: symbols by rank.
        facts: what is worth knowing about the training, JSON-able.
        name: of the decoder.
        folder: the package's own when None.
    """
    target = folder or _folder()
    target.mkdir(parents=True, exist_ok=True)
    networks: dict[str, nn.Module] = {"compositions": compositions, "structures": structures}
    tensors = {
        f"{part}.{key}": value.detach().half().contiguous()
        for part, network in networks.items()
        for key, value in network.state_dict().items()
    }
    save_file(tensors, target / f"{name}.safetensors")
    sizes = {
        part: network.n_hidden
        for part, network in (("compositions", compositions), ("structures", structures))
    }
    content = {"format": FORMAT, "n_hidden": sizes, "element_order": element_order, "training": facts}
    (target / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def load_networks(
    name: str = "default", folder: Path | None = None
) -> tuple[FormulaNetwork, StructureNetwork, Tensor]:
    """Return composition model, structure model and element order.

    Raises:
        CheckpointError: files are missing, damaged or of another format.
    """
    source = folder or _folder()
    try:
        content = json.loads((source / f"{name}.json").read_text())
        tensors = load_file(source / f"{name}.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"decoder weights {name!r} in {source} cannot be read: {error}") from None
    if content.get("format") != FORMAT:
        raise CheckpointError(f"decoder weights {name!r}: format {content.get('format')}; known: {FORMAT}")
    compositions = FormulaNetwork(content["n_hidden"]["compositions"])
    structures = StructureNetwork(content["n_hidden"]["structures"])
    for part, network in (("compositions", compositions), ("structures", structures)):
        state = {
            k.removeprefix(part + "."): v.float() for k, v in tensors.items() if k.startswith(part + ".")
        }
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(f"decoder weights {name!r} do not fit the model: {error}") from None
        network.eval().requires_grad_(False)
    order = torch.tensor([element_index(symbol) for symbol in content["element_order"]])
    return compositions, structures, order
