"""geomstats' learning on our spaces, against its own spaces and our mean."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from manifoldnet import SO3, SPD, Circle, Power
from manifoldnet.manifolds import SPACES, Sphere, to_geomstats

os.environ["GEOMSTATS_BACKEND"] = "numpy"
frechet_mean = pytest.importorskip("geomstats.learning.frechet_mean")
kmeans = pytest.importorskip("geomstats.learning.kmeans")
knn = pytest.importorskip("geomstats.learning.knn")
pca = pytest.importorskip("geomstats.learning.pca")
spd_matrices = pytest.importorskip("geomstats.geometry.spd_matrices")
special_orthogonal = pytest.importorskip("geomstats.geometry.special_orthogonal")
hypersphere = pytest.importorskip("geomstats.geometry.hypersphere")

F64 = torch.float64
NAMES = ("spd-affine-invariant", "so3", "sphere", "torus", "circle", "product-mixed")


def rng(seed):
    return torch.Generator().manual_seed(seed)


def clouds(space, std=0.2, clusters=1, each=12):
    """(clusters * each, *point) around centres at a distance, and the labels."""
    start = space.random(*space.point_shape, dtype=F64, generator=rng(0))
    directions = space.random_tangent(start.expand(clusters, *space.point_shape), generator=rng(1))
    centres = space.expmap(start, 1.4 * directions / space.norm(start, directions, keepdim=True))
    points = space.random_normal(centres, std, size=(each,), generator=rng(2)).transpose(0, 1).flatten(0, 1)
    return points, np.repeat(np.arange(clusters), each)


def arrays(space, points):
    return points.reshape(-1, *to_geomstats(space).shape).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_mean(name):
    space = SPACES[name]
    points, _ = clouds(space)
    learner = frechet_mean.FrechetMean(to_geomstats(space))
    learner.set(epsilon=1e-18, max_iter=200)
    weights = np.linspace(1, 2, len(points))
    found = learner.fit(arrays(space, points), weights=weights).estimate_
    wanted = space.frechet_mean(points, torch.from_numpy(weights))
    assert isinstance(found, np.ndarray)
    assert np.allclose(found, arrays(space, wanted)[0], rtol=0, atol=1e-7)


def their_space(name):
    if name == "so3":
        return special_orthogonal.SpecialOrthogonal(3)
    if name == "sphere":
        return hypersphere.Hypersphere(2)
    space = spd_matrices.SPDMatrices(3, equip=False)
    return space.equip_with_metric(spd_matrices.SPDAffineMetric)


@pytest.mark.parametrize("name", ["spd-affine-invariant", "so3", "sphere"])
def test_their_spaces_give_the_same(name):
    """Their rotations have the metric tr(U'V), or half of it, which changes neither mean nor components."""
    space, theirs = SPACES[name], their_space(name)
    points, _ = clouds(space)
    x = arrays(space, points)
    ours = to_geomstats(space)
    learners = [pca.TangentPCA(each, n_components=2) for each in (ours, theirs)]
    for learner in learners:
        learner.mean_estimator.set(epsilon=1e-16, max_iter=200)
        learner.fit(x)
    a, b = learners
    assert np.allclose(a.base_point_, b.base_point_, rtol=0, atol=1e-6)
    assert np.allclose(a.explained_variance_ratio_, b.explained_variance_ratio_, rtol=0, atol=1e-6)
    for p, q in zip(a.components_, b.components_, strict=True):
        assert abs(abs(p @ q) - 1) < 1e-6
    assert np.allclose(np.abs(a.transform(x)), np.abs(b.transform(x)), rtol=0, atol=1e-5)
    base, other, v = x[0], x[1], ours.metric.log(x[2], x[0])
    if name == "sphere":
        moved = theirs.metric.parallel_transport(v, base, end_point=other)
        assert np.allclose(ours.metric.parallel_transport(v, base, end_point=other), moved, atol=1e-10)
    assert np.allclose(ours.metric.exp(v, base), theirs.metric.exp(v, base), atol=1e-8)


@pytest.mark.parametrize("name", ["spd-affine-invariant", "so3", "sphere", "torus"])
def test_tangent_pca_reconstructs(name):
    space = SPACES[name]
    points, _ = clouds(space)
    x = arrays(space, points)
    learner = pca.TangentPCA(to_geomstats(space)).fit(x)
    back = learner.inverse_transform(learner.transform(x))
    assert np.allclose(back, x, rtol=0, atol=1e-8)
    # a set of points on a geodesic has one component
    middle, u = points[0], space.random_tangent(points[0], generator=rng(3))
    u = u / space.norm(middle, u, keepdim=True)
    line = space.expmap(middle, torch.linspace(-0.5, 0.5, 9, dtype=F64)[(...,) + (None,) * space.ndim] * u)
    learner = pca.TangentPCA(to_geomstats(space)).fit(arrays(space, line), base_point=arrays(space, middle)[0])
    assert learner.explained_variance_ratio_[0] > 1 - 1e-10


@pytest.mark.parametrize("space", [SPD(n=3), SO3(), Sphere(3), Power(Circle(), 3)], ids=lambda space: space.name)
def test_clusters_are_found(space):
    points, labels = clouds(space, 0.1, 3)
    x = arrays(space, points)
    learner = kmeans.RiemannianKMeans(to_geomstats(space), n_clusters=3, init=x[[0, 12, 24]], tol=1e-6)
    learner.fit(x)
    assert np.array_equal(learner.labels_, labels)
    assert np.array_equal(learner.predict(x), labels)
    for k, centre in enumerate(learner.cluster_centers_):
        wanted = space.frechet_mean(points[labels == k])
        assert space.dist(wanted, torch.from_numpy(centre)) < 0.02
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002, geomstats draws from it
    learner = kmeans.RiemannianKMeans(to_geomstats(space), n_clusters=3, init="kmeans++", tol=1e-6)
    learner.fit(x)
    assert len(set(learner.labels_.tolist())) == 3


def test_nearest_neighbours():
    """scikit-learn calls the distance with single flat points, so only for spaces of vectors."""
    space = Sphere(3)
    points, labels = clouds(space, 0.1, 2)
    learner = knn.KNearestNeighborsClassifier(to_geomstats(space), n_neighbors=3).fit(points.numpy(), labels)
    assert np.array_equal(learner.predict(points.numpy()), labels)


@pytest.mark.parametrize("name", SPACES)
def test_manifold_methods(name):
    space = SPACES[name]
    theirs = to_geomstats(space)
    assert (theirs.dim, theirs.point_ndim) == (space.dim, max(1, space.ndim))
    x = theirs.random_point(3)
    assert x.shape == (3, *theirs.shape)
    assert theirs.random_point().shape == theirs.shape
    assert theirs.belongs(x).tolist() == [True] * 3
    assert theirs.belongs(x[0])
    u = 0.1 * theirs.to_tangent(np.ones_like(x), x)
    assert theirs.is_tangent(u, x).all()
    if name not in ("euclidean", "circle", "torus"):
        assert not theirs.belongs(np.full(theirs.shape, np.nan))
    assert np.allclose(theirs.projection(x), x, atol=1e-10)
    y = theirs.metric.exp(u, x)
    assert np.allclose(theirs.metric.log(y, x), u, atol=1e-7)
    assert np.allclose(theirs.metric.dist(x, y), theirs.metric.norm(u, x), atol=1e-7)
    assert np.allclose(theirs.metric.squared_dist(x, y), theirs.metric.inner_product(u, u, x), atol=1e-7)
    moved = theirs.metric.parallel_transport(u, x, direction=u)
    assert np.allclose(moved, theirs.metric.parallel_transport(u, x, end_point=y), atol=1e-7)
    assert np.allclose(theirs.metric.squared_norm(moved, y), theirs.metric.squared_norm(u, x), atol=1e-7)
    radius = space.injectivity_radius()
    assert theirs.metric.injectivity_radius() == radius
    assert (theirs.metric.injectivity_radius(x) >= radius).all()
    path = theirs.metric.geodesic(x[0], y[0])
    assert np.allclose(path(np.array([0.0, 1.0])), np.stack([x[0], y[0]]), atol=1e-7)


def test_seeds_of_theirs_repeat_the_points():
    import geomstats.backend as gs

    theirs = to_geomstats(SO3())
    gs.random.seed(1)
    first = theirs.random_point(2)
    gs.random.seed(1)
    assert np.array_equal(first, theirs.random_point(2))


def test_dtypes_and_inputs_are_kept():
    theirs = to_geomstats(SPD(n=2))
    x = np.eye(2, dtype=np.float32)
    assert theirs.metric.exp(x, x).dtype == np.float32
    assert theirs.metric.exp(np.eye(2, dtype=int), np.eye(2, dtype=int)).dtype == np.float64
    x.setflags(write=False)
    assert theirs.metric.dist(x, 2 * x) > 0
    leaf = torch.eye(2, dtype=F64, requires_grad=True)
    theirs.metric.squared_dist(leaf, 2 * torch.eye(2, dtype=F64)).backward()
    assert leaf.grad is not None


def test_errors():
    with pytest.raises(ValueError, match="space"):
        to_geomstats(SPD())
    metric = to_geomstats(SO3()).metric
    with pytest.raises(ValueError, match="base_point"):
        metric.squared_norm(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="direction or end_point"):
        metric.parallel_transport(np.zeros((3, 3)), np.eye(3))


TORCH = """
import sys
import torch
import manifoldnet
assert "geomstats" not in sys.modules
from manifoldnet.manifolds import SO3, to_geomstats
theirs = to_geomstats(SO3())
assert torch.get_default_dtype() is torch.float32
from geomstats.learning.frechet_mean import FrechetMean
x = SO3().random(1, 3, 3)
x = SO3().expmap(x, 0.3 * SO3().random_tangent(x.expand(5, 3, 3)))
learner = FrechetMean(theirs)
learner.set(epsilon=1e-12, max_iter=100)
found = learner.fit(x).estimate_
assert isinstance(found, torch.Tensor)
assert SO3().dist(found, SO3().frechet_mean(x)) < 1e-5
assert isinstance(theirs.random_point(), torch.Tensor)
"""
MISSING = """
import sys
sys.modules["geomstats.backend"] = None
from manifoldnet.manifolds import SO3, to_geomstats
try:
    to_geomstats(SO3())
except ImportError as error:
    assert "pip install" in str(error)
else:
    raise AssertionError
"""


@pytest.mark.parametrize(("program", "backend"), [(TORCH, "pytorch"), (MISSING, "numpy")], ids=["torch", "missing"])
def test_in_a_process_of_its_own(program, backend):
    environment = {**os.environ, "GEOMSTATS_BACKEND": backend}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
