"""The ways in which fixed steps are differentiated, other than by the graph of all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.integrators.attempts import Counted, Gradient
from manifoldnet.integrators.continuous_adjoint import check_continuous, points_by_continuous_adjoint
from manifoldnet.integrators.discrete_adjoint import Binomial, States, Stored, points_by_discrete_adjoint
from manifoldnet.integrators.fixed_course import Course, refusing_random_numbers
from manifoldnet.integrators.methods import Method
from manifoldnet.integrators.reversible import Undone, check_reversible
from manifoldnet.linalg.kernel import is_transformed

GRADIENTS = ("autograd", "checkpoint", "discrete-adjoint", "continuous-adjoint", "reversible")
OF_ANY_STEPS = ("autograd", "checkpoint")
"""The ways that adaptive steps and events know too."""


def check_gradient(method: Method, gradient: str, slots: int | None) -> None:
    """Raise an InputError for an unknown gradient, one that the method does not have, or slots that do not suit it."""
    if gradient not in GRADIENTS:
        raise InputError(f"gradient: wanted one of {', '.join(GRADIENTS)}, got {gradient!r}")
    if gradient == "reversible":
        Undone(method)
    elif gradient == "continuous-adjoint":
        check_continuous(method)
    if slots is not None and (gradient != "checkpoint" or slots < 0):
        raise InputError(f"slots: wanted a number >= 0 and gradient='checkpoint', got {slots} and {gradient!r}")


def check_fixed(gradient: str, slots: int | None) -> None:
    """Raise an InputError if the gradient is one of fixed steps only, or slots are given."""
    if slots is not None:
        raise InputError(f"slots: wanted fixed steps without event_fn, got {slots} and steps of any length")
    if gradient not in OF_ANY_STEPS:
        raise InputError(
            f"gradient: {gradient!r} wants fixed steps without event_fn, given by steps or step_size; adaptive ones "
            f"have {' or '.join(map(repr, OF_ANY_STEPS))}"
        )


@torch.compiler.disable
def differentiable_points(
    course: Course, t: Tensor, h: Tensor, y0: Tensor, gradient: Gradient, slots: int | None = None
) -> Tensor:
    """The points of :meth:`Course.points`, differentiated in t, h, y0 and the leaves that the field holds.

    Inside torch.func transforms, which do not see leaves, steps are differentiated as by "autograd".

    Args:
        t, h: starts and step lengths of the intervals, as of :meth:`Course.intervals`.
        slots: of "checkpoint"; see :class:`Binomial`.

    Raises:
        InputError: if the field draws random numbers, or is unsafe for "reversible".
    """
    field = course.field.field if isinstance(course.field, Counted) else course.field
    if gradient == "reversible":
        check_reversible(course.method, field)
    elif gradient == "continuous-adjoint" and hasattr(field, "project"):
        raise InputError("gradient: 'continuous-adjoint' has no equation for a projected field; wanted 'checkpoint'")
    if gradient == "autograd" or is_transformed() or not torch.is_grad_enabled():
        return course.points(t, h, y0)
    captured = course.captured(t, y0)
    if not captured.leaves and not any(x.requires_grad for x in (t, h, y0)):
        return course.points(t, h, y0)
    with refusing_random_numbers(y0.device):
        if gradient == "continuous-adjoint":
            return points_by_continuous_adjoint(course, t, h, y0, captured)
        return points_by_discrete_adjoint(course, _states(course.method, gradient, slots), t, h, y0, captured)


def _states(method: Method, gradient: Gradient, slots: int | None) -> States:
    if gradient == "reversible":
        return Undone(method)
    return Stored() if gradient == "discrete-adjoint" else Binomial(slots)
