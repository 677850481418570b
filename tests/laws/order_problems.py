"""Initial value problems on which an integrator's order shows: state dependent, time dependent, not commuting."""

from functools import cache
from itertools import pairwise

import numpy as np
import torch
from law_cases import F64, near, rng, singular_points
from scipy.integrate import solve_ivp

from manifoldnet import odeint
from manifoldnet.manifolds import SO3, SPACES


def solution(right_hand_side, y0):
    """y(1) of the ambient ordinary differential equation, to about 1e-14."""
    result = solve_ivp(
        lambda t, y: np.asarray(right_hand_side(t, y.reshape(np.shape(y0)))).ravel(),
        (0.0, 1.0),
        np.ravel(y0),
        method="DOP853",
        rtol=3e-14,
        atol=1e-15,
    )
    return torch.tensor(result.y[:, -1].reshape(np.shape(y0)))


def steps_for(order):
    if order <= 3:
        return (32, 48, 64, 96, 128)
    return (16, 24, 32, 48, 64) if order == 4 else (8, 12, 16, 24, 32)


def measured_order(errors, rounding=2e-13):
    """Least-squares slope of log error over log h, and the slopes between neighbours; errors is {steps: error}."""
    logs = [(-np.log(n), np.log(error)) for n, error in errors.items() if error > rounding]
    assert len(logs) >= 3, f"errors at rounding: {errors}"
    slope = np.polyfit(*np.transpose(logs), 1)[0]
    return slope, [(f - e) / (k - h) for (h, e), (k, f) in pairwise(logs)]


def check_order(order, errors, below=0.15, above=0.15):
    """The guard against luck: the two finest pairs agree, so that the slope is the asymptotic one."""
    slope, pairs = measured_order(errors)
    assert order - below <= slope <= order + above, (slope, errors)
    assert abs(pairs[-1] - pairs[-2]) <= 0.3, pairs


def check_order_on_generic_problem(order, errors_by):
    """A random problem may not be asymptotic yet at the usual steps: then the finest four above rounding decide.

    Above order 4 some still are not where rounding begins; an order lost would show.
    """
    bounds = {} if order <= 4 else {"below": 0.4, "above": 1.0}
    n = steps_for(order)
    errors = errors_by(n)
    try:
        check_order(order, errors, **bounds)
    except AssertionError:
        errors |= errors_by((n[-1] * 3 // 2, n[-1] * 2, n[-1] * 3))
        above_rounding = [(steps, error) for steps, error in errors.items() if error > 1e-13]
        slope, pairs = measured_order(dict(above_rounding[-4:]), rounding=1e-13)
        assert order - bounds.get("below", 0.15) <= slope, (slope, errors)
        assert pairs[-1] <= order + bounds.get("above", 0.15), (pairs, errors)
        assert abs(pairs[-1] - pairs[-2]) <= 0.3, pairs


def errors_at_one(method, space, field, y0, wanted, steps=None):
    t = torch.tensor([0.0, 1.0], dtype=F64)
    found = {}
    for n in steps or steps_for(method.order):
        y = odeint(field, y0, t, space=space, method=method.name, steps=n)[-1]
        found[n] = distance(space, y, wanted)
    return found


def distance(space, y, wanted):
    """From the solution of the ambient equation, whose angles may have left their interval."""
    return space.dist(y, space.projx(wanted)).item()


def rates(t, y, stack, sin, cos):
    """The generator of problem G on SO(3) for arrays of either library."""
    return stack(
        [
            1 + 0.5 * sin(2 * t) * y[0, 1] - 0.3 * y[2, 2],
            0.8 * cos(t) + 0.4 * y[1, 0] * y[2, 1],
            -0.5 + 0.7 * y[0, 2] + 0.3 * t,
        ]
    )


def rotation_start():
    return SO3().exp(torch.tensor([0.3, -0.2, 0.5], dtype=F64))


def skew(v):
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


@cache
def rotation_problem(frozen, body):
    """(field, y0, y(1)) of y' = hat(f) y, or of y' = y hat(f) in the body frame; time stands still if frozen."""

    def clock(t):
        return t * 0 + 0.7 if frozen else t

    def field(t, y):
        return rates(clock(t), y, torch.stack, torch.sin, torch.cos)

    def right_hand_side(t, y):
        w = skew(rates(clock(t), y, np.array, np.sin, np.cos))
        return y @ w if body else w @ y

    return field, rotation_start(), solution(right_hand_side, rotation_start().numpy())


@cache
def generic_problem(name):
    """(field, y0, y(1)) on the registered space of that name; sines make the field smooth across the cut of angles."""
    space = SPACES[name]
    y0 = near(space, singular_points(space, F64)[:1], 0.7)[0]
    dim = space.action.group.dim
    entries = y0.numel()
    constant, slope = torch.randn(2, dim, dtype=F64, generator=rng(44)) * 0.2
    mix = torch.randn(dim, entries, dtype=F64, generator=rng(45)) * 0.4 / entries**0.5

    def field(t, y):
        return constant + (mix @ torch.sin(y.reshape(-1))) * (1 + 0.5 * torch.sin(2 * t)) + t * slope

    def right_hand_side(t, y):
        point = torch.tensor(y)
        return space.action.tangent(field(torch.tensor(t, dtype=F64), point), point).numpy()

    return field, y0, solution(right_hand_side, y0.numpy())
