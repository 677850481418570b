import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp

from manifoldnet.curves import align, inverse_srvt, srvt
from manifoldnet.curves.interpolation import _merged_grid, interpolate_motions
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SE3, SO3, Circle, Euclidean, Power, Product

GROUPS = {
    "SO3": SO3(),
    "SE3": SE3(),
    "Circle": Circle(),
    "Euclidean": Euclidean(1, shape=(4,)),
    "Power": Power(SO3(), 3),
    "Product": Product([SO3(), Euclidean(1, shape=(3,))]),
}
KINDS = [torch.float32, torch.float64]
ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)


def motion(group, samples, batch=(), seed=0, dtype=torch.float64):
    """A smooth motion with a start of its own."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 1, samples - 1, dtype=torch.float64)[:, None]
    a, b, c = torch.randn(3, *batch, 1, group.dim, generator=generator, dtype=torch.float64)
    steps = (a + 2 * torch.sin(3 * t + b) * c) / samples
    start = group.exp(0.4 * torch.randn(*batch, group.dim, generator=generator, dtype=torch.float64))
    return inverse_srvt(steps / steps.norm(dim=-1, keepdim=True).sqrt(), group, start).to(dtype)


def gap(group, x, y):
    return group.log(group.compose(group.inverse(x), y)).abs().max()


def matrices(t, seed):
    rng = np.random.default_rng(seed)
    amplitude, frequency, phase = (rng.uniform(0.5, 2.5, 3) for _ in range(3))
    return Rotation.from_rotvec(amplitude * np.sin(3 * frequency * np.asarray(t)[:, None] + phase))


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("timing", ["first", "blended"])
def test_ends_are_the_motions(name, side, timing):
    group = GROUPS[name]
    curve0, curve1 = motion(group, 20, seed=1), motion(group, 20, seed=2)
    for norm in ["joint", "perfactor"] if isinstance(group, Power) else ["joint"]:
        blend = interpolate_motions(curve0, curve1, ENDS, group, 6, side, norm, timing)
        assert blend.shape == (2, *curve0.shape)
        assert gap(group, blend[0], curve0) < 1e-12
        axis = -(group.ndim + 1)
        assert gap(group, blend[1].select(axis, 0), curve1.select(axis, 0)) < 1e-12
        assert gap(group, blend[1].select(axis, -1), curve1.select(axis, -1)) < 1e-12
        if timing == "blended":
            assert gap(group, blend[1], curve1) < 1e-12


@pytest.mark.parametrize("m", [30, 23, 41])
def test_the_far_end_is_the_warped_motion(m):
    time0, time1 = np.linspace(0, 1, 31), np.linspace(0, 1, m + 1)
    one, two = matrices(time0, 1), matrices(time1, 2)
    curve0, curve1 = torch.from_numpy(one.as_matrix()), torch.from_numpy(two.as_matrix())
    phi = align(srvt(curve0, SO3()), srvt(curve1, SO3()))
    assert (phi - torch.from_numpy(time0)).abs().max() > 0.05
    wanted = Slerp(time1, two)(phi.numpy()).as_matrix()
    found = interpolate_motions(curve0, curve1, 1.0, SO3())
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    # at its own speed, on the grid of the first
    blended = interpolate_motions(curve0, curve1, 1.0, SO3(), timing="blended")
    np.testing.assert_allclose(blended, Slerp(time1, two)(time0).as_matrix(), atol=1e-12)


@pytest.mark.parametrize("timing", ["first", "blended"])
def test_samples_coarser_than_pi_over_the_slope_are_not_aliased(timing):
    # a cell of the first motion meets up to 6 of the second, each a turn by 0.9
    slow, fast = torch.full((8, 1), 0.9, dtype=torch.float64), torch.full((40, 1), 0.9, dtype=torch.float64)
    curve0, curve1 = (inverse_srvt(v.sqrt(), Circle(), torch.zeros((), dtype=torch.float64)) for v in (slow, fast))
    half = interpolate_motions(curve0, curve1, 0.5, Circle(), timing=timing)
    # speeds sqrt interpolated: ((sqrt(7.2) + sqrt(36)) / 2)^2 altogether
    turns = torch.linspace(0, 1, 9, dtype=torch.float64) * (7.2**0.5 + 36**0.5) ** 2 / 4
    assert gap(Circle(), half, Circle().exp(turns[:, None])) < 1e-12


def test_a_straight_line_at_two_speeds_in_the_plane():
    group = Euclidean(1, shape=(2,))
    t = torch.linspace(0, 1, 41, dtype=torch.float64)[:, None]
    direction = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    curve0 = t * direction
    curve1 = torch.tensor([1.0, 2.0]) + (t + 0.12 * torch.sin(2 * torch.pi * t)) * direction
    s = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    blend = interpolate_motions(curve0, curve1, s, group)
    wanted = s[:, None, None] * torch.tensor([1.0, 2.0]) + curve0
    # the shapes are equal, what remains is the staircase of slopes
    assert (blend - wanted).abs().max() < 0.02
    timed = interpolate_motions(curve0, curve1, s, group, timing="blended")
    # t -> (1 - s) t + s phi(t) with t + 0.12 sin(2 pi t) the inverse of phi
    fine = np.linspace(0, 1, 5001)
    phase = fine + 0.12 * np.sin(2 * np.pi * fine)
    for k, share in enumerate(s.tolist()):
        place = np.interp(t[:, 0], (1 - share) * phase + share * fine, phase)
        expected = share * np.array([1.0, 2.0]) + place[:, None] * direction.numpy()
        np.testing.assert_allclose(timed[k], expected, atol=0.02)


@pytest.mark.parametrize("side", ["left", "right"])
def test_moving_both_motions_moves_the_blend(side):
    group = SO3()
    curve0, curve1 = motion(group, 25, seed=1), motion(group, 25, seed=2)
    g = group.exp(torch.tensor([0.3, -1.0, 0.5], dtype=torch.float64))
    move = (lambda x: g @ x) if side == "left" else (lambda x: x @ g)
    blend = interpolate_motions(curve0, curve1, 0.4, group, side=side)
    moved = interpolate_motions(move(curve0), move(curve1), 0.4, group, side=side)
    assert gap(group, moved, move(blend)) < 1e-10


def test_the_start_runs_along_a_geodesic_and_each_motion_to_itself_stays():
    curve0, curve1 = motion(SO3(), 15, seed=1), motion(SO3(), 15, seed=2)
    s = torch.linspace(0, 1, 5, dtype=torch.float64)
    starts = interpolate_motions(curve0, curve1, s, SO3())[:, 0]
    ends = Rotation.from_matrix(torch.stack([curve0[0], curve1[0]]).numpy())
    np.testing.assert_allclose(starts, Slerp([0, 1], ends)(s.numpy()).as_matrix(), atol=1e-13)
    for timing in ("first", "blended"):
        still = interpolate_motions(curve0, curve0, s, SO3(), timing=timing)
        assert gap(SO3(), still, curve0.expand_as(still)) < 1e-12


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("timing", ["first", "blended"])
def test_pauses_and_precision(dtype, timing):
    group = Power(SO3(), 2)
    curve0, curve1 = motion(group, 18, seed=1, dtype=dtype), motion(group, 14, seed=2, dtype=dtype)
    curve0 = torch.cat([curve0[:8], curve0[7:8].expand(5, -1, -1, -1), curve0[8:]])
    for other in (curve1, curve1[:1].expand_as(curve1)):
        leaves = [x.clone().requires_grad_() for x in (curve0, other, torch.tensor(0.3, dtype=dtype))]
        blend = interpolate_motions(*leaves, group, timing=timing)
        assert blend.dtype == dtype
        wide = interpolate_motions(*(x.detach().double() for x in leaves), group, timing=timing)
        assert gap(group, blend.double(), wide) < (1e-4 if dtype == torch.float32 else 1e-12)
        for grad in torch.autograd.grad(blend.square().sum() + blend.sum(), leaves):
            assert bool(grad.isfinite().all())


@pytest.mark.parametrize("timing", ["first", "blended"])
def test_gradcheck(timing):
    group = Euclidean(1, shape=(2,))
    curve0, curve1 = motion(group, 5, seed=1).requires_grad_(), motion(group, 6, seed=2).requires_grad_()
    s = torch.tensor([0.3, 0.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: interpolate_motions(*a, group, 3, timing=timing), (curve0, curve1, s))


@pytest.mark.parametrize("toward", [0.0, 1.0])
def test_nodes_that_differ_by_rounding_stay_in_order(toward):
    # steep at the end, where i / n is coarser than phi
    slow, steep = torch.linspace(0, 0.5, 57, dtype=torch.float64), torch.linspace(0.5, 1, 9, dtype=torch.float64)
    phi = torch.cat([slow, steep[1:]])
    phi[1:-1] = phi[1:-1].nextafter(torch.tensor(toward, dtype=torch.float64))
    time0, time1 = _merged_grid(phi, 16)
    for time in (time0, time1):
        assert time.shape == (80,)
        assert bool((time.diff() >= 0).all())


def test_batches_and_shares():
    curve0, curve1 = motion(SO3(), 12, (3,), seed=1), motion(SO3(), 15, seed=2)
    s = torch.tensor([[0.2], [0.8]], dtype=torch.float64)
    for timing in ("first", "blended"):
        blend = interpolate_motions(curve0, curve1, s, SO3(), timing=timing)
        assert blend.shape == (2, 3, 12, 3, 3)
        alone = interpolate_motions(curve0[2], curve1, 0.8, SO3(), timing=timing)
        assert torch.allclose(blend[1, 2], alone, rtol=0, atol=1e-12)
        other = interpolate_motions(curve1, curve0, s, SO3(), timing=timing)
        assert other.shape == (2, 3, 15, 3, 3)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("timing", lambda c: interpolate_motions(c, c, 0.5, SO3(), timing="second")),
        ("s", lambda c: interpolate_motions(c, c, 1.5, SO3(), timing="blended")),
        ("s", lambda c: interpolate_motions(c.expand(2, 8, 3, 3), c, torch.ones(3), SO3())),
        ("side", lambda c: interpolate_motions(c, c, 0.5, SO3(), side="both")),
        ("curve", lambda c: interpolate_motions(c, c[:1], 0.5, SO3())),
        ("slopes", lambda c: interpolate_motions(c, c[:2], 0.5, SO3(), slopes=2)),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: "):
        call(motion(SO3(), 8))
