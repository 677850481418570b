"""Descent along Itoh and Abe's discrete gradient: coordinate by coordinate, and without derivatives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from manifoldnet.training.dissipation import dissipation_root
from manifoldnet.training.kick_drift import check_positive, curved_space
from manifoldnet.training.loss_in_chart import LossInChart


class ItohAbeDescent(torch.optim.Optimizer):
    """x+ = x - tau g(x, x+) with difference quotients g, so that E(x+) - E(x) = -|x+ - x|^2 / tau for every tau > 0.

    One coordinate moves after the other, each by the solution a of the scalar equation
    E(x + a e_i) - E(x) = -a^2 / tau, or not at all where 0 is the only one (Itoh and Abe 1988; Ringholm, Lazić and
    Schönlieb 2018; Riis, Ehrhardt, Quispel and Schönlieb 2022, who show convergence for losses that are only Lipschitz
    continuous). Only values of the loss are used, and it never increases. A step, one sweep over the coordinates, takes
    10 to 30 evaluations of the loss for each of them: it is no fast method.

    On a manifold the coordinates are those of an orthonormal basis of the tangent space at x, from which the retraction
    of the space leads back (Celledoni, Eidnes, Owren and Ringholm 2018, section 3); |x+ - x| is then the length of the
    tangent vector.

    Args:
        params: plain parameters and ManifoldParameters on spaces of this package and of known size, all of one dtype
            on one device; an orthonormal basis is made of every tangent space.
        lr: tau.

    Raises:
        InputError: for tau <= 0, or such parameters as are not wanted.
    """

    def __init__(self, params: ParamsT, lr: float = 1.0) -> None:
        check_positive(lr=lr)
        super().__init__(params, {"lr": lr})
        for group in self.param_groups:
            for parameter in group["params"]:
                curved_space(parameter)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """One sweep; returns the losses before it.

        Args:
            closure: returns the loss, always the same function of the parameters; no gradients are wanted. Losses of
                shape (*batch) of independent problems, each of its own slice of parameters that begin with these
                dimensions, are solved side by side.
        """
        chart = LossInChart(self.param_groups, closure)
        y, loss, reach = chart.origin, chart.loss, torch.ones_like(chart.loss)
        index = torch.arange(y.shape[-1], device=y.device)
        for i in range(y.shape[-1]):
            unit = (index == i).to(y.dtype)
            a, loss = dissipation_root(lambda a: chart.value(y + a[..., None] * unit), loss, reach)  # noqa: B023
            y = y + a[..., None] * unit
        chart.move(y)
        return chart.loss
