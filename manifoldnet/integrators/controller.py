"""The choice of the next step size from the last estimates of the error."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from manifoldnet.integrators.error_norm import Tolerance


@dataclass(frozen=True)
class Controller:
    """PID control of the step size (Gustafsson 1991; Söderlind 2003).

    With e_n the error over the tolerance and k the order of the estimating method plus one, the step is multiplied
    by safety e_n^(-b1) e_(n-1)^(-b2) e_(n-2)^(-b3), b1 = (P + I + D) / k, b2 = -(P + 2 D) / k, b3 = D / k, between
    ``smallest`` and ``largest``; it does not grow right after a rejection.

    Attributes:
        proportional: P; 0 with derivative 0 is the classical controller.
        integral: I.
        derivative: D.
    """

    proportional: float = 0.2
    integral: float = 0.8
    derivative: float = 0.0
    safety: float = 0.9
    smallest: float = 0.2
    largest: float = 10.0

    def factor(self, order: int, errors: tuple[Tensor, Tensor, Tensor], grows: Tensor) -> Tensor:
        """What to multiply the step by, of the shape of the errors.

        Args:
            order: of the estimating method.
            errors: e_n, e_(n-1), e_(n-2), positive; infinite where the step failed altogether.
            grows: booleans, whether the step may become longer.
        """
        p, i, d = self.proportional, self.integral, self.derivative
        factor = torch.full_like(errors[0], self.safety)
        for error, exponent in zip(errors, (-(p + i + d), p + 2 * d, -d), strict=True):
            if exponent:
                # an error of zero says nothing about how much longer the step may be
                factor = factor * error.clamp(min=1e-10) ** (exponent / (order + 1))
        return torch.minimum(factor.clamp(self.smallest, self.largest), torch.where(grows, self.largest, 1.0))


@dataclass(frozen=True)
class Control:
    """What an adaptive integration keeps to.

    Attributes:
        tolerance: of the error of one step.
        controller: the choice of step sizes.
        first_step: length of the first step; guessed when None.
        max_steps: attempts after which it gives up.
        longest: length that no step exceeds.
    """

    tolerance: Tolerance
    controller: Controller = field(default_factory=Controller)
    first_step: float | None = None
    max_steps: int = 100_000
    longest: float = math.inf
