"""Descent with a relativistic kinetic energy, under which no step is longer than a given one."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from manifoldnet.errors import InputError
from manifoldnet.training.conformal import check_damped, damped_kick
from manifoldnet.training.kick_drift import KickDrift, Moving, check_positive


class HamiltonianDescent(KickDrift):
    """Steps of q' = grad T(p), p' = -grad E(q) - gamma p with T(p) = c sqrt(|p|^2 + m^2 c^2).

    The speed |q'| = c |p| / sqrt(|p|^2 + m^2 c^2) is below c, so a step has at most the length h c however large the
    gradient is, and the momentum forgets nothing as it would if gradients were clipped (Maddison, Paulin, Teh,
    O'Donoghue and Doucet 2018, section 3; França et al. 2020, equation 12). The steps, those of
    :class:`manifoldnet.training.conformal.ConformalDescent`, multiply the canonical form by e^(-gamma h). For
    c = infinity they are those of the heavy ball for T = |p|^2 / (2 m).

    On a manifold |p| is the Riemannian norm, and q moves along the geodesic of p at constant speed.

    Args:
        params: plain parameters and ManifoldParameters on spaces of this package. The norm of p is that of all
            parameters of a group together, and so is the bound h c.
        lr: the time step h.
        friction: gamma >= 0, per unit of time.
        speed: c > 0, in units of the parameters' distance per unit of time; infinity for none.
        mass: m > 0.
        leapfrog: whether the step is the leapfrog, else symplectic Euler.

    Raises:
        InputError: for h, c or m <= 0, gamma < 0, or parameters on other manifolds.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        friction: float = 1.0,
        *,
        speed: float = 1.0,
        mass: float = 1.0,
        leapfrog: bool = False,
    ) -> None:
        check_damped(lr, friction)
        check_positive(mass=mass)
        if not speed > 0:
            raise InputError(f"speed: wanted a positive number or infinity, got {speed}")
        options = {"lr": lr, "friction": friction, "speed": speed, "mass": mass}
        super().__init__(params, {**options, "leapfrog": leapfrog, "last_lr": 0.0})

    def kick(self, group: dict[str, Any]) -> tuple[float, float]:
        return damped_kick(group)

    def time(self, group: dict[str, Any], moving: list[Moving]) -> float | Tensor:
        """h c / sqrt(|p|^2 + m^2 c^2), during which the geodesic with velocity p gets as far as q does in h."""
        return relativistic_time(group["lr"], group["speed"], group["mass"], moving)


def relativistic_time(h: float, speed: float, mass: float, moving: list[Moving]) -> float | Tensor:
    """h c / sqrt(|p|^2 + m^2 c^2) of shape (), the norm being that of all momenta together."""
    squares = [(p * p).sum() if space is None else space.inner(x, p).sum() for space, x, p in moving]
    if not squares or math.isinf(speed):
        return h / mass
    # the factors of c are divided out, lest their squares leave the range of float32
    return h / (torch.stack(squares).sum() / speed**2 + mass**2).sqrt()
