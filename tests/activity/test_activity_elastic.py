"""Elastic comparison of velocity and pose: equivariant, and against closed forms."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from manifoldnet.activity.elastic import (
    choose_pieces,
    inertial_transform,
    mirrored_transform,
    pieces,
    posed_transform,
)
from manifoldnet.activity.windows import mirror
from manifoldnet.curves import elastic_distance, pairwise_elastic_distance, srvt_of_increments
from manifoldnet.errors import InputError


def curve(cells, seed=0, d=3, m=4):
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(cells, d, generator=g, dtype=torch.float64) / cells**0.5,
            torch.randn(cells, m, generator=g, dtype=torch.float64))  # fmt: skip


def test_without_a_pose_it_is_the_square_root_velocity():
    v, p = curve(20)
    q = posed_transform(v, p, 0)
    torch.testing.assert_close(q[:, :3], srvt_of_increments(v))
    assert not q[:, 3:].any()


def test_norm_is_an_integral_over_arc_length():
    v, p = curve(20)
    speed = v.norm(dim=-1)
    wanted = (speed * (1 + 0.25 * p.square().sum(-1))).sum()
    torch.testing.assert_close(posed_transform(v, p, 0.5).square().sum(), wanted)


def test_speed_changes_no_distance():
    """A cell cut in two halves is run through at half the speed: v / 2 twice, and the pose twice."""
    (v, p), (u, r) = curve(12, 0), curve(12, 1)
    q = posed_transform(u, r)
    once = elastic_distance(posed_transform(v, p), q, slopes=6)
    halves = posed_transform(v.repeat_interleave(2, 0) / 2, p.repeat_interleave(2, 0))
    doubled = posed_transform(u.repeat_interleave(2, 0) / 2, r.repeat_interleave(2, 0))
    assert elastic_distance(halves, posed_transform(v, p)) < 1e-6
    assert elastic_distance(halves, doubled, slopes=6) <= once + 1e-12
    assert once > 0.3


def test_pose_tells_equal_velocities_apart():
    v, _ = curve(10)
    v = v / v.norm(dim=-1, keepdim=True)
    here, there = torch.zeros(10, 2, dtype=torch.float64), torch.zeros(10, 2, dtype=torch.float64)
    there[:, 0] = 2.0
    distance = elastic_distance(posed_transform(v, here, 0.3), posed_transform(v, there, 0.3), band=0)
    assert float(distance) == pytest.approx((10 * (0.3 * 2.0) ** 2) ** 0.5)


def test_rest_is_zero_with_finite_gradient():
    v, p = torch.zeros(5, 3, requires_grad=True), torch.ones(5, 3)
    q = posed_transform(v, p)
    q.sum().backward()
    assert not q.any()
    assert v.grad.isfinite().all()


def windows(n=4, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(200) / 50
    turning = 2 * np.sin(2 * np.pi * (0.5 * t[:, None] + rng.random((n, 1, 3))))
    pull = np.sin(2 * np.pi * (0.5 * t[:, None] + rng.random((n, 1, 3)))) * 0.3 + rng.normal(size=(n, 1, 3))
    return np.concatenate([turning, pull], -1)


def test_mirror_acts_linearly():
    w = windows()
    q = inertial_transform(w, 50.0, 40, 2.0, 1.0)
    image = inertial_transform(mirror(w), 50.0, 40, 2.0, 1.0)
    torch.testing.assert_close(image, mirrored_transform(q), atol=1e-5, rtol=1e-4)
    assert (image - q).abs().max() > 0.05


def test_one_remounting_of_all_sensors_changes_no_distance():
    w = windows()
    Q = Rotation.random(random_state=0).as_matrix()
    turned = np.concatenate([w[..., :3] @ Q.T, w[..., 3:] @ Q.T], -1)
    q, r = (inertial_transform(x, 50.0, 40, 2.0, 1.0) for x in (w, turned))
    distances = pairwise_elastic_distance(q, slopes=4)
    assert (q - r).abs().max() > 0.05
    torch.testing.assert_close(pairwise_elastic_distance(r, slopes=4), distances, atol=1e-4, rtol=1e-4)
    assert pairwise_elastic_distance(q, r, slopes=4).diagonal().min() > 0.1


def test_pieces_know_themselves():
    q = inertial_transform(windows(6), 50.0, 40, 2.0, 1.0)
    found = choose_pieces(q, np.array([0, 1, 0, 1, 0, 1]), 4, 16, 4, 3, np.random.default_rng(0))
    features = found.features(q)
    assert features.shape == (6, 8)
    nearest, often = features[:, :4], features[:, 4:]
    # every prototype is a piece of one of them, of either class in turn
    assert np.all(nearest.min(0) < 2e-3)
    assert set(nearest.argmin(0) % 2) == {0, 1}
    assert np.all((often > 0) & (often <= 1))
    assert np.median(nearest) > 0.1


def test_wrong_arguments_are_refused():
    v, p = curve(10)
    with pytest.raises(InputError, match="weight"):
        posed_transform(v, p, -1)
    q = posed_transform(v, p)[None]
    with pytest.raises(InputError, match="length"):
        pieces(q, 11, 1)
    with pytest.raises(InputError, match="count"):
        choose_pieces(q.float().repeat(2, 1, 1), np.array([0, 1]), 1, 4, 2, 3, np.random.default_rng(0))
