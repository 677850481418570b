import math

import numpy as np
import scipy.stats
import torch

from manifoldnet import Circle

F64 = torch.float64


def test_distance_is_the_shorter_arc_also_for_angles_out_of_range():
    x = torch.tensor([3.0, -3.0, 0.0, 0.1, 7.0], dtype=F64)
    y = torch.tensor([-3.0, 3.0, math.pi, 0.3, 0.5], dtype=F64)
    wanted = np.abs(np.angle(np.exp(1j * (y - x).numpy())))
    assert np.allclose(Circle().dist(x, y), wanted, atol=1e-15, rtol=1e-15)
    assert Circle().dist(x, x + 2 * math.pi).max() < 1e-14


def test_logarithm_is_signed_and_takes_plus_pi_at_the_antipode():
    x = torch.tensor([3.0, -3.0, 0.0, math.pi], dtype=F64)
    y = torch.tensor([-3.0, 3.0, math.pi, 0.0], dtype=F64)
    arc = 2 * math.pi - 6
    assert np.allclose(Circle().logmap(x, y), [arc, -arc, math.pi, math.pi], atol=1e-15, rtol=1e-15)


def test_mean_agrees_with_scipy_for_symmetric_data_and_goes_through_the_cut():
    angles = torch.tensor([3.0, -3.0, 3.1, -3.1], dtype=F64)
    mean = Circle().frechet_mean(angles)
    assert abs(abs(mean.item()) - math.pi) < 1e-12
    spread = torch.tensor([0.2, 0.4, 0.9], dtype=F64)
    assert abs(Circle().frechet_mean(spread).item() - spread.mean().item()) < 1e-14
    assert abs(Circle().frechet_mean(spread[:2]).item() - scipy.stats.circmean(spread[:2].numpy())) < 1e-14


def test_random_angles_are_uniform():
    x = Circle().random(20000, dtype=F64, generator=torch.Generator().manual_seed(0))
    assert scipy.stats.kstest(x.numpy(), scipy.stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 0.01


def test_angles_out_of_range_are_no_points():
    assert Circle().check_point_on_manifold(torch.tensor([math.pi]))
    ok, reason = Circle().check_point_on_manifold(torch.tensor([3.2]), explain=True)
    assert not ok
    assert "(-pi, pi]" in reason
