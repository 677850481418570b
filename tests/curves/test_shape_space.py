import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.spatial.transform import Rotation

from manifoldnet.curves import align, elastic_distance, inverse_srvt, srvt
from manifoldnet.curves.shape_space import compose_warps, invert_warp, shape_geodesic, warp
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3

KINDS = [torch.float32, torch.float64]


def random_transforms(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_warps(*batch, n, seed=0, dtype=torch.float64):
    steps = 0.1 + torch.rand(*batch, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    phi = torch.nn.functional.pad(steps.cumsum(-1), (1, 0))
    return (phi / phi[..., -1:]).to(dtype)


def rotations(t, seed=0):
    """Transform of a smooth curve of rotations at the times t."""
    rng = np.random.default_rng(seed)
    amplitude, frequency, phase = (rng.uniform(0.5, 2.5, 3) for _ in range(3))
    vectors = amplitude * np.sin(3 * frequency * np.asarray(t)[:, None] + phase)
    return srvt(torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix()), SO3())


def norm(q):
    return q.square().sum((-2, -1)).sqrt()


@pytest.mark.parametrize(("n", "m"), [(6, 6), (5, 9), (9, 4), (1, 7), (7, 1)])
def test_warp_against_quadrature(n, m):
    q, phi = random_transforms(m, 2, seed=n), random_warps(n=n, seed=m)
    grid = np.linspace(0, 1, n + 1)
    warped = warp(q, phi)
    crossings = np.interp(np.linspace(0, 1, m + 1), phi.numpy(), grid)
    for i in range(n):
        slope = (phi[i + 1] - phi[i]).item() * n
        inside = crossings[(crossings > grid[i]) & (crossings < grid[i + 1])]
        for k in range(2):

            def integrand(t, slope=slope, k=k):
                """Density sqrt(phi') q o phi times sqrt(n): its integral over the cell is the dt-free projection."""
                cell = min(int(np.interp(t, grid, phi.numpy()) * m), m - 1)
                return np.sqrt(n * slope * m) * q[cell, k].item()

            wanted = quad(integrand, grid[i], grid[i + 1], points=inside if len(inside) else None)[0]
            assert warped[i, k].item() == pytest.approx(wanted, abs=1e-10)


def test_warp_shortens_unless_cells_meet_one_cell_each():
    q = random_transforms(4, 20, 3)
    for n in (7, 20, 55):
        assert bool((norm(warp(q, random_warps(4, n=n))) < norm(q)).all())
    # phi^-1 maps the nodes of q's grid to nodes of phi's
    j = torch.tensor([0.0, 0.5, 1, 2, 2.5, 3, 4], dtype=torch.float64)
    exact = warp(q[:, :4], j / 4)
    assert torch.allclose(norm(exact), norm(q[:, :4]), rtol=1e-14)
    # and in the limit of a fine grid
    gaps = []
    for n in (200, 400, 800, 1600):
        t = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        gaps.append((1 - norm(warp(q, t + 0.1 * torch.sin(3 * torch.pi * t))) / norm(q)).mean().item())
    assert 0 < gaps[3] < gaps[0] / 5 < 0.01


def test_warp_by_the_identity_and_by_two_warps():
    q = random_transforms(3, 24, 3)
    identity = torch.linspace(0, 1, 25, dtype=torch.float64)
    assert torch.allclose(warp(q, identity), q, rtol=0, atol=1e-13)
    errors = []
    for n in (50, 100, 200, 400):
        t = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        smooth = rotations(t.numpy())
        phi, psi = t + 0.1 * torch.sin(2 * torch.pi * t), t**1.5 * 0.5 + 0.5 * t
        errors.append(norm(warp(warp(smooth, phi), psi) - warp(smooth, compose_warps(phi, psi))).item())
    assert errors[0] < 0.05 * norm(smooth)
    assert np.all(np.diff(np.log2(errors)) < -0.8), errors


def test_warp_of_a_curve_is_the_transform_of_the_warped_curve():
    errors = []
    for n in (50, 100, 200, 400):
        t = np.linspace(0, 1, n + 1)
        phi = t + 0.12 * np.sin(2 * np.pi * t)
        errors.append(norm(warp(rotations(t), torch.from_numpy(phi)) - rotations(phi)).item())
    assert errors[0] < 0.05 * norm(rotations(t))
    # how the grids lie to each other makes the halving uneven
    assert errors[3] < errors[0] / 6, errors


def test_the_residual_of_the_projection_completes_the_distance():
    q0, q1 = random_transforms(5, 14, 3, seed=1), random_transforms(5, 17, 3, seed=2)
    moved = warp(q1, align(q0, q1, 4))
    square = norm(q0 - moved).square() + norm(q1).square() - norm(moved).square()
    assert torch.allclose(square, elastic_distance(q0, q1, 4).square(), rtol=1e-11)


def test_warp_gradients():
    q, phi = random_transforms(2, 7, 2).requires_grad_(), random_warps(n=5)
    inside = phi[1:-1].requires_grad_()
    assert torch.autograd.gradcheck(lambda q, x: warp(q, torch.cat([phi[:1], x, phi[-1:]])), (q, inside))
    phi.requires_grad_()
    still = torch.zeros(7, 2, dtype=torch.float64, requires_grad=True)
    for grad in torch.autograd.grad(norm(warp(still, phi) + 1.0), (still, phi)):
        assert bool(grad.isfinite().all())


@pytest.mark.parametrize("dtype", KINDS)
def test_warp_in_both_precisions(dtype):
    # a running sum kept in float32 would be off by 4e-4
    q, phi = random_transforms(2000, 3, dtype=dtype), random_warps(n=2000, dtype=dtype)
    assert warp(q, phi).dtype == dtype
    error = (warp(q, phi).double() - warp(q.double(), phi.double())).abs().max()
    assert error <= torch.finfo(dtype).eps * q.abs().max()


def test_warp_broadcasts():
    q, phi = random_transforms(4, 1, 9, 2), random_warps(3, n=6)
    together = warp(q, phi)
    assert together.shape == (4, 3, 6, 2)
    assert torch.allclose(together[2, 1], warp(q[2, 0], phi[1]), rtol=1e-14)
    over = torch.vmap(warp, in_dims=(None, 0))(q[0, 0], phi)
    assert torch.allclose(over, together[0], rtol=1e-14)


COMPILED = """
import torch
from manifoldnet.curves.shape_space import warp
q = torch.randn(4, 1, 9, 2, dtype=torch.float64, requires_grad=True)
phi = torch.linspace(0, 1, 7, dtype=torch.float64).square().expand(3, 7).clone().requires_grad_()
phi.data[:, 1:-1] += 0.01
results = []
for f in (warp, torch.compile(warp, fullgraph=True, backend="aot_eager")):
    value = f(q, phi)
    results.append((value, *torch.autograd.grad(value.sin().sum(), (q, phi))))
print(max((a - b).abs().max().item() for a, b in zip(*results)))
"""


@pytest.mark.slow
def test_warp_compiles_as_one_graph():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert float(run.stdout) < 1e-13


@pytest.mark.parametrize("dtype", KINDS)
def test_composition_and_inverse_against_numpy(dtype):
    phi, psi = random_warps(3, n=11, seed=1, dtype=dtype), random_warps(3, n=7, seed=2, dtype=dtype)
    composed, inverse, finer = compose_warps(phi, psi), invert_warp(phi), invert_warp(phi, 40)
    tolerance = 20 * torch.finfo(dtype).eps
    grid = np.linspace(0, 1, 12)
    for k in range(3):
        f, g = phi[k].double().numpy(), psi[k].double().numpy()
        np.testing.assert_allclose(composed[k], np.interp(g, grid, f), atol=tolerance)
        np.testing.assert_allclose(inverse[k], np.interp(grid, f, grid), atol=tolerance)
        np.testing.assert_allclose(finer[k], np.interp(np.linspace(0, 1, 41), f, grid), atol=tolerance)
    for w in (composed, inverse, finer):
        assert bool((w[:, 0] == 0).all() & (w[:, -1] == 1).all() & (w.diff(dim=-1) > 0).all())
    assert torch.allclose(compose_warps(phi, inverse), torch.linspace(0, 1, 12, dtype=dtype), rtol=0, atol=tolerance)


@pytest.mark.parametrize("scale_free", [False, True])
def test_ends_of_a_geodesic(scale_free):
    q0, q1 = rotations(np.linspace(0, 1, 41), 1), rotations(np.linspace(0, 1, 36), 2)
    path = shape_geodesic(q0, q1, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), scale_free=scale_free)
    moved = warp(q1, align(q0, q1))
    wanted = [q / norm(q) if scale_free else q for q in (q0, moved)]
    assert torch.allclose(path[0], wanted[0], rtol=0, atol=1e-14)
    assert torch.allclose(path[2], wanted[1], rtol=0, atol=1e-14)
    curve = inverse_srvt(path[1], SO3(), torch.eye(3, dtype=torch.float64))
    assert torch.allclose(srvt(curve, SO3()), path[1], rtol=0, atol=1e-12)


def test_distance_along_a_geodesic():
    shares = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9, 1.0], dtype=torch.float64)
    gaps = []
    for n in (25, 50, 100):
        t = np.linspace(0, 1, n + 1)
        q0, q1 = rotations(t, 1), rotations(t, 2)
        d = elastic_distance(q0, q1).item()
        path = shape_geodesic(q0, q1, shares)
        there, back = elastic_distance(q0, path) / d, elastic_distance(path, q1) / d
        # the straight line is one way to run the point s against q0, so that this bound is exact
        assert bool((there <= shares + 1e-12).all())
        # d is a minimum over slopes i / j with i, j <= 6, from which compositions of two such warps escape
        gaps.append([(shares - there).max().item(), (there + back - 1)[:4].abs().max().item()])
    assert gaps[-1][0] < 0.03
    assert gaps[-1][1] < 0.01
    assert gaps[-1][1] < gaps[0][1]


def test_great_circle_against_geomstats():
    hypersphere = pytest.importorskip("geomstats.geometry.hypersphere").Hypersphere(29)
    q0, q1 = random_transforms(10, 3, seed=1), random_transforms(10, 3, seed=2)
    s = torch.tensor([0.0, 0.2, 0.7, 1.0], dtype=torch.float64)
    start, end = ((q / norm(q)).flatten().numpy() for q in (q0, warp(q1, align(q0, q1))))
    wanted = hypersphere.metric.geodesic(initial_point=start, end_point=end)(s.numpy())
    np.testing.assert_allclose(shape_geodesic(q0, q1, s, scale_free=True).flatten(1), wanted, atol=1e-13)
    # the sizes of the curves do not matter
    assert torch.allclose(
        shape_geodesic(3 * q0, 0.1 * q1, s, scale_free=True), shape_geodesic(q0, q1, s, scale_free=True), atol=1e-13
    )


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("scale_free", [False, True])
def test_geodesics_of_equal_and_constant_curves(dtype, scale_free):
    moving, still = random_transforms(12, 3, dtype=dtype), torch.zeros(12, 3, dtype=dtype)
    paused = torch.cat([moving[:4], still[:5], moving[9:]])
    for q0, q1 in [(moving, moving), (moving, still), (still, still), (paused, moving)]:
        q0, q1 = q0.clone().requires_grad_(), q1.clone().requires_grad_()
        s = torch.tensor(0.3, dtype=dtype, requires_grad=True)
        point = shape_geodesic(q0, q1, s, scale_free=scale_free)
        assert point.dtype == dtype
        for value in (point, *torch.autograd.grad(point.square().sum() + point.sum(), (q0, q1, s))):
            assert bool(value.isfinite().all())


@pytest.mark.parametrize("scale_free", [False, True])
def test_gradient_of_a_geodesic(scale_free):
    q0, q1 = random_transforms(6, 2, seed=1).requires_grad_(), random_transforms(7, 2, seed=2).requires_grad_()
    s = torch.tensor([0.2, 0.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: shape_geodesic(*a, 3, scale_free), (q0, q1, s))


def test_shares_broadcast_over_pairs():
    q0, q1 = random_transforms(3, 8, 2, seed=1), random_transforms(3, 9, 2, seed=2)
    s = torch.tensor([[0.1], [0.4], [0.6], [1.3]], dtype=torch.float64)
    path = shape_geodesic(q0, q1, s)
    assert path.shape == (4, 3, 8, 2)
    assert torch.allclose(path[2, 1], shape_geodesic(q0[1], q1[1], 0.6), rtol=0, atol=1e-14)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu():
    q0, q1 = random_transforms(3, 30, 3, seed=1), random_transforms(3, 25, 3, seed=2)
    for scale_free in (False, True):
        there = shape_geodesic(q0.cuda(), q1.cuda(), 0.4, scale_free=scale_free)
        assert torch.allclose(there.cpu(), shape_geodesic(q0, q1, 0.4, scale_free=scale_free), rtol=1e-12, atol=1e-13)


Q, PHI = torch.ones(5, 3), torch.tensor([0.0, 0.3, 1.0])


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("q", lambda: warp(Q[:0], PHI)),
        ("phi", lambda: warp(Q, PHI[:1])),
        ("phi", lambda: warp(Q, PHI.double())),
        ("phi", lambda: warp(Q, PHI.flip(0))),
        ("phi", lambda: warp(Q, PHI * torch.nan)),
        ("phi", lambda: warp(Q, PHI * 0.99)),
        ("phi", lambda: warp(Q, torch.tensor([0.0, 0.5, 0.5, 1.0]))),
        ("phi", lambda: warp(Q.expand(2, 5, 3), PHI.expand(3, 3))),
        ("phi", lambda: invert_warp(PHI - 1)),
        ("cells", lambda: invert_warp(PHI, 0)),
        ("psi", lambda: compose_warps(PHI, PHI.flip(0))),
        ("psi", lambda: compose_warps(PHI.expand(2, 3), PHI.expand(3, 3))),
        ("q1", lambda: shape_geodesic(Q, Q[:, :2], 0.5)),
        ("s", lambda: shape_geodesic(Q.expand(2, 5, 3), Q, torch.ones(3))),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: ") as error:
        call()
    assert "\n" not in str(error.value)
