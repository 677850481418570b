import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from manifoldnet.curves import inverse_srvt, srvt, srvt_of_increments
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3, Circle, Euclidean, Power, Product

GROUPS = {
    "SO3": SO3(),
    "Circle": Circle(),
    "Euclidean": Euclidean(1, shape=(4,)),
    "Power": Power(SO3(), 3),
    "Torus": Power(Circle(), 5),
    "Product": Product([SO3(), Euclidean(1, shape=(3,))]),
}


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
    for norm in ["joint", "perfactor"] if isinstance(group, Power) else ["joint"]:
        q = srvt(curve, group, side, norm, dt)
        assert q.shape == (2, 36, group.dim)
        back = inverse_srvt(q, group, curve.select(axis, 0), dt, side, norm)
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


@pytest.mark.parametrize("name", ["SO3", "Power", "Product"])
def test_invariance_on_the_named_side_only(name):
    group = GROUPS[name]
    curve = random_curve(group, 12)
    g = random_curve(group, 2, seed=5)[-1:]
    from_left, from_right = group.compose(g, curve), group.compose(curve, g)
    for side, same, other in [("left", from_left, from_right), ("right", from_right, from_left)]:
        q = srvt(curve, group, side)
        assert (srvt(same, group, side) - q).abs().max() < 1e-12
        assert (srvt(other, group, side) - q).abs().max() > 1e-2


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
@pytest.mark.parametrize("name", ["SO3", "Power", "Euclidean"])
def test_a_pause_gives_zero_and_a_finite_gradient(name, dtype):
    group = GROUPS[name]
    moving = random_curve(group, 6, dtype=dtype)
    curve = torch.cat([moving[:3], moving[2:3], moving[2:3], moving[3:]]).requires_grad_()
    norms = ["joint", "perfactor"] if isinstance(group, Power) else ["joint"]
    for norm in norms:
        q = srvt(curve, group, norm=norm)
        assert bool((q[2:4] == 0).all())
        assert bool((q[[0, 1, 4, 5]].norm(dim=-1) > 0.1).all())
        (grad,) = torch.autograd.grad(q.square().sum(), curve)
        assert bool(grad.isfinite().all())


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
        ("dt", lambda c: srvt(c, SO3(), dt=0.0)),
        ("dt", lambda c: srvt(c, SO3(), dt=float("nan"))),
        ("dt", lambda c: srvt(c, SO3(), dt=torch.ones(3))),
        ("group", lambda c: srvt(c, Euclidean(2))),
        ("factors", lambda c: srvt_of_increments(c[..., 0], factors=2)),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: "):
        call(random_curve(SO3(), 8))
