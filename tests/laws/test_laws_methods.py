"""Laws of every registered integrator: order, structure, and that a Lie method is its namesake on vectors."""

import math

import pytest
import torch
from law_cases import F64, METHODS, SPACES, close, every_lie_method, every_method, every_space, points, rng
from order_problems import (
    check_order,
    check_order_on_generic_problem,
    errors_at_one,
    generic_problem,
    measured_order,
    rotation_problem,
    solution,
    steps_for,
)

from manifoldnet import SO3, Euclidean, odeint
from manifoldnet.integrators.runge_kutta import runge_kutta_step
from manifoldnet.manifolds import Action


@every_method
def test_names_and_properties_are_those_of_the_tableau(method):
    assert METHODS[method.name] is method
    assert method.source
    assert method.order >= 1
    assert method.stages == len(method.tableau.b)


@pytest.mark.parametrize("frozen", [False, True], ids=["nonautonomous", "autonomous"])
@every_lie_method
def test_order_on_rotations(method, frozen):
    """y' = hat(f(t, y)) y on SO(3): on weaker problems a swapped stage or a missing bracket keeps its order."""
    field, y0, wanted = rotation_problem(frozen, body=False)
    check_order(method.order, errors_at_one(method, SO3(), field, y0, wanted))


@pytest.mark.parametrize("name", SPACES)
@every_lie_method
def test_order_on_every_space(method, name):
    field, y0, wanted = generic_problem(name)
    check_order_on_generic_problem(method.order, errors_at_one(method, SPACES[name], field, y0, wanted))


class RightMultiplication(Action):
    """SO(3) on itself by x.y = y x^-1, which turns y' = y hat(f) into a problem with the generator -f."""

    def __init__(self):
        self.group = SO3()

    def act(self, x, y):
        return y @ x.mT

    def tangent(self, v, y):
        return -y @ SO3().hat(v)

    def lift(self, y, tangent):
        return -SO3().vee(y.mT @ tangent)


@every_lie_method
def test_order_in_the_body_frame(method):
    """A wrong sign in dexpinv would show as order 2: right multiplication reverses the bracket."""
    field, y0, wanted = rotation_problem(False, body=True)
    action = RightMultiplication()
    errors = {}
    for n in steps_for(method.order):
        y, h = y0, torch.tensor(1.0 / n, dtype=F64)
        for k in range(n):
            y = method.step(lambda t, y: -field(t, y), action, k * h, h, y)
        errors[n] = (y - wanted).norm().item()
    check_order(method.order, errors)


def pendulum(t, y):
    """Hamilton's equations of p^2 / 2 - (1 + 0.3 sin t) cos q + 0.1 q^4, y = (q, p)."""
    q, p = y[..., 0], y[..., 1]
    return torch.stack([p, -(1 + 0.3 * torch.sin(t)) * torch.sin(q) - 0.4 * q**3], -1)


@every_method
def test_order_on_vectors(method):
    y0 = torch.tensor([1.0, 0.3], dtype=F64)
    wanted = solution(lambda t, y: pendulum(torch.tensor(t, dtype=F64), torch.tensor(y)), y0.numpy())
    check_order(method.order, errors_at_one(method, Euclidean(1), pendulum, y0, wanted))


@every_lie_method
def test_a_lie_method_on_vectors_is_the_runge_kutta_method_of_its_tableau(method):
    y = torch.randn(5, 2, dtype=F64, generator=rng(50))
    t, h = torch.tensor(0.3, dtype=F64), torch.tensor(0.1, dtype=F64)
    action = Euclidean(1).action
    close(method.step(pendulum, action, t, h, y), runge_kutta_step(method.tableau, pendulum, action, t, h, y), 1e-15)


@every_lie_method
def test_rotations_stay_rotations(method):
    """2000 steps of length 0.05 (reference: 4e-15 ... 3e-14)."""
    field, y0, _ = rotation_problem(True, body=False)
    y = odeint(field, y0, torch.tensor([0.0, 100.0], dtype=F64), space=SO3(), method=method.name, steps=2000)[-1]
    assert (y.mT @ y - torch.eye(3, dtype=F64)).abs().max() < 1e-13


@every_space
@every_lie_method
def test_steps_stay_on_the_space(method, space):
    y = points(space, 3)
    mix = 0.5 * torch.randn(y[0].numel(), space.action.group.dim, dtype=F64, generator=rng(51))

    def field(t, y):
        return torch.cos(y.reshape(3, -1) + t) @ mix

    y = odeint(field, y, torch.tensor([0.0, 1.0], dtype=F64), space=space, method=method.name, steps=20)[-1]
    assert space.check_point_on_manifold(y, explain=True) == (True, None)
    close(space.projx(y), y, 1e-12)


@every_space
@every_lie_method
def test_a_constant_generator_is_followed_exactly(method, space):
    """All stages see one generator and every bracket is zero: any step length gives exp(t v) y."""
    y = points(space, 3)
    v = 0.4 * torch.randn(space.action.group.dim, dtype=F64, generator=rng(52))
    t = torch.tensor([0.0, 0.3, 1.0], dtype=F64)
    found = odeint(lambda t, y: v.expand(3, -1), y, t, space=space, method=method.name, steps=2)
    close(found[1], space.action.act_exp((0.3 * v).expand(3, -1), y), 1e-11)
    close(found[2], space.action.act_exp(v.expand(3, -1), y), 1e-11)


@every_lie_method
def test_a_method_keeps_the_symmetry_of_the_problem(method):
    """f(t, y g) = f(t, y) implies flow(y g) = flow(y) g; here f sees y only through y r y'."""
    r = torch.tensor([[2.0, 0.5, 0.0], [0.5, -1.0, 0.0], [0.0, 0.0, 0.4]], dtype=F64)
    g = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=F64))  # commutes with r

    def field(t, y):
        seen = y @ r @ y.mT
        return torch.stack([seen[..., 0, 1], seen[..., 1, 2] + t, seen[..., 0, 2]], -1)

    y = points(SO3(), 4)
    t = torch.tensor([0.0, 1.0], dtype=F64)
    one = odeint(field, y, t, space=SO3(), method=method.name, steps=3)[-1]
    two = odeint(field, y @ g, t, space=SO3(), method=method.name, steps=3)[-1]
    close(two, one @ g, 1e-13)


def defect_of_reversal(method):
    """|step(-h) step(h) y - y| for the autonomous pendulum, of which a symmetric method leaves rounding only."""
    action = Euclidean(1).action
    frozen = torch.tensor(0.7, dtype=F64)
    y = torch.tensor([1.0, 0.3], dtype=F64)
    h = torch.tensor(0.2, dtype=F64)
    forth = method.step(lambda t, y: pendulum(frozen, y), action, 0 * h, h, y)
    return (method.step(lambda t, y: pendulum(frozen, y), action, h, -h, forth) - y).abs().max().item()


@every_method
def test_symmetric_methods_and_no_others_reverse_their_steps(method):
    assert (defect_of_reversal(method) < 1e-14) == method.is_symmetric


@every_method
def test_symplectic_methods_and_no_others_keep_the_symplectic_form(method):
    action = Euclidean(1).action
    y = torch.tensor([1.0, 0.3], dtype=F64)
    t, h = torch.tensor(0.0, dtype=F64), torch.tensor(0.2, dtype=F64)
    g = torch.func.jacrev(lambda y: method.step(pendulum, action, t, h, y))(y)
    j = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=F64)
    defect = (g.mT @ j @ g - j).abs().max().item()
    assert (defect < 1e-12) == method.is_symplectic


@every_method
def test_steps_within_the_circle_radius_never_expand(method):
    """Stage-varying f = -A' tanh(A x + b(t)) is cocoercive with 1 / |A|^2: h <= 2 r / |A|^2 keeps distances."""
    radius = min(method.circle_radius, 1e3)
    if radius == 0:
        return
    action = Euclidean(1).action
    a = torch.randn(200, 4, 3, dtype=F64, generator=rng(53))
    b = torch.randn(2, 200, 4, dtype=F64, generator=rng(54))

    def field(t, y):
        return -(torch.tanh((a @ y[..., None])[..., 0] + b[0] + 10 * t * b[1])[..., None, :] @ a)[..., 0, :]

    y = 2 * torch.randn(2, 200, 3, dtype=F64, generator=rng(55))
    for factor in (0.3, 0.999):
        h = factor * 2 * radius / torch.linalg.matrix_norm(a, 2)[..., None].square()
        moved = [method.step(field, action, torch.tensor(0.2, dtype=F64), h, p) for p in y]
        assert ((moved[0] - moved[1]).norm(dim=-1) <= (y[0] - y[1]).norm(dim=-1) * (1 + 1e-12)).all()


@every_method
def test_b_stable_methods_have_no_bound_of_the_step(method):
    assert (method.circle_radius == math.inf) == method.is_b_stable
    if method.is_explicit:
        assert not method.is_b_stable


@every_method
def test_steps_are_differentiable(method):
    action = (SO3() if method.is_lie else Euclidean(1)).action
    t, h = torch.tensor(0.1, dtype=F64), torch.tensor(0.2, dtype=F64)
    w = torch.randn(3, 3, dtype=F64, generator=rng(56), requires_grad=True)
    y = torch.tensor([0.3, -0.5, 0.2], dtype=F64, requires_grad=True)

    def step(w, y):
        start = SO3().exp(y) if method.is_lie else y
        return method.step(lambda t, p: torch.sin(w @ p.reshape(3, -1)[:, 0] + t), action, t, h, start)

    assert torch.autograd.gradcheck(step, (w, y), fast_mode=True)


@every_lie_method
def test_samples_of_a_batch_do_not_see_each_other(method):
    y = points(SO3(), 4)
    field, _, _ = rotation_problem(False, body=False)

    def batched(t, y):
        return torch.stack([field(t, p) for p in y])

    t = torch.tensor([0.0, 0.5], dtype=F64)
    together = odeint(batched, y, t, space=SO3(), method=method.name, steps=3)[-1]
    alone = torch.stack([odeint(field, p, t, space=SO3(), method=method.name, steps=3)[-1] for p in y])
    close(together, alone, 1e-14)


@every_lie_method
def test_float32_keeps_its_type_and_the_order_down_to_rounding(method):
    field, y0, _ = rotation_problem(False, body=False)
    y = odeint(field, y0.float(), torch.tensor([0.0, 1.0]), space=SO3(), method=method.name, steps=64)[-1]
    assert y.dtype is torch.float32
    exact = odeint(field, y0, torch.tensor([0.0, 1.0], dtype=F64), space=SO3(), method=method.name, steps=64)[-1]
    assert (y.double() - exact).abs().max() < 5e-6


def test_the_order_check_can_fail():
    with pytest.raises(AssertionError):
        check_order(2, {n: 1.0 / n for n in (32, 48, 64, 96, 128)})
    assert measured_order({n: 3.0 / n**2 for n in (32, 48, 64)})[0] == pytest.approx(2.0)
