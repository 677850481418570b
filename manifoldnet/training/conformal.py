"""Heavy ball as what it is: a conformal symplectic step of a damped Hamiltonian system."""

from __future__ import annotations

import math
from typing import Any

from torch.optim.optimizer import ParamsT

from manifoldnet.errors import InputError
from manifoldnet.training.kick_drift import KickDrift, check_positive


class ConformalDescent(KickDrift):
    """Steps of q' = p, p' = -grad E(q) - gamma p, whose Jacobian M has M'JM = e^(-gamma h) J exactly.

    Symplectic Euler: p <- e^(-gamma h) p - h grad E(q), then q moves for the time h along the geodesic with velocity p.
    On plain parameters this is ``torch.optim.SGD`` with momentum e^(-gamma h) and learning rate h^2. The leapfrog
    damps and kicks by half a step before the drift and, in the opposite order, after it (França, Sulam, Robinson and
    Vidal 2020, section 3); it is of order 2. Its second half waits for the gradient at the new point, so that both
    take one gradient a step and the stored momentum is the one in the middle. Up to the first step the leapfrog is the
    heavy ball with learning rate h^2 (1 + e^(-gamma h)) / 2.

    On a manifold the damped system lives on the cotangent bundle, which the metric identifies with the tangent bundle.
    Kicks and geodesic flow are symplectic there and the damping is done exactly, so the step multiplies the canonical
    form by e^(-gamma h) and volumes by e^(-gamma h dim).

    Args:
        params: plain parameters and ManifoldParameters on spaces of this package.
        lr: the time step h; on a loss with Hessian <= L plain parameters are stable for
            h^2 L < 2 (1 + e^(-gamma h)), the leapfrog for h^2 L < 4.
        friction: gamma >= 0, per unit of time; 0 keeps the energy E + |p|^2 / 2 up to bounded oscillations.
        leapfrog: whether the step is the leapfrog.

    Raises:
        InputError: for h <= 0, gamma < 0, or parameters on other manifolds.
    """

    def __init__(self, params: ParamsT, lr: float = 0.1, friction: float = 1.0, *, leapfrog: bool = False) -> None:
        check_damped(lr, friction)
        super().__init__(params, {"lr": lr, "friction": friction, "leapfrog": leapfrog, "last_lr": 0.0})

    def kick(self, group: dict[str, Any]) -> tuple[float, float]:
        return damped_kick(group)


def damped_kick(group: dict[str, Any]) -> tuple[float, float]:
    """The factors a and b of p <- a p - b grad E, by which one step ends and the next one begins at the same point.

    The options are lr, friction, leapfrog, and last_lr, the step before or 0, which is updated.
    """
    h, gamma = group["lr"], group["friction"]
    if not group["leapfrog"]:
        return math.exp(-gamma * h), h
    last, group["last_lr"] = group["last_lr"], h
    decay = math.exp(-0.5 * gamma * (last + h))
    return decay, 0.5 * (h + decay * last)


def check_damped(lr: float, friction: float) -> None:
    """Raise an InputError unless lr > 0 and friction >= 0."""
    check_positive(lr=lr)
    if not 0 <= friction < math.inf:
        raise InputError(f"friction: wanted a number >= 0, got {friction}")
