import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from manifoldnet.curves.srvt import increments_of_srvt, inverse_srvt, srvt, srvt_of_increments, unit_length
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SE3, SO, SO3, Circle, Euclidean, Power, Product

GROUPS = {
    "SO3": SO3(),
    "SE3": SE3(),
    "SO4": SO(4),
    "Circle": Circle(),
    "Euclidean": Euclidean(1, shape=(4,)),
    "Power": Power(SO3(), 3),
    "Torus": Power(Circle(), 5),
    "Product": Product([SO3(), Euclidean(1, shape=(3,)), Power(Circle(), 2)]),
}
HAVE_FACTORS = ["Power", "Torus", "Product"]


def norms(name):
    return ["joint", "perfactor"] if name in HAVE_FACTORS else ["joint"]


def random_curve(group, samples, batch=(), seed=0, dtype=torch.float64):
    """A curve whose neighbours are well within the cut locus."""
    generator = torch.Generator().manual_seed(seed)
    steps = 0.4 * torch.randn(*batch, samples - 1, group.dim, generator=generator, dtype=dtype)
    points = [group.exp(0.4 * torch.randn(*batch, group.dim, generator=generator, dtype=dtype))]
    for v in steps.unbind(-2):
        points.append(group.compose(points[-1], group.exp(v)))
    return torch.stack(points, len(batch))


def rotations(t, seed=0):
    """A smooth curve of rotations at the times t, shape (len(t), 3, 3)."""
    rng = np.random.default_rng(seed)
    amplitude, frequency, phase = (rng.uniform(0.3, 2.5, 3) for _ in range(3))
    t = np.asarray(t)[:, None]
    return torch.from_numpy(Rotation.from_rotvec(amplitude * np.sin(frequency * 3 * t + phase)).as_matrix())


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("dt", [None, 0.02, "cells"])
def test_inverse_gives_the_curve_back(name, side, dt):
    group = GROUPS[name]
    curve = random_curve(group, 37, batch=(2,))
    if dt == "cells":
        dt = torch.linspace(0.1, 0.5, 36, dtype=torch.float64)
    axis = -(group.ndim + 1)
    weights = torch.linspace(0.2, 3.0, group.dim, dtype=torch.float64)
    for norm, w in [(norm, w) for norm in norms(name) for w in (None, weights)]:
        q = srvt(curve, group, side, norm, dt, weights=w)
        assert q.shape == (2, 36, group.dim)
        back = inverse_srvt(q, group, curve.select(axis, 0), dt, side, norm, w)
        # on the circle -pi and pi are one point
        gap = group.log(group.compose(group.inverse(back), curve))
        assert gap.abs().max() < 1e-12


@pytest.mark.parametrize("side", ["left", "right"])
def test_values_against_scipy(side):
    curve = rotations(np.linspace(0, 1, 30))
    start, end = (Rotation.from_matrix(c.numpy()) for c in (curve[:-1], curve[1:]))
    v = (start.inv() * end if side == "left" else end * start.inv()).as_rotvec()
    wanted = v / np.sqrt(np.linalg.norm(v, axis=1, keepdims=True))
    np.testing.assert_allclose(srvt(curve, SO3(), side).numpy(), wanted, rtol=0, atol=1e-12)
    # as a density on cells of length dt; the squared norm integrates to the length of the curve
    density = srvt(curve, SO3(), side, dt=0.25).numpy()
    np.testing.assert_allclose(density, wanted * 2, rtol=0, atol=1e-12)
    length = Rotation.magnitude(start.inv() * end).sum()
    np.testing.assert_allclose([(wanted**2).sum(), (0.25 * density**2).sum()], length, rtol=1e-12)


def test_norms_on_a_power():
    group = Power(SO3(), 2)
    one, two = rotations(np.linspace(0, 1, 20), 1), rotations(np.linspace(0, 1, 20), 2)
    curve = torch.stack([one, two], 1)
    alone = torch.cat([srvt(one, SO3()), srvt(two, SO3())], -1)
    assert torch.allclose(srvt(curve, group, norm="perfactor"), alone, rtol=0, atol=1e-14)
    joint = srvt(curve, group, norm="joint")
    v = torch.cat([q * q.norm(dim=-1, keepdim=True) for q in alone.split(3, -1)], -1)
    assert torch.allclose(joint, v / v.norm(dim=-1, keepdim=True).sqrt(), rtol=0, atol=1e-13)


def test_norms_on_a_product_of_different_groups():
    group = GROUPS["Product"]
    curve = random_curve(group, 15)
    parts = [srvt(c, factor) for c, factor in zip(group.split(curve), group.spaces, strict=True)]
    q = srvt(curve, group, norm="perfactor")
    assert torch.allclose(q, torch.cat(parts, -1), rtol=0, atol=1e-14)
    # squared distances are sums over the factors
    other = random_curve(group, 15, seed=1)
    others = [srvt(c, factor) for c, factor in zip(group.split(other), group.spaces, strict=True)]
    total = sum((p - o).square().sum() for p, o in zip(parts, others, strict=True))
    assert torch.allclose((q - srvt(other, group, norm="perfactor")).square().sum(), total, rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", ["SO3", "SE3", "Power", "Product"])
def test_invariance_on_the_named_side_only(name):
    group = GROUPS[name]
    curve = random_curve(group, 12)
    g = random_curve(group, 2, seed=5)[-1:]
    from_left, from_right = group.compose(g, curve), group.compose(curve, g)
    for side, same, other in [("left", from_left, from_right), ("right", from_right, from_left)]:
        q = srvt(curve, group, side)
        assert (srvt(same, group, side) - q).abs().max() < 1e-12
        assert (srvt(other, group, side) - q).abs().max() > 1e-2


def test_multiplication_from_the_other_side_is_a_rotation_of_q():
    """c -> g c h turns the left q by Ad(h^-1) on SO(3), the same isometry for all curves, and changes no speed.

    d_P is bi-invariant for fixed g and h. It is not for factors that move with time, nor is left d_P right d_P.
    """
    group = SO3()
    x, y = random_curve(group, 30, seed=1), random_curve(group, 30, seed=2)
    g, h = group.random(2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for side, turn in [("left", h.mT), ("right", g)]:
        q, r = srvt(x, group, side), srvt(y, group, side)
        moved, other = srvt(g @ x @ h, group, side), srvt(g @ y @ h, group, side)
        assert (moved - q @ turn.mT).abs().max() < 1e-13
        assert (moved.norm(dim=-1) - q.norm(dim=-1)).abs().max() < 1e-13
        assert abs((moved - other).norm() - (q - r).norm()) < 1e-12
    left, right = srvt(x, group), srvt(x, group, "right")
    assert (left.norm(dim=-1) - right.norm(dim=-1)).abs().max() < 1e-13
    assert abs((left - srvt(y, group)).norm() - (right - srvt(y, group, "right")).norm()) > 1e-2


def test_increments_of_a_gyroscope():
    rng = np.random.default_rng(3)
    w, dt = rng.normal(0, 20, (25, 3)), 0.02
    attitude = [Rotation.from_rotvec(rng.normal(size=3))]
    for rate in w:
        attitude.append(attitude[-1] * Rotation.from_rotvec(dt * rate))
    curve = torch.from_numpy(np.stack([r.as_matrix() for r in attitude]))
    v = torch.from_numpy(dt * w)
    assert torch.allclose(srvt_of_increments(v), srvt(curve, SO3()), rtol=0, atol=1e-12)
    assert torch.allclose(srvt_of_increments(v, dt), srvt(curve, SO3(), dt=dt), rtol=0, atol=1e-12)


def test_reparametrising_both_curves_changes_their_distance_at_second_order():
    def phi(t):
        return t + 0.12 * np.sin(2 * np.pi * t)

    def distance(time):
        q0, q1 = srvt(rotations(time, 1), SO3()), srvt(rotations(time, 2), SO3())
        return (q0 - q1).square().sum().sqrt().item()

    defects = []
    for cells in (100, 200, 400, 800):
        t = np.linspace(0, 1, cells + 1)
        defects.append(abs(distance(phi(t)) - distance(t)))
    assert defects[0] < 1e-3
    orders = np.log2(np.array(defects[:-1]) / defects[1:])
    assert np.all(np.abs(orders - 2) < 0.1), (defects, orders)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", GROUPS)
def test_a_pause_gives_zero_and_a_gradient_of_zero(name, dtype):
    group = GROUPS[name]
    moving = random_curve(group, 6, dtype=dtype)
    curve = torch.cat([moving[:3], moving[2:3], moving[2:3], moving[2:3], moving[3:]]).requires_grad_()
    for side, norm in [(side, norm) for side in ("left", "right") for norm in norms(name)]:
        q = srvt(curve, group, side, norm)
        assert bool((q[2:5] == 0).all())
        assert bool((q[[0, 1, 5, 6]].norm(dim=-1) > 0.1).all())
        (grad,) = torch.autograd.grad(q.sum(), curve)
        assert bool(grad.isfinite().all())
        assert bool((grad[3:4] == 0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["SO3", "SE3", "SO4", "Circle", "Power"])
def test_half_turns_are_finite(name, dtype):
    group = GROUPS[name]
    one = {"SE3": [0, 0, 1, 0.3, 0, 0], "SO4": [1, 0, 0, 0, 0, 0], "Circle": [1], "Power": [0, 0.6, 0.8] * 3}
    v = torch.tensor(one.get(name, [0.6, 0.0, 0.8]), dtype=dtype)
    steps = [math.pi - 1e-6, math.pi - 1e-3, math.pi, -math.pi]
    axis = -(group.ndim + 1)
    curve = torch.cat([torch.stack([group.exp(0.0 * v), group.exp(a * v)]).unsqueeze(0) for a in steps])
    curve.requires_grad_()
    for side in ("left", "right"):
        q = srvt(curve, group, side)
        (grad,) = torch.autograd.grad(q.square().sum(), curve)
        assert bool(q.isfinite().all())
        assert bool(grad.isfinite().all())
        back = inverse_srvt(q.detach(), group, curve.detach().select(axis, 0), side=side)
        gap = group.log(group.compose(group.inverse(back), curve.detach()))
        assert gap.abs().max() < 1e4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", GROUPS)
def test_float32_agrees_with_float64(name):
    group = GROUPS[name]
    curve = random_curve(group, 40)
    q, exact = srvt(curve.float(), group), srvt(curve, group)
    assert q.dtype == torch.float32
    assert (q - exact).abs().max() < 2e-5
    back = inverse_srvt(exact.float(), group, curve.select(-(group.ndim + 1), 0).float())
    gap = group.log(group.compose(group.inverse(back), curve.float()))
    assert gap.abs().max() < 1e-4


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("padding", ["nan", "noise"])
def test_padded_samples_change_nothing(name, padding):
    group = GROUPS[name]
    lengths = [9, 4, 2, 1, 0]
    full = random_curve(group, 9, batch=(5,))
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    present = mask[(...,) + (None,) * group.ndim]
    curve = torch.where(present, full, math.nan if padding == "nan" else 17.0).requires_grad_()
    dt = torch.where(mask[:, 1:], 0.5, math.nan).double()
    for side, norm in [(side, norm) for side in ("left", "right") for norm in norms(name)]:
        q = srvt(curve, group, side, norm, dt, mask)
        (grad,) = torch.autograd.grad(q.sum() + q.square().sum(), curve)
        assert bool((grad[~mask] == 0).all())
        assert bool((q[~mask[:, 1:]] == 0).all())
        for k, n in enumerate(lengths):
            if n < 2:
                assert bool((grad[k] == 0).all())
                continue
            alone = full[k, :n].clone().requires_grad_()
            wanted = srvt(alone, group, side, norm, 0.5)
            assert torch.allclose(q[k, : n - 1], wanted, rtol=0, atol=1e-14)
            (expected,) = torch.autograd.grad(wanted.sum() + wanted.square().sum(), alone)
            assert torch.allclose(grad[k, :n], expected, rtol=1e-12, atol=1e-13)
            back = inverse_srvt(q[k], group, alone[0], 0.5, side, norm)
            stay = group.compose(group.inverse(back[n - 1 : n]), back[n - 1 :])
            assert group.log(stay).abs().max() < 1e-14


def test_one_mask_for_a_batch_and_many_masks_for_a_curve():
    curve = random_curve(SO3(), 6, batch=(3,))
    mask = torch.arange(6) < torch.tensor([[6], [3], [4]])
    q = srvt(curve, SO3(), mask=mask)
    for k in range(3):
        assert torch.equal(srvt(curve, SO3(), mask=mask[k])[k], q[k])
        assert torch.equal(srvt(curve[k], SO3(), mask=mask)[k], q[k])


@pytest.mark.parametrize("name", GROUPS)
def test_weights_scale_the_inner_product(name):
    group = GROUPS[name]
    x, y = random_curve(group, 12, seed=1), random_curve(group, 12, seed=2)
    w = torch.linspace(0.5, 4.0, group.dim, dtype=torch.float64)
    u, v = (increments_of_srvt(srvt(c, group)) for c in (x, y))
    speed, other = ((w * e.square()).sum(-1).sqrt() for e in (u, v))
    product = ((w * u * v).sum(-1) / (speed * other).sqrt()).sum()
    q, r = srvt(x, group, weights=w), srvt(y, group, weights=w)
    assert torch.allclose(q.square().sum(), speed.sum(), rtol=1e-13, atol=0)
    assert torch.allclose((q * r).sum(), product, rtol=1e-12, atol=1e-12)
    assert torch.equal(srvt_of_increments(u, weights=w), srvt_of_increments(u * w.sqrt()))
    # equal weights only change the unit
    same = srvt(x, group, weights=torch.full((1,), 9.0).double().expand(len(w)))
    assert torch.allclose(same, math.sqrt(3) * srvt(x, group), rtol=0, atol=1e-13)


def test_weights_of_factors_are_those_of_their_coordinates():
    group = GROUPS["Product"]
    curve = random_curve(group, 12)
    short, long = torch.tensor([1.0, 0.3, 7.0]).double(), torch.tensor([1.0] * 3 + [0.3] * 3 + [7.0] * 2).double()
    for norm in ("joint", "perfactor"):
        q = srvt(curve, group, norm=norm, weights=short)
        assert torch.equal(q, srvt(curve, group, norm=norm, weights=long))
    v = increments_of_srvt(q, factors=(3, 3, 2), weights=short)
    assert torch.allclose(srvt_of_increments(v, None, (3, 3, 2), short), q, rtol=0, atol=1e-14)
    whole = srvt(random_curve(SO3(), 5), SO3(), weights=torch.tensor([4.0]).double())
    assert torch.allclose(whole, math.sqrt(2) * srvt(random_curve(SO3(), 5), SO3()), rtol=0, atol=1e-14)


def test_gradient_of_weights():
    v = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    w = torch.rand(6, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.3
    w.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: srvt_of_increments(v, 0.3, (1, 5), w), w)
    assert torch.autograd.gradcheck(lambda w: increments_of_srvt(v, 0.3, 2, w), w)
    paused = torch.cat([v, torch.zeros(2, 1, 6)], 1)
    (grad,) = torch.autograd.grad(srvt_of_increments(paused, weights=w).sum(), w)
    assert bool(grad.isfinite().all())


@pytest.mark.parametrize("dt", [None, 0.1, "cells"])
def test_unit_length(dt):
    q = torch.randn(3, 8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    dt = torch.linspace(0.1, 0.8, 8, dtype=torch.float64) if dt == "cells" else dt
    unit = unit_length(q, dt)
    width = 1.0 if dt is None else torch.as_tensor(dt, dtype=q.dtype)[..., None]
    assert torch.allclose((width * unit.square()).sum((-2, -1)), torch.ones(3).double(), rtol=0, atol=1e-14)
    assert torch.allclose(unit_length(7.0 * q, dt), unit, rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(lambda q: unit_length(q, dt), q.requires_grad_())


def test_unit_length_forgets_the_scale_of_a_curve():
    group = Euclidean(1, shape=(3,))
    curve = random_curve(group, 20)
    length = curve.diff(dim=0).norm(dim=-1).sum()
    assert torch.allclose(unit_length(srvt(curve, group)), srvt(curve / length, group), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-13, 1e-7])
def test_unit_length_of_hardly_any_motion(size, dtype):
    q = torch.full((2, 3, 3), size, dtype=dtype, requires_grad=True)
    unit = unit_length(q)
    (grad,) = torch.autograd.grad(unit[..., 0].sum(), q)
    assert bool(unit.isfinite().all())
    assert bool(grad.isfinite().all())
    if size == 0:
        assert bool((unit == 0).all())
        assert bool((grad == 0).all())


COMPILED = """
import torch
from manifoldnet.curves.srvt import inverse_srvt, srvt, unit_length
from manifoldnet.curves.closing import close_curve
from manifoldnet.manifolds import SO3, Euclidean, Product, Sphere

def both(curve, dt, mask, w, space):
    q = srvt(curve, space, "right", "joint", dt, mask, w)
    return unit_length(q, dt), inverse_srvt(q, space, curve[:, 0], dt, "right", weights=w)

def loss(f, *tensors, **options):
    return sum(x.square().sum() + x.sum() for x in f(*tensors, **options))

def curve_of(space):
    torch.manual_seed(0)
    points = [space.random(2, *space.point_shape, dtype=torch.float64)]
    for _ in range(6):
        points.append(space.expmap(points[-1], 0.3 * space.random_tangent(points[-1])))
    return torch.stack(points, 1)

dt = torch.linspace(0.1, 0.6, 6, dtype=torch.float64)
mask = torch.arange(7) < torch.tensor([[7], [4]])
for space in [SO3(), Product([SO3(), Euclidean(1, shape=(2,))]), Sphere()]:
    w = torch.linspace(1.0, 2.0, {"Sphere(3)": 3}.get(space.name, space.dim), dtype=torch.float64).requires_grad_()
    curve = curve_of(space).requires_grad_()
    compiled = torch.compile(both, fullgraph=True, backend="eager")
    results = [torch.autograd.grad(loss(f, curve, dt, mask, w, space=space), (curve, w)) for f in (both, compiled)]
    for a, b in zip(*results):
        assert (a - b).abs().max() < 1e-12, space.name
q = srvt(curve_of(SO3()), SO3())
close = torch.compile(lambda q: close_curve(q, SO3(), iterations=3), fullgraph=True, backend="eager")
assert (close(q) - close_curve(q, SO3(), iterations=3)).abs().max() < 1e-12
"""


@pytest.mark.slow
def test_is_traced_as_one_graph():
    """In a process of its own: the shape checks which the tests switch on cannot be traced."""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("speed", [0.0, 1e-30, 1e-20, 1e-14, 1e-7])
def test_gradient_is_finite_at_any_speed(speed, dtype):
    v = torch.full((3, 3), speed, dtype=dtype, requires_grad=True)
    q = srvt_of_increments(v)
    (grad,) = torch.autograd.grad(q.sum(), v)
    assert bool(grad.isfinite().all())
    if speed == 0:
        assert bool((q == 0).all())
        assert bool((grad == 0).all())


def test_gradcheck():
    curve = random_curve(SO3(), 5)
    v = torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: srvt_of_increments(v, 0.3, factors=2), v)
    q = srvt(curve, SO3()).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: inverse_srvt(q, SO3(), curve[0]), q)


def test_start_broadcasts_over_the_batch():
    curves = random_curve(SO3(), 9, batch=(2, 3))
    q = srvt(curves, SO3())
    start = torch.eye(3, dtype=torch.float64)
    moved = inverse_srvt(q, SO3(), start)
    assert moved.shape == curves.shape
    wanted = curves[..., :1, :, :].mT @ curves
    assert torch.allclose(moved, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("curve", lambda c: srvt(c[:1], SO3())),
        ("curve", lambda c: srvt(c[0], SO3())),
        ("curve", lambda c: srvt(c[..., :2, :2], SO3())),
        ("side", lambda c: srvt(c, SO3(), side="both")),
        ("side", lambda c: inverse_srvt(srvt(c, SO3()), SO3(), c[0], side="both")),
        ("norm", lambda c: srvt(c, SO3(), norm="l2")),
        ("norm", lambda c: srvt(c, SO3(), norm="perfactor")),
        ("norm", lambda c: inverse_srvt(srvt(c, SO3()), SO3(), c[0], norm="perfactor")),
        ("dt", lambda c: srvt(c, SO3(), dt=0.0)),
        ("dt", lambda c: srvt(c, SO3(), dt=float("nan"))),
        ("dt", lambda c: srvt(c, SO3(), dt=torch.ones(3))),
        ("group", lambda c: srvt(c, Euclidean(2))),
        ("dt", lambda c: unit_length(c[..., 0], dt=-torch.ones(8))),
        ("mask", lambda c: srvt(c, SO3(), mask=torch.ones(7, dtype=torch.bool))),
        ("mask", lambda c: srvt(c.expand(2, 8, 3, 3), SO3(), mask=torch.ones(3, 8, dtype=torch.bool))),
        ("weights", lambda c: srvt(c, SO3(), weights=torch.ones(2))),
        ("weights", lambda c: srvt(c, SO3(), weights=torch.tensor([1.0, 0.0, 1.0]))),
        ("weights", lambda c: inverse_srvt(srvt(c, SO3()), SO3(), c[0], weights=torch.tensor([1.0, -1.0, 1.0]))),
        ("factors", lambda c: srvt_of_increments(c[..., 0], factors=2)),
        ("factors", lambda c: srvt_of_increments(c[..., 0], factors=(1, 1))),
        ("factors", lambda c: increments_of_srvt(c[..., 0], factors=(3, 0))),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: "):
        call(random_curve(SO3(), 8))
