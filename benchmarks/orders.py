"""Measured orders of every registered integrator on every problem that it runs on; see README.md.

python benchmarks/orders.py
python benchmarks/orders.py --only 'rkmk*' cf4
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.integrate import solve_ivp
from torch import Tensor

import manifoldnet as mn
from manifoldnet.integrators import METHODS
from manifoldnet.integrators.methods import Method
from manifoldnet.integrators.splitting import shears
from manifoldnet.manifolds import Action, RightMultiplication, Space

F64 = torch.float64
ROUNDING = 2e-13  # errors below it say nothing
TOLERANCE = 0.15
COLUMNS = ("G1", "G2", "body", "S", "V", "E", "LP", "C")
TITLE = """measured order, * more than 0.15 from the claim
G1, G2: SO(3) with and without time; body: y' = y hat(f); S: sphere; V: oscillator
E: embedded method (claim); LP: rigid body on so(3)*; C: heavy top on T*SO(3)"""
Rule = Callable[[Method, "Problem", Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """An initial value problem whose field accepts a batch of times and points.

    Attributes:
        field: what a method is given.
        velocity: y' = velocity(t, y) in the surrounding vector space, written without the package.
        action: by which a method moves, where it is not the space's own.
        end: the time at which errors are taken.
    """

    space: Space
    field: Any
    velocity: Callable[[Tensor, Tensor], Tensor]
    y0: Tensor
    action: Action | None = None
    end: float = 1.0

    @cached_property
    def solution(self) -> Tensor:
        """The point at the end by an explicit method of order 8, to about 1e-14."""

        def right_hand_side(t: float, y: np.ndarray) -> np.ndarray:
            point = torch.from_numpy(y).reshape(self.y0.shape)
            return self.velocity(torch.tensor(t, dtype=F64), point).flatten().numpy()

        start = self.y0.flatten().numpy()
        found = solve_ivp(right_hand_side, (0.0, self.end), start, method="DOP853", rtol=3e-14, atol=1e-15)
        return torch.from_numpy(found.y[:, -1]).reshape(self.y0.shape)

    def action_for(self, method: Method) -> Action:
        return self.action or method.action_on(self.space)


def vector(*entries: float) -> Tensor:
    return torch.tensor(entries, dtype=F64)


INERTIA = vector(1.0, 2.0, 3.0)


def cross_matrix(w: Tensor) -> Tensor:
    """(..., 3, 3) of v -> w x v."""
    x, y, z = w.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))


def cross(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.cross(*torch.broadcast_tensors(a, b))


@cache
def rotation(frozen: bool = False, body: bool = False) -> Problem:
    """G1: y' = hat(f) y; G2: with the time in f frozen; in the body frame y' = y hat(f), whose generator is -f."""

    def rates(t: Tensor, y: Tensor) -> Tensor:
        t = 0 * t + 0.7 if frozen else t
        f1 = 1 + 0.5 * torch.sin(2 * t) * y[..., 0, 1] - 0.3 * y[..., 2, 2]
        f2 = 0.8 * torch.cos(t) + 0.4 * y[..., 1, 0] * y[..., 2, 1]
        return torch.stack([f1, f2, -0.5 + 0.7 * y[..., 0, 2] + 0.3 * t], -1)

    y0 = torch.matrix_exp(cross_matrix(vector(0.3, -0.2, 0.5)))
    if not body:
        return Problem(mn.SO3(), rates, lambda t, y: cross_matrix(rates(t, y)) @ y, y0)
    action = RightMultiplication(mn.SO3())
    return Problem(mn.SO3(), lambda t, y: -rates(t, y), lambda t, y: y @ cross_matrix(rates(t, y)), y0, action)


@cache
def sphere() -> Problem:
    """S: the generator has a part along y, which turns about y and so moves nothing."""
    matrix = torch.tensor([[0.7, -0.4, 0.2], [0.3, 0.9, -0.5], [-0.6, 0.1, 0.8]], dtype=F64)

    def rates(t: Tensor, y: Tensor) -> Tensor:
        return (1 + 0.3 * torch.sin(t))[..., None] * (y @ matrix.mT) + y[..., :1] ** 2 * vector(0.2, -0.1, 0.4)

    return Problem(mn.Sphere(3), rates, lambda t, y: cross(rates(t, y), y), vector(0.6, 0.0, 0.8))


@dataclass(frozen=True)
class Oscillator:
    """H = p^2 (1 + mass q^2) / 2 - (1 + drive sin t) cos q + 0.1 q^4, with p damped at a rate; y = (q, p)."""

    mass: float = 0.0
    damping: float = 0.0
    drive: float = 0.3

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        q, p = y.unbind(-1)
        pull = self.mass * q * p**2 + (1 + self.drive * torch.sin(t)) * torch.sin(q) + 0.4 * q**3
        return torch.stack([p * (1 + self.mass * q**2), -pull - self.damping * p], -1)

    def hamiltonian(self, t: Tensor, y: Tensor) -> Tensor:
        q, p = y.unbind(-1)
        return 0.5 * p**2 * (1 + self.mass * q**2) - (1 + self.drive * torch.sin(t)) * torch.cos(q) + 0.1 * q**4

    @property
    def parts(self) -> list[Any]:
        return shears(self, 2).parts


@cache
def oscillator(mass: float, damping: float) -> Problem:
    """V."""
    field = Oscillator(mass, damping)
    return Problem(mn.Euclidean(1), field, field, vector(1.0, 0.3))


class RigidBody:
    """H = sum_i m_i^2 / (2 I_i) + 0.075 m_1^4 + 0.2 sin m_2, I = (1, 2, 3); the generator is -dH(m)."""

    def hamiltonian(self, t: Tensor, m: Tensor) -> Tensor:
        return 0.5 * (m**2 / INERTIA).sum(-1) + 0.075 * m[..., 0] ** 4 + 0.2 * torch.sin(m[..., 1])

    def gradient(self, m: Tensor) -> Tensor:
        extra = torch.stack([0.3 * m[..., 0] ** 3, 0.2 * torch.cos(m[..., 1]), torch.zeros_like(m[..., 2])], -1)
        return m / INERTIA + extra

    def __call__(self, t: Tensor, m: Tensor) -> Tensor:
        return -self.gradient(m)


@cache
def rigid_body() -> Problem:
    """LP: m' = m x dH(m)."""
    body = RigidBody()
    space = mn.LiePoisson(mn.SO3())
    return Problem(space, body, lambda t, m: cross(m, body.gradient(m)), vector(0.9, 0.6, -0.7), end=2.0)


class HeavyTop:
    """Potential (1 + 0.3 sin t) e3' R c / 2 and inertia (1, 2, 3); p and the torque in the body's frame."""

    centre = vector(0.3, -0.2, 1.0)

    def velocity(self, t: Tensor, p: Tensor) -> Tensor:
        return p / INERTIA

    def force(self, t: Tensor, x: Tensor) -> Tensor:
        return 0.5 * (1 + 0.3 * torch.sin(t))[..., None] * cross(x[..., 2, :], self.centre)


@cache
def heavy_top() -> Problem:
    """C: R' = R hat(w), p' = p x w + torque, w = p / I."""
    top = HeavyTop()

    def velocity(t: Tensor, y: Tensor) -> Tensor:
        x, p = y[..., :9].unflatten(-1, (3, 3)), y[..., 9:]
        w = top.velocity(t, p)
        return torch.cat([(x @ cross_matrix(w)).flatten(-2), cross(p, w) + top.force(t, x)], -1)

    y0 = torch.cat([rotation().y0.flatten(), vector(0.9, 0.6, -0.7)])
    return Problem(mn.Product([mn.SO3(), mn.Euclidean(1, shape=(3,))]), top, velocity, y0)


def problems(method: Method) -> dict[str, Problem]:
    """Column -> problem, for the problems on which the method runs."""
    if method.domain == "cotangent":
        return {"C": heavy_top()}
    if method.domain == "lie-poisson":
        return {"LP": rigid_body()}
    damped = method.domain == "separable" and method.scheme.damped
    found = {"V": oscillator(0.3 * (method.domain == "hamiltonian"), 0.3 * damped)}
    if method.domain in ("lie", "geodesic"):
        found |= {"G1": rotation(), "G2": rotation(frozen=True), "S": sphere()}
    if method.domain == "lie":
        found |= {"body": rotation(body=True), "LP": rigid_body()}
    if method.embedded_order:
        found["E"] = found.get("G1", found["V"])
    return found


def embedded_step(method: Method, problem: Problem, t: Tensor, h: Tensor, y: Tensor) -> Tensor:
    """The embedded method's point: exp(v - error) y where y1 = exp(v) y, unless the method gives the point itself."""
    action = problem.action_for(method)
    step = method.attempt(problem.field, action, t, h, y, None, True)
    if step.rival is not None:
        return step.rival
    assert step.error is not None
    if method.domain == "vector":
        return action.act_exp(-step.error, step.y)
    return action.act_exp(mn.SO3().log(step.y @ y.mT) - step.error, y)


def own_step(method: Method, problem: Problem, t: Tensor, h: Tensor, y: Tensor) -> Tensor:
    return method.step(problem.field, problem.action_for(method), t, h, y)


def steps_for(order: int) -> tuple[int, ...]:
    """Numbers of steps; above order 4 of all of them those matter that leave errors just above rounding."""
    counts = (8, 12, 16, 24, 32, 48, 64, 96, 128)
    return counts[4:] if order <= 3 else counts[2:7] if order == 4 else counts


@torch.no_grad()
def errors(step: Rule, method: Method, problem: Problem, counts: tuple[int, ...]) -> Tensor:
    """Largest errors at the end; the step counts, which increase, run as one batch that those at the end leave."""
    h = problem.end / torch.tensor(counts, dtype=F64)
    running, ends = problem.y0.expand(len(counts), *problem.y0.shape), []
    for index, (done, until) in enumerate(pairwise((0, *counts))):
        for k in range(done, until):
            running = step(method, problem, k * h[index:], h[index:], running)
        ends.append(running[0])
        running = running[1:]
    return (torch.stack(ends) - problem.solution).flatten(1).abs().amax(1)


def measured(step: Rule, method: Method, problem: Problem, claim: int) -> float:
    """Least squares of log error over log h; not a number where fewer than three errors are above rounding.

    Above order 4 the four finest step counts with errors above rounding are taken: coarser ones are not asymptotic.
    """
    counts = steps_for(claim)
    pairs = zip(counts, errors(step, method, problem, counts).tolist(), strict=True)
    kept = [(-np.log(n), np.log(error)) for n, error in pairs if error > ROUNDING][-4 if claim > 4 else -5 :]
    return float(np.polyfit(*np.transpose(kept), 1)[0]) if len(kept) >= 3 else float("nan")


def main() -> int:
    """Print the table; 1 if an order is below its claim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["*"], metavar="METHOD", help="names or patterns of methods")
    patterns = parser.parse_args().only
    torch.set_num_threads(1)
    start = time.perf_counter()
    table = Table(title=TITLE, box=box.SIMPLE)
    for name in ("method", "claim", *COLUMNS):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    cells, misses, below = 0, [], False
    for method in (m for m in METHODS.values() if any(fnmatch(m.name, pattern) for pattern in patterns)):
        row, applicable = [], problems(method)
        for column in COLUMNS:
            if column not in applicable:
                row.append("")
                continue
            embedded = column == "E"
            claim = (method.embedded_order if embedded else method.order) or 0
            order = measured(embedded_step if embedded else own_step, method, applicable[column], claim)
            missed = not abs(order - claim) <= TOLERANCE
            below |= not order >= claim - TOLERANCE
            cells += 1
            row.append(f"{order:.2f}{'*' if missed else ''}{f' ({claim})' if embedded else ''}")
            if missed:
                misses.append(f"{method.name} {column} {order:.2f} ({claim})")
        table.add_row(method.name, str(method.order), *row)
    console = Console(width=120)
    console.print(table)
    console.print(f"{time.perf_counter() - start:.0f} s")
    held = f"{cells - len(misses)} of {cells} cells, not {'; '.join(misses)}" if misses else f"all {cells} cells"
    console.print(f"within {TOLERANCE}: {held}")
    return int(below)


if __name__ == "__main__":
    sys.exit(main())
