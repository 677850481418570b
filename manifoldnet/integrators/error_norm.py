"""The size of an estimated error against the tolerance, measured where it lives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from manifoldnet.integrators.stepping import Step
from manifoldnet.manifolds import Action, Space
from manifoldnet.manifolds.actions import LeftMultiplication
from manifoldnet.manifolds.euclidean import Euclidean


class Tolerance(NamedTuple):
    """Relative and absolute tolerance.

    On a vector space an error of the size atol + rtol max(|y|, |y1|) is accepted, coordinate by coordinate. On other
    spaces it is measured in the algebra, or by the distance to the embedded solution, never in ambient coordinates;
    its unit there is the space's own (a radian, a unit of the logarithm), so that atol + rtol is accepted.
    """

    rtol: float
    atol: float


def is_vector_space(space: Space) -> bool:
    """Whether points move by adding generators."""
    return isinstance(space, Euclidean) and isinstance(space.action, LeftMultiplication)


def rms(v: Tensor, dims: int) -> Tensor:
    """Root mean square over the last ``dims`` dimensions."""
    if dims == 0:
        return v.abs()
    return v.square().mean(tuple(range(-dims, 0))).sqrt()


def relative_error(space: Space, action: Action, tolerance: Tolerance, y: Tensor, step: Step) -> Tensor:
    """The estimated error of the step from y over the tolerance, shape of the batch."""
    rtol, atol = tolerance
    with torch.no_grad():
        if is_vector_space(space):
            error = step.error if step.error is not None else step.y - step.rival  # type: ignore[operator]
            scale = atol + rtol * torch.maximum(y.abs(), step.y.abs())
            return rms(error / scale, space.ndim)
        if step.error is not None:
            return rms(step.error, action.group.coordinate_ndim) / (atol + rtol)
        assert step.rival is not None
        dim = space.dim or y.shape[y.dim() - space.ndim :].numel()
        return space.dist(step.y, step.rival) / (dim**0.5 * (atol + rtol))
