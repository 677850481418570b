from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from manifoldnet.curves import align, elastic_distance, pairwise_elastic_distance, srvt
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3


def random_transforms(batch, n, dim=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, n, dim, generator=generator, dtype=dtype)


def rotations(t, seed=0):
    """Transform of a smooth curve of rotations at the times t."""
    rng = np.random.default_rng(seed)
    amplitude, frequency, phase = (rng.uniform(0.5, 2.5, 3) for _ in range(3))
    vectors = amplitude * np.sin(3 * frequency * np.asarray(t)[:, None] + phase)
    return srvt(torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix()), SO3())


def integral(q0, q1, phi):
    """The integral of |q0 - sqrt(phi') q1 o phi|^2 of step functions, on the union of all breakpoints."""
    n, m = len(q0), len(q1)
    grid = np.linspace(0, 1, n + 1)
    times = np.unique(np.concatenate([grid, np.interp(np.linspace(0, 1, m + 1), phi, grid)]))
    middle, length = (times[1:] + times[:-1]) / 2, np.diff(times)
    cell = np.minimum((middle * n).astype(int), n - 1)
    other = np.minimum((np.interp(middle, grid, phi) * m).astype(int), m - 1)
    slope = (np.diff(phi) * n)[cell]
    difference = np.sqrt(n) * q0[cell] - np.sqrt(slope * m)[:, None] * q1[other]
    return (length * (difference**2).sum(1)).sum()


@pytest.mark.parametrize(("n", "m"), [(14, 11), (11, 14), (20, 20), (40, 13), (3, 1)])
def test_align_attains_the_distance(n, m):
    q0, q1 = random_transforms((6,), n, seed=1), random_transforms((6,), m, seed=2)
    distance, phi = elastic_distance(q0, q1, 4), align(q0, q1, 4)
    assert phi.shape == (6, n + 1)
    assert bool((phi[:, 0] == 0).all())
    assert bool((phi[:, -1] == 1).all())
    assert phi.diff(dim=1).min() >= n**-1 * 0.25 * n / m * (1 - 1e-12)
    for k in range(6):
        value = integral(q0[k].numpy(), q1[k].numpy(), phi[k].numpy())
        assert value == pytest.approx(distance[k].item() ** 2, rel=1e-10)


def test_align_with_the_curves_swapped_is_the_inverse():
    for n, m in [(15, 15), (15, 10)]:
        q0, q1 = random_transforms((), n, seed=3), random_transforms((), m, seed=4)
        there, back = align(q0, q1, 5).numpy(), align(q1, q0, 5).numpy()
        again = np.interp(there, np.linspace(0, 1, m + 1), back)
        # both are linear between their own nodes, which are nodes of both grids
        nodes = np.isclose(there * m, np.round(there * m))
        assert nodes.sum() > 3
        np.testing.assert_allclose(again[nodes], np.linspace(0, 1, n + 1)[nodes], atol=1e-14)


def test_no_random_warp_is_better():
    q0, q1 = rotations(np.linspace(0, 1, 31), 1), rotations(np.linspace(0, 1, 31), 2)
    best = elastic_distance(q0, q1, 4).item() ** 2
    rng = np.random.default_rng(0)
    for _ in range(50):
        steps = [(a, b) for a, b in rng.integers(1, 5, (40, 2))]
        nodes = np.vstack([[0, 0], np.cumsum(steps, 0)])
        nodes = np.vstack([nodes[(nodes < 26).all(1)], [30, 30]])
        gap = nodes[-1] - nodes[-2]
        if gap.max() > 4 * gap.min():
            continue
        phi = np.interp(np.arange(31), *nodes.T) / 30
        assert integral(q0.numpy(), q1.numpy(), phi) >= best - 1e-12


def motion(t, seed):
    """Transform of a curve of rotations with four harmonics at the times t."""
    rng = np.random.default_rng(seed)
    k = np.arange(1, 5)[:, None]
    size, phase = rng.standard_normal((4, 3)) / k, rng.uniform(0, 2 * np.pi, (4, 3))
    vectors = (size * np.sin(np.pi * k * np.asarray(t)[:, None, None] + phase)).sum(1)
    return srvt(torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix()), SO3())


@pytest.mark.parametrize("seed", [0, 1, 3, 4])
def test_the_same_shape_at_another_speed_is_near(seed):
    """The distance is that of sampling, and falls with the cells."""
    ratios = []
    for cells, options in [
        (100, {}),
        (100, {"slopes": 10}),
        (400, {"slopes": 10}),
        (400, {"slopes": 10, "refine": 16}),
    ]:
        t = np.linspace(0, 1, cells + 1)
        q, warped = motion(t, seed), motion(t + 0.8 * np.sin(2 * np.pi * t) / (2 * np.pi), seed)
        norm = q.norm().item()
        assert (q - warped).norm().item() > 0.75 * norm
        ratios.append(elastic_distance(q, warped, **options).item() / norm)
    assert ratios[1] <= ratios[0] < 0.075
    assert ratios[2] < 0.4 * ratios[1]
    assert ratios[2] <= ratios[3] < 0.02


def test_reparametrising_both_curves_changes_little_and_by_the_square_of_a_cell():
    changes = []
    for cells in (25, 50, 100):
        t = np.linspace(0, 1, cells + 1)
        warped = t + 0.5 * np.sin(2 * np.pi * t) / (2 * np.pi)
        x, y = motion(t, 1), motion(t, 2)
        moved = (motion(warped, 1) - motion(warped, 2)).norm()
        changes.append(
            [
                abs(moved - (x - y).norm()).item(),
                abs(elastic_distance(motion(warped, 1), y, 8) - elastic_distance(x, y, 8)).item(),
            ]
        )
    fixed, elastic = np.array(changes).T
    assert np.all(np.log2(fixed[:-1] / fixed[1:]) > 1.7)
    assert elastic[2] < 0.01 * (x.norm() + y.norm())


def test_multiplying_curves_of_rotations_from_either_side_changes_nothing():
    """The left transform does not see the left factor; the right one turns both by the same rotation."""
    t = np.linspace(0, 1, 41)
    vectors = [np.stack([np.sin(3 * t + k), t * k, np.cos(2 * t)], 1) for k in (1, 2)]
    curves = [torch.from_numpy(Rotation.from_rotvec(v).as_matrix()) for v in vectors]
    g, h = torch.from_numpy(Rotation.random(2, rng=0).as_matrix())
    for side in ("left", "right"):
        plain = elastic_distance(*(srvt(c, SO3(), side) for c in curves))
        moved = elastic_distance(*(srvt(g @ c @ h, SO3(), side) for c in curves))
        assert moved.item() == pytest.approx(plain.item(), rel=1e-10)


def test_triangle_inequality_up_to_discretisation():
    t = np.linspace(0, 1, 61)
    matrix = pairwise_elastic_distance(torch.stack([motion(t, seed) for seed in range(12)]), slopes=7)
    through = (matrix[:, :, None] + matrix[None]).amin(1)
    assert bool((matrix <= 1.02 * through).all())


def test_at_rest_sampled_twice_and_turning_by_nearly_pi():
    """Finite distances and gradients back to the rotation matrices."""
    steps = np.zeros((3, 12, 3))
    steps[0, ::3, 0] = 0.7  # moves in one cell of three: samples come twice
    steps[1, :, 1] = np.pi - 1e-7
    steps[2, 5:] = 0.2
    turns = torch.from_numpy(Rotation.from_rotvec(steps.reshape(-1, 3)).as_matrix().reshape(3, 12, 3, 3))
    curves = [torch.eye(3, dtype=torch.float64).expand(3, 3, 3)]
    for k in range(12):
        curves.append(curves[-1] @ turns[:, k])
    for dtype in (torch.float32, torch.float64):
        curve = torch.stack(curves, 1).to(dtype).requires_grad_()
        q = srvt(curve, SO3())
        for options in ({}, {"smoothing": 0.1}, {"scale": "angle"}):
            distance = elastic_distance(q[:, None], q, **options)
            assert bool(distance.isfinite().all())
            (grad,) = torch.autograd.grad(distance.sum(), curve, retain_graph=True)
            assert bool(grad.isfinite().all())


@pytest.mark.parametrize("smoothing", [None, 0.4])
def test_cells_that_do_not_count_may_hold_anything(smoothing):
    q0, q1 = random_transforms((3,), 20, seed=1), random_transforms((3,), 17, seed=2)
    cells0, cells1 = torch.tensor([20, 9, 11]), torch.tensor([17, 17, 6])
    alone = [
        elastic_distance(q0[k, :n], q1[k, :m], 4, smoothing=smoothing)
        for k, (n, m) in enumerate(zip(cells0, cells1, strict=True))
    ]
    for filler in (0.0, torch.nan):
        padded0, padded1 = q0.clone(), q1.clone()
        for k in range(3):
            padded0[k, cells0[k] :], padded1[k, cells1[k] :] = filler, filler
        padded0.requires_grad_()
        there = elastic_distance(padded0, padded1, 4, smoothing=smoothing, cells0=cells0, cells1=cells1)
        assert torch.allclose(there, torch.stack(alone), rtol=1e-12)
        back = elastic_distance(padded1, padded0, 4, smoothing=smoothing, cells0=cells1, cells1=cells0)
        assert torch.equal(there, back)
        (grad,) = torch.autograd.grad(there.sum(), padded0)
        assert not grad[1, 9:].any()
        assert bool(grad.isfinite().all())
    phi = align(padded0, padded1, 4, cells0=cells0, cells1=cells1)
    for k, (n, m) in enumerate(zip(cells0.tolist(), cells1.tolist(), strict=True)):
        assert torch.equal(phi[k, : n + 1], align(q0[k, :n], q1[k, :m], 4))
        assert bool((phi[k, n:] == 1).all())


def test_scale():
    q0, q1 = random_transforms((5,), 20, seed=1), random_transforms((5,), 20, seed=2)
    units = [q / q.norm(dim=(1, 2), keepdim=True) for q in (q0, q1)]
    chord = elastic_distance(q0, q1, scale="chord")
    assert torch.allclose(chord, elastic_distance(*units), rtol=1e-12)
    assert torch.equal(chord, elastic_distance(q1, q0, scale="chord"))
    assert torch.allclose(chord, elastic_distance(3 * q0, 0.1 * q1, scale="chord"), rtol=1e-12)
    angle = elastic_distance(q0, q1, scale="angle")
    assert torch.allclose(angle.cos(), 1 - chord**2 / 2, rtol=1e-12)
    matrix = pairwise_elastic_distance(q0, q1, scale="angle")
    assert torch.allclose(matrix.diagonal(), angle, rtol=1e-12)
    at_rest = torch.zeros(20, 3, dtype=torch.float64)
    assert elastic_distance(q0, at_rest, scale="chord").tolist() == pytest.approx([1] * 5, rel=1e-12)
    assert bool((elastic_distance(q0, 2 * q0, scale="angle") == 0).all())
    for scale in ("chord", "angle"):
        inputs = q0[:2, :7].clone().requires_grad_(), q1[:2, :7].clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, y, s=scale: elastic_distance(x, y, 3, scale=s), inputs)


@pytest.mark.parametrize("smoothing", [None, 0.5])
def test_vmap_and_gradients_of_samples(smoothing):
    q0, q1 = random_transforms((6,), 9, seed=1), random_transforms((6,), 9, seed=2)

    def distance(x, y):
        return elastic_distance(x, y, 3, smoothing=smoothing)

    assert torch.allclose(torch.vmap(distance)(q0, q1), distance(q0, q1), rtol=1e-12)
    assert torch.allclose(torch.vmap(distance, (0, None))(q0, q1[0]), distance(q0, q1[:1]), rtol=1e-12)


@pytest.mark.slow
def test_compiled_as_one_graph():
    q0, q1 = random_transforms((4,), 12, seed=1).requires_grad_(), random_transforms((4,), 10, seed=2)
    for options in ({}, {"smoothing": 0.3}, {"refine": 4, "scale": "angle"}):

        def distance(x, y, options=options):
            return elastic_distance(x, y, 4, **options)

        compiled = torch.compile(distance, fullgraph=True, backend="aot_eager")
        assert torch.allclose(compiled(q0, q1), distance(q0, q1), rtol=1e-12)
        grads = [torch.autograd.grad(f(q0, q1).sum(), q0)[0] for f in (compiled, distance)]
        assert torch.allclose(*grads, rtol=1e-12)


def test_the_path_of_fdasrsf_is_no_better_and_nearly_as_good():
    """An independent program, which takes transforms by their values in the samples."""
    curve_functions = pytest.importorskip("fdasrsf.curve_functions")
    for seed in range(3):
        t = np.linspace(0, 1, 101)
        q0, q1 = motion(t, seed), motion(t, seed + 10)
        phi = curve_functions.optimum_reparam_curve(*(np.ascontiguousarray(q.numpy().T) for q in (q0, q1)))
        theirs = integral(q0.numpy(), q1.numpy(), np.interp(np.arange(101) / 100, np.linspace(0, 1, len(phi)), phi))
        ours = elastic_distance(q0, q1, 7).item() ** 2
        assert ours < theirs < 1.15 * ours


def test_distance_is_that_of_the_quotient():
    time = np.linspace(0, 1, 61)
    warped_time = time + 0.1 * np.sin(2 * np.pi * time)
    x, y = rotations(time, 1), rotations(time, 2)
    moved = elastic_distance(rotations(warped_time, 1), y, 7).item()
    assert moved == pytest.approx(elastic_distance(x, y, 7).item(), rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("smoothing", [None, 0.5])
@pytest.mark.parametrize(("n", "m"), [(33, 33), (33, 20), (1, 1), (64, 64)])
def test_symmetric_to_the_last_bit(n, m, smoothing, dtype):
    q0 = random_transforms((9,), n, 7, seed=5, dtype=dtype).requires_grad_()
    q1 = random_transforms((9,), m, 7, seed=6, dtype=dtype).requires_grad_()
    there = elastic_distance(q0, q1, 4, smoothing=smoothing)
    back = elastic_distance(q1, q0, 4, smoothing=smoothing)
    assert torch.equal(there, back)
    grads = [torch.autograd.grad(d.sum(), (q0, q1)) for d in (there, back)]
    for grad, same in zip(*grads, strict=True):
        assert torch.allclose(grad, same, rtol=1e-5 if dtype == torch.float32 else 1e-13)


def test_band_zero_is_the_distance_without_reparametrisation():
    q0, q1 = random_transforms((4,), 25, seed=1), random_transforms((4,), 25, seed=2)
    plain = (q0 - q1).square().sum((1, 2)).sqrt()
    assert torch.allclose(elastic_distance(q0, q1, band=0), plain, rtol=1e-13)
    wider = [elastic_distance(q0, q1, band=band) for band in (0, 2, 6, 25)]
    for narrow, wide in pairwise(wider):
        assert bool((wide <= narrow).all())
    assert torch.equal(wider[-1], elastic_distance(q0, q1))


@pytest.mark.parametrize(("n", "m"), [(8, 8), (6, 9)])
@pytest.mark.parametrize("smoothing", [None, 0.7])
def test_gradcheck(n, m, smoothing):
    q0, q1 = random_transforms((), n, seed=8), random_transforms((), m, seed=9)
    q0.requires_grad_()
    q1.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: elastic_distance(x, y, 4, smoothing=smoothing), (q0, q1))
    if smoothing is None:
        assert torch.autograd.gradgradcheck(lambda x, y: elastic_distance(x, y, 4), (q0, q1))


@pytest.mark.parametrize("smoothing", [1.0, 1e-2, 1e-4, 1e-6])
def test_soft_distance_tends_to_the_distance(smoothing):
    q0, q1 = random_transforms((5,), 15, seed=1), random_transforms((5,), 12, seed=2)
    hard, soft = (elastic_distance(q0, q1, 4, smoothing=gamma) for gamma in (None, smoothing))
    # at most 15 segments, each one of 16
    bound = 2 * smoothing * 15 * np.log(16)
    assert 0 < (soft.square() - hard.square()).abs().max() < bound


@pytest.mark.parametrize("smoothing", [0.01, 1.0, 100.0])
def test_soft_distance_is_positive_and_zero_on_itself(smoothing):
    q0, q1 = random_transforms((30,), 10, seed=1), random_transforms((30,), 10, seed=2)
    near = q0 + 1e-3 * q1
    for other in (q1, near):
        assert elastic_distance(q0, other, 4, smoothing=smoothing).min() > 0
    assert bool((elastic_distance(q0, q0, 4, smoothing=smoothing) == 0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("smoothing", [None, 0.5])
def test_equal_and_constant_curves_are_at_distance_zero_with_gradient_zero(dtype, smoothing):
    moving = random_transforms((3,), 90, 3, dtype=dtype)
    moving[1, 20:40] = 0
    for q in (moving, torch.zeros(3, 90, 3, dtype=dtype)):
        q0, q1 = q.clone().requires_grad_(), q.clone().requires_grad_()
        distance = elastic_distance(q0, q1, 4, smoothing=smoothing)
        assert bool((distance == 0).all())
        for grad in torch.autograd.grad(distance.sum(), (q0, q1)):
            assert bool((grad == 0).all())


def test_a_constant_curve_is_at_the_distance_of_the_others_length():
    q = random_transforms((), 30)
    at_rest = torch.zeros(30, 3, dtype=torch.float64, requires_grad=True)
    distance = elastic_distance(q, at_rest)
    assert distance.item() == pytest.approx(q.norm().item(), rel=1e-14)
    assert bool(torch.autograd.grad(distance, at_rest)[0].isfinite().all())
    straight = align(at_rest, at_rest)
    np.testing.assert_allclose(straight.numpy(), np.linspace(0, 1, 31), atol=1e-15)


def test_float32_against_float64():
    q0, q1 = random_transforms((8,), 60, 6, seed=1), random_transforms((8,), 60, 6, seed=2)
    wide, narrow = elastic_distance(q0, q1), elastic_distance(q0.float(), q1.float())
    assert narrow.dtype == torch.float32
    assert torch.allclose(narrow.double(), wide, rtol=1e-5)


def test_a_batch_gives_what_its_pairs_give():
    q0, q1 = random_transforms((7,), 30, seed=1), random_transforms((7,), 26, seed=2)
    together = elastic_distance(q0, q1, 5)
    alone = torch.stack([elastic_distance(x, y, 5) for x, y in zip(q0, q1, strict=True)])
    assert torch.allclose(together, alone, rtol=1e-14)
    order = torch.tensor([3, 0, 6, 1, 5, 4, 2])
    assert torch.allclose(elastic_distance(q0[order], q1[order], 5), together[order], rtol=1e-14)
    phi = torch.stack([align(x, y, 5) for x, y in zip(q0, q1, strict=True)])
    assert torch.equal(align(q0, q1, 5), phi)


def test_leading_dimensions_broadcast():
    q0, q1 = random_transforms((4, 1), 12, seed=1), random_transforms((3,), 10, seed=2)
    for smoothing in (None, 0.3):
        distance = elastic_distance(q0, q1, 4, smoothing=smoothing)
        assert distance.shape == (4, 3)
        one = elastic_distance(q0[2, 0], q1[1], 4, smoothing=smoothing)
        assert distance[2, 1].item() == pytest.approx(one.item(), rel=1e-13)
    assert align(q0, q1, 4).shape == (4, 3, 13)


def test_pairwise_matrices():
    qs, others = random_transforms((7,), 20, seed=1), random_transforms((4,), 16, seed=2)
    matrix = pairwise_elastic_distance(qs, others, 5)
    assert torch.allclose(matrix, elastic_distance(qs[:, None], others, 5), rtol=1e-13)
    square = pairwise_elastic_distance(qs.requires_grad_(), slopes=5, band=4)
    assert torch.equal(square, square.mT)
    assert bool((square.diagonal() == 0).all())
    assert not square.requires_grad
    assert torch.allclose(square, elastic_distance(qs[:, None], qs, 5, band=4), rtol=1e-13)


def test_pairwise_takes_curves_of_any_length():
    lengths = [12, 20, 12, 15, 20, 20]
    qs = [random_transforms((), n, seed=k) for k, n in enumerate(lengths)]
    wanted = torch.stack([torch.stack([elastic_distance(x, y, 4) for y in qs]) for x in qs])
    assert torch.allclose(pairwise_elastic_distance(qs, slopes=4), wanted, rtol=1e-13)
    assert torch.allclose(pairwise_elastic_distance(qs, qs[:4], slopes=4), wanted[:, :4], rtol=1e-13)
    single = pairwise_elastic_distance(qs[:1], slopes=4)
    assert torch.equal(single, torch.zeros(1, 1, dtype=torch.float64))


def test_pairwise_shows_progress(capsys):
    pairwise_elastic_distance(random_transforms((3,), 8), progress=True)
    assert "elastic distances" in capsys.readouterr().out


Q = torch.zeros(5, 3)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("q0", lambda: elastic_distance(Q[:0], Q)),
        ("q0", lambda: elastic_distance(Q.half(), Q)),
        ("q0, q1", lambda: elastic_distance(Q + torch.nan, Q)),
        ("q0, q1", lambda: elastic_distance(Q, Q + torch.inf)),
        ("q1", lambda: elastic_distance(Q, Q[:, :2])),
        ("q1", lambda: elastic_distance(Q, Q.double())),
        ("q1", lambda: elastic_distance(Q.expand(2, 5, 3), Q.expand(3, 5, 3))),
        ("slopes", lambda: elastic_distance(Q, Q, slopes=0)),
        ("slopes", lambda: elastic_distance(Q, Q[:1], slopes=4)),
        ("slopes", lambda: align(Q, Q[:1], slopes=4)),
        ("band", lambda: elastic_distance(Q, Q, band=-1)),
        ("band", lambda: elastic_distance(Q, Q[:4], slopes=3, band=0)),
        ("smoothing", lambda: elastic_distance(Q, Q, smoothing=0.0)),
        ("refine", lambda: elastic_distance(Q, Q, refine=0)),
        ("refine", lambda: elastic_distance(Q, Q, refine=3, smoothing=1.0)),
        ("scale", lambda: elastic_distance(Q, Q, scale="unit")),
        ("cells0", lambda: elastic_distance(Q[None], Q, cells0=torch.tensor([5, 5]))),
        ("qs", lambda: pairwise_elastic_distance([])),
        ("qs", lambda: pairwise_elastic_distance(torch.zeros(0, 5, 3))),
        (r"qs\[1\]", lambda: pairwise_elastic_distance([Q, Q[:, :2]])),
        ("others", lambda: pairwise_elastic_distance(Q[None], Q[None].double())),
        ("slopes", lambda: pairwise_elastic_distance([Q, Q[:1]], slopes=2)),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: ") as error:
        call()
    assert "\n" not in str(error.value)
