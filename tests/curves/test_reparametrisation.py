import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.interpolate import interp1d
from scipy.optimize import brentq, minimize, rosen
from scipy.spatial.transform import Rotation

from manifoldnet.curves import align, elastic_distance, smooth_alignment, srvt
from manifoldnet.curves.quasi_newton import lbfgs
from manifoldnet.curves.reparametrisation import SineReparametrisation, SoftmaxReparametrisation
from manifoldnet.curves.smooth_alignment import reparametrisation_energy, reparametrise
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3

KINDS = {
    "sine": lambda batch=(): SineReparametrisation(4, 5, batch),
    "softmax": lambda batch=(): SoftmaxReparametrisation(9, batch),
}


def generator(seed):
    return torch.Generator().manual_seed(seed)


def random_model(kind, scale=1.0, batch=(), seed=0, dtype=torch.float64):
    model = KINDS[kind](batch).to(dtype)
    model.free.data = scale * torch.randn(model.free.shape, generator=generator(seed), dtype=dtype)
    return model


def points(count=401, dtype=torch.float64):
    return torch.linspace(0, 1, count, dtype=dtype)


def random_transforms(batch, n, dim=3, seed=0, dtype=torch.float64):
    return torch.randn(*batch, n, dim, generator=generator(seed), dtype=dtype)


def rotations(t, seed=0, turns=1):
    """Transform of a smooth curve of rotations at the times t."""
    rng = np.random.default_rng(seed)
    amplitude, frequency, phase = (rng.uniform(0.5, 2.5, 3) for _ in range(3))
    vectors = amplitude * np.sin(3 * turns * frequency * np.asarray(t)[:, None] + phase) / turns**0.5
    return srvt(torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix()), SO3())


def speed(t):
    return t + 0.11 * np.sin(2 * np.pi * t) + 0.03 * np.sin(4 * np.pi * t)


def late(t):
    return np.expm1(2.5 * t) / np.expm1(2.5)


def same_shapes(n, seeds, turns=1, speed=speed):
    """Curves at another speed, and the curves: q0 = sqrt(speed') q1 o speed."""
    t = np.linspace(0, 1, n + 1)
    fast = [rotations(speed(t), seed, turns) for seed in seeds]
    return torch.stack(fast), torch.stack([rotations(t, seed, turns) for seed in seeds])


def sines(w, x):
    """The formula of the network as it stands, in numpy."""
    n = np.arange(1, w.shape[1] + 1)
    for row in w:
        x = x + (row * np.sin(np.pi * n * x[:, None]) / (n * np.pi)).sum(1)
    return x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e15])
@pytest.mark.parametrize("sizes", [(20, 20), (2, 30), (1, 30)])
def test_sines_increase_for_all_parameters(dtype, scale, sizes):
    model = SineReparametrisation(*sizes, batch=(10,)).to(dtype)
    noise = torch.randn(model.free.shape, generator=generator(0), dtype=dtype)
    aligned = torch.ones(model.free.shape, dtype=dtype) * (-1) ** torch.arange(10)[:, None, None]
    # each sine alone, up and down: where sin(n pi) is rounded worst, it would show at the end
    single = torch.cat([torch.eye(sizes[1], dtype=dtype), -torch.eye(sizes[1], dtype=dtype)])
    for free in (noise, aligned, single[:, None].expand(-1, sizes[0], -1)):
        model.free.data = scale * free
        phi, slope = model(points(dtype=dtype))
        assert slope.min() >= 1e-3 * (1 - 1e-3)
        assert bool((phi.diff(dim=-1) > 0).all())
        assert bool((phi[:, 0] == 0).all())
        assert bool((phi[:, -1] == 1).all())
        assert model.weights.abs().sum(-1).max() <= 1 - 1e-3 ** (1 / sizes[0]) + 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e15])
def test_polygons_increase_for_all_parameters(dtype, scale):
    model = SoftmaxReparametrisation(400, (40,)).to(dtype)
    model.free.data = scale * torch.randn(40, 400, generator=generator(0), dtype=dtype)
    phi, slope = model(points(dtype=dtype))
    assert slope.min() > 0.9e-3
    for values in (phi, model.samples):
        assert bool((values.diff(dim=-1) > 0).all())
        assert bool((values[:, 0] == 0).all())
        assert bool((values[:, -1] == 1).all())


@pytest.mark.parametrize("kind", KINDS)
def test_starts_as_the_identity(kind):
    phi, slope = KINDS[kind]().double()(points())
    assert torch.allclose(phi, points(), rtol=0, atol=1e-15)
    assert torch.allclose(slope, torch.ones_like(slope), rtol=1e-13)


def test_sines_are_their_formula():
    model = random_model("sine", 10.0)
    phi = model(points())[0]
    np.testing.assert_allclose(phi.detach(), sines(model.weights.detach().numpy(), points().numpy()), atol=1e-14)
    assert torch.equal(phi, model.value(points()))
    outside = torch.cat([-points(), points() + 2])
    assert torch.allclose(model.value(outside), torch.cat([-phi, phi + 2]), rtol=0, atol=1e-13)


def test_polygons_are_linear_interpolation():
    model = random_model("softmax")
    x, nodes = points(57), np.linspace(0, 1, 10)
    samples = model.samples.detach().numpy()
    np.testing.assert_allclose(model.value(x).detach(), np.interp(x, nodes, samples), atol=1e-15)
    np.testing.assert_allclose(model.inverse(x).detach(), np.interp(x, samples, nodes), atol=1e-14)
    again = SoftmaxReparametrisation.through(model.samples)
    assert torch.allclose(again.samples, model.samples, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_slope_is_the_derivative(kind):
    model = random_model(kind, 3.0)
    x = points(101)[1:-1].clone().requires_grad_()
    phi, slope = model(x)
    (wanted,) = torch.autograd.grad(phi.sum(), x)
    assert torch.allclose(slope, wanted, rtol=1e-12)
    difference = (model.value(x + 1e-6) - model.value(x - 1e-6)) / 2e-6
    assert torch.allclose(slope, difference, rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_of_map_and_inverse(kind):
    # 0.5 is where the sines change their form
    x = torch.tensor([0.0, 0.13, 0.5, 0.77, 1.0], dtype=torch.float64, requires_grad=True)
    inner = torch.tensor([0.13, 0.52, 0.77], dtype=torch.float64, requires_grad=True)
    model = SineReparametrisation(2, 3).double() if kind == "sine" else SoftmaxReparametrisation(5).double()
    model.free.data = torch.randn(model.free.shape, generator=generator(1), dtype=torch.float64)

    def of_parameters(method):
        return lambda free, x: torch.func.functional_call(Method(model, method), {"model.free": free}, (x,))

    free = model.free.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(of_parameters("forward"), (free, x if kind == "sine" else inner))
    assert torch.autograd.gradcheck(of_parameters("inverse"), (free, inner))


class Method(torch.nn.Module):
    def __init__(self, model, name):
        super().__init__()
        self.model, self.name = model, name

    def forward(self, x):
        return getattr(self.model, self.name)(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(10, 5), (5, 5), (1, 1), (1, 20)])
def test_inverse_of_sines(dtype, sizes):
    model = SineReparametrisation(*sizes, batch=(20,)).to(dtype)
    sparse = torch.rand(model.free.shape, generator=generator(1)) < 0.3
    model.free.data = (100 * torch.randn(model.free.shape, generator=generator(0)) * sparse).to(dtype)
    # sines alone bring the slopes to their bounds, where Newton's method runs away
    model.free.data[10:] = 1e4 * torch.eye(sizes[1], dtype=dtype)[torch.arange(10) % sizes[1], None]
    x = points(401, dtype)
    y, slope = model(x)
    back = model.inverse(y)
    eps = torch.finfo(dtype).eps
    # rounding of phi is divided by its slope, and by that of each layer on the way
    assert bool(((back - x).abs() * slope <= 200 * eps).all())
    assert bool((back[:, 0] == 0).all())
    assert torch.allclose(model.value(model.inverse(x)), x, rtol=0, atol=1000 * eps)


def test_inverse_against_a_root_finder():
    model = random_model("sine", 5.0)
    w = model.weights.detach().numpy()
    for y in (0.1, 0.4, 0.5, 0.93):
        root = brentq(lambda x, y=y: sines(w, np.array([x]))[0] - y, 0, 1, xtol=1e-15)
        assert model.inverse(torch.tensor([y], dtype=torch.float64)).item() == pytest.approx(root, abs=1e-13)


def test_layers_of_two_networks_compose():
    inner, outer = random_model("sine", 2.0, seed=1), random_model("sine", 2.0, seed=2)
    # the same bound in every layer
    both = SineReparametrisation(8, 5, min_slope=1e-6).double()
    both.free.data = torch.cat([inner.free.data, outer.free.data])
    phi, slope = both(points())
    (_, first), (z, second) = inner(points()), outer(inner.value(points()))
    assert torch.allclose(phi, z, rtol=1e-14)
    assert torch.allclose(slope, first * second, rtol=1e-13)
    assert torch.allclose(both.inverse(z), points(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_maps_is_each_alone(kind):
    model = random_model(kind, batch=(3, 2))
    x = torch.rand(2, 7, generator=generator(0), dtype=torch.float64)
    for method in (lambda m, x: m(x)[0], lambda m, x: m(x)[1], lambda m, x: m.inverse(x)):
        together = method(model, x)
        assert together.shape == (3, 2, 7)
        alone = KINDS[kind]().double()
        alone.free.data = model.free.data[1, 0]
        assert torch.allclose(method(alone, x[0]), together[1, 0], rtol=1e-13)


# without the type checks of the tests, which do not compile
COMPILED = """
import torch
from manifoldnet.curves.reparametrisation import SineReparametrisation, SoftmaxReparametrisation
from manifoldnet.curves.smooth_alignment import reparametrisation_energy
x = torch.linspace(0, 1, 9, dtype=torch.float64)
q = torch.randn(2, 2, 8, 3, dtype=torch.float64)
for model in (SineReparametrisation(2, 3, (2,), 0.1), SoftmaxReparametrisation(8, (2,))):
    model.double().free.data.normal_()
    def everything(x):
        return *model(x), model.inverse(x), reparametrisation_energy(*q, model.value(x))
    results = []
    for f in (everything, torch.compile(everything, fullgraph=True, backend="aot_eager")):
        values = f(x)
        total = sum(v.sin().sum() for v in values)
        results.append((*values, *torch.autograd.grad(total, model.free)))
    print(max((a - b).abs().max().item() for a, b in zip(*results)))
"""


@pytest.mark.slow
def test_compiles_to_one_graph():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert max(float(line) for line in run.stdout.split()) < 1e-12


def interpolated_energy(q0, q1, phi):
    """The integral, with scipy's interpolation."""
    n, m = len(q0), len(q1)
    v = q1 * np.linalg.norm(q1, axis=1, keepdims=True) * m
    v = interp1d((np.arange(m) + 0.5) / m, v, axis=0, fill_value="extrapolate")((phi[1:] + phi[:-1]) / 2)
    density = v / np.sqrt(np.linalg.norm(v, axis=1, keepdims=True))
    difference = np.sqrt(n) * q0 - np.sqrt(n * np.diff(phi))[:, None] * density
    return (difference**2).sum() / n


@pytest.mark.parametrize(("n", "m"), [(12, 12), (12, 7), (5, 9)])
def test_energy_is_its_formula(n, m):
    q0, q1 = random_transforms((4,), n, seed=1), random_transforms((4,), m, seed=2)
    phi = SoftmaxReparametrisation(n, (4,)).double()
    phi.free.data = random_transforms((), 4, n)
    samples = phi.samples.detach()
    wanted = [interpolated_energy(*(x.numpy() for x in pair)) for pair in zip(q0, q1, samples, strict=True)]
    np.testing.assert_allclose(reparametrisation_energy(q0, q1, samples), wanted, rtol=1e-12)


def test_energy_of_the_identity_is_the_plain_distance():
    q0, q1 = random_transforms((4,), 25, seed=1), random_transforms((4,), 25, seed=2)
    plain = (q0 - q1).square().sum((1, 2))
    assert torch.allclose(reparametrisation_energy(q0, q1, points(26)), plain, rtol=1e-12)


def test_gradcheck_of_the_energy():
    q0, q1 = (random_transforms((2,), n, seed=n).requires_grad_() for n in (6, 5))
    model = SoftmaxReparametrisation(6, (2,)).double()
    model.free.data = random_transforms((), 2, 6)
    assert torch.autograd.gradcheck(reparametrisation_energy, (q0, q1, model.samples.detach().requires_grad_()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("network", [None, (3, 3)])
def test_curves_at_rest(dtype, network):
    q0, q1 = random_transforms((3,), 12, seed=1, dtype=dtype), random_transforms((3,), 12, seed=2, dtype=dtype)
    q0[0], q1[1], q1[2, 3:7] = 0, 0, 0
    q0.requires_grad_()
    q1.requires_grad_()
    result = reparametrise(q0, q1, network=network, iterations=20)
    grads = torch.autograd.grad(result.distance.sum(), (q0, q1))
    assert all(bool(x.isfinite().all()) for x in (*result[:3], *grads))
    assert result.distance[1].item() == pytest.approx(q0[1].norm().item(), rel=1e-5)
    still = torch.zeros(12, 3, dtype=dtype)
    assert reparametrise(still, still, network=network, iterations=3).distance == 0


@pytest.mark.parametrize("network", [None, (3, 4)])
@pytest.mark.parametrize("start", ["align", "identity", "random"])
def test_never_worse_than_the_start(network, start):
    q0, q1 = random_transforms((5,), 20, seed=1), random_transforms((5,), 16, seed=2)
    model = SoftmaxReparametrisation(20, (5,)).double()
    model.free.data = random_transforms((), 5, 20)
    samples = {"align": align(q0, q1, 4), "identity": points(21).expand(5, 21), "random": model.samples.detach()}
    given = {"align": "align", "identity": None, "random": samples["random"]}
    result = reparametrise(q0, q1, given[start], network, 30, slopes=4)
    begin = reparametrisation_energy(q0, q1, samples[start]).sqrt()
    assert bool((result.history[0] <= begin * (1 + 1e-12)).all())
    assert result.history.shape == (31, 5)
    assert bool((result.history.diff(dim=0) <= 0).all())
    assert bool((result.history[-1] < 0.99 * begin).any())
    assert torch.allclose(result.distance, result.history[-1], rtol=1e-12)
    wanted = [interpolated_energy(*(x.numpy() for x in pair)) ** 0.5 for pair in zip(q0, q1, result.phi, strict=True)]
    np.testing.assert_allclose(result.distance, wanted, rtol=1e-10)
    assert bool((result.phi.diff(dim=-1) > 0).all())
    kept = (result.phi == samples[start]).all(-1)
    assert not bool(kept.all())
    assert torch.allclose(result.model.value(points(21))[~kept], result.phi[~kept], rtol=1e-12)
    # with no evaluation nothing but the start, or the fit to it, is left
    none = reparametrise(q0, q1, given[start], network, 0, slopes=4)
    assert bool((none.distance <= begin * (1 + 1e-12)).all())


def test_a_start_that_the_network_cannot_meet_is_kept():
    q = rotations(np.linspace(0, 1, 31))
    kinked = torch.from_numpy(np.interp(np.linspace(0, 1, 31), [0, 0.4, 0.5, 1], [0, 0.1, 0.8, 1]))
    t = np.linspace(0, 1, 31)
    moved = reparametrisation_energy(q, q, kinked)
    result = reparametrise(q, q, kinked, (1, 1), 1)
    assert result.distance <= moved.sqrt()
    exact = reparametrise(rotations(t), rotations(t), points(31), (1, 1), 0)
    assert torch.equal(exact.phi, points(31))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("network", "gain"), [(None, 40), ((6, 8), 8)])
def test_the_same_shape_at_another_speed(network, gain, dtype):
    q0, q1 = (q.to(dtype) for q in same_shapes(100, (0, 2, 3)))
    result = reparametrise(q0, q1, network=network, iterations=60)
    # the truth itself is at 0 only up to the sampling
    true = torch.from_numpy(speed(np.linspace(0, 1, 101))).to(dtype)
    if network is None:
        assert bool((result.distance <= 1.01 * reparametrisation_energy(q0, q1, true).sqrt()).all())
    assert bool((result.distance < elastic_distance(q0, q1) / gain).all())
    error, before = ((phi - true).abs().amax() for phi in (result.phi, align(q0, q1)))
    assert error < min(before / 4, 2e-3)


def test_distance_falls_with_the_square_of_the_step():
    coarse, fine = (reparametrise(*same_shapes(n, (0, 2)), iterations=60).distance for n in (50, 100))
    assert bool((fine < 0.3 * coarse).all())


def test_dynamic_programming_avoids_local_minima():
    q0, q1 = same_shapes(100, (0, 1, 3), turns=4, speed=late)
    norm = q0.norm(dim=(1, 2))
    assert (reparametrise(q0, q1, None).distance / norm).median() > 0.3
    assert (reparametrise(q0, q1).distance / norm).max() < 0.03


@pytest.mark.parametrize("network", [None, (2, 3)])
def test_a_batch_gives_what_its_pairs_give(network, monkeypatch):
    q0, q1 = same_shapes(40, (0, 2, 3))
    q1 = q1[:, None] + 0.05 * random_transforms((2,), 40)
    together = reparametrise(q0[:, None], q1, network=network, iterations=8)
    assert together.distance.shape == (3, 2)
    assert together.model.free.shape[:2] == (3, 2)
    alone = reparametrise(q0[1], q1[1, 0], network=network, iterations=8)
    for got, wanted in zip(alone[:2], together[:2], strict=True):
        assert torch.allclose(got, wanted[1, 0], rtol=1e-6)
    monkeypatch.setattr(smooth_alignment, "BLOCK", 1)
    apart = reparametrise(q0[:, None], q1, network=network, iterations=8)
    for got, wanted in zip((*apart[:3], apart.model.free), (*together[:3], together.model.free), strict=True):
        assert torch.allclose(got, wanted, rtol=1e-6, atol=1e-6)


def test_gradient_is_that_of_the_minimum():
    t = np.linspace(0, 1, 13)
    q0, q1 = rotations(speed(t), 2), rotations(t, 2) + 0.3 * rotations(t, 4)
    change0, change1 = 1e-4 * rotations(t, 5), 1e-4 * rotations(t, 6)
    first = torch.stack([q0, q0 + change0, q0 - change0, q0, q0]).requires_grad_()
    second = torch.stack([q1, q1, q1, q1 + change1, q1 - change1]).requires_grad_()
    distance = reparametrise(first, second, None, iterations=60).distance
    grads = torch.autograd.grad(distance[0], (first, second))
    for grad, change, k in zip(grads, (change0, change1), (1, 3), strict=True):
        difference = (distance[k] - distance[k + 1]).item() / 2
        assert (grad[0] * change).sum().item() == pytest.approx(difference, rel=1e-6)


def test_lbfgs_against_scipy():
    starts = 2 * torch.rand(6, 5, generator=generator(0), dtype=torch.float64) - 1
    scales = torch.logspace(-3, 3, 6, dtype=torch.float64)

    def evaluate(x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            valley = (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1) * scales
            (gradient,) = torch.autograd.grad(valley.sum(), x)
        return valley.detach(), gradient

    last, values = lbfgs(evaluate, starts, 150)
    assert values.shape == (151, 6)
    assert bool((values.diff(dim=0) <= 0).all())
    for x, begin, value, scale in zip(last, starts, values[-1], scales, strict=True):
        wanted = minimize(rosen, begin.numpy(), method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9})
        np.testing.assert_allclose(x, wanted.x, atol=1e-4)
        assert value / scale < 1e-8
    alone, _ = lbfgs(lambda x: tuple(y[2:3] for y in evaluate(x.expand(6, 5))), starts[2:3], 20)
    assert torch.allclose(alone[0], lbfgs(evaluate, starts, 20)[0][2], rtol=1e-9)


Q = torch.zeros(5, 3)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("layers", lambda: SineReparametrisation(0)),
        ("terms", lambda: SineReparametrisation(1, 0)),
        ("min_slope", lambda: SineReparametrisation(1, 1, (), 1.0)),
        ("cells", lambda: SoftmaxReparametrisation(0)),
        ("min_slope", lambda: SoftmaxReparametrisation(3, (), 0.0)),
        ("phi", lambda: SoftmaxReparametrisation.through(torch.tensor([0.0, 0.5, 0.5, 1.0]))),
        ("phi", lambda: SoftmaxReparametrisation.through(torch.tensor([0.0]))),
        ("q0", lambda: reparametrise(Q[:0], Q)),
        ("q0", lambda: reparametrise(Q + torch.nan, Q)),
        ("q1", lambda: reparametrise(Q, Q[:, :2])),
        ("q1", lambda: reparametrise(Q, Q.double())),
        ("q1", lambda: reparametrise(Q.expand(2, 5, 3), Q.expand(3, 5, 3))),
        ("start", lambda: reparametrise(Q, Q, "dp")),
        ("start", lambda: reparametrise(Q, Q, torch.linspace(0, 1, 5))),
        ("start", lambda: reparametrise(Q, Q, torch.zeros(6))),
        ("start", lambda: reparametrise(Q, Q, torch.linspace(0, 1, 6).expand(2, 6))),
        ("slopes", lambda: reparametrise(Q, Q, slopes=0)),
        ("layers", lambda: reparametrise(Q, Q, network=(0, 3))),
        ("iterations", lambda: reparametrise(Q, Q, iterations=-1)),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: ") as error:
        call()
    assert "\n" not in str(error.value)
