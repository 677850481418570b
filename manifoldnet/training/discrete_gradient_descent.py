"""Descent along discrete gradients, under which the loss falls for every step size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from manifoldnet.errors import InputError
from manifoldnet.training.dissipation import dissipation_root
from manifoldnet.training.kick_drift import check_positive, curved_space
from manifoldnet.training.loss_in_chart import LossInChart
from manifoldnet.training.newton_krylov import Linearised, LinearMap, newton_krylov

# Gauss's nodes on [0, 1] at which gradients are averaged
NODES = {"gonzalez": 1, "mean-value": 4}


class DiscreteGradientDescent(torch.optim.Optimizer):
    """x+ = x - tau g(x, x+) with a discrete gradient g, for which E(x+) - E(x) = -|x+ - x|^2 / tau for every tau > 0.

    g = m + (E(x+) - E(x) - <m, d>) / |d|^2 d with d = x+ - x and a mean m of gradients on the segment: for "gonzalez"
    the gradient in the middle (Gonzalez 1996), for "mean-value" Gauss's quadrature of the mean of all (Harten, Lax and
    van Leer 1983), whose error the second term makes up for. On a convex quadratic both are the implicit midpoint rule.

    On a manifold x+ = R_x(v) with the retraction R of the space, and v = -tau g is the scheme of the function
    E(R_x(.)) on the tangent space at x with the metric there: a discrete Riemannian gradient in the sense of Celledoni,
    Eidnes, Owren and Ringholm (2018, section 2), and |v| stands for |x+ - x|.

    The equation is solved to rounding by Newton's method, without second derivatives: products with the Hessian are
    differences of gradients. If that fails, for a loss that is not smooth for example, the step goes along the last
    iterate, or else along the gradient, as far as the same equation of that line says. It dissipates by the same law,
    though x+ - x is not parallel to g; if not even that lowers the loss the parameters stay. So the loss of a
    closure never increases. :attr:`solved` says which it was, and the state counts them. For a loss with random parts,
    mini-batches for example, all this holds for one step and its batch.

    An evaluation of the equation takes 2 (or 5) of loss and gradient, a product with the Hessian 1 (or 4).

    Args:
        params: plain parameters and ManifoldParameters on spaces of this package and of known size, all of one dtype
            on one device; an orthonormal basis is made of every tangent space.
        lr: tau.
        discrete_gradient: "gonzalez" or "mean-value".

    Raises:
        InputError: for tau <= 0, another discrete gradient, or such parameters as are not wanted.
    """

    def __init__(self, params: ParamsT, lr: float = 1.0, *, discrete_gradient: str = "gonzalez") -> None:
        check_positive(lr=lr)
        if discrete_gradient not in NODES:
            raise InputError(f"discrete_gradient: wanted 'gonzalez' or 'mean-value', got {discrete_gradient!r}")
        super().__init__(params, {"lr": lr})
        for group in self.param_groups:
            for parameter in group["params"]:
                curved_space(parameter)
        nodes, weights = np.polynomial.legendre.leggauss(NODES[discrete_gradient])
        self.nodes: list[float] = (0.5 * nodes + 0.5).tolist()
        self.weights: list[float] = (0.5 * weights).tolist()

    @property
    def solved(self) -> bool:
        """Whether the last step solved the equation of the discrete gradient, not just that of a line."""
        return bool(self._counts.get("solved", True))

    @property
    def _counts(self) -> dict[str, Any]:
        """The state, which is kept with the first parameter: solved, steps, fallbacks."""
        counts: dict[str, Any] = self.state[self.param_groups[0]["params"][0]]
        return counts

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """One step; returns the loss before it, detached.

        Args:
            closure: as of ``torch.optim.LBFGS``: it clears the gradients, computes the loss of shape (), calls
                ``backward`` and returns the loss; always the same function of the parameters.
        """
        chart = LossInChart(self.param_groups, torch.enable_grad()(closure))
        equations = Equations(chart, self.nodes, self.weights)
        start = chart.origin
        y, solved = newton_krylov(equations, start, equations.tolerance)
        value = chart.value(y)
        solved = solved and bool(value <= chart.loss)
        if not solved:
            y = self._along_a_line(chart, [y, equations.slope])
        chart.move(y)
        counts = self._counts
        counts["solved"] = solved
        counts["steps"] = counts.get("steps", 0) + 1
        counts["fallbacks"] = counts.get("fallbacks", 0) + (not solved)
        return chart.loss

    @staticmethod
    def _along_a_line(chart: LossInChart, directions: list[Tensor]) -> Tensor:
        """The solution on the first line on which the loss falls; 0 if it falls on none."""
        for direction in directions:
            size = direction.norm()
            unit = direction / size
            if size > 0 and unit.isfinite().all():
                a, _ = dissipation_root(lambda a: chart.value(a * unit), chart.loss, size)  # noqa: B023
                if a != 0:
                    return a * unit
        return chart.origin


class Equations:
    """y + g(0, y) = 0 for the function F of a chart: its step of length 1."""

    def __init__(self, chart: LossInChart, nodes: list[float], weights: list[float]) -> None:
        self.chart = chart
        self.nodes, self.weights = nodes, weights
        self.slope = chart.gradient_at_start()

    def tolerance(self, y: Tensor) -> Tensor:
        """What rounding of gradients, and of the difference of losses over |y|, leaves of the residual."""
        eps, length = torch.finfo(y.dtype).eps, y.norm()
        of_losses = torch.where(length > 0, 8 * self.chart.loss.abs() / length, 0.0)
        return eps * (4 * (length + self.slope.norm()) + of_losses)

    def mean(self, y: Tensor) -> list[Tensor]:
        """The gradients at the nodes of the segment from 0 to y."""
        return [self.chart.value_and_gradient(s * y)[1] for s in self.nodes]

    def __call__(self, y: Tensor) -> Linearised:
        square = y.square().sum()
        if not square > 0:
            at_start = [self.slope] * len(self.nodes)
            return Linearised(y + self.slope, lambda: self._jacobian(y, at_start, y.new_zeros(()), self.slope))
        gradients = self.mean(y)
        value, end = self.chart.value_and_gradient(y)
        m = self._average(gradients)
        missing = value - self.chart.loss - m @ y
        # rounding of the difference says nothing about the missing part
        rounding = 8 * torch.finfo(y.dtype).eps * (value.abs() + self.chart.loss.abs())
        ratio = torch.where(missing.abs() <= rounding, 0.0, missing / square)
        return Linearised(y + m + ratio * y, lambda: self._jacobian(y, gradients, ratio, end))

    def _average(self, vectors: list[Tensor]) -> Tensor:
        return torch.stack([w * v for w, v in zip(self.weights, vectors, strict=True)]).sum(0)

    def _jacobian(self, y: Tensor, gradients: list[Tensor], ratio: Tensor, end: Tensor) -> LinearMap:
        """v -> v + m'v + ratio v + y <ratio', v>, m' being a mean of Hessians, which is symmetric."""
        length = torch.finfo(y.dtype).eps ** 0.5 * (1 + y.norm())

        def curved(v: Tensor) -> Tensor:
            size = v.norm()
            small = length / torch.where(size > 0, size, 1.0)
            changes = [
                s * (self.chart.value_and_gradient(s * y + small * v)[1] - g) / small
                for s, g in zip(self.nodes, gradients, strict=True)
            ]
            return self._average(changes)

        square = y.square().sum()
        if square > 0 and ratio != 0:
            ratio_slope = (end - self._average(gradients) - curved(y) - 2 * ratio * y) / square
        else:
            ratio_slope = torch.zeros_like(y)
        return lambda v: v + curved(v) + ratio * v + y * (ratio_slope @ v)
