import pickle
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from manifoldnet.curves import elastic_distance, inverse_srvt, pairwise_elastic_distance, srvt
from manifoldnet.curves.estimators import SRVT, ElasticKNNClassifier
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SE3, SO3, SPD, Circle, Euclidean, Power, Product, Sphere


def random_transforms(lengths, dim=3, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 1, (n, dim)) for n in lengths]


def rotations(samples, rng):
    """A curve on SO(3) with steps of up to about half a turn."""
    return (Rotation.random(rng=rng) * Rotation.from_rotvec(rng.normal(0, 0.5, (samples, 3)).cumsum(0))).as_matrix()


def motions(count, seed=0):
    """Turns about the three axes in one of six orders, in random time and from random starts; and their orders."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(count) % 6
    curves = []
    for kind in kinds:
        axes = np.eye(3)[list(list(permutations(range(3)))[kind])]
        knots = np.cumsum(np.append(0, np.exp(rng.normal(0, 1.5, 4)).clip(0.25, 4)))
        t = 6 * np.interp(np.linspace(0, 1, rng.integers(30, 50)), np.linspace(0, 1, 5), knots / knots[-1])[:, None]
        curve = Rotation.random(rng=rng)
        for k, axis in enumerate([*axes, *-axes]):
            curve = curve * Rotation.from_rotvec(0.8 * axis * np.clip(t - k, 0, 1))
        curves.append(curve.as_matrix())
    return curves, kinds


# the transformer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_curve_is_transformed_as_if_alone(side):
    rng = np.random.default_rng(0)
    curves = [rotations(n, rng) for n in (5, 9, 5, 2)]
    transforms = SRVT(SO3(), side=side).fit_transform(curves)
    assert isinstance(transforms, list)
    for curve, q in zip(curves, transforms, strict=True):
        np.testing.assert_allclose(q, srvt(torch.from_numpy(curve), SO3(), side).numpy(), rtol=1e-13, atol=1e-15)


def test_what_comes_in_comes_out():
    rng = np.random.default_rng(0)
    array = np.stack([rotations(6, rng) for _ in range(4)])
    objects = np.empty(4, object)
    objects[:] = list(array)
    transformer = SRVT(SO3()).fit(array)
    from_array, from_tensor = transformer.transform(array), transformer.transform(torch.from_numpy(array))
    assert isinstance(from_array, np.ndarray)
    assert isinstance(from_tensor, torch.Tensor)
    assert from_array.shape == from_tensor.shape == (4, 5, 3)
    for collection in (list(array), objects, list(torch.from_numpy(array))):
        transforms = transformer.transform(collection)
        assert isinstance(transforms, list)
        assert type(transforms[0]) is type(collection[0])
        np.testing.assert_array_equal(np.stack(transforms), from_array)
    narrow = transformer.transform(array.astype(np.float32))
    assert narrow.dtype == np.float32
    merged = SRVT(SO3(), cells=3).fit_transform([array[0], array[1, :4]])
    assert isinstance(merged, np.ndarray)
    assert merged.shape == (2, 3, 3)


@pytest.mark.parametrize(("samples", "cells"), [(10, 4), (10, 9), (5, 13), (2, 3), (30, 1)])
def test_cells_are_those_of_the_curve_at_equidistant_times(samples, cells):
    rng = np.random.default_rng(samples)
    vectors = rng.normal(0, 0.1, (samples, 3)).cumsum(0)
    curve = Rotation.from_rotvec(vectors)
    between = Slerp(np.linspace(0, 1, samples), curve)(np.linspace(0, 1, cells + 1))
    v = (between[:-1].inv() * between[1:]).as_rotvec()
    (q,) = SRVT(SO3(), cells=cells).fit_transform([curve.as_matrix()])
    np.testing.assert_allclose(q, v / np.sqrt(np.linalg.norm(v, axis=1, keepdims=True)), atol=1e-11)


SPACES = [
    Euclidean(1, shape=(2,)),
    Circle(),
    SO3(),
    SE3(),
    Power(SO3(), 2),
    Product([SO3(), Circle()]),
    Sphere(3),
    SPD("affine-invariant", n=2),
    Power(Sphere(3), 2),
]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
@pytest.mark.parametrize("dt", [None, 0.1])
def test_cutting_every_cell_in_three_changes_the_parametrisation_only(space, dt):
    """The curve is the same: three cells with the increments v / 3, which make its end; and so is its length."""
    torch.manual_seed(0)
    start, ends = (space.random(*n, *space.point_shape, dtype=torch.float64) for n in ((1,), (5,)))
    curve = torch.cat([start, space.expmap(start, 0.5 * space.logmap(start, ends))])[None]
    whole = SRVT(space, dt=dt).fit_transform(curve)
    cut = SRVT(space, dt=dt, cells=15).fit_transform(curve)
    torch.testing.assert_close(cut, whole.repeat_interleave(3, 1) / (3**0.5 if dt is None else 1), atol=1e-7, rtol=1e-7)
    end = inverse_srvt(cut, space, curve[:, 0], dt and dt / 3)[:, -1]
    assert space.dist(end, curve[:, -1]).max() < 1e-7


def test_a_resting_curve():
    still = np.tile(np.eye(3), (7, 1, 1))
    for cells in (None, 4, 11):
        (q,) = SRVT(SO3(), cells=cells).fit_transform([still])
        assert not q.any()


# the classifier ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize(("neighbors", "band"), [(1, None), (5, 2), (16, None)])
def test_against_scikit_learn(neighbors, weights, band):
    """Its nearest neighbours of a matrix given in advance, one of the queries being in the training set."""
    lengths = np.random.default_rng(1).integers(8, 11, 30)
    X = random_transforms(lengths)
    train, test, y = X[:16], [*X[16:], X[3]], np.array(list("abca")).repeat(4)[np.random.default_rng(2).permutation(16)]
    tensors = [[torch.from_numpy(q) for q in part] for part in (train, test)]
    known, asked = (pairwise_elastic_distance(part, tensors[0], 4, band).numpy() for part in tensors)
    oracle = KNeighborsClassifier(neighbors, weights=weights, metric="precomputed").fit(known, y)
    ours = ElasticKNNClassifier(neighbors, band=band, weights=weights).fit(train, y)
    np.testing.assert_allclose(ours.predict_proba(test), oracle.predict_proba(asked), rtol=1e-9)
    np.testing.assert_array_equal(ours.predict(test), oracle.predict(asked))
    assert ours.score(test[:4], y[:4]) == oracle.score(asked[:4], y[:4])
    for mine, theirs in zip(ours.kneighbors(test), oracle.kneighbors(asked), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9)
    if neighbors < 16:
        for mine, theirs in zip(ours.kneighbors(), oracle.kneighbors(), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9)


def test_neighbours_in_order():
    X = random_transforms([10] * 9)
    classifier = ElasticKNNClassifier(2).fit([*X[:4], X[2]], [0, 1, 0, 1, 1])
    distances, indices = classifier.kneighbors([X[2], X[8]], 5)
    assert indices[0, :2].tolist() == [2, 4]  # at one distance, in the order of the fit
    assert (np.diff(distances) >= 0).all()
    for row, q in enumerate((X[2], X[8])):
        alone = [elastic_distance(*map(torch.from_numpy, (q, other)), 4).item() for other in (*X[:4], X[2])]
        np.testing.assert_allclose(distances[row], np.array(alone)[indices[row]], rtol=1e-12)
    np.testing.assert_array_equal(classifier.kneighbors([X[8]], 3, return_distance=False), indices[1:, :3])
    assert classifier.predict([X[2]]) == [0]  # one vote each


def test_equal_curves_outvote_all_others():
    X = random_transforms([10] * 6)
    classifier = ElasticKNNClassifier(5, weights="distance").fit([X[0], X[1], X[2], X[3], X[0]], list("abbbc"))
    np.testing.assert_allclose(classifier.predict_proba([X[0], X[1]]), [[0.5, 0, 0.5], [0, 1, 0]])


@pytest.mark.parametrize("scale", ["chord", "angle"])
def test_scale_is_divided_out(scale):
    rng = np.random.default_rng(3)
    X, y = random_transforms([12] * 12), np.arange(12) % 3
    bigger = [q * rng.uniform(0.01, 100) for q in X]
    free, fixed = (ElasticKNNClassifier(3, scale=by).fit(bigger, y).kneighbors(X) for by in (scale, None))
    wanted = ElasticKNNClassifier(3, scale=scale).fit(X, y).kneighbors(X)
    np.testing.assert_allclose(free[0], wanted[0], atol=1e-7)
    np.testing.assert_array_equal(free[1], wanted[1])
    assert (fixed[1] != wanted[1]).any()


def test_refinement_is_passed_on():
    X = random_transforms([60] * 4)
    refined, whole = (ElasticKNNClassifier(3, refine=refine).fit(X, range(4)).kneighbors()[0] for refine in (1, None))
    assert (refined > whole).any()


@pytest.mark.parametrize("labels", [list("abca"), [7, -2, 7, 0], [True, False, True, True], ["one"] * 4])
def test_labels(labels):
    X = random_transforms([6] * 4)
    classifier = ElasticKNNClassifier().fit(X, labels)
    assert classifier.classes_.tolist() == sorted(set(labels))
    predicted = classifier.predict(X)
    assert predicted.tolist() == labels
    assert predicted.dtype == np.asarray(labels).dtype


def test_types_may_differ_between_fit_and_prediction():
    X = random_transforms([8] * 6)
    narrow = [q.astype(np.float32) for q in X]
    one, other = ElasticKNNClassifier().fit(X, range(6)), ElasticKNNClassifier().fit(narrow, range(6))
    for queries in (X, narrow, np.stack(X), torch.from_numpy(np.stack(narrow)), [q.tolist() for q in X]):
        assert one.predict(queries).tolist() == other.predict(queries).tolist() == list(range(6))
    assert other.transforms_[0].dtype == torch.float32
    whole = [np.ones((3, 2), int), np.eye(3, 2, dtype=int)]
    assert ElasticKNNClassifier().fit(whole, [0, 1]).predict(whole).tolist() == [0, 1]


# in scikit-learn -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [SRVT(SO3(), cells=12, dt=0.1), ElasticKNNClassifier(3, band=4, scale="chord")])
def test_parameters(estimator):
    copy = clone(estimator)
    theirs, ours = copy.get_params(), estimator.get_params()
    assert repr(theirs) == repr(ours)
    assert list(ours) == sorted(ours)
    changed = copy.set_params(**dict.fromkeys(ours))
    assert all(value is None for value in changed.get_params().values())
    with pytest.raises(ValueError, match="neighbours"):
        estimator.set_params(neighbours=3)
    with pytest.raises(NotFittedError):
        getattr(estimator, "predict" if hasattr(estimator, "predict") else "transform")([np.zeros((4, 3))])


def test_a_pipeline_of_lists_of_curves():
    X, y = motions(30)
    pipeline = make_pipeline(SRVT(SO3(), cells=20), ElasticKNNClassifier())
    scores = cross_val_score(pipeline, X, y, cv=3)
    assert scores.mean() > 0.95
    without = cross_val_score(clone(pipeline).set_params(elasticknnclassifier__slopes=1), X, y, cv=3)
    assert without.mean() < 0.8  # time has to be warped
    choices = {"srvt__cells": [10, 20], "elasticknnclassifier__slopes": [1, 4]}
    search = GridSearchCV(pipeline, choices, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["elasticknnclassifier__slopes"] == 4


def test_a_pickled_pipeline_answers_the_same():
    X, y = motions(8)
    pipeline = make_pipeline(SRVT(SO3()), ElasticKNNClassifier(2)).fit(X, y)
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.predict_proba(X), pipeline.predict_proba(X))


# refusals ------------------------------------------------------------------------------------------------------------


def fitted():
    return ElasticKNNClassifier().fit(random_transforms([5, 6]), [0, 1])


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("X", lambda: SRVT(SO3()).fit([])),
        ("cells", lambda: SRVT(SO3(), cells=0).fit(np.zeros((2, 4, 3, 3)))),
        ("side", lambda: SRVT(SO3(), side="up").fit(np.zeros((2, 4, 3, 3)))),
        ("norm", lambda: SRVT(SO3(), norm="perfactor").fit(np.zeros((2, 4, 3, 3)))),
        ("curve", lambda: SRVT(SO3()).fit(np.zeros((2, 4, 3)))),
        ("curve", lambda: SRVT(SO3()).fit([np.eye(3)[None]])),
        ("X", lambda: SRVT(Euclidean()).fit(np.zeros((2, 4, 3))).transform(np.zeros((2, 4, 2)))),
        (r"X\[1\]", lambda: SRVT(SO3()).fit([np.zeros((2, 3, 3)), "curve"]).transform),
        (r"X\[1\]", lambda: ElasticKNNClassifier().fit([np.zeros((4, 3)), np.zeros((4, 2))], [0, 1])),
        (r"X\[0\]", lambda: ElasticKNNClassifier().fit([np.zeros(4), np.zeros((4, 2))], [0, 1])),
        (r"X\[1\]", lambda: ElasticKNNClassifier().fit([np.zeros((4, 3)), np.full((4, 3), np.nan)], [0, 1])),
        (r"X\[0\]", lambda: fitted().predict([np.zeros((4, 2))])),
        ("X", lambda: fitted().predict([])),
        ("y", lambda: ElasticKNNClassifier().fit(random_transforms([4, 4]), [0])),
        ("y", lambda: ElasticKNNClassifier().fit(random_transforms([4, 4]), [[0], [1]])),
        ("n_neighbors", lambda: ElasticKNNClassifier(3).fit(random_transforms([4, 4]), [0, 1])),
        ("n_neighbors", lambda: ElasticKNNClassifier(0).fit(random_transforms([4, 4]), [0, 1])),
        ("n_neighbors", lambda: fitted().kneighbors(n_neighbors=2)),
        ("weights", lambda: ElasticKNNClassifier(weights="near").fit(random_transforms([4, 4]), [0, 1])),
        ("slopes", lambda: ElasticKNNClassifier(slopes=1).fit(random_transforms([4, 8]), [0, 1]).kneighbors()),
        ("scale", lambda: ElasticKNNClassifier(scale="unit").fit(random_transforms([4, 8]), [0, 1]).kneighbors()),
        ("band", lambda: ElasticKNNClassifier(band=-1).fit(random_transforms([4, 8]), [0, 1]).kneighbors()),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: ") as error:
        call()
    assert "\n" not in str(error.value)


def test_continuous_labels():
    with pytest.raises(ValueError, match="continuous"):
        ElasticKNNClassifier().fit(random_transforms([4, 4]), [0.5, 0.7])
