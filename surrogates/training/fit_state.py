"""What the fit loops share: the learning-rate cycle, and the state that an interrupted fit goes on from."""

import hashlib
import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def one_cycle(progress: float, warm: float, low: float) -> float:
    """Return the learning rate in units of its peak: linear from `low` over `warm`, then a cosine to 0.

    Args:
        progress: share of the fit that is done, in [0, 1].
        warm: share of the fit that warms up.
        low: rate at the start.
    """
    if progress < warm:
        return low + (1 - low) * progress / warm
    return 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))


def digest_of(tensors: Iterable[Tensor]) -> str:
    """Return a digest of the content of tensors, in order."""
    digest = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def fit_tensors(network: nn.Module, optimiser: Optimizer, average: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights, their running average and the moments of Adam, by name."""
    tensors = {f"average.{name}": value for name, value in average.items()}
    for name, p in network.named_parameters():
        tensors[f"weight.{name}"] = p.detach()
        if p.requires_grad:
            moments = optimiser.state[p]
            tensors |= {f"first.{name}": moments["exp_avg"], f"second.{name}": moments["exp_avg_sq"]}
            tensors[f"step.{name}"] = moments["step"]
    return tensors


def restore_fit(
    network: nn.Module, optimiser: Optimizer, average: dict[str, Tensor], tensors: Mapping[str, Tensor]
) -> None:
    """Put what `fit_tensors` returned back into network, optimiser and running average."""
    average.update({name: tensors[f"average.{name}"] for name in average})
    with torch.no_grad():
        for name, p in network.named_parameters():
            p.copy_(tensors[f"weight.{name}"])
            if p.requires_grad:
                optimiser.state[p] = {
                    "exp_avg": tensors[f"first.{name}"],
                    "exp_avg_sq": tensors[f"second.{name}"],
                    "step": tensors[f"step.{name}"],
                }
