"""The exact gradients of steps: by their costates, from stored points or from few of them."""

import functools
import math
from functools import lru_cache

import pytest
import torch
from torch import nn

from manifoldnet import SO3, Euclidean, odeint
from manifoldnet.errors import InputError
from manifoldnet.fields import HamiltonianField, ManifoldGradientFlow, ResNetField
from manifoldnet.integrators import binomial_checkpoint, method_named
from manifoldnet.integrators.captured import captured_leaves
from manifoldnet.nn import Flow

F64 = torch.float64
TIMES = torch.tensor([0.0, 0.4, 1.0], dtype=F64)
IN_TIME = {"time": "piecewise-linear", "knots": 5}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def resnet(dtype=F64, **options):
    return ResNetField(3, generator=rng(), **options).to(dtype)


def weighed(points):
    """A loss that sees every entry of every point."""
    weights = torch.linspace(-1, 1, points.numel(), dtype=points.dtype).reshape(points.shape)
    return (weights * points.sin()).sum()


def derivatives(field, y0, gradient, t=TIMES, **options):
    """The points and the gradients of the loss in y0, t and the parameters."""
    leaves = [x.detach().clone().requires_grad_() for x in (y0, t)]
    parameters = list(field.parameters())
    points = odeint(field, *leaves, gradient=gradient, **options)
    return points.detach(), *torch.autograd.grad(weighed(points), [*leaves, *parameters])


def assert_close(found, wanted, tolerance):
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).norm() <= tolerance * b.norm()


# equality with autograd --------------------------------------------------------------------------------------------
def some_slow(names, quick):
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


VECTORS = some_slow(
    ("euler", "heun2", "ssprk33", "rk4", "midpoint", "dopri5", "cf-ees25", "implicit-midpoint", "stormer-verlet"),
    ("euler", "heun2", "ssprk33", "rk4"),
)
ROTATIONS = some_slow(("lie-euler", "rkmk4", "rkmk4-two-brackets", "cf4", "cg3", "lie-midpoint"), ("rkmk4", "cf4"))
EXACT = [("discrete-adjoint", None), ("checkpoint", None), ("checkpoint", 2)]


@pytest.mark.parametrize(("gradient", "slots"), EXACT)
@pytest.mark.parametrize("method", VECTORS)
def test_the_gradient_is_that_of_autograd_with_weights_of_every_stage_their_own(method, gradient, slots):
    field = resnet(**IN_TIME)
    if method == "stormer-verlet":
        field = HamiltonianField(2, 3, generator=rng(), **IN_TIME).double()
    y0 = torch.randn(2, 4 if method == "stormer-verlet" else 3, dtype=F64, generator=rng(1))
    options = {"method": method, "steps": 4}
    wanted = derivatives(field, y0, "autograd", **options)
    assert_close(derivatives(field, y0, gradient, slots=slots, **options), wanted, 1e-14)


@pytest.mark.parametrize(("gradient", "slots"), EXACT[:2])
@pytest.mark.parametrize("method", ROTATIONS)
def test_the_gradient_is_that_of_autograd_on_rotations(method, gradient, slots):
    field = ManifoldGradientFlow(SO3(), features=3, generator=rng(), **IN_TIME).double()
    y0 = SO3().random(2, 3, 3, dtype=F64, generator=rng(1))
    options = {"method": method, "steps": 2, "space": SO3()}
    wanted = derivatives(field, y0, "autograd", **options)
    assert_close(derivatives(field, y0, gradient, slots=slots, **options), wanted, 1e-13)


def conjugate_gradient(tableau, field, y0, h, count, divide):
    """d(sum y_N) by the symplectic pair, from y_{k+1} = y_k + h sum_i b_i f(Y_i) written out.

    Divided: Lambda_i = p^{k+1} + h sum_j (b_j a_ji / b_i) l_j, l_j = (df/dy)(Y_j)^T Lambda_j (Sanz-Serna 2016,
    equations 20 and 28 with a^_ij = b_j - b_j a_ji / b_i); else in w_i = b_i Lambda_i.
    """
    parameters, s = list(field.parameters()), tableau.stages
    stages, y = [], y0
    for k in range(count):
        points, slopes = [], []
        for i in range(s):
            points.append(y + h * sum(tableau.A[i][j] * slopes[j] for j in range(i)) if i else y)
            slopes.append(field(torch.tensor((k + tableau.c[i]) * h, dtype=F64), points[-1]).detach())
        stages.append(points)
        y = y + h * sum(b * f for b, f in zip(tableau.b, slopes, strict=True))
    p, totals = torch.ones_like(y), [torch.zeros_like(x) for x in parameters]
    for k in reversed(range(count)):
        pulled = [torch.zeros_like(y)] * s
        for i in reversed(range(s)):
            if divide:
                a = [tableau.b[j] * tableau.A[j][i] / tableau.b[i] for j in range(s)]
                costate, weight = p + h * sum(a[j] * pulled[j] for j in range(s)), tableau.b[i]
            else:
                costate = tableau.b[i] * p + h * sum(tableau.A[j][i] * pulled[j] for j in range(s))
                weight = 1.0
            point = stages[k][i].detach().requires_grad_()
            f = field(torch.tensor((k + tableau.c[i]) * h, dtype=F64), point)
            pulled[i], *gradients = torch.autograd.grad(f, (point, *parameters), costate)
            totals = [total + h * weight * g for total, g in zip(totals, gradients, strict=True)]
        p = p + h * sum((b if divide else 1.0) * g for b, g in zip(tableau.b, pulled, strict=True))
    return [p, *totals]


@pytest.mark.parametrize("method", ["euler", "heun2", "ssprk33", "rk4", "midpoint", "bosh3"])
def test_it_is_the_conjugate_runge_kutta_pair(method):
    field, y0, count = resnet(**IN_TIME), torch.randn(2, 3, dtype=F64, generator=rng(1)), 4
    tableau = method_named(method).tableau
    start = y0.clone().requires_grad_()
    end = odeint(field, start, TIMES[[0, 2]], method=method, steps=count, gradient="discrete-adjoint")[-1]
    found = torch.autograd.grad(end.sum(), [start, *field.parameters()])
    for divide in (False, True) if all(tableau.b) else (False,):
        assert_close(found, conjugate_gradient(tableau, field, y0, 1 / count, count, divide), 1e-14)


def test_differences_agree_on_rotations():
    w = torch.randn(3, 3, dtype=F64, generator=rng(2))
    y0 = SO3().random(3, 3, dtype=F64, generator=rng(3))

    def end(w, v, t):
        def field(t, y):
            return torch.tanh(y[..., 0] @ w + t)

        return odeint(field, SO3().exp(v) @ y0, t, space=SO3(), method="cf4", steps=2, gradient="discrete-adjoint")

    leaves = (w, 0.1 * w[0], TIMES)
    assert torch.autograd.gradcheck(end, [x.detach().clone().requires_grad_() for x in leaves], fast_mode=True)


@pytest.mark.parametrize("gradient", ["checkpoint", "discrete-adjoint", "continuous-adjoint"])
def test_single_precision_stays_single_and_finite_at_rest(gradient):
    field = resnet(torch.float32)
    y0 = torch.zeros(2, 3)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.zero_()
    for x, wanted in zip(
        derivatives(field, y0, gradient, steps=4, method="rk4"),
        derivatives(field, y0, "autograd", steps=4, method="rk4"),
        strict=True,
    ):
        assert x.dtype is wanted.dtype
        assert (x - wanted).abs().max() < 1e-5


# what is asked for -------------------------------------------------------------------------------------------------
MODES = ("checkpoint", "continuous-adjoint")  # the discrete adjoint is the first's, with other points kept


@pytest.mark.parametrize("gradient", MODES)
@pytest.mark.parametrize("wanted", ["y0", "t", "A"])
def test_any_subset_may_require_a_gradient(gradient, wanted):
    field, y0, t = resnet(), torch.randn(2, 3, dtype=F64, generator=rng(1)), TIMES.clone()
    for parameter in field.parameters():
        parameter.requires_grad_(False)
    leaf = {"y0": y0, "t": t, "A": field.A}[wanted].requires_grad_()
    results = []
    for mode in (gradient, "autograd"):
        loss = weighed(odeint(field, y0, t, method="rk4", steps=4, gradient=mode))
        results.append(torch.autograd.grad(loss, leaf)[0])
    assert_close(results[:1], results[1:], 1e-3)
    leaf.requires_grad_(False)
    assert not odeint(field, y0, t, method="rk4", gradient=gradient).requires_grad
    with torch.no_grad():
        leaf.requires_grad_()
        assert not odeint(field, y0, t, method="rk4", gradient=gradient).requires_grad


@pytest.mark.parametrize("gradient", MODES)
def test_tuples_and_parameters_without_use(gradient):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.used = nn.Parameter(torch.tensor(0.7, dtype=F64))
            self.unused = nn.Parameter(torch.tensor(0.7, dtype=F64))

        def forward(self, t, y):
            a, b = y
            return self.used * b.mean() * a, -b

    field = Pair()
    y0 = torch.ones(2, 3, dtype=F64), torch.ones(2, dtype=F64)
    a, _ = odeint(field, y0, TIMES, method="rk4", steps=5, gradient=gradient)
    a[-1].sum().backward()
    grown = 1 - math.exp(-1)  # the integral of b
    assert field.used.grad.item() == pytest.approx(6 * grown * math.exp(0.7 * grown), rel=1e-4)
    assert field.unused.grad is None


# leaves that fields hold ---------------------------------------------------------------------------------------------
w_global = torch.full((2, 2), 0.3, dtype=F64, requires_grad=True)


def _global_field(t, y):
    return (lambda z: torch.tanh(z @ w_global))(y)


class Holder:
    def __init__(self, w):
        self.inner = {"maps": [w]}

    def __call__(self, t, y):
        return torch.tanh(y @ self.inner["maps"][0])

    def method(self, t, y):
        return self(t, y)


def _with(w, t, y):
    return torch.tanh(y @ w)


HELD = {
    "closure": lambda w: lambda t, y: torch.tanh(y @ w),
    "attribute": Holder,
    "bound method": lambda w: Holder(w).method,
    "partial": lambda w: functools.partial(_with, w),
    "default": lambda w: lambda t, y, weight=w: torch.tanh(y @ weight),
    "derived": lambda w: (lambda u: lambda t, y: torch.tanh(y @ u))((2 * w).sin()),
    "both": lambda w: (lambda u: lambda t, y: torch.tanh(y @ u + y @ w))((2 * w).sin()),
    "view": lambda w: (lambda u: lambda t, y: torch.tanh(y @ u))(w.mT),
}


@pytest.mark.parametrize("gradient", MODES)
@pytest.mark.parametrize("name", HELD)
def test_leaves_are_found_wherever_a_field_holds_them(name, gradient):
    w = torch.randn(2, 2, dtype=F64, generator=rng(4), requires_grad=True)
    field, y0 = HELD[name](w), torch.ones(2, dtype=F64)
    results = []
    for mode in (gradient, "autograd"):
        end = odeint(field, y0, TIMES, method="rk4", steps=5, gradient=mode)[-1]
        results.append(torch.autograd.grad(end.square().sum(), w, retain_graph=True)[0])
    assert_close(results[:1], results[1:], 1e-3 if gradient == "continuous-adjoint" else 1e-14)


def test_globals_are_found_and_every_leaf_once():
    (found,) = captured_leaves(_global_field).leaves
    assert found is w_global
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module.register_buffer("fixed", torch.ones(2))
    module[1].weight = module[0].weight
    captured = captured_leaves([module, lambda: module])
    assert not captured.derived
    assert {id(x) for x in captured.leaves} == {id(p) for p in module.parameters()}
    assert len(captured.leaves) == 3


def test_lazy_parameters_are_made_first():
    field = ManifoldGradientFlow(SO3(), features=2, generator=rng())
    y0 = SO3().random(3, 3, generator=rng(1))
    Flow(field, "rkmk4", steps=2, gradient="discrete-adjoint")(y0).sum().backward()
    assert all(p.grad.isfinite().all() for p in field.parameters())


# memory ------------------------------------------------------------------------------------------------------------
def saved_bytes(run):
    """Bytes of the different memories that a graph keeps."""
    kept = {}

    def pack(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes(), x
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        run()
    return sum(size for size, _ in kept.values())


def test_points_are_kept_and_not_stages():
    """Bytes a step: of the discrete adjoint one point, of checkpoints less, the fewer the more steps."""
    field, y0 = resnet(), torch.randn(100, 3, dtype=F64, generator=rng())

    def a_step(gradient, steps):
        saved = saved_bytes(lambda: Flow(field, "rk4", steps=steps, gradient=gradient)(y0))
        return (saved - saved_bytes(lambda: Flow(field, "rk4", steps=1, gradient=gradient)(y0))) / (steps - 1)

    point = 8 * y0.numel()
    assert a_step("autograd", 16) > 5 * point
    assert a_step("discrete-adjoint", 16) == point
    assert a_step("checkpoint", 16) < 0.5 * point
    assert a_step("checkpoint", 128) < 0.14 * point


@lru_cache(None)
def fewest_steps(count, points):
    """Steps to take so that ``count`` of them can be reversed with ``points`` kept, by trying every first place."""
    if points == 1 or count == 1:
        return count * (count - 1) // 2
    return min(k + fewest_steps(count - k, points - 1) + fewest_steps(k, points) for k in range(1, count))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20, 41])
def test_binomial_checkpoints_take_as_few_steps_as_can_be(count):
    for slots in range(8):
        taken = [0] * count

        def step(k, point, taken=taken):
            assert k == point
            taken[k] += 1
            return point + 1

        places = binomial_checkpoint.kept_on_the_way(count, slots) if count > 1 else []
        assert len(places) <= slots + 1
        known = {place: place for place in (0, *places)}
        order = list(binomial_checkpoint.backwards(count, slots, known, step))
        assert order == [(k, k) for k in reversed(range(count))]
        assert sum(taken) + count - 1 == fewest_steps(count, slots + 1)  # the first run takes count - 1
        if slots >= binomial_checkpoint.fewest_slots(count):
            assert max(taken) <= 1


def test_about_the_root_of_the_steps_is_kept():
    for count in (10, 100, 1000, 10_000):
        assert binomial_checkpoint.fewest_slots(count) <= math.sqrt(2 * count)


# flows ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("gradient", MODES)
@pytest.mark.parametrize("options", [{}, {"trajectory": True}, {"step_sizes": "positive"}, {"t1": -0.5}], ids=str)
def test_flows_have_the_gradients(gradient, options):
    y0, results = torch.randn(2, 3, dtype=F64, generator=rng(1)), []
    for mode in (gradient, "autograd"):
        flow = Flow(resnet(), "rk4", steps=5, gradient=mode, **options).double()
        start = y0.clone().requires_grad_()
        points = flow(start)
        results.append((points.detach(), *torch.autograd.grad(weighed(points), [start, *flow.parameters()])))
    assert_close(*results, 1e-3 if gradient == "continuous-adjoint" else 1e-13)


@pytest.mark.parametrize("gradient", ["checkpoint", "discrete-adjoint"])
def test_inverses_have_the_gradients(gradient):
    y1, results = torch.randn(2, 3, dtype=F64, generator=rng(1)), []
    for mode in (gradient, "autograd"):
        flow = Flow(resnet(), "implicit-midpoint", steps=3, gradient=mode)
        results.append(torch.autograd.grad(weighed(flow.inverse(y1)), list(flow.parameters())))
    assert_close(*results, 1e-13)


# refusals ------------------------------------------------------------------------------------------------------------
Y0 = torch.ones(3, dtype=F64)
BAD = {
    "adaptive": ({"method": "dopri5"}, "gradient: 'discrete-adjoint' wants fixed steps"),
    "event": ({"step_size": 0.1, "event_fn": lambda t, y: t - 0.5}, "gradient: .*event_fn"),
    "slots": ({"slots": 3}, "slots: .*'discrete-adjoint'"),
    "negative slots": ({"slots": -1, "gradient": "checkpoint"}, "slots: .*-1"),
    "adaptive slots": ({"slots": 1, "gradient": "checkpoint", "method": "dopri5"}, "slots: wanted fixed"),
    "implicit": ({"method": "gauss4", "gradient": "continuous-adjoint"}, "gradient: .*'gauss4'"),
}


@pytest.mark.parametrize("name", BAD)
def test_unfit_gradients_are_refused(name):
    changes, message = BAD[name]
    with pytest.raises(InputError, match=message):
        odeint(resnet(), Y0, TIMES, **{"gradient": "discrete-adjoint", "method": "rk4", **changes})


def test_flows_refuse_adaptive_steps():
    with pytest.raises(InputError, match="wants fixed steps"):
        Flow(resnet(), "dopri5", steps="adaptive", gradient="discrete-adjoint")


@pytest.mark.parametrize("gradient", MODES)
def test_random_numbers_are_refused(gradient):
    field = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 3)).double()
    with pytest.raises(InputError, match="field: it drew random numbers"):
        odeint(lambda t, y: field(y), Y0, TIMES, method="rk4", gradient=gradient)
    field.eval()
    odeint(lambda t, y: field(y), Y0, TIMES, method="rk4", gradient=gradient)


@pytest.mark.parametrize("gradient", MODES)
def test_hooks_on_gradients_are_refused(gradient):
    field = resnet()
    handle = field.A.register_hook(lambda g: 2 * g)
    with pytest.raises(InputError, match="field: one of its tensors has hooks"):
        odeint(field, Y0, TIMES, method="rk4", gradient=gradient)
    handle.remove()
    odeint(field, Y0, TIMES, method="rk4", gradient=gradient)


@pytest.mark.parametrize("gradient", MODES)
def test_parameters_that_are_not_there_any_more_are_noticed(gradient):
    flow = Flow(resnet(), "rk4", steps=2, gradient=gradient)
    others = {name: p.detach().clone().requires_grad_() for name, p in flow.named_parameters()}
    end = torch.func.functional_call(flow, others, (Y0,))
    with pytest.raises(RuntimeError, match="not those of the forward pass"):
        end.sum().backward()


@pytest.mark.parametrize("gradient", MODES)
def test_gradients_are_taken_once(gradient):
    y0 = Y0.clone().requires_grad_()
    end = odeint(resnet(), y0, TIMES, method="rk4", gradient=gradient)[-1]
    (slope,) = torch.autograd.grad(end.square().sum(), y0, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("gradient", MODES)
def test_transforms_see_the_steps_of_autograd(gradient):
    flow = Flow(resnet(), "rk4", steps=2, gradient=gradient)
    plain = Flow(flow.field, "rk4", steps=2)
    assert torch.equal(torch.func.jacrev(flow)(Y0), torch.func.jacrev(plain)(Y0))


@pytest.mark.parametrize("gradient", MODES)
def test_autocasting_is_the_same_when_steps_are_taken_again(gradient):
    results = []
    for mode in (gradient, "autograd"):
        field, y0 = resnet(torch.float32), torch.ones(2, 3)
        with torch.autocast("cpu", torch.bfloat16):
            end = Flow(field, "rk4", steps=8, gradient=mode)(y0)
        results.append(torch.autograd.grad(end.float().sum(), list(field.parameters())))
    assert_close(*results, 0.02 if gradient == "continuous-adjoint" else 1e-6)


def test_fields_may_differentiate_by_their_argument():
    def field(t, y):
        return torch.autograd.grad(torch.cosh(y).log().sum(), y, create_graph=True)[0]

    results = []
    for mode in ("discrete-adjoint", "autograd"):
        y0 = Y0.clone().requires_grad_()
        end = odeint(field, y0, TIMES, space=Euclidean(1), method="rk4", gradient=mode)[-1]
        results.append(torch.autograd.grad(end.sum(), y0))
    assert_close(*results, 1e-15)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("gradient", MODES)
def test_gradients_on_cuda(gradient):
    results = []
    for mode, device in ((gradient, "cuda"), (gradient, "cpu")):
        flow = Flow(resnet(), "rk4", steps=4, gradient=mode).to(device)
        flow(torch.ones(2, 3, dtype=F64, device=device)).sum().backward()
        results.append([p.grad.cpu() for p in flow.parameters()])
    assert_close(*results, 1e-12)
