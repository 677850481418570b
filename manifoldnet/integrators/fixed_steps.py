"""Integration by steps whose number is known beforehand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from manifoldnet.integrators.attempts import Attempts
from manifoldnet.integrators.fixed_course import Course
from manifoldnet.integrators.gradients import differentiable_points
from manifoldnet.integrators.solution import Solution, Statistics, Status


def step_counts(times: Sequence[float], step_size: float | None, steps: int | None) -> list[int]:
    """Number of equal steps in each interval between two times.

    Raises:
        ValueError: for step_size and steps together or not positive.
    """
    increments = [b - a for a, b in itertools.pairwise(times)]
    if step_size is not None and steps is not None:
        raise ValueError(f"step_size, steps: wanted one of the two, got {step_size} and {steps}")
    if step_size is not None:
        if not step_size > 0:
            raise ValueError(f"step_size: wanted a positive length, got {step_size}")
        return [max(1, math.ceil(abs(d) / step_size - 1e-9)) for d in increments]
    if steps is not None and steps < 1:
        raise ValueError(f"steps: wanted at least 1, got {steps}")
    return [steps or 1] * len(increments)


def integrate_by_fixed_steps(
    attempts: Attempts, y0: Tensor, t: Tensor, counts: Sequence[int], slots: int | None
) -> Solution:
    """The solution at the times t, with ``counts`` equal steps in the intervals between them."""
    if attempts.gradient == "autograd" or not counts:
        points = [y0]
        for index, count in enumerate(counts):
            h = (t[index + 1] - t[index]) / count
            points.append(attempts.steps(t[index], h, points[-1], count))
        solution = torch.stack(points)
    else:
        course = Course(attempts.method, attempts.field, attempts.space, counts)
        h = t.diff() / t.new_tensor(counts)
        solution = differentiable_points(course, t[:-1], h, y0, attempts.gradient, slots)
    costs = (sum(counts), 0, attempts.field.calls)
    return Solution(solution, Status.SUCCESS, Statistics(*map(torch.tensor, costs)))
