"""Minimisation of many independent functions at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

SUFFICIENT = 1e-4  # share of the decrease promised by the slope that a step must keep (Armijo)
FIRST_STEP = 0.1  # length of the first step, before any curvature is known


def lbfgs(
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]],
    start: Float[Tensor, "batch size"],
    iterations: int,
    memory: int = 10,
) -> tuple[Float[Tensor, "batch size"], Float[Tensor, "evaluations batch"]]:
    """Limited-memory BFGS (Liu and Nocedal 1989) on a batch of problems, each with curvature and steps of its own.

    An iteration evaluates every problem once. Where a step does not decrease enough, it is cut by quadratic
    interpolation and tried again in the next iteration, while the other problems move on: no problem waits for
    another, and none sees another.

    Args:
        evaluate: from (batch, size) to the values (batch,) and their gradients (batch, size), without graph; row k
            of the results depends on row k only.
        start: first points.
        iterations: number of evaluations after the first.
        memory: number of past steps that carry curvature.

    Returns:
        The last points, (batch, size), and the values from ``start`` on, (iterations + 1, batch), which never
        increase.
    """
    x = start.detach()
    value, gradient = evaluate(x)
    steps = x.new_zeros(memory, *x.shape)
    changes, inverses = torch.zeros_like(steps), x.new_zeros(memory, len(x))
    tiny = torch.finfo(x.dtype).tiny
    scale = FIRST_STEP / gradient.norm(dim=-1).clamp(min=tiny)
    direction, length = -scale[:, None] * gradient, torch.ones_like(value)
    values = [value]
    for _ in range(iterations):
        trial = x + length[:, None] * direction
        trial_value, trial_gradient = evaluate(trial)
        slope = (gradient * direction).sum(-1)
        accepted = trial_value <= value + SUFFICIENT * length * slope
        step, change = trial - x, trial_gradient - gradient
        curvature, size = (step * change).sum(-1), change.square().sum(-1)
        # where the function is not convex along the step, the pair would spoil the quadratic model
        learned = accepted & (curvature > 1e-10 * step.norm(dim=-1) * size.sqrt()) & (curvature > tiny)
        steps = torch.where(learned[:, None], torch.cat([steps[1:], step[None]]), steps)
        changes = torch.where(learned[:, None], torch.cat([changes[1:], change[None]]), changes)
        inverses = torch.where(learned, torch.cat([inverses[1:], 1 / curvature[None]]), inverses)
        scale = torch.where(learned, curvature / size, scale)
        excess = trial_value - value - length * slope
        shorter = (-slope * length.square() / (2 * excess)).clamp(min=0.1 * length, max=0.5 * length)
        x = torch.where(accepted[:, None], trial, x)
        gradient = torch.where(accepted[:, None], trial_gradient, gradient)
        value = torch.where(accepted, trial_value, value)
        following = _direction(gradient, steps, changes, inverses, scale)
        direction = torch.where(accepted[:, None], following, direction)
        length = torch.where(accepted, 1.0, shorter)
        values.append(value)
    return x, torch.stack(values)


def _direction(gradient: Tensor, steps: Tensor, changes: Tensor, inverses: Tensor, scale: Tensor) -> Tensor:
    """Minus the product of the inverse Hessian's approximation and the gradient, by the two-loop recursion."""
    product, shares = gradient, []
    for step, change, inverse in zip(steps.flip(0), changes.flip(0), inverses.flip(0), strict=True):
        share = inverse * (step * product).sum(-1)
        product = product - share[:, None] * change
        shares.append(share)
    product = scale[:, None] * product
    for step, change, inverse, share in zip(steps, changes, inverses, reversed(shares), strict=True):
        product = product + (share - inverse * (change * product).sum(-1))[:, None] * step
    return -product
