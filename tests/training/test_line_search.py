import copy
import itertools
import math

import geoopt
import numpy as np
import pytest
import torch
from optimiser_cases import F64, rng

from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3, SPD, Grassmann, Product, Sphere, Stiefel
from manifoldnet.training.line_search import RiemannianLineSearch
from manifoldnet.training.step_lengths import armijo, strong_wolfe

METHODS = [
    {"line_search_method": "armijo"},
    {"line_search_method": "wolfe"},
    {"line_search_method": "wolfe", "cg_method": "fr", "line_search_params": {"c2": 0.1}},
    {"line_search_method": "wolfe", "cg_method": "pr", "line_search_params": {"c2": 0.1}},
    {"line_search_method": "armijo", "cg_method": "polak-ribiere", "retraction": "expmap"},
]
every_method = pytest.mark.parametrize("method", METHODS)


class Descent:
    """An optimizer of ``loss`` over parameters, and the losses after each step."""

    def __init__(self, loss, parameters, **options):
        self.loss, self.calls = loss, 0
        self.optimizer = RiemannianLineSearch(parameters, **options)

    def closure(self):
        self.calls += 1
        self.optimizer.zero_grad()
        value = self.loss()
        value.backward()
        return value

    def run(self, steps):
        losses = [self.loss().item()]
        losses += [self.optimizer.step(self.closure).item() for _ in range(steps)]
        assert losses[-1] == self.loss().item()
        assert all(late <= early for early, late in itertools.pairwise(losses))
        return losses


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1].square()).square() + (1 - x[:-1]).square()).sum()


@every_method
def test_rosenbrock_never_rises(method):
    x = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=F64))
    losses = Descent(lambda: rosenbrock(x), [x], **method).run(60)
    assert losses[-1] < (1e-3 if method["line_search_method"] == "wolfe" and "cg_method" in method else 0.2) * losses[0]


@pytest.mark.parametrize("cg", ["fr", "pr"])
def test_conjugate_gradients_solve_a_quadratic_in_as_many_steps_as_there_are_unknowns(cg):
    """With exact searches on R^n they are the linear method, whatever the formula for beta."""
    root = torch.randn(6, 6, dtype=F64, generator=rng(0))
    a = root @ root.mT + torch.eye(6, dtype=F64)
    b = torch.randn(6, dtype=F64, generator=rng(1))
    x = torch.nn.Parameter(torch.zeros(6, dtype=F64))
    descent = Descent(
        lambda: 0.5 * x @ a @ x - b @ x, [x], line_search_method="wolfe", cg_method=cg,
        line_search_params={"c2": 1e-9, "trials": 60},
    )  # fmt: skip
    descent.run(6)
    assert torch.allclose(x.detach(), torch.linalg.solve(a, b), atol=1e-6)
    steepest = torch.nn.Parameter(torch.zeros(6, dtype=F64))
    other = Descent(lambda: 0.5 * steepest @ a @ steepest - b @ steepest, [steepest], line_search_method="wolfe")
    other.run(6)
    assert not torch.allclose(steepest.detach(), torch.linalg.solve(a, b), atol=1e-3)


@every_method
def test_eigenvectors_on_the_sphere_and_subspaces(method):
    """Rayleigh quotients, where geoopt 0.5.1's search stops with an error; numpy knows the minima."""
    root = torch.randn(5, 5, dtype=F64, generator=rng(3))
    a = root @ root.mT
    smallest = np.linalg.eigvalsh(a.numpy())
    x = geoopt.ManifoldParameter(Sphere(5).random(5, dtype=F64, generator=rng(4)), manifold=Sphere(5))
    frame = geoopt.ManifoldParameter(Stiefel(5, 2).random(5, 2, dtype=F64, generator=rng(5)), manifold=Stiefel(5, 2))
    space = Grassmann(5, 2)
    plane = geoopt.ManifoldParameter(space.random(5, 5, dtype=F64, generator=rng(6)), manifold=space)
    theirs = geoopt.ManifoldParameter(x.detach().clone(), manifold=geoopt.Sphere())

    def loss():
        return x @ a @ x + (frame.mT @ a @ frame).trace() + (a @ plane).trace() + theirs @ a @ theirs

    losses = Descent(loss, [x, frame, plane, theirs], **method).run(60)
    wanted = 2 * smallest[0] + 2 * smallest[:2].sum()
    assert losses[-1] - wanted < 1e-2 * (losses[0] - wanted)
    for p in (x, frame, plane, theirs):
        assert p.manifold.check_point_on_manifold(p.detach(), atol=1e-10)


def test_the_mean_of_rotations_and_of_matrices():
    for space in (SO3(), SPD("affine-invariant", n=3)):
        base = space.random(3, 3, dtype=F64, generator=rng(0))
        spread = torch.randn(8, 3, 3, dtype=F64, generator=rng(1))
        samples = space.expmap(base, space.proju(base, 0.3 * spread))
        p = geoopt.ManifoldParameter(samples[0].clone(), manifold=space)
        method = {"line_search_method": "wolfe", "cg_method": "pr", "line_search_params": {"c2": 0.1}}
        Descent(lambda p=p, s=space, x=samples: s.dist2(p, x).mean(), [p], **method).run(10)
        assert space.dist(p.detach(), space.frechet_mean(samples)) < 1e-6


def test_the_derivative_is_that_of_the_loss_along_the_retraction():
    """Central differences, on a space whose retraction is not its exponential map."""
    space = Product([SPD("affine-invariant", n=2), Sphere(3)])
    p = geoopt.ManifoldParameter(space.random(7, dtype=F64, generator=rng(0)), manifold=space)
    target = space.random(7, dtype=F64, generator=rng(1))
    seen = []

    def search(phi, derphi, *, phi0, derphi0, start):
        h = 1e-5
        for a in (0.0, 0.3, 1.1):
            seen.append((derphi(a), (phi(a + h) - phi(a - h)) / (2 * h)))
        seen.append((derphi0, derphi(0.0)))
        assert phi0 == phi(0.0)
        return 1e-3 * start

    Descent(lambda: space.dist2(p, target), [p], line_search_method=search).run(1)
    assert all(value == pytest.approx(wanted, rel=1e-6) for value, wanted in seen)


def test_evaluations_are_counted():
    x = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=F64))
    descent = Descent(lambda: rosenbrock(x), [x], line_search_method="wolfe")
    for _ in range(10):
        descent.optimizer.step(descent.closure)
        assert descent.optimizer.evaluations == descent.calls
        assert descent.optimizer.last_step_size > 0
    assert descent.calls < 60


def test_there_is_no_step_at_a_minimum_nor_to_infinity_nor_uphill():
    x = torch.nn.Parameter(torch.zeros(2, dtype=F64))
    descent = Descent(lambda: x.square().sum(), [x])
    descent.run(2)
    assert descent.optimizer.last_step_size is None
    # a loss that falls by less than its last digit is not searched for long
    v = torch.nn.Parameter(torch.full((2,), 1e-9, dtype=F64))
    deep = Descent(lambda: 1e6 + v.square().sum(), [v], line_search_method="wolfe")
    deep.run(1)
    assert deep.calls < 4
    assert x.tolist() == [0.0, 0.0]
    # finite only within the unit ball
    y = torch.nn.Parameter(torch.tensor([0.5], dtype=F64))
    barrier = Descent(lambda: -(1 - y.square()).log().sum() - 3 * y.sum(), [y], line_search_method="wolfe", lr=100.0)
    barrier.run(20)
    assert y.item() == pytest.approx((math.sqrt(10) - 1) / 3, abs=1e-6)
    z = torch.nn.Parameter(torch.ones(2, dtype=F64))
    uphill = Descent(lambda: z.square().sum(), [z], line_search_method=lambda *_, **__: 10.0)
    uphill.run(1)
    assert uphill.optimizer.last_step_size is None
    assert z.tolist() == [1.0, 1.0]


def test_the_first_trial_has_at_most_the_length_asked_for():
    space = SPD("affine-invariant", n=3)
    p = geoopt.ManifoldParameter(torch.eye(3, dtype=F64), manifold=space)
    target = space.random(3, 3, dtype=F64, generator=rng(0))
    starts = []

    def search(phi, derphi, *, start, derphi0, phi0):
        phi(start)
        starts.append(space.dist(torch.eye(3, dtype=F64), p.detach()).item())

    Descent(lambda: 100 * space.dist2(p, target), [p], line_search_method=search, lr=0.01, retraction="expmap").run(1)
    assert starts == [pytest.approx(0.01)]


def test_a_run_goes_on_from_its_state():
    method = {"line_search_method": "wolfe", "cg_method": "pr", "stabilize": 2}
    x = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=F64))
    whole = Descent(lambda: rosenbrock(x), [x], **method)
    whole.run(8)
    y = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=F64))
    first = Descent(lambda: rosenbrock(y), [y], **method)
    first.run(4)
    second = Descent(lambda: rosenbrock(y), [y])
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.run(4)
    assert torch.equal(x, y)
    assert second.optimizer.evaluations == whole.optimizer.evaluations


FUNCTIONS = {
    "quadratic": (lambda a: (a - 3) ** 2, lambda a: 2 * (a - 3)),
    "quartic": (lambda a: (a - 0.2) ** 4, lambda a: 4 * (a - 0.2) ** 3),
    "rational": (lambda a: -a / (a * a + 2), lambda a: (a * a - 2) / (a * a + 2) ** 2),
    "wavy": (lambda a: a * a / 20 - math.sin(3 * a), lambda a: a / 10 - 3 * math.cos(3 * a)),
}


@pytest.mark.parametrize("start", [1e-3, 0.1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("c2", [0.9, 0.1, 1e-3])
def test_lengths_meet_their_conditions(name, start, c2):
    """On functions with one minimum, with many, and with a slope that vanishes far out (Moré and Thuente 1994)."""
    phi, derphi = FUNCTIONS[name]
    known = {"phi0": phi(0.0), "derphi0": derphi(0.0), "start": start}
    for a in (armijo(phi, derphi, **known), strong_wolfe(phi, derphi, c2=c2, **known)):
        assert phi(a) <= phi(0.0) + 1e-4 * a * derphi(0.0)
    assert abs(derphi(a)) <= c2 * abs(derphi(0.0))


def test_lengths_have_bounds():
    phi, derphi = FUNCTIONS["quadratic"]
    known = {"phi0": 9.0, "derphi0": -6.0, "start": 1.0, "amax": 0.5}
    assert armijo(phi, derphi, **known) == 0.5
    assert strong_wolfe(phi, derphi, **known) == 0.5
    rising = {"phi0": 0.0, "derphi0": -1.0, "start": 1.0}
    assert armijo(lambda a: a, lambda a: 1.0, **rising) is None
    assert strong_wolfe(lambda a: a, lambda a: 1.0, **rising) is None
    assert strong_wolfe(lambda a: -a, lambda a: -1.0, trials=5, **rising) > 1.0


def test_what_is_unknown_is_refused():
    x = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(InputError, match="line_search_method"):
        RiemannianLineSearch([x], "exact")
    with pytest.raises(InputError, match="cg_method"):
        RiemannianLineSearch([x], cg_method="newton")
    with pytest.raises(InputError, match="closure"):
        RiemannianLineSearch([x]).step()
