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


def _half_square_of_positive(s: Tensor) -> Tensor:
    return 0.5 * torch.relu(s) ** 2


def _softplus(s: Tensor) -> Tensor:
    # torch's own is the identity above a threshold, which would break gamma' = sigma there
    return torch.logaddexp(s, torch.zeros_like(s))


def _softplus_antiderivative(s: Tensor) -> Tensor:
    """-Li_2(-e^s), in which e^-|s| is reached by the inversion formula and the argument halved by Landen's."""
    x = torch.exp(-torch.where(s > 0, s, -s))
    w = x / (1 + x)
    total, power = torch.zeros_like(w), w
    for k in range(1, 54):
        total, power = total + power / k**2, power * w
    small = total + 0.5 * torch.log1p(x) ** 2
    return torch.where(s > 0, math.pi**2 / 6 + 0.5 * s**2 - small, small)


def _identity(s: Tensor) -> Tensor:
    return s


def _half_square(s: Tensor) -> Tensor:
    return 0.5 * s**2


def leaky_relu(alpha: float = 0.1) -> Activation:
    """max(s, alpha s) for 0 < alpha < 1; a field that is contractive with it is strictly so.

    Raises:
        ValueError: if alpha is not between 0 and 1.
    """
    _check_share(alpha)
    return Activation(
        lambda s: torch.where(s > 0, s, alpha * s),
        lambda s: 0.5 * s * torch.where(s > 0, s, alpha * s),
        alpha,
        1.0,
    )


def strong(alpha: float = 0.1) -> Activation:
    """alpha s + (1 - alpha) tanh s, whose slope stays above alpha.

    Raises:
        ValueError: if alpha is not between 0 and 1.
    """
    _check_share(alpha)
    return Activation(
        lambda s: alpha * s + (1 - alpha) * torch.tanh(s),
        lambda s: 0.5 * alpha * s**2 + (1 - alpha) * _log_cosh(s),
        alpha,
        1.0,
    )


def _check_share(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: wanted a number between 0 and 1, got {alpha}")


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation(torch.tanh, _log_cosh, 0.0, 1.0),
    "relu": Activation(torch.relu, _half_square_of_positive, 0.0, 1.0),
    "leaky-relu": leaky_relu(),
    "softplus": Activation(_softplus, _softplus_antiderivative, 0.0, 1.0),
    "sigmoid": Activation(torch.sigmoid, _softplus, 0.0, 0.25),
    "identity": Activation(_identity, _half_square, 1.0, 1.0),
    "strong": strong(),
}
"""With leaky-relu and strong at their default alpha of 0.1."""


def activation_of(choice: str | Activation) -> Activation:
    """The activation itself, or the registered one of that name.

    Raises:
        ValueError: if there is none of that name.
    """
    if isinstance(choice, Activation):
        return choice
    if choice not in ACTIVATIONS:
        raise ValueError(f"activation: wanted one of {', '.join(ACTIVATIONS)}, got {choice!r}")
    return ACTIVATIONS[choice]
