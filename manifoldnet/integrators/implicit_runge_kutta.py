"""Implicit Runge-Kutta steps in a vector space, solved for the displacements of the stages."""

from __future__ import annotations

import torch
from torch import Tensor

from manifoldnet.integrators.stage_equations import solve_stages
from manifoldnet.integrators.stepping import Start, Step, combination, spread
from manifoldnet.integrators.tableau import Tableau


def implicit_runge_kutta_step(tableau: Tableau, start: Start) -> Step:
    """One step: z_i = sum_j a_ij h f(t + c_j h, y + z_j), y1 = y + sum_i w_i z_i with the displacement weights w."""
    field, action, t, h, y, *_ = start
    point = action.group.coordinate_ndim
    stage = -(point + 1)
    scale = spread(h, action)
    A = torch.tensor(tableau.A, dtype=y.dtype, device=y.device)

    def image(z: Tensor) -> Tensor:
        points = (y.unsqueeze(stage) + z).unbind(stage)
        slopes = [scale * field(t + c * h, p) for c, p in zip(tableau.c, points, strict=True)]
        flat = torch.stack(slopes, stage).flatten(-point)
        return (A @ flat).reshape(z.shape)

    guess = torch.zeros_like(y).unsqueeze(stage).repeat_interleave(tableau.stages, stage)
    z = solve_stages(image, guess, point + 1, floor=y.detach().flatten(-point).norm(dim=-1))
    y1 = combination(tableau.displacement_weights, z.unbind(stage), y)
    assert y1 is not None
    return Step(y1)
