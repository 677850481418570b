"""Integration by steps whose length follows the estimated error, every sample of the batch with its own."""

from __future__ import annotations

import torch
from torch import Tensor

from manifoldnet.integrators.attempts import Attempts
from manifoldnet.integrators.controller import Control
from manifoldnet.integrators.dense import interpolate
from manifoldnet.integrators.error_norm import relative_error
from manifoldnet.integrators.solution import IntegrationError, Solution, Statistics, Status


class _Samples:
    """Where every sample stands; shapes (n,) except y and first, which hold (n, ...)."""

    def __init__(self, y: Tensor, t0: float) -> None:
        n = len(y)
        self.t = torch.full((n,), t0, dtype=torch.float64, device=y.device)
        self.length = torch.zeros_like(self.t)
        self.errors = torch.ones_like(self.t), torch.ones_like(self.t)
        self.grows = torch.ones(n, dtype=torch.bool, device=y.device)
        self.next = torch.ones(n, dtype=torch.long, device=y.device)  # index of the next wanted time
        self.counts = torch.zeros(3, n, dtype=torch.long, device=y.device)  # as Statistics
        self.y = y
        self.first: Tensor | None = None


def integrate_per_sample(attempts: Attempts, y0: Tensor, t: Tensor, direction: int, control: Control) -> Solution:
    """The solution at the times t of a batch whose samples do not wait for each other.

    The batch is flattened, and the field is evaluated at the samples that are not at the end yet: it sees points
    (n, *point) and times (n,) and must not depend on which samples they are.
    """
    space = attempts.space
    batch = y0.shape[: y0.dim() - space.ndim]
    y = y0.reshape(batch.numel(), *y0.shape[y0.dim() - space.ndim :])
    times = t.to(y.device, torch.float64)
    if len(times) == 1 or not len(y):
        empty = torch.zeros(batch, dtype=torch.long)
        return Solution(y0.expand(len(t), *y0.shape), Status.SUCCESS, Statistics(empty, empty, empty))
    samples = _Samples(y, float(times[0]))
    active = torch.arange(len(y), device=y.device)
    samples.first = attempts.field(times[0].to(y.dtype).expand(len(y)), y)
    samples.counts[2] += 1
    if control.first_step:
        samples.length += control.first_step
    else:
        clock = samples.t.to(y.dtype)
        samples.length += attempts.first_step(clock, direction, y, samples.first, control.tolerance)
        samples.counts[2] += 1
    found = _Found(len(times), y)
    while len(active):
        _check_count(samples, active, control)
        _attempt(attempts, samples, active, times, direction, control, found)
        active = active[samples.next[active] < len(times)]
    solution = torch.cat([y[None], found.gather()]).reshape(len(times), *y0.shape)
    counts = samples.counts.reshape(3, *batch)
    return Solution(solution, Status.SUCCESS, Statistics(counts[0], counts[1], counts[2]))


class _Found:
    """Points at wanted times, in the order in which they are found."""

    def __init__(self, times: int, y: Tensor) -> None:
        self.times, self.y = times, y
        self.slots: list[Tensor] = []
        self.points: list[Tensor] = []

    def add(self, index: Tensor, sample: Tensor, points: Tensor) -> None:
        self.slots.append((index - 1) * len(self.y) + sample)
        self.points.append(points)

    def gather(self) -> Tensor:
        """(times - 1, n, *point)."""
        order = torch.argsort(torch.cat(self.slots))
        return torch.cat(self.points)[order].reshape(self.times - 1, *self.y.shape)


def _attempt(
    attempts: Attempts,
    samples: _Samples,
    active: Tensor,
    times: Tensor,
    direction: int,
    control: Control,
    found: _Found,
) -> None:
    """One step of every active sample, kept where its error is small enough."""
    method, action = attempts.method, attempts.action
    assert method.embedded_order is not None
    assert samples.first is not None
    is_dense = method.dense_order is not None
    t, y, first = samples.t[active], samples.y[active], samples.first[active]
    stop = times[-1].expand(len(active)) if is_dense else times[samples.next[active]]
    meant = samples.length[active]
    remaining = (stop - t).abs()
    lands = meant >= remaining * (1 - 1e-10)
    length = torch.where(lands, remaining, meant)
    before = attempts.field.calls
    step = attempts.attempt(t.to(y.dtype), (direction * length).to(y.dtype), y, first)
    error = relative_error(attempts.space, action, control.tolerance, y, step).to(torch.float64)
    error = torch.nan_to_num(error, nan=torch.inf)
    accepted = error <= 1.0
    older = samples.errors[0][active], samples.errors[1][active]
    grown = length * control.controller.factor(method.embedded_order, (error, *older), samples.grows[active])
    # a step that was cut to land says less about the next one than the step that was meant
    grown = torch.where(accepted & lands, torch.maximum(grown, meant), grown)
    samples.length[active] = grown
    samples.grows[active] = accepted
    for stored, new, old in zip(samples.errors, (error, older[0]), older, strict=True):
        stored[active] = torch.where(accepted, new, old)
    samples.counts[0, active] += accepted
    samples.counts[1, active] += ~accepted
    samples.counts[2, active] += attempts.field.calls - before
    _check_length(samples, active, accepted, error)
    if not accepted.any().item():
        return
    chosen = accepted.nonzero()[:, 0]
    moved = active[chosen]
    t1 = torch.where(lands, stop, t + direction * length)
    wanted = samples.next[moved]
    while True:
        due = (wanted < len(times)) & ((times[wanted.clamp(max=len(times) - 1)] - t1[chosen]) * direction <= 0)
        rows = due.nonzero()[:, 0]
        if not len(rows):
            break
        pick, index = chosen[rows], wanted[rows]
        theta = (times[index] - t[pick]) / (direction * length[pick])
        ends = times[index] == t1[pick]
        points = step.y[pick]
        if is_dense and not ends.all().item():
            part = step._replace(ks=tuple(k[pick] for k in step.ks))
            factor = theta.to(y.dtype)[(...,) + (None,) * action.group.coordinate_ndim]
            inner = interpolate(method.scheme, action, y[pick], part, factor)
            points = torch.where(ends[(...,) + (None,) * attempts.space.ndim], points, inner)
        found.add(index, active[pick], points)
        wanted = wanted + due
    samples.next[moved] = wanted
    samples.t[moved] = t1[chosen]
    # out of place: the graph of earlier steps needs the points as they were
    samples.y = samples.y.index_copy(0, moved, step.y[chosen])
    if step.last is not None:
        slopes = step.last[chosen]
    else:
        going = wanted < len(times)
        moved = moved[going]
        if not len(moved):
            return
        slopes = attempts.field(samples.t[moved].to(y.dtype), samples.y[moved])
        samples.counts[2, moved] += 1
    samples.first = samples.first.index_copy(0, moved, slopes)


def _check_count(samples: _Samples, active: Tensor, control: Control) -> None:
    late = samples.counts[0, active] + samples.counts[1, active] >= control.max_steps
    if late.any().item():
        where, time = _place(samples, active, late)
        raise IntegrationError(f"{where}: {control.max_steps} steps were made before the end", Status.STEP_LIMIT, time)


def _check_length(samples: _Samples, active: Tensor, accepted: Tensor, error: Tensor) -> None:
    smallest = 8 * torch.finfo(torch.float64).eps * samples.t[active].abs().clamp(min=1e-290)
    stuck = ~accepted & ~(samples.length[active] >= smallest)  # also where it is no number
    if not stuck.any().item():
        return
    where, time = _place(samples, active, stuck)
    row = int(stuck.nonzero()[0, 0])
    if torch.isfinite(error[row]):
        raise IntegrationError(
            f"{where}: the step size fell to {float(samples.length[active[row]]):.3g} with an error of "
            f"{float(error[row]):.3g} times the tolerance",
            Status.UNDERFLOW,
            time,
        )
    raise IntegrationError(f"{where}: the field or the state is not finite", Status.NOT_FINITE, time)


def _place(samples: _Samples, active: Tensor, chosen: Tensor) -> tuple[str, float]:
    """Words for time and number of the first chosen sample, and the time."""
    sample = int(active[chosen.nonzero()[0, 0]])
    time = float(samples.t[sample])
    return f"t = {time:.10g}, sample {sample}", time
