"""Energy-preserving steps by discrete gradients, in vector spaces and on Lie-Poisson spaces."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from manifoldnet.integrators import discrete_gradients
from manifoldnet.integrators.discrete_gradients import DiscreteGradient
from manifoldnet.integrators.stage_equations import solve_stages
from manifoldnet.integrators.stepping import Start, Step, spread


@dataclass(frozen=True)
class EnergyPreserving:
    """A discrete gradient and the order of the step that it makes: 2 if it is symmetric in its points, else 1."""

    discrete_gradient: DiscreteGradient
    is_symmetric: bool = True
    stages: int = 1

    @property
    def order(self) -> int:
        return 2 if self.is_symmetric else 1


GONZALEZ = EnergyPreserving(discrete_gradients.gonzalez)
MEAN_VALUE = EnergyPreserving(discrete_gradients.mean_value)
ITOH_ABE = EnergyPreserving(discrete_gradients.itoh_abe, is_symmetric=False)
SYMMETRISED_ITOH_ABE = EnergyPreserving(discrete_gradients.symmetrised_itoh_abe)


def canonical_structure(v: Tensor) -> Tensor:
    """(v_p, -v_q) for v = (v_q, v_p): Hamilton's equations are y' = S grad H(y)."""
    q, p = v.chunk(2, -1)
    return torch.cat([p, -q], -1)


def discrete_gradient_step(scheme: EnergyPreserving, start: Start) -> Step:
    """One step y1 = y + h S g(y, y1) for y' = S grad H (McLachlan, Quispel and Robidoux 1999, equation 2.3).

    The field has ``hamiltonian(t, y)`` of shape (...) for y (..., d) with any leading dimensions, taken at t + h / 2,
    and may have ``structure(v)``, the linear map S, which is canonical otherwise. H(y1) = H(y) if S is skew, and
    H(y1) <= H(y) if its symmetric part is not positive.
    """
    field, action, t, h, y, *_ = start
    structure = getattr(field, "structure", canonical_structure)
    scale, middle = spread(h, action), t + 0.5 * h

    def image(d: Tensor) -> Tensor:
        return scale * structure(scheme.discrete_gradient(lambda x: field.hamiltonian(middle, x), y, y + d))

    d = solve_stages(image, torch.zeros_like(y), 1, floor=y.detach().norm(dim=-1))
    return Step(y + d)


def lie_poisson_discrete_gradient_step(scheme: EnergyPreserving, start: Start) -> Step:
    """One step m1 = coAd(exp(u), m), u = -h g(m, m1), for m' = coad(-grad H(m), m), m in the dual of an algebra.

    Casimirs are kept because m1 lies on the coadjoint orbit of m, and H because exp(u) leaves u where it is:
    <m1, u> = <m, Ad(exp(-u), u)> = <m, u>, so that H(m1) - H(m) = <g, m1 - m> = 0. On so(3)* this is the scheme with
    the Cayley transform up to the angle of the turn. The field has ``hamiltonian(t, m)``, taken at t + h / 2.
    """
    field, action, t, h, y, *_ = start
    scale, middle = spread(h, action), t + 0.5 * h

    def image(u: Tensor) -> Tensor:
        m1 = action.act_exp(u, y)
        return -scale * scheme.discrete_gradient(lambda m: field.hamiltonian(middle, m), y, m1)

    u = solve_stages(image, torch.zeros_like(y), 1, floor=y.detach().norm(dim=-1))
    return Step(action.act_exp(u, y))
