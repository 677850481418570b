import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from manifoldnet.curves import elastic_distance, srvt
from manifoldnet.curves.closed import align_closed, closed_elastic_distance, opened
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3, Euclidean


def random_transforms(batch, n, seed, dtype=torch.float64):
    return torch.randn(*batch, n, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def closed_rotations(t):
    """Transform of a smooth closed curve of rotations at the times t, 1 full turn of the parameter."""
    angle = 2 * np.pi * np.asarray(t)[:, None]
    vectors = np.array([1.0, 0.6, 0.3]) * np.sin(angle * [1, 2, 1] + [0.3, 1.0, 2.0])
    return srvt(torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix()), SO3())


def brute_force(q0, q1, slopes):
    n, m = len(q0), len(q1)
    values = [elastic_distance(q0.roll(-s, 0), q1, slopes).item() for s in range(n)]
    values += [elastic_distance(q0, q1.roll(-s, 0), slopes).item() for s in range(m)]
    return min(values)


@pytest.mark.parametrize(("n", "m"), [(9, 9), (12, 7)])
def test_the_best_of_all_starts(n, m):
    q0, q1 = random_transforms((4,), n, 1), random_transforms((4,), m, 2)
    distance = closed_elastic_distance(q0, q1, 4)
    for k in range(4):
        assert distance[k].item() == pytest.approx(brute_force(q0[k], q1[k], 4), rel=1e-12)
    start0, start1, phi = align_closed(q0, q1, 4)
    assert bool(((start0 == 0) | (start1 == 0)).all())
    assert phi.shape == (4, n + 1)
    assert torch.equal(elastic_distance(opened(q0, start0), opened(q1, start1), 4), distance)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("scale", [None, "angle"])
def test_symmetric_and_blind_to_the_start(stride, scale):
    q0, q1 = random_transforms((5,), 12, 3), random_transforms((5,), 12, 4)
    there = closed_elastic_distance(q0, q1, 4, stride, scale=scale)
    assert torch.equal(there, closed_elastic_distance(q1, q0, 4, stride, scale=scale))
    if stride == 1:
        assert bool((closed_elastic_distance(q0, q0.roll(7, 1), 4, scale=scale) == 0).all())
    assert bool((there <= elastic_distance(q0, q1, 4, scale=scale) + 1e-12).all())


def test_a_closed_curve_started_elsewhere_at_another_speed_is_near():
    """Also with a coarse search, and unlike the distance of open curves."""
    t = np.linspace(0, 1, 81)
    q = closed_rotations(t)
    moved = closed_rotations(0.37 + t + 0.08 * np.sin(2 * np.pi * t))
    norm = q.norm().item()
    assert elastic_distance(q, moved).item() > 0.3 * norm
    for stride in (1, 8):
        assert closed_elastic_distance(q, moved, 6, stride).item() < 0.08 * norm


def test_where_both_curves_start_makes_little_difference():
    """None to the infimum over all pairs of starts, of which those with one at its first cell are tried."""
    t = np.linspace(0, 1, 61)
    q0, q1 = closed_rotations(t), closed_rotations(t + 0.1 * np.sin(2 * np.pi * t)).flip(1)
    there = closed_elastic_distance(q0, q1).item()
    for shift0, shift1 in [(5, 0), (17, 40), (30, 30)]:
        moved = closed_elastic_distance(q0.roll(shift0, 0), q1.roll(shift1, 0)).item()
        assert moved == pytest.approx(there, rel=5e-3)


def test_plane_curves():
    """A circle is a circle from wherever it starts; turned, it is itself again."""
    t = torch.linspace(0, 2 * torch.pi, 41, dtype=torch.float64)
    circle = srvt(torch.stack([t.cos(), t.sin()], -1), Euclidean(1))
    turned = srvt(torch.stack([(t + 1).cos(), (t + 1).sin()], -1), Euclidean(1))
    step = 2 * torch.pi / 40
    # the best start is off by at most half a cell
    assert closed_elastic_distance(circle, turned).item() < step / 2 * circle.norm().item()


def test_gradcheck():
    q0, q1 = random_transforms((2,), 6, 5).requires_grad_(), random_transforms((2,), 6, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: closed_elastic_distance(x, y, 3), (q0, q1))


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("stride", lambda q: closed_elastic_distance(q, q, stride=0)),
        ("q1", lambda q: closed_elastic_distance(q, q[None])),
        ("slopes", lambda q: closed_elastic_distance(q, q, slopes=0)),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: "):
        call(random_transforms((), 8, 0))
