"""Regularisers of parameters that change with the time of a field, from layer to layer."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from manifoldnet.errors import InputError
from manifoldnet.fields import InTime

ORDERS = ("l2", "h1", "tv")


def time_smoothness(
    module: nn.Module, order: str = "h1", alpha: float = 1.0, smoothing: float = 1e-3
) -> Float[Tensor, ""]:
    """A penalty of the parameters theta(t) of all fields in ``module`` that change with time, as their ``time`` says.

    With theta^k at the knots, their distance h in time, and norms over all entries of one parameter:

    * "h1": (alpha / 2) sum_k h |(theta^{k+1} - theta^k) / h|^2, of (alpha / 2) int |theta'|^2 dt (Haber and Ruthotto
      2017). With it alone depth has a limit: jumps that stay as layers are added cost without bound.
    * "tv": alpha sum_k (sqrt(|theta^{k+1} - theta^k|^2 + (h s)^2) - h s), s = ``smoothing``, below the total variation
      alpha int |theta'| dt by at most alpha s t1 for each parameter, with a gradient that is 0 where theta does not
      change. Jumps cost their height.
    * "l2": (alpha / 2) int |theta|^2 dt, exact.

    All are integrals over time: they converge when knots of a smooth theta double. Those of a "piecewise-linear" theta
    do not change at all when knots are put between its own (:func:`prolong`), nor do "tv" (up to alpha s t1) and "l2"
    of a "piecewise-constant" one.

    Args:
        module: a field, a flow, or a network with some; parameters that do not change with time have no part in it.
        order: see above.
        alpha: weight, at least 0.
        smoothing: s, positive, in units of the parameters over time.

    Returns:
        0-dimensional, at least 0.

    Raises:
        InputError: for another order, a number out of its range, or a module without such parameters or with such
            without values.
    """
    if order not in ORDERS:
        raise InputError(f"order: wanted one of {', '.join(ORDERS)}, got {order!r}")
    if not alpha >= 0 or not smoothing > 0:
        raise InputError(f"alpha, smoothing: wanted at least 0 and positive, got {alpha} and {smoothing}")
    pairs = parameters_in_time(module)
    if not pairs:
        raise InputError("module: wanted a field with time='piecewise-constant' or 'piecewise-linear', got none")
    if any(isinstance(parameter, UninitializedParameter) for _, parameter in pairs):
        raise InputError("module: wanted parameters with values, got a field that waits for its first points")
    if order == "h1":
        terms = [0.5 * in_time.roughness(parameter) for in_time, parameter in pairs]
    elif order == "tv":
        terms = [_variation(in_time, parameter, smoothing) for in_time, parameter in pairs]
    else:
        terms = [0.5 * _square(in_time, parameter) for in_time, parameter in pairs]
    return alpha * torch.stack(terms).sum()


def parameters_in_time(module: nn.Module) -> list[tuple[InTime, nn.Parameter]]:
    """All parameters (knots, ...) of the fields in ``module`` that change with time, and how they do."""
    fields = [part for part in module.modules() if isinstance(getattr(part, "in_time", None), InTime)]
    return [(f.in_time, p) for f in fields if f.in_time.knots is not None for p in f.parameters(recurse=False)]  # type: ignore[union-attr,misc]


def _spacing(in_time: InTime) -> float:
    assert in_time.knots is not None
    return in_time.t1 / (in_time.knots if in_time.kind == "piecewise-constant" else in_time.knots - 1)


def _variation(in_time: InTime, parameter: Tensor, smoothing: float) -> Tensor:
    least = smoothing * _spacing(in_time)
    squares = parameter.diff(dim=0).flatten(1).square().sum(1)
    return (squares / ((squares + least**2).sqrt() + least)).sum()  # the difference of roots without cancellation


def _square(in_time: InTime, parameter: Tensor) -> Tensor:
    """int |theta|^2 dt: Simpson's rule is exact for the squares of lines."""
    if in_time.kind == "piecewise-constant":
        return _spacing(in_time) * parameter.square().sum()
    left, right = parameter[:-1], parameter[1:]
    return _spacing(in_time) / 3 * (left.square() + left * right + right.square()).sum()
