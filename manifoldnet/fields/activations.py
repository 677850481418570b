"""Activations with their antiderivatives and the bounds of their slopes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Activation:
    """sigma, its antiderivative gamma (gamma' = sigma), and inf and sup of sigma'."""

    sigma: Callable[[Tensor], Tensor]
    gamma: Callable[[Tensor], Tensor]
    least_slope: float
    greatest_slope: float


def _log_cosh(s: Tensor) -> Tensor:
    size = s.abs()
    return size + functional.softplus(-2 * size) - math.log(2.0)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation(torch.tanh, _log_cosh, 0.0, 1.0),
    "relu": Activation(torch.relu, lambda s: 0.5 * torch.relu(s) ** 2, 0.0, 1.0),
    "sigmoid": Activation(torch.sigmoid, functional.softplus, 0.0, 0.25),
}


def activation_named(name: str) -> Activation:
    """The registered activation.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: wanted one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]
