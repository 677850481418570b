"""Integration until a function of time and state changes sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from manifoldnet.integrators.adaptive import AdaptiveSteps, statistics
from manifoldnet.integrators.attempts import Attempts
from manifoldnet.integrators.solution import IntegrationError, Solution, Statistics, Status

Event = Callable[[Tensor, Any], Tensor]
"""g(t, y) of any shape, y being the state or the tuple of its parts; the event is the first change of any sign."""

BISECTIONS = 60


def integrate_adaptively_until(steps: AdaptiveSteps, event: Event) -> Solution:
    """The start and the point of the first event, with its time."""
    y0 = steps.y
    signs = _signs(event, steps.clock(steps.t), y0)
    for accepted in steps.until(steps.direction * float("inf")):
        signs, happened = _change(signs, _signs(event, steps.clock(accepted.t1), accepted.step.y))
        if happened:
            t, h = steps.clock(accepted.t0), steps.clock(accepted.t1 - accepted.t0)
            time, point = _locate(steps.attempts, event, t, h, accepted.y0, signs)
            return Solution(torch.stack([y0, point]), Status.EVENT, statistics(steps), time)
    raise AssertionError("steps towards infinity do not end")


def integrate_by_fixed_steps_until(
    attempts: Attempts, y0: Tensor, t0: Tensor, h: Tensor, event: Event, max_steps: int
) -> Solution:
    """As :func:`integrate_adaptively_until`, by steps of length h."""
    signs = _signs(event, t0, y0)
    y = y0
    for count in range(max_steps):
        t = t0 + count * h
        after = attempts.step(t, h, y)
        signs, happened = _change(signs, _signs(event, t + h, after))
        if happened:
            time, point = _locate(attempts, event, t, h, y, signs)
            costs = (count + 1, 0, attempts.field.calls)
            return Solution(torch.stack([y0, point]), Status.EVENT, Statistics(*map(torch.tensor, costs)), time)
        y = after
    end = float(t0 + max_steps * h)
    raise IntegrationError(
        f"t = {end:.10g}: event_fn did not change its sign within {max_steps} steps", Status.STEP_LIMIT, end
    )


def _signs(event: Event, t: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.sign(event(t, y))


def _change(signs: Tensor, new: Tensor) -> tuple[Tensor, bool]:
    """The signs to compare with, and whether any has changed; an entry that starts at zero has no sign before."""
    signs = torch.where(signs == 0, new, signs)
    return signs, bool((new != signs).any())


def _locate(attempts: Attempts, event: Event, t: Tensor, h: Tensor, y: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
    """Time and point of the event within the step of length h from (t, y), with their implicit derivatives.

    By bisection over steps of the method from y, each shorter than h, then by Newton's method; the last correction
    is recorded, which makes the derivative of the time -dg / (dg/dt).
    """
    low, high = torch.zeros_like(h), h
    with torch.no_grad():
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            crossed = (_signs(event, t + middle, attempts.step(t, middle, y)) != signs).any()
            low, high = torch.where(crossed, low, middle), torch.where(crossed, middle, high)
        entries = torch.sign(event(t + high, attempts.step(t, high, y))) != signs
    which = int(entries.flatten().to(torch.int8).argmax())

    def value_and_slope(length: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            length = length.detach().requires_grad_()
            value = event(t + length, attempts.method.step(attempts.field, attempts.action, t, length, y))
            value = value.flatten()[which]
            return value, torch.autograd.grad(value, length, retain_graph=True)[0]

    length = high
    value, slope = value_and_slope(length)
    length = torch.where(slope == 0, high, high - value.detach() / slope)
    if torch.is_grad_enabled():
        value, slope = value_and_slope(length)
        length = length.detach() - (value - value.detach()) / torch.where(slope == 0, torch.inf, slope)
    return t + length, attempts.step(t, length, y)
