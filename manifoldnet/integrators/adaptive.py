"""Integration by steps whose length follows the estimated error, one length for the whole batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from manifoldnet.integrators.attempts import Attempts
from manifoldnet.integrators.controller import Control
from manifoldnet.integrators.dense import interpolate
from manifoldnet.integrators.error_norm import relative_error
from manifoldnet.integrators.solution import IntegrationError, Solution, Statistics, Status
from manifoldnet.integrators.stepping import Step
from manifoldnet.integrators.tableau import Tableau
from manifoldnet.manifolds import Action


class Accepted(NamedTuple):
    """A step that was accepted: from where to when, and what it left."""

    t0: float
    t1: float
    y0: Tensor
    step: Step


class AdaptiveSteps:
    """Steps of controlled length from (t, y) in the direction 1 or -1 of time."""

    def __init__(self, attempts: Attempts, y0: Tensor, t0: float, direction: int, control: Control) -> None:
        self.attempts, self.direction, self.control = attempts, direction, control
        self.t, self.y = t0, y0
        self.dtype = torch.promote_types(torch.float64, y0.dtype)
        self.accepted = self.rejected = 0
        self.first: Tensor | None = None
        self.length = control.first_step or 0.0

    def clock(self, t: float) -> Tensor:
        """A time as fields see it."""
        return torch.tensor(t, dtype=self.dtype, device=self.y.device)

    def until(self, stop: float) -> Iterator[Accepted]:
        """The accepted steps up to ``stop``, where the last one lands; without end for an infinite one."""
        controller, order = self.control.controller, self.attempts.method.embedded_order
        assert order is not None
        one = torch.ones((), dtype=torch.float64)
        errors, grows = (one, one, one), torch.tensor(True)
        while (stop - self.t) * self.direction > 0:
            if self.first is None:
                self.first = self.attempts.field(self.clock(self.t), self.y)
            if not self.length:
                t = self.clock(self.t)
                self.length = float(
                    self.attempts.first_step(t, self.direction, self.y, self.first, self.control.tolerance)
                )
            self._check_count(stop)
            self.length = min(self.length, self.control.longest)
            remaining = abs(stop - self.t)
            lands = self.length >= remaining * (1 - 1e-10)
            length = remaining if lands else self.length
            t1 = stop if lands else self.t + self.direction * length
            step = self.attempts.attempt(self.clock(self.t), self.clock(t1 - self.t), self.y, self.first)
            error = self._worst_error(step)
            grown = length * float(controller.factor(order, (error, *errors[:2]), grows))
            if error <= 1.0:
                accepted = Accepted(self.t, t1, self.y, step)
                self.accepted += 1
                self.t, self.y, self.first = t1, step.y, step.last
                errors, grows = (error, *errors[:2]), torch.tensor(True)
                # a step that was cut to land says less about the next one than the step that was meant
                self.length = max(grown, self.length) if lands else grown
                yield accepted
            else:
                self.rejected += 1
                self.length, grows = grown, torch.tensor(False)
                self._check_length(error)

    def _worst_error(self, step: Step) -> Tensor:
        """The largest error of the batch over the tolerance, infinite where a point is not finite."""
        error = relative_error(self.attempts.space, self.attempts.action, self.control.tolerance, self.y, step)
        worst = error.max() if error.numel() else error.new_zeros(())
        return torch.nan_to_num(worst.detach().to("cpu", torch.float64), nan=torch.inf)

    def _check_count(self, stop: float) -> None:
        if self.accepted + self.rejected >= self.control.max_steps:
            wanted = f"the end {stop:.10g}" if math.isfinite(stop) else "event_fn to change its sign"
            raise IntegrationError(
                f"t = {self.t:.10g}: {self.control.max_steps} steps were made, wanted {wanted}; allow more by "
                "max_steps or loosen rtol and atol",
                Status.STEP_LIMIT,
                self.t,
            )

    def _check_length(self, error: Tensor) -> None:
        if self.length > 8 * torch.finfo(torch.float64).eps * max(abs(self.t), 1e-300) and self.length > 1e-290:
            return
        if torch.isfinite(error):
            raise IntegrationError(
                f"t = {self.t:.10g}: the step size fell to {self.length:.3g} with an error of {error:.3g} times the "
                "tolerance; the problem is stiff or singular there, or rtol and atol are below rounding",
                Status.UNDERFLOW,
                self.t,
            )
        raise IntegrationError(
            f"t = {self.t:.10g}: the field or the state is not finite after any step from there",
            Status.NOT_FINITE,
            self.t,
        )


def integrate_adaptively(steps: AdaptiveSteps, t: Tensor) -> Solution:
    """The solution at the times t by :class:`AdaptiveSteps` from the first of them.

    Methods with dense output pass the inner times and interpolate; others land on every time.
    """
    times = t.tolist()
    method, action = steps.attempts.method, steps.attempts.action
    pieces = [steps.y[None]]
    stops = times[-1:] if method.dense_order is not None else times[1:]
    waiting = times[1:]
    for stop in stops:
        for accepted in steps.until(stop):
            passed = [time for time in waiting if (time - accepted.t1) * steps.direction <= 0]
            if not passed:
                continue
            waiting = waiting[len(passed) :]
            inner = [time for time in passed if time != accepted.t1]
            if inner:
                pieces.append(_between(method.scheme, action, accepted, inner))
            if len(inner) < len(passed):
                pieces.append(accepted.step.y[None])
    return Solution(torch.cat(pieces), Status.SUCCESS, statistics(steps))


def statistics(steps: AdaptiveSteps) -> Statistics:
    """What the steps have cost so far."""
    return Statistics(*map(torch.tensor, (steps.accepted, steps.rejected, steps.attempts.field.calls)))


def _between(tableau: Tableau, action: Action, accepted: Accepted, times: Sequence[float]) -> Tensor:
    """The points (len(times), ...) inside the step."""
    theta = accepted.y0.new_tensor([(time - accepted.t0) / (accepted.t1 - accepted.t0) for time in times])
    theta = theta[(...,) + (None,) * accepted.step.ks[0].dim()]
    return interpolate(tableau, action, accepted.y0, accepted.step, theta)
