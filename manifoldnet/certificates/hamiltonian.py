"""What Hamiltonian flows and their integrators keep: invariants, the modified and the extended Hamiltonian, forms."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from manifoldnet.certificates.jacobians import canonical_form
from manifoldnet.fields import ExtendedHamiltonian
from manifoldnet.fields.hamiltonian import HamiltonianField
from manifoldnet.integrators.discrete_gradients import gradient
from manifoldnet.integrators.odeint import odeint

Function = Callable[[Tensor, Tensor], Tensor]
"""(t, y) -> number for every sample."""


def drift(function: Function, times: Tensor, points: Tensor) -> Tensor:
    """(*batch,): the largest |F(t_k, y_k) - F(t_0, y_0)| over the points (len(times), *batch, *point)."""
    values = torch.stack([function(t, y) for t, y in zip(times, points, strict=True)])
    return (values - values[0]).abs().amax(0)


def rate(function: Function, field: Any, t: Tensor, y: Tensor) -> Tensor:
    """(*batch,): dF/dt along the field of a vector space, for F at the fixed time t."""
    slope = gradient(lambda x: function(t, x), y)
    return (slope * field(t, y)).flatten(-field.space.ndim).sum(-1)


def modified_hamiltonian(field: HamiltonianField, t: Tensor, y: Tensor, h: Tensor) -> Tensor:
    """(*batch,): H + (h / 2) <dH/dp, dH/dq>, which "symplectic-euler" keeps to O(h^2) if parameters are constant.

    The first terms of the Hamiltonian whose flow the method follows (backward error analysis; Hairer, Lubich and
    Wanner 2006, section IX.3), for the method that drifts first.
    """
    q, p = field.halves(y)
    product = -(field.velocity(t, p) * field.force(t, q)).flatten(-field.maps.ndim).sum(-1)
    return field.hamiltonian(t, y) + 0.5 * h * product


def extended_drift(field: HamiltonianField, y0: Tensor, steps: int, t1: float = 1.0, method: str = "strang") -> Tensor:
    """(steps + 1, *batch): K = H + u along a symplectic method of the extended phase space, from K = 0.

    Where piecewise constant parameters jump, u takes the jump of H with the opposite sign, which the impulse in dH/dt
    would give it: steps must end at the jumps.

    Raises:
        ValueError: if a jump falls inside a step.
    """
    extended = ExtendedHamiltonian(field)
    times = torch.linspace(0, t1, steps + 1, dtype=y0.dtype, device=y0.device)
    jumps = [s for s in field.in_time.jumps() if s < t1]
    places = [s / t1 * steps for s in jumps]
    if any(abs(place - round(place)) > 1e-6 for place in places):
        raise ValueError(f"steps: wanted steps that end at the jumps {jumps} of the parameters, got {steps} to {t1}")
    ends = [0, *(round(place) for place in places), steps]
    z = extended.extend(y0, times[0])
    K = [extended.hamiltonian(times[0], z)]
    for first, last in itertools.pairwise(ends):
        if first:
            y, _, u = extended.split(z)
            z = extended.extend(y, times[first], u - extended.jump(times[first], y))
        inner = times[first : last + 1].clone()
        inner[-1] -= 1e-9 * t1 if last < steps else 0.0  # the parameters before the jump, also in the last kick
        points = odeint(extended, z, inner, method=method, steps=1)
        K += list(extended.hamiltonian(times[0], points[1:]))
        z = points[-1]
    return torch.stack(K)


def contact_form(hamiltonian: Function, t: Tensor, y: Tensor, dims: int = 1) -> Tensor:
    """(*batch, 2 n + 1, 2 n + 1): the matrix of omega + dH ^ dt in the coordinates (q, p, t), omega = dq ^ dp.

    Its kernel is spanned by (dH/dp, -dH/dq, 1), and its rank is 2 n (Asorey, Carinena and Ibort 1983).

    Args:
        y: points with ``dims`` dimensions and 2 n entries, the first half of which are q.
    """
    slope = gradient(lambda x: hamiltonian(t, x), y).flatten(-dims)
    J = canonical_form(slope.shape[-1] // 2, y).expand(*slope.shape[:-1], -1, -1)
    zero = torch.zeros_like(slope[..., :1])
    return torch.cat([torch.cat([J, slope[..., None]], -1), torch.cat([-slope, zero], -1)[..., None, :]], -2)


def contact_residual(field: Any, t: Tensor, y: Tensor) -> Tensor:
    """(*batch,): |i_X omega_H| of X = (f(t, y), 1), 0 for the Hamiltonian field of H."""
    dims = field.space.ndim
    form = contact_form(field.hamiltonian, t, y, dims)
    velocity = field(t, y).flatten(-dims)
    X = torch.cat([velocity, torch.ones_like(velocity[..., :1])], -1)
    return (form.mT @ X[..., None]).squeeze(-1).norm(dim=-1)
