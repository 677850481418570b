import math

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.transform import Rotation

from manifoldnet.curves.homogeneous import coordinates, develop, generators, running_products
from manifoldnet.curves.srvt import inverse_srvt, srvt
from manifoldnet.errors import InputError
from manifoldnet.manifolds import (
    SE3,
    SO3,
    SPACES,
    SPD,
    Grassmann,
    LieGroup,
    Power,
    Product,
    Space,
    Sphere,
    Stiefel,
)

CASES: dict[str, Space] = {
    **SPACES,
    "product-with-group": Product([SE3(), Sphere(3), Power(SO3(), 2)]),
    "power-of-product": Power(Product([Sphere(3), SO3()]), 2),
}
MOTIONS = [name for name in CASES if name != "spd-bures-wasserstein"]
OTHERS = [name for name in MOTIONS if not isinstance(CASES[name], LieGroup)]
SIMPLE = [name for name in OTHERS if not isinstance(CASES[name], Power | Product)]
# where the norm of the generator is the length of the geodesic
ISOMETRIC = ["sphere", "sphere-5", "stiefel", "grassmann", "spd-log-euclidean", "spd-log-cholesky"]
TURNED = ["sphere", "sphere-5", "stiefel", "grassmann", "spd-affine-invariant"]


def random_curve(space, samples, batch=(2,), seed=0, scale=0.25):
    generator = torch.Generator().manual_seed(seed)
    points = [space.random(*batch, *space.point_shape, dtype=torch.float64, generator=generator)]
    for _ in range(samples - 1):
        u = scale * space.random_tangent(points[-1], generator=generator)
        points.append(space.expmap(points[-1], u))
    return torch.stack(points, len(batch))


def turned(name, curve, g):
    """g.c for rotations g, written out."""
    if name.startswith("sphere"):
        return curve @ g.mT
    return g @ curve if name == "stiefel" else g @ curve @ g.mT


@pytest.mark.parametrize("name", MOTIONS)
def test_the_generator_leads_from_sample_to_sample(name):
    space = CASES[name]
    curve = random_curve(space, 2).unbind(1)
    eta = generators(space, *curve)
    if not isinstance(space, LieGroup):
        assert eta.shape == (2, coordinates(space))
    if isinstance(space, Power | Product):
        moved = develop(space, eta.unsqueeze(-2), curve[0]).unbind(1)[1]
    else:
        moved = space.action.act_exp(eta, curve[0])
    assert (moved - curve[1]).abs().max() < 1e-13 * curve[1].abs().max()


@pytest.mark.parametrize("name", MOTIONS)
@pytest.mark.parametrize("dt", [None, 0.2])
def test_inverse_gives_the_curve_back(name, dt):
    space = CASES[name]
    curve = random_curve(space, 21)
    weights = torch.linspace(0.5, 2.0, coordinates(space), dtype=torch.float64)
    for norm in ["joint", "perfactor"] if isinstance(space, Power | Product) else ["joint"]:
        for side, w in (("left", None), ("right", weights)):
            q = srvt(curve, space, side, norm, dt, weights=w)
            assert q.shape == (2, 20, coordinates(space))
            back = inverse_srvt(q, space, curve[:, 0], dt, side, norm, w)
            # a curve of length 6 in hyperbolic space meets numbers up to exp(6)
            tolerance = 1e-10 if name == "hyperbolic" else 1e-12
            assert (back - curve).abs().max() < tolerance * curve.abs().max()


@pytest.mark.parametrize("name", OTHERS)
def test_the_side_is_not_read_where_there_is_only_one(name):
    curve = random_curve(CASES[name], 5)
    assert torch.equal(srvt(curve, CASES[name], "left"), srvt(curve, CASES[name], "right"))


@pytest.mark.parametrize("factor", [False, True])
def test_a_lift_that_only_starts_right_is_refused(factor):
    space = SPD("bures-wasserstein", n=2)
    x, y = random_curve(space, 2, scale=0.05).unbind(1)
    assert (space.action.act_exp(space.lift(x, space.logmap(x, y)), x) - y).abs().max() > 1e-5
    space = Product([Sphere(3), space]) if factor else space
    with pytest.raises(InputError, match=r"^group: "):
        srvt(random_curve(space, 3, scale=0.02), space)


def test_generator_of_the_sphere_is_a_rotation_vector():
    curve = random_curve(Sphere(), 30, batch=())
    p, r = curve[:-1].numpy(), curve[1:].numpy()
    cross = np.cross(p, r)
    sine = np.linalg.norm(cross, axis=1, keepdims=True)
    angle = np.arctan2(sine, (p * r).sum(1, keepdims=True))
    eta = generators(Sphere(), curve[:-1], curve[1:]).numpy()
    np.testing.assert_allclose(eta, angle * cross / sine, rtol=0, atol=1e-14)
    np.testing.assert_allclose(Rotation.from_rotvec(eta).apply(p), r, rtol=0, atol=1e-14)
    np.testing.assert_allclose(srvt(curve, Sphere()).numpy(), eta / np.sqrt(angle), rtol=0, atol=1e-13)


def test_generator_of_affine_invariant_matrices_is_half_a_logarithm():
    x, y = random_curve(SPD(n=3), 2, batch=(5,), scale=0.6).unbind(1)
    eta = generators(SPD(n=3), x, y).unflatten(-1, (3, 3))
    wanted = [0.5 * scipy.linalg.logm(b @ np.linalg.inv(a)) for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    np.testing.assert_allclose(eta.numpy(), np.stack(wanted), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ISOMETRIC)
def test_squared_norm_is_the_length(name):
    space = CASES[name]
    curve = random_curve(space, 15)
    length = space.dist(curve[:, :-1], curve[:, 1:]).sum(-1)
    assert torch.allclose(srvt(curve, space).square().sum((-2, -1)), length, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", TURNED)
def test_rotating_the_curve_rotates_the_transform(name):
    space = CASES[name]
    x, y = random_curve(space, 12, seed=1), random_curve(space, 12, seed=2)
    group = space.action.group
    n = x.shape[-2] if name in ("stiefel", "grassmann") else x.shape[-1]
    g = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    g = g * torch.linalg.det(g).sign() if n % 2 else torch.cat([g[:, :1] * torch.linalg.det(g).sign(), g[:, 1:]], 1)
    q, r = srvt(x, space), srvt(y, space)
    moved, other = srvt(turned(name, x, g), space), srvt(turned(name, y, g), space)
    assert (moved - group.Ad(g, q)).abs().max() < 1e-12
    assert torch.allclose(moved.norm(dim=-1), q.norm(dim=-1), rtol=0, atol=1e-12)
    assert torch.allclose((moved * other).sum(-1), (q * r).sum(-1), rtol=0, atol=1e-12)
    if name == "sphere":
        assert (moved - q @ g.mT).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OTHERS)
def test_a_pause_gives_zero_and_a_gradient_of_zero(name, dtype):
    space = CASES[name]
    moving = random_curve(space, 4, batch=()).to(dtype)
    curve = torch.cat([moving[:2], moving[1:2], moving[1:2], moving[1:]]).requires_grad_()
    q = srvt(curve, space)
    assert q.dtype == dtype
    assert bool((q[1:4] == 0).all())
    assert bool((q[[0, 4, 5]].norm(dim=-1) > 0.01).all())
    (grad,) = torch.autograd.grad(q.sum(), curve)
    assert bool(grad.isfinite().all())
    assert bool((grad[2:3] == 0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [0.0, 1e-6])
@pytest.mark.parametrize("n", [3, 5])
def test_antipodes_are_finite(n, gap, dtype):
    space = Sphere(n)
    x = space.random(n, dtype=dtype, generator=torch.Generator().manual_seed(0))
    u = space.random_tangent(x, generator=torch.Generator().manual_seed(1))
    end = -x if gap == 0 else space.expmap(x, (math.pi - gap) * u / u.norm())
    curve = torch.stack([x, end, x]).requires_grad_()
    q = srvt(curve, space)
    (grad,) = torch.autograd.grad(q.square().sum(), curve)
    assert bool(grad.isfinite().all())
    assert (q.square().sum(-1) - (math.pi - gap)).abs().max() < 10 * torch.finfo(dtype).eps ** 0.5
    back = inverse_srvt(q, space, x)
    assert (back - curve).abs().max() < 1e3 * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", SIMPLE)
def test_padded_samples_change_nothing(name):
    space = CASES[name]
    full = random_curve(space, 6, batch=(3,))
    mask = torch.arange(6) < torch.tensor([[6], [3], [0]])
    curve = torch.where(mask[(...,) + (None,) * space.ndim], full, math.nan).requires_grad_()
    q = srvt(curve, space, mask=mask)
    (grad,) = torch.autograd.grad(q.sum(), curve)
    assert bool((grad[~mask] == 0).all())
    assert bool((q[~mask[:, 1:]] == 0).all())
    alone = full[1, :3].clone().requires_grad_()
    wanted = srvt(alone, space)
    assert torch.allclose(q[1, :2], wanted, rtol=0, atol=1e-13)
    assert torch.allclose(grad[1, :3], torch.autograd.grad(wanted.sum(), alone)[0], rtol=1e-10, atol=1e-11)
    back = inverse_srvt(q[1], space, alone[0])
    assert (back[2:] - back[2]).abs().max() < 1e-13 * back.abs().max()


@pytest.mark.parametrize("space", [Sphere(3), SPD(n=2), SPD("log-cholesky", n=2)], ids=lambda space: space.name)
def test_gradients(space):
    curve = random_curve(space, 4, batch=()).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: srvt(space.projx(c), space), curve)
    q = srvt(curve.detach(), space).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: inverse_srvt(q, space, curve[0].detach()), q)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("cells", [1, 2, 7, 8])
def test_running_products_are_the_products_in_order(side, cells):
    eta = torch.randn(2, cells, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = running_products(SO3(), eta, side)
    for b in range(2):
        product = Rotation.identity()
        for k in range(cells):
            step = Rotation.from_rotvec(eta[b, k].numpy())
            product = product * step if side == "left" else step * product
            np.testing.assert_allclose(found[b, k].numpy(), product.as_matrix(), rtol=0, atol=1e-13)


def test_start_broadcasts_over_the_batch():
    curve = random_curve(Sphere(), 9, batch=(2, 3))
    start = torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64)
    moved = inverse_srvt(srvt(curve, Sphere()), Sphere(), start)
    assert moved.shape == curve.shape
    for k in range(3):
        assert torch.equal(moved[1, k], inverse_srvt(srvt(curve, Sphere())[1, k], Sphere(), start))


def test_unknown_sizes():
    assert srvt(random_curve(Stiefel(4, 2), 5), Stiefel()).shape == (2, 4, 6)
    assert srvt(random_curve(SPD(n=2), 5), SPD()).shape == (2, 4, 4)
    assert coordinates(Grassmann(4, 1)) == 6
    with pytest.raises(InputError, match=r"^group: "):
        coordinates(SPD())
