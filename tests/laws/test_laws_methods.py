"""Laws of every registered integrator: order, structure, and that a Lie method is its namesake on vectors."""

import math

import pytest
import torch
from law_cases import (
    F64,
    METHODS,
    SPACES,
    close,
    every_lie_method,
    every_lie_method_at_length,
    every_lie_method_costly_ones_slowly,
    every_method,
    every_pair,
    every_space,
    every_vector_method,
    points,
    rng,
)
from order_problems import (
    check_order,
    check_order_on_generic_problem,
    distance,
    errors_at_one,
    generic_problem,
    measured_order,
    rotation_problem,
    solution,
    steps_for,
)

from manifoldnet import SO3, Euclidean, odeint
from manifoldnet.integrators import shears
from manifoldnet.integrators.dense import interpolate
from manifoldnet.integrators.implicit_runge_kutta import implicit_runge_kutta_step
from manifoldnet.integrators.runge_kutta import runge_kutta_step
from manifoldnet.integrators.stepping import Start
from manifoldnet.manifolds import Action


@every_method
def test_names_and_properties_are_those_of_the_tableau(method):
    assert METHODS[method.name] is method
    assert method.source
    assert method.order >= 1
    assert method.stages >= 1
    if method.tableau is not None:
        assert method.stages == len(method.tableau.b)
        assert method.order == method.tableau.order


@pytest.mark.parametrize("frozen", [False, True], ids=["nonautonomous", "autonomous"])
@every_lie_method_costly_ones_slowly
def test_order_on_rotations(method, frozen):
    """y' = hat(f(t, y)) y on SO(3): on weaker problems a swapped stage or a missing bracket keeps its order."""
    field, y0, wanted = rotation_problem(frozen, body=False)
    check_order(method.order, errors_at_one(method, SO3(), field, y0, wanted))


@pytest.mark.parametrize("name", SPACES)
@every_lie_method_at_length
def test_order_on_every_space(method, name):
    problem = generic_problem(name)
    check_order_on_generic_problem(method.order, lambda steps: errors_at_one(method, SPACES[name], *problem, steps))


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


@every_lie_method_costly_ones_slowly
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
    # a method of order 5 may converge faster in this frame before it is asymptotic
    check_order(method.order, errors, above=0.15 if method.order < 5 else 0.5)


def embedded_step(method, action, field, t, h, y):
    """The embedded method's point: its own, or from the difference of the two generators."""
    step = method.attempt(field, action, t, h, y, None, True)
    if step.rival is not None:
        return step.rival
    if action.group.coordinate_ndim == y.dim():
        return step.y - step.error
    weights = method.scheme.b_embedded
    return action.act_exp(sum(w * k for w, k in zip(weights, step.ks, strict=True)), y)


@every_pair
def test_order_of_the_embedded_method(method):
    """On rotations for Lie methods, else on vectors, with the same guard as the method itself."""
    if method.is_lie:
        space, (field, y0, wanted) = SO3(), rotation_problem(False, body=False)
    else:
        space, field, y0 = Euclidean(1), Oscillator(), torch.tensor([1.0, 0.3], dtype=F64)
        wanted = solution(lambda t, y: field(torch.tensor(t, dtype=F64), torch.tensor(y)), y0.numpy())
    errors = {}
    for n in steps_for(method.embedded_order):
        y, h = y0, torch.tensor(1.0 / n, dtype=F64)
        for k in range(n):
            y = embedded_step(method, space.action, field, k * h, h, y)
        errors[n] = distance(space, y, wanted)
    check_order(method.embedded_order, errors)


@every_pair
def test_a_known_first_stage_is_not_evaluated_again(method):
    """Steps that hand on their last stage take one evaluation fewer, and give the same points."""
    calls = []
    problem, y, _ = rotation_problem(False, body=False)
    action = SO3().action
    if not method.is_lie:
        problem, y, action = Oscillator(), torch.tensor([1.0, 0.3], dtype=F64), Euclidean(1).action

    def field(t, y):
        calls.append(t)
        return problem(t, y)

    t, h = torch.tensor(0.2, dtype=F64), torch.tensor(0.1, dtype=F64)
    one = method.attempt(field, action, t, h, y, None, True)
    first = len(calls)
    assert (one.last is not None) == method.is_fsal
    two = method.attempt(field, action, t + h, h, one.y, one.last, True)
    assert len(calls) - first == first - method.is_fsal
    again = method.attempt(problem, action, t + h, h, one.y, None, True)
    close(two.y, again.y, 1e-15)
    close(one.y, method.step(problem, action, t, h, y), 1e-15)
    if method.is_fsal:
        close(one.last, problem(t + h, one.y), 1e-14)


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.dense_order])
def test_dense_output_has_its_order_and_stays_on_the_space(name):
    """Error of one step at theta h against tiny steps: order + 1 in h, or more at single thetas."""
    method = METHODS[name]
    space, (field, y0, _) = SO3(), rotation_problem(False, body=False)
    if not method.is_lie:
        space, field, y0 = Euclidean(1), Oscillator(), torch.tensor([1.0, 0.3], dtype=F64)
    thetas = torch.tensor([0.3, 0.5, 0.7], dtype=F64)
    errors = {}
    for n in (4, 8, 16, 32):
        h = torch.tensor(1.0 / n, dtype=F64)
        step = method.attempt(field, space.action, 0 * h, h, y0, None, True)
        found = interpolate(method.scheme, space.action, y0, step, thetas[:, None])
        fine = odeint(field, y0, torch.cat([0 * thetas[:1], thetas * h]), space=space, method=name, steps=40)[1:]
        errors[n] = space.dist(found, fine).max().item()
        assert space.check_point_on_manifold(found)
        ends = interpolate(method.scheme, space.action, y0, step, torch.tensor([0.0, 1.0], dtype=F64)[:, None])
        close(ends, torch.stack([y0, step.y]), 1e-13)
    slope, _ = measured_order(errors)
    assert slope > method.dense_order + 1 - 0.3


class Oscillator:
    """H = p^2 (1 + m q^2) / 2 - (1 + 0.3 sin t) cos q + 0.1 q^4, with p damped at a rate; y = (q, p).

    What any method of a vector space asks a field for is here: the Hamiltonian, its parts, the damping.
    """

    def __init__(self, mass=0.0, damping=0.0, frozen=False):
        self.mass, self.damping, self.frozen = mass, damping, frozen

    def clock(self, t):
        return t * 0 + 0.7 if self.frozen else t

    def __call__(self, t, y):
        q, p = y[..., 0], y[..., 1]
        pull = self.mass * q * p**2 + (1 + 0.3 * torch.sin(self.clock(t))) * torch.sin(q) + 0.4 * q**3
        return torch.stack([p * (1 + self.mass * q**2), -pull - self.damping * p], -1)

    def hamiltonian(self, t, y):
        q, p = y[..., 0], y[..., 1]
        potential = -(1 + 0.3 * torch.sin(self.clock(t))) * torch.cos(q) + 0.1 * q**4
        return 0.5 * p**2 * (1 + self.mass * q**2) + potential

    @property
    def parts(self):
        return shears(self, 2).parts


def oscillator(method, frozen=False):
    """The hardest oscillator that is a problem of the method's kind."""
    damped = method.domain == "separable" and method.scheme.damped
    return Oscillator(0.3 * (method.domain == "hamiltonian"), 0.3 * damped, frozen)


def vector_step(method, field, t, h, y):
    return method.step(field, method.action_on(Euclidean(1)), t, h, y)


@every_vector_method
def test_order_on_vectors(method):
    y0 = torch.tensor([1.0, 0.3], dtype=F64)
    field = oscillator(method)
    wanted = solution(lambda t, y: field(torch.tensor(t, dtype=F64), torch.tensor(y)), y0.numpy())
    check_order(method.order, errors_at_one(method, Euclidean(1), field, y0, wanted))


@every_lie_method
def test_a_lie_method_on_vectors_is_the_runge_kutta_method_of_its_tableau(method):
    y = torch.randn(5, 2, dtype=F64, generator=rng(50))
    t, h = torch.tensor(0.3, dtype=F64), torch.tensor(0.1, dtype=F64)
    action, field = Euclidean(1).action, Oscillator(0.3)
    rule = runge_kutta_step if method.is_explicit else implicit_runge_kutta_step
    close(method.step(field, action, t, h, y), rule(method.tableau, Start(field, action, t, h, y)).y, 1e-15)


@every_lie_method_at_length
def test_rotations_stay_rotations(method):
    """2000 steps of length 0.05 (reference: 4e-15 ... 3e-14)."""
    field, y0, _ = rotation_problem(True, body=False)
    y = odeint(field, y0, torch.tensor([0.0, 100.0], dtype=F64), space=SO3(), method=method.name, steps=2000)[-1]
    assert (y.mT @ y - torch.eye(3, dtype=F64)).abs().max() < 1e-13


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (F64, 1e-12)], ids=["f32", "f64"])
@every_lie_method
def test_ten_thousand_steps_do_not_leave_the_rotations(method, dtype, bound):
    field, y0, _ = rotation_problem(True, body=False)
    t = torch.tensor([0.0, 500.0], dtype=F64)

    def rounded(t, y):  # the entries of one matrix are numbers, which times in float64 would promote
        return field(t, y).to(dtype)

    with torch.no_grad():
        y = odeint(rounded, y0.to(dtype), t, space=SO3(), method=method.name, steps=10_000)[-1]
    assert y.dtype is dtype
    assert (y.mT @ y - torch.eye(3, dtype=dtype)).abs().max() < bound


@every_space
@every_lie_method_at_length
def test_steps_stay_on_the_space(method, space):
    y = points(space, 3)
    mix = 0.5 * torch.randn(y[0].numel(), space.action.group.dim, dtype=F64, generator=rng(51))

    def field(t, y):
        return torch.cos(y.reshape(3, -1) + t) @ mix

    y = odeint(field, y, torch.tensor([0.0, 1.0], dtype=F64), space=space, method=method.name, steps=20)[-1]
    assert space.check_point_on_manifold(y, explain=True) == (True, None)
    close(space.projx(y), y, 1e-12)


@every_space
@every_lie_method_at_length
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
    """|step(-h) step(h) y - y| for the autonomous oscillator, of which a symmetric method leaves rounding only."""
    y = torch.tensor([1.0, 0.3], dtype=F64)
    h = torch.tensor(0.2, dtype=F64)
    field = oscillator(method, frozen=True)
    forth = vector_step(method, field, 0 * h, h, y)
    return (vector_step(method, field, h, -h, forth) - y).abs().max().item()


@every_vector_method
def test_symmetric_methods_and_no_others_reverse_their_steps(method):
    """The effectively symmetric methods reverse up to a power of h only."""
    defect = defect_of_reversal(method)
    effective = getattr(method.scheme, "antisymmetric_order", None)
    if effective:
        assert not method.is_symmetric
        assert 1e-16 < defect < 3 * 0.2 ** (effective + 1)
    else:
        assert (defect < 1e-14) == method.is_symmetric


@every_vector_method
def test_symplectic_methods_and_no_others_keep_the_symplectic_form(method):
    y = torch.tensor([1.0, 0.3], dtype=F64)
    t, h = torch.tensor(0.0, dtype=F64), torch.tensor(0.2, dtype=F64)
    field = oscillator(method)
    g = torch.func.jacrev(lambda y: vector_step(method, field, t, h, y))(y)
    j = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=F64)
    shrunk = math.exp(-field.damping * h)
    defect = (g.mT @ j @ g - shrunk * j).abs().max().item()
    # in the plane a step over shears keeps the area, which is the form; its parts make it symplectic, not the method
    if method.domain == "parts":
        assert defect < 1e-12
    elif field.damping:
        assert defect < 1e-12  # conformally symplectic
        assert not method.is_symplectic
    else:
        assert (defect < 1e-12) == method.is_symplectic


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.circle_radius > 0])
def test_steps_within_the_circle_radius_never_expand(name):
    """Stage-varying f = -A' tanh(A x + b(t)) is cocoercive with 1 / |A|^2: h <= 2 r / |A|^2 keeps distances."""
    method = METHODS[name]
    radius = min(method.circle_radius, 1e3)
    a = torch.randn(200, 4, 3, dtype=F64, generator=rng(53))
    b = torch.randn(2, 200, 4, dtype=F64, generator=rng(54))

    def field(t, y):
        phase = b[0] + 10 * t[..., None] * b[1]
        return -(torch.tanh((a @ y[..., None])[..., 0] + phase)[..., None, :] @ a)[..., 0, :]

    y = 2 * torch.randn(2, 200, 3, dtype=F64, generator=rng(55))
    for factor in (0.3, 0.999):
        h = factor * 2 * radius / torch.linalg.matrix_norm(a, 2).square()
        moved = [vector_step(method, field, torch.tensor(0.2, dtype=F64), h, p) for p in y]
        assert ((moved[0] - moved[1]).norm(dim=-1) <= (y[0] - y[1]).norm(dim=-1) * (1 + 1e-12)).all()


@every_method
def test_b_stable_methods_have_no_bound_of_the_step(method):
    assert (method.circle_radius == math.inf) == method.is_b_stable
    if method.is_explicit:
        assert not method.is_b_stable


class Learned(Oscillator):
    """The oscillator with a parameter in its potential."""

    def __init__(self, w, method):
        super().__init__(0.3 * (method.domain == "hamiltonian"), 0.3)
        self.w = w

    def __call__(self, t, y):
        slope = self.w * torch.cos(self.w * y[..., 0])
        return super().__call__(t, y) - torch.stack([torch.zeros_like(slope), slope], -1)

    def hamiltonian(self, t, y):
        return super().hamiltonian(t, y) + torch.sin(self.w * y[..., 0])


@every_vector_method
def test_steps_are_differentiable(method):
    t, h = torch.tensor(0.1, dtype=F64), torch.tensor(0.2, dtype=F64)
    if method.domain in ("lie", "geodesic"):
        w = torch.randn(3, 3, dtype=F64, generator=rng(56), requires_grad=True)
        y = torch.tensor([0.3, -0.5, 0.2], dtype=F64, requires_grad=True)

        def step(w, y, h):
            field = lambda t, p: torch.sin(w @ p.reshape(3, -1)[:, 0] + t)  # noqa: E731
            return method.step(field, method.action_on(SO3()), t, h, SO3().exp(y))
    else:
        w = torch.tensor(0.7, dtype=F64, requires_grad=True)
        y = torch.tensor([0.3, -0.5], dtype=F64, requires_grad=True)

        def step(w, y, h):
            return vector_step(method, Learned(w, method), t, h, y)

    assert torch.autograd.gradcheck(step, (w, y, h.requires_grad_()), fast_mode=True)


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
