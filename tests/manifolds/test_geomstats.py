"""geomstats as an independent source of distances, logarithms, exponentials and means."""

import os

import numpy as np
import pytest
import torch

from manifoldnet import SO3, SPD

os.environ["GEOMSTATS_BACKEND"] = "numpy"
spd_matrices = pytest.importorskip("geomstats.geometry.spd_matrices")
special_orthogonal = pytest.importorskip("geomstats.geometry.special_orthogonal")
frechet_mean = pytest.importorskip("geomstats.learning.frechet_mean")

F64 = torch.float64


def rng(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("metric", "theirs"), [("affine-invariant", "SPDAffineMetric"), ("log-euclidean", "SPDLogEuclideanMetric")]
)
def test_spd_metrics(metric, theirs):
    ours = SPD(metric)
    other = spd_matrices.SPDMatrices(3, equip=False)
    other.equip_with_metric(getattr(spd_matrices, theirs))
    x, y = (ours.random(5, 3, 3, dtype=F64, generator=rng(seed)) for seed in (0, 1))
    u = ours.proju(x, 0.5 * torch.randn(5, 3, 3, dtype=F64, generator=rng(2)))
    a, b, w = x.numpy(), y.numpy(), u.numpy()
    assert np.allclose(ours.dist(x, y), other.metric.dist(a, b), rtol=1e-10, atol=1e-10)
    assert np.allclose(ours.dist2(x, y), other.metric.squared_dist(a, b), rtol=1e-10, atol=1e-10)
    assert np.allclose(ours.logmap(x, y), other.metric.log(b, a), rtol=1e-8, atol=1e-10)
    assert np.allclose(ours.expmap(x, u), other.metric.exp(w, a), rtol=1e-8, atol=1e-10)
    assert np.allclose(ours.inner(x, u), other.metric.squared_norm(w, a), rtol=1e-8, atol=1e-8)
    mean = frechet_mean.FrechetMean(other)
    mean.optimizer.epsilon = 1e-12
    assert np.allclose(ours.frechet_mean(x), mean.fit(a).estimate_, rtol=1e-6, atol=1e-6)


def test_affine_invariant_transport():
    ours = SPD()
    other = spd_matrices.SPDMatrices(3, equip=False)
    other.equip_with_metric(spd_matrices.SPDAffineMetric)
    x, y = (ours.random(5, 3, 3, dtype=F64, generator=rng(seed)) for seed in (0, 1))
    u = ours.proju(x, torch.randn(5, 3, 3, dtype=F64, generator=rng(2)))
    theirs = other.metric.parallel_transport(u.numpy(), x.numpy(), end_point=y.numpy())
    assert np.allclose(ours.transp(x, y, u), theirs, rtol=1e-8, atol=1e-9)


def test_rotations():
    other = special_orthogonal.SpecialOrthogonal(3)
    x, y = (SO3().random(6, 3, 3, dtype=F64, generator=rng(seed)) for seed in (3, 4))
    close = (SO3().dist(x, y) < 3).numpy()  # their logarithm is not defined near pi
    a, b = x.numpy()[close], y.numpy()[close]
    x, y = x[torch.tensor(close)], y[torch.tensor(close)]
    assert np.allclose(SO3().dist(x, y), other.metric.dist(a, b), atol=1e-10, rtol=1e-10)
    log = other.metric.log(b, a)
    assert np.allclose(SO3().logmap(x, y), log, atol=1e-10, rtol=1e-10)
    assert np.allclose(SO3().expmap(x, torch.tensor(log)), b, atol=1e-10, rtol=1e-10)
    assert np.allclose(other.metric.exp(log, a), b, atol=1e-10, rtol=1e-10)


def test_torch_is_as_it_was():
    assert torch.get_default_dtype() is torch.float32
