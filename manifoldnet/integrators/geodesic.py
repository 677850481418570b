"""Euler's methods along geodesics, on any Riemannian space."""

from __future__ import annotations

import torch
from torch import Tensor

from manifoldnet.integrators.stage_equations import solve_stages
from manifoldnet.integrators.stepping import Start, Step
from manifoldnet.integrators.tableau import Tableau
from manifoldnet.manifolds import Action, Space


class Geodesics(Action):
    """A space's own action together with the space, whose geodesics these methods follow."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.own = space.action
        self.group = self.own.group
        self.is_isometric = self.own.is_isometric

    def act(self, x: Tensor, y: Tensor) -> Tensor:
        return self.own.act(x, y)

    def act_exp(self, v: Tensor, y: Tensor) -> Tensor:
        return self.own.act_exp(v, y)

    def settle(self, y: Tensor) -> Tensor:
        return self.own.settle(y)

    def tangent(self, v: Tensor, y: Tensor) -> Tensor:
        return self.own.tangent(v, y)

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        return self.own.lift(y, tangent)


def geodesic_step(tableau: Tableau, start: Start) -> Step:
    """One step with the vector field X(t, y), the tangent of the generator f(t, y).

    Explicit: y1 = exp_y(h X(t, y)). Implicit: exp_{y1}(-h X(t + h, y1)) = y, solved for the tangent v at y of
    y1 = exp_y(v).
    """
    field, action, t, h, y, *_ = start
    space = action.space
    size = h[(...,) + (None,) * space.ndim] if h.dim() else h
    if tableau.is_explicit:
        return Step(space.expmap(y, size * action.tangent(start.slope(), y)))

    def image(v: Tensor) -> Tensor:
        u = space.proju(y, v)
        y1 = space.expmap(y, u)
        back = space.expmap(y1, -size * action.tangent(field(t + h, y1), y1))
        return u - space.logmap(y, back)

    return Step(space.expmap(y, solve_stages(image, torch.zeros_like(y), space.ndim)))
