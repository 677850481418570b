"""Integrate y' = f(t, y) on a space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.integrators.adaptive import AdaptiveSteps, integrate_adaptively
from manifoldnet.integrators.attempts import Attempts, Gradient
from manifoldnet.integrators.controller import Control, Controller
from manifoldnet.integrators.error_norm import Tolerance, is_vector_space
from manifoldnet.integrators.events import Event, integrate_adaptively_until, integrate_by_fixed_steps_until
from manifoldnet.integrators.fixed_steps import integrate_by_fixed_steps, step_counts
from manifoldnet.integrators.gradients import check_fixed, check_gradient
from manifoldnet.integrators.methods import Method, method_named
from manifoldnet.integrators.per_sample import integrate_per_sample
from manifoldnet.integrators.solution import Solution
from manifoldnet.integrators.states import TupleState
from manifoldnet.integrators.stepping import Field
from manifoldnet.manifolds import Euclidean, LiePoisson, Product, Space

# names of torchdiffeq's options, and ours
OPTIONS = {"step_size": "step_size", "first_step": "first_step", "max_num_steps": "max_steps"}


def odeint(
    field: Field | Any,
    y0: Float[Tensor, "*shape"] | tuple[Tensor, ...],
    t: Float[Tensor, "times"],
    *,
    space: Space | None = None,
    method: str = "rkmk4",
    step_size: float | None = None,
    steps: int | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    gradient: Gradient = "autograd",
    slots: int | None = None,
    event_fn: Event | None = None,
    per_sample: bool = False,
    controller: Controller | None = None,
    first_step: float | None = None,
    max_steps: int = 100_000,
    compiled: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Solution of y' = hat(f(t, y)) y, y(t[0]) = y0, at the times t.

    A method with an embedded one ("rkmk-dopri5", "cf4", "bosh3", ...) chooses its steps by rtol and atol unless
    ``step_size`` or ``steps`` is given; of any other, the interval between two times is one step.

    Args:
        field: f(t, y) -> generator in coordinates of the group that acts on the space; on Euclidean space that is
            the tangent vector. Some methods want more of it: see :func:`methods <manifoldnet.integrators.METHODS>`.
        y0: initial points (..., *point), or a tuple of tensors: the parts of a ``Product``, or vectors of any shapes.
            The field then takes and returns tuples.
        t: strictly increasing or strictly decreasing times.
        space: where y lives; Euclidean space of vectors when None.
        method: a name in ``METHODS``.
        step_size: longest step; each interval between two times is cut into equal steps no longer than it.
        steps: number of equal steps in each interval, instead of ``step_size``.
        rtol, atol: an estimated error of a step of atol + rtol |y| is accepted, coordinate by coordinate in a vector
            space and in the root mean square; on other spaces one of atol + rtol, in the algebra or as a distance.
        gradient: how the solution is differentiated. "autograd" keeps every stage. The others evaluate the field again
            when gradients are wanted, for one step at a time; they want fixed steps, but for "checkpoint", and a
            field without random numbers, and can be differentiated once:
            "checkpoint" keeps about sqrt(2 n) of n points and takes steps again from them;
            "discrete-adjoint" keeps all points;
            "reversible" keeps none but those at the times t and undoes steps, of methods that can be undone and
            fields that do not contract;
            "continuous-adjoint" integrates the costate's own equation backwards, which gives the gradient of the
            exact flow up to the method's error, on a curved space the tangential part of that in y0.
            Gradients go to t, y0 and the leaf tensors that the field holds: parameters of modules, attributes,
            closures, globals that a function names. Inside torch.func transforms all are as "autograd"; for
            torch.compile they are a break of the graph.
        slots: number of points that "checkpoint" keeps between two times, besides the first and the last two.
        event_fn: g(t, y); the integration ends where any entry of g changes its sign, and of t only the first time
            and the direction count. Fixed steps then have the length ``step_size``, or the first interval's; adaptive
            ones are not longer than that interval, so that none jumps over two changes of sign.
        per_sample: choose the steps of every sample of the batch by its own error; the field sees times of the shape
            (n,) of the samples that are not at the end yet.
        controller: the choice of adaptive steps.
        first_step: length of the first adaptive step; guessed when None.
        max_steps: adaptive steps (or, with event_fn, any) after which to give up.
        compiled: run fixed steps as compiled graphs of four steps each (:func:`torch.compile`), which are kept with
            the field; worth its ten to ninety seconds where the same field is integrated many times.
        options: torchdiffeq's, of which step_size, first_step and max_num_steps are known.

    Returns:
        (len(t), *y0.shape), the first entry being y0, or a tuple of such tensors. With event_fn the time of the
        event, 0-dimensional and differentiable, and the solution there: (event_time, (2, *y0.shape)).

    Raises:
        ValueError: for an unknown method, gradient or option, a method that cannot run on the space or lacks what
            was asked for, times that are not strictly monotone, a wrong shape of y0, or contradicting steps.
        IntegrationError: if adaptive steps become too short or too many, or nothing finite is found; it names the
            time and has ``status``.
        StageError: if the equations of an implicit step are not solved.
    """
    solution = solve(
        field, y0, t, space=space, method=method, step_size=step_size, steps=steps, rtol=rtol, atol=atol,
        gradient=gradient, slots=slots, event_fn=event_fn, per_sample=per_sample, controller=controller,
        first_step=first_step, max_steps=max_steps, compiled=compiled, options=options,
    )  # fmt: skip
    return solution.y if event_fn is None else (solution.event_time, solution.y)


def solve(
    field: Field | Any,
    y0: Float[Tensor, "*shape"] | tuple[Tensor, ...],
    t: Float[Tensor, "times"],
    *,
    space: Space | None = None,
    method: str = "rkmk4",
    step_size: float | None = None,
    steps: int | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    gradient: Gradient = "autograd",
    slots: int | None = None,
    event_fn: Event | None = None,
    per_sample: bool = False,
    controller: Controller | None = None,
    first_step: float | None = None,
    max_steps: int = 100_000,
    compiled: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Solution:
    """As :func:`odeint`, with the status and the counts of steps, rejections and evaluations."""
    if options:
        unknown = [name for name in options if name not in OPTIONS]
        if unknown:
            raise ValueError(f"options: wanted names among {', '.join(OPTIONS)}, got {', '.join(unknown)}")
        step_size = options.get("step_size", step_size)
        first_step = options.get("first_step", first_step)
        max_steps = options.get("max_num_steps", max_steps)
    if isinstance(y0, tuple):
        parts = TupleState(y0, space)
        event = None if event_fn is None else lambda t, y: event_fn(t, parts.split(y))
        solution = solve(
            parts.field(field), parts.join(y0), t, space=parts.space, method=method, step_size=step_size, steps=steps,
            rtol=rtol, atol=atol, gradient=gradient, slots=slots, event_fn=event, per_sample=per_sample,
            controller=controller, first_step=first_step, max_steps=max_steps, compiled=compiled,
        )  # fmt: skip
        assert isinstance(solution.y, Tensor)
        return solution._replace(y=parts.split(solution.y))
    space = Euclidean(1) if space is None else space
    chosen = method_named(method)
    check(chosen, space, gradient, slots)
    space._assert_check_shape(tuple(y0.shape), "y0")
    if not y0.is_floating_point():
        raise ValueError(f"y0: wanted real numbers, got {y0.dtype}")
    # in the higher precision of the two, so that neither float32 times nor float32 points round the step length
    t = t.to(device=y0.device, dtype=torch.promote_types(t.dtype, y0.dtype))
    times, direction = checked_times(t)
    is_adaptive = step_size is None and steps is None and chosen.embedded_order is not None
    if compiled and (is_adaptive or gradient != "autograd" or event_fn is not None):
        raise ValueError("compiled: wanted fixed steps, no event_fn and gradient='autograd'")
    if is_adaptive or event_fn is not None:
        check_fixed(gradient, slots)
    attempts = Attempts(chosen, field, space, gradient, compiled)
    if is_adaptive:
        if not (rtol >= 0 and atol >= 0 and rtol + atol > 0):
            raise ValueError(f"rtol, atol: wanted numbers >= 0, one of them positive, got {rtol} and {atol}")
        longest = abs(times[1] - times[0]) if event_fn is not None and len(times) > 1 else math.inf
        control = Control(Tolerance(rtol, atol), controller or Controller(), first_step, max_steps, longest)
        if per_sample:
            if event_fn is not None:
                raise ValueError(
                    "per_sample, event_fn: wanted one of the two; samples meet events at times of their own"
                )
            return integrate_per_sample(attempts, y0, t, direction, control)
        adaptive = AdaptiveSteps(attempts, y0, times[0], direction, control)
        return integrate_adaptively(adaptive, t) if event_fn is None else integrate_adaptively_until(adaptive, event_fn)
    if per_sample:
        raise ValueError(f"per_sample: wanted a method with an embedded one and no step_size or steps, got {method!r}")
    if event_fn is not None:
        if step_size is None and len(times) < 2:
            raise ValueError("event_fn: wanted step_size, or a second time, for the length of fixed steps")
        counts = step_counts(times[:2], step_size, steps)
        h = t.new_tensor(direction * step_size) if step_size else (t[1] - t[0]) / counts[0]
        return integrate_by_fixed_steps_until(attempts, y0, t[0], h, event_fn, max_steps)
    return integrate_by_fixed_steps(attempts, y0, t, step_counts(times, step_size, steps), slots)


def odeint_event(
    field: Field | Any,
    y0: Any,
    t0: Tensor,
    *,
    event_fn: Event,
    reverse_time: bool = False,
    **arguments: Any,
) -> tuple[Tensor, Any]:
    """Time and state of an event, as torchdiffeq's function of that name: (event_time, (2, *y0.shape)).

    Args:
        t0: 0-dimensional start.
        reverse_time: look for the event before t0.
        arguments: of :func:`odeint`.
    """
    t = torch.stack([t0, t0 - 1 if reverse_time else t0 + 1])
    return odeint(field, y0, t, event_fn=event_fn, **arguments)


def checked_times(t: Tensor) -> tuple[list[float], int]:
    """The times as numbers and their direction, 1 or -1.

    Raises:
        ValueError: if there are none, or they are not strictly monotone and finite.
    """
    times = t.tolist()
    if not times:
        raise ValueError("t: wanted at least one time, got none")
    increments = [b - a for a, b in itertools.pairwise(times)]
    finite = all(map(math.isfinite, times))
    if not finite or not (all(d > 0 for d in increments) or all(d < 0 for d in increments)):
        raise ValueError(f"t: wanted strictly increasing or strictly decreasing times, got {times}")
    return times, -1 if increments and increments[0] < 0 else 1


def check(method: Method, space: Space, gradient: str, slots: int | None = None) -> None:
    """Raise a ValueError if the method cannot run on the space or has no such gradient."""
    name, domain = method.name, method.domain
    if domain in ("vector", "separable", "hamiltonian") and not is_vector_space(space):
        raise ValueError(f"method: {name!r} adds vectors and would leave {space.name}; wanted a Lie-group method there")
    if domain == "lie-poisson" and not isinstance(space, LiePoisson):
        raise ValueError(f"method: {name!r} wants a LiePoisson space, got {space.name}")
    if domain == "cotangent" and not _is_cotangent_bundle(space):
        raise ValueError(f"method: {name!r} wants Product([G, Euclidean(1, shape=(G.dim,))]), got {space.name}")
    check_gradient(method, gradient, slots)


def _is_cotangent_bundle(space: Space) -> bool:
    if not isinstance(space, Product) or len(space.spaces) != 2:
        return False
    group, fibre = space.spaces
    return isinstance(fibre, Euclidean) and fibre.ndim == 1 and fibre.point_shape == (group.dim,)
