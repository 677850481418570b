"""Training of weights with few values, by the method of successive approximations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.errors import InputError

BINARY = (-1.0, 1.0)
TERNARY = (-1.0, 0.0, 1.0)


class DiscreteMSA(torch.optim.Optimizer):
    """The method of successive approximations for weights in a finite set (Li and Hao 2018).

    A layer that is linear in its weights, as dense and convolutional ones are, has a Hamiltonian linear in them: <M, w>
    with M = sum_i p_i x_i', which is the gradient of the loss. With a moving average G of M against the noise of
    batches, and a proximal term against changes of too many weights at once, every weight becomes

        argmin_v G v / s + (v - w)^2 / (2 lr) + sparsity v^2 / 2    over the levels v,

    where s is the root mean square of the tensor's G, so that the scale of the loss does not matter. A binary weight
    flips where its G pulls it to the other side with |G| > s / lr: a schedule that lets lr fall makes flips rare, and
    training should end so.

    Layers should scale their output by 1 / sqrt(inputs), as by a normalisation without parameters.

    Args:
        params: tensors, moved to the levels at once: divided by their root mean square and rounded to the nearest.
        lr: of the proximal term, positive.
        levels: the values of weights, ``BINARY`` or ``TERNARY`` or others.
        average: share of the old G in the new one, in [0, 1).
        sparsity: weight of v^2 / 2, which favours 0.

    Raises:
        InputError: if lr is not positive, average not in [0, 1), sparsity negative, or there are not two levels.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1.0,
        levels: Sequence[float] = BINARY,
        average: float = 0.98,
        sparsity: float = 0.0,
    ) -> None:
        if not lr > 0:
            raise InputError(f"lr: wanted a positive number, got {lr}")
        if not 0 <= average < 1:
            raise InputError(f"average: wanted a number in [0, 1), got {average}")
        if not sparsity >= 0:
            raise InputError(f"sparsity: wanted at least 0, got {sparsity}")
        if len(set(levels)) < 2:
            raise InputError(f"levels: wanted at least two values, got {tuple(levels)}")
        defaults = {"lr": lr, "levels": tuple(levels), "average": average, "sparsity": sparsity}
        super().__init__(params, defaults)
        with torch.no_grad():
            for group, w in self._weights():
                unit = w / w.square().mean().sqrt().clamp(min=torch.finfo(w.dtype).tiny)
                w.copy_(discrete_argmin(torch.zeros_like(w), unit, 1.0, group["levels"]))

    def _weights(self) -> Iterable[tuple[dict[str, Any], Tensor]]:
        return itertools.chain.from_iterable(((group, w) for w in group["params"]) for group in self.param_groups)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step on the gradients of the parameters that have one; returns the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group, w in self._weights():
            if w.grad is None:
                continue
            state = self.state[w]
            if not state:
                state["average"] = torch.zeros_like(w)
            G = state["average"].lerp_(w.grad, 1 - group["average"])
            unit = G / G.square().mean().sqrt().clamp(min=torch.finfo(w.dtype).tiny)
            w.copy_(discrete_argmin(unit, w, group["lr"], group["levels"], group["sparsity"]))
        return loss


def discrete_argmin(
    slope: Float[Tensor, "*shape"],
    weights: Float[Tensor, "*shape"],
    lr: float,
    levels: Sequence[float] = BINARY,
    sparsity: float = 0.0,
) -> Float[Tensor, "*shape"]:
    """argmin_v slope v + (v - w)^2 / (2 lr) + sparsity v^2 / 2 over the levels v, for every weight w.

    Of levels that cost the same the first one is taken.
    """
    v = torch.tensor(levels, dtype=weights.dtype, device=weights.device)
    cost = slope[..., None] * v + (v - weights[..., None]).square() / (2 * lr) + 0.5 * sparsity * v.square()
    return v[cost.argmin(-1)]
