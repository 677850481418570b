"""Pontryagin's principle for flows: the Hamiltonian, its sweeps and residuals, and what an extremal keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp

from manifoldnet.certificates.certificate import Certificate, Row, at_most, unclaimed
from manifoldnet.certificates.pairs import rounding_of
from manifoldnet.nn import Flow
from manifoldnet.training.layers import Parameters, Steps

Loss = Callable[[Tensor], Tensor]
"""The final states (*batch, *point) -> a number."""


class Extremal(NamedTuple):
    """A candidate (x, p, theta) for Pontryagin's equations.

    Attributes:
        x: (steps + 1, *batch, *point), states.
        p: (steps + 1, *batch, *point), costates.
        theta: parameters of the field by name.
    """

    x: Tensor
    p: Tensor
    theta: Parameters


class Residuals(NamedTuple):
    """By how much a candidate misses Pontryagin's equations, (9) to (12) of Celledoni et al. (2021).

    Attributes:
        start: x^0 - x0, (*batch, *point).
        state: (x^{k+1} - Phi_k(x^k)) / h_k, (steps, *batch, *point).
        costate: (p^{k+1} - p^k) / h_k + d_x H_k(x^k, p^{k+1}), (steps, *batch, *point).
        end: p^K - dL(x^K), (*batch, *point).
        stationarity: sum_k h_k d_theta H_k(x^k, p^{k+1}), of the shapes of theta.
    """

    start: Tensor
    state: Tensor
    costate: Tensor
    end: Tensor
    stationarity: Parameters

    def largest(self) -> Float[Tensor, ""]:
        """The largest entry in size."""
        return torch.stack([each.abs().max() for each in (*self[:4], *self.stationarity.values())]).max()


def hamiltonian(
    x: Float[Tensor, "*batch"],
    p: Float[Tensor, "*batch"],
    field: nn.Module,
    t: Float[Tensor, ""],
    theta: Parameters | None = None,
) -> Float[Tensor, ""]:
    """H(t, x, p, theta) = <p, f(t, x, theta)>, summed over the batch.

    The convention is that of minimisation: x' = d_p H, p' = -d_x H, p(T) = dL(x(T)), 0 = d_theta H.

    Args:
        x, p: states and costates, of one shape.
        field: f on a vector space.
        theta: takes the place of the field's parameters, by name.
    """
    f = field(t, x) if theta is None else functional_call(field, theta, (t, x))
    return (p * f).sum()


def sweeps(flow: Flow, loss: Loss, x0: Float[Tensor, "*batch"]) -> tuple[Float[Tensor, ""], Extremal]:
    """The loss, and the candidate (x, p) that the flow's parameters give by a forward and a backward sweep.

    x^{k+1} = Phi_k(x^k) by the flow's steps, of any one-step method; p^K = dL(x^K) and p^k = d_x <p^{k+1}, Phi_k(x^k)>,
    which is p^{k+1} + h d_x H for Euler's method (28) and the conjugate method for other Runge-Kutta methods. All
    residuals but that of stationarity vanish, which is the gradient of the loss.

    Raises:
        InputError: if the flow's steps are adaptive or learned.
    """
    steps, theta = Steps(flow), _parameters(flow)
    x = [x0.detach().requires_grad_()]
    for t, h in flow.intervals(x0):
        x.append(steps.with_parameters(theta, t, h, x[-1]))
    value = loss(x[-1])
    p = torch.autograd.grad(value, x)
    return value.detach(), Extremal(torch.stack(x).detach(), torch.stack(p), theta)


def residuals(flow: Flow, loss: Loss, x0: Float[Tensor, "*batch"], candidate: Extremal) -> Residuals:
    """The residuals of a candidate, with the Hamiltonian H_k = <p, (Phi_k(x) - x) / h_k> of the steps.

    For Euler's method that is H itself, at (t_k, x^k, p^{k+1}).

    Raises:
        InputError: if the flow's steps are adaptive or learned.
    """
    steps, (x, p, theta) = Steps(flow), candidate
    state, costate = [], []
    stationarity = {name: torch.zeros_like(value) for name, value in theta.items()}
    for k, (t, h) in enumerate(flow.intervals(x0)):
        following, pull = vjp(lambda theta, x, t=t, h=h: steps.with_parameters(theta, t, h, x), theta, x[k])  # type: ignore[misc]
        slope, pulled = pull(p[k + 1])
        state.append((x[k + 1] - following) / h)
        costate.append((pulled - p[k]) / h)
        stationarity = {name: total + slope[name] for name, total in stationarity.items()}
    end = x[-1].detach().requires_grad_()
    (terminal,) = torch.autograd.grad(loss(end), end)
    return Residuals(x[0] - x0, torch.stack(state), torch.stack(costate), p[-1] - terminal, stationarity)


def certify_extremal(
    flow: Flow, loss: Loss, x0: Float[Tensor, "*batch"], candidate: Extremal, tangent: Float[Tensor, "*batch"]
) -> Certificate:
    """The table of what Pontryagin's principle says of a candidate, beside what is measured.

    Claimed are the equations of state and costate and that <p, v> is constant, v^{k+1} = d_x Phi_k v^k being the
    variational equation: steps whose costates belong to the conjugate method keep it exactly (Sanz-Serna 2016).
    Not claimed are stationarity, which says how far theta is from optimal, and the drift of H, which is O(h^q) for a
    method of order q where the field does not depend on time.

    Args:
        tangent: v^0, of the shape of x0.

    Returns:
        Rows (property, bound, measured, holds); the drift of <p, v> is relative to the largest |p| |v| of the sample.

    Raises:
        InputError: if the flow's steps are adaptive or learned.
    """
    gaps = residuals(flow, loss, x0, candidate)
    steps, (x, p, theta) = Steps(flow), candidate
    v = [tangent]
    for k, (t, h) in enumerate(flow.intervals(x0)):
        v.append(jvp(lambda x, t=t, h=h: steps.with_parameters(theta, t, h, x), (x[k],), (v[-1],))[1])
    dims = tuple(range(-flow.space.ndim, 0))
    tangents = torch.stack(v)
    products = (p * tangents).sum(dims)
    sizes = (p.square().sum(dims) * tangents.square().sum(dims)).sqrt().amax(0)
    change = (products - products[0]).abs().amax(0) / sizes.clamp(min=torch.finfo(p.dtype).tiny)
    rounding = rounding_of(x0) * len(x)
    rows: list[Row] = [
        at_most("|x(0) - x0|", 0.0, _size(gaps.start), rounding * max(1.0, _size(x0))),
        at_most("|x' - d_p H|", 0.0, _size(gaps.state), rounding * max(1.0, _size(x)) * len(x)),
        at_most("|p' + d_x H|", 0.0, _size(gaps.costate), rounding * max(1.0, _size(p)) * len(x)),
        at_most("|p(T) - dL|", 0.0, _size(gaps.end), rounding * max(1.0, _size(p))),
        unclaimed("|d_theta H|, integrated", max(map(_size, gaps.stationarity.values()), default=0.0)),
        at_most("drift of <p, v>", 0.0, change.max().item(), rounding),
    ]
    if getattr(getattr(flow.field, "in_time", None), "kind", "constant") == "constant":
        intervals = flow.intervals(x0)
        times = [*(t for t, _ in intervals), intervals[-1][0] + intervals[-1][1]]
        values = torch.stack(
            [hamiltonian(x_k, p_k, flow.field, t, theta) for x_k, p_k, t in zip(x, p, times, strict=True)]
        )
        rows.append(unclaimed("drift of H", (values - values[0]).abs().max().item()))
    return Certificate(rows, "Pontryagin")


def _parameters(flow: Flow) -> Parameters:
    return {name: parameter.detach() for name, parameter in flow.field.named_parameters()}


def _size(x: Tensor) -> float:
    return x.abs().max().item()
