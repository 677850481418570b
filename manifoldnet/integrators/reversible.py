"""Steps that are undone instead of remembered: a gradient whose memory does not depend on their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.integrators.error_norm import is_vector_space
from manifoldnet.integrators.fixed_course import Course, Interval
from manifoldnet.integrators.methods import Method
from manifoldnet.integrators.stepping import Field
from manifoldnet.manifolds import Action, Space

CORRECTIONS = 40


class ReconstructionError(RuntimeError):
    """Steps that were undone did not lead back to where they came from, so that the gradient would be wrong."""


class Undone:
    """The points before steps by steps back: no point inside an interval is kept.

    Symmetric methods, drifts and kicks, and splittings into exact flows are undone by a step of -h, up to rounding and,
    if they are implicit, up to the equations of their stages. Methods that are a chain of exponentials
    ("cf-ees25", "cf-ees27" and others of the 2N form) are undone by iteration: of a guess of the point before, the
    exponentials of the step from there are undone one by one on the point after. It converges for steps that are short
    enough to be inverted by it, h L < 1 or so for a field with the Lipschitz constant L, to rounding; the guess is a
    step of -h, which in the effectively symmetric methods misses by O(h^6) and O(h^8).
    """

    def __init__(self, method: Method) -> None:
        self.adjoint = method.adjoint
        if self.adjoint is None and method.family != "low-storage":
            raise InputError(
                f"gradient: 'reversible' wants steps that can be undone (symmetric methods, drifts and kicks, "
                f"splittings, commutator-free methods of the 2N form such as 'cf-ees25'), got {method.name!r}"
            )

    def kept(self, count: int) -> Sequence[int]:
        return ()

    def backwards(self, interval: Interval, known: dict[int, Tensor]) -> Iterator[tuple[int, Tensor]]:
        """As of :class:`States`.

        Raises:
            ReconstructionError: if the start is missed by more than the square root of the rounding unit, relatively
                in a vector space and as a distance elsewhere.
        """
        y = known[interval.count]
        for j in reversed(range(1, interval.count)):
            y = self._before(interval, j, y)
            yield j, y
        if interval.count > 1:
            _check_start(interval.course, known[0], self._before(interval, 0, y))
        yield 0, known[0]

    def _before(self, interval: Interval, j: int, after: Tensor) -> Tensor:
        """The point before step j."""
        t, h = interval.when(j)
        if self.adjoint is not None:
            return interval.value_of(self.adjoint, t + h, -h, after)
        y = interval.value_of(interval.course.method, t + h, -h, after)
        rounding = 8 * torch.finfo(y.dtype).eps * (1 + after.abs().max())
        change = torch.full_like(rounding, torch.inf)
        for _ in range(CORRECTIONS):
            chain = _Chain(interval.course.action)
            interval.value_of(interval.course.method, t, h, y, chain)
            before, y, last = y, chain.undone(after), change
            change = (y - before).abs().max()
            if not rounding < change < last:
                break
        return y


class _Chain(Action):
    """An action that notes by which exponentials points are moved."""

    def __init__(self, action: Action) -> None:
        self.own = action
        self.group = action.group
        self.moves: list[Tensor] = []

    def act_exp(self, v: Tensor, y: Tensor) -> Tensor:
        self.moves.append(v.detach())
        return self.own.act_exp(v, y)

    def settle(self, y: Tensor) -> Tensor:
        return self.own.settle(y)

    def act(self, x: Tensor, y: Tensor) -> Tensor:
        return self.own.act(x, y)

    def tangent(self, v: Tensor, y: Tensor) -> Tensor:
        return self.own.tangent(v, y)

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        return self.own.lift(y, tangent)

    def undone(self, y: Tensor) -> Tensor:
        for v in reversed(self.moves):
            y = self.own.act_exp(-v, y)
        return self.own.settle(y)


def _check_start(course: Course, wanted: Tensor, found: Tensor) -> None:
    missed = _distance(course.space, wanted, found)
    allowed = torch.finfo(wanted.dtype).eps ** 0.5
    if not missed <= allowed:
        raise ReconstructionError(
            f"gradient='reversible': the steps of {course.method.name!r}, undone, missed their start by {missed:.3g}, "
            f"wanted at most {allowed:.3g}; the flow contracts or the steps are too long: take shorter steps, or "
            "gradient='checkpoint'"
        )


def _distance(space: Space, x: Tensor, y: Tensor) -> float:
    if not x.numel():
        return 0.0
    if is_vector_space(space):
        return float((x - y).abs().max() / (1 + x.abs().max()))
    return float(space.dist(x, y).max())


_reversible: WeakSet[Any] = WeakSet()


def check_reversible(method: Method, field: Field | Any) -> None:
    """Refuse fields whose flows are unsafe to run backwards, by what they declare; each one is asked once.

    Running back a flow that contracts at the rate nu < 0 multiplies rounding by exp(|nu| T).

    Raises:
        InputError: if steps are projected, the field is damped, is the gradient of a convex potential, has a negative
            one-sided Lipschitz constant, or is split into parts without exact flows.
    """
    name = type(field).__name__
    if hasattr(field, "project"):
        raise InputError(f"gradient: 'reversible' cannot undo the projections of {name}; wanted 'checkpoint'")
    if method.domain == "parts" and not all(hasattr(part, "flow") for part in getattr(field, "parts", ())):
        raise InputError(f"gradient: 'reversible' wants parts with exact flows, such as Shear, in {name}")
    if isinstance(field, torch.nn.Module) and field in _reversible:
        return
    reason = _contraction(field)
    if reason is not None:
        raise InputError(
            f"gradient: 'reversible' is unsafe for {name}, {reason}: steps back would amplify rounding exponentially; "
            "wanted 'checkpoint' or 'discrete-adjoint'"
        )
    if isinstance(field, torch.nn.Module):
        _reversible.add(field)


def _contraction(field: Any) -> str | None:
    """What a field declares that makes its flow contract; None if it declares nothing of the kind."""
    damping = getattr(field, "damping", None)
    if damping is not None and bool((torch.as_tensor(damping) > 0).any()):
        return "which is damped"
    if _declared(field, "cocoercivity") is not None:
        return "which descends a convex potential"
    nu = _declared(field, "nu")
    return f"whose flow contracts at the rate nu = {nu:.3g}" if nu is not None and nu < 0 else None


def _declared(field: Any, name: str) -> float | None:
    """The constant of that name; None where the field has none or says that nothing may be claimed."""
    if not hasattr(field, name):
        return None
    try:
        return float(getattr(field, name)())
    except ValueError:
        return None
