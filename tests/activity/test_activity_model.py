"""The classifier of movements: a scikit-learn estimator, its files, its streams, its refusals, and what is elastic."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from manifoldnet.activity.channels import attitudes
from manifoldnet.activity.io import Recording
from manifoldnet.activity.model import ActivityClassifier
from manifoldnet.activity.models import build
from manifoldnet.activity.neighbours import ElasticMetric
from manifoldnet.activity.train import SHIPPED, shipped_config, train, watch
from manifoldnet.activity.windows import mirror
from manifoldnet.data import cached
from manifoldnet.errors import InputError
from manifoldnet.training import load_weights, save_weights

needs_watch = pytest.mark.skipif(cached("watch") is None, reason="needs manifoldnet data get watch")

# closed paths of two angles through the corners of a square: the same corners in different orders
PATHS = {
    "there": [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)],
    "back": [(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)],
    "across": [(0, 0), (1, 1), (0, 1), (1, 0), (0, 0)],
}


def warp(rng):
    """A random way to run through [0, 1], up to ten times as fast here as there."""
    speed = np.clip(np.exp(rng.normal(0, 1, 3)), 0.3, 3)
    places = np.concatenate([[0], np.cumsum(speed)]) / speed.sum()
    return lambda t: np.interp(t, np.linspace(0, 1, 4), places)


def turned(name, rng, n):
    """(n, 1, 3, 3): the path of a name, run through in a random way."""
    place = warp(rng)(np.linspace(0, 1, n))
    corners = np.array(PATHS[name], float)
    angles = [np.interp(place, np.linspace(0, 1, 5), 1.2 * corner) for corner in corners.T]
    return Rotation.from_euler("zx", np.stack(angles, 1)).as_matrix()[:, None]


def measured(name, rng, n, rate=50.0):
    """(n, 6): what a gyroscope on such a path measures, in rad/s, and 1 g."""
    path = turned(name, rng, n + 1)[:, 0]
    turning = Rotation.from_matrix(path[:-1].swapaxes(-1, -2) @ path[1:]).as_rotvec() * rate
    return np.concatenate([turning, np.tile([0, 0, 1.0], (n, 1))], 1)


def examples(make, count, seed):
    rng = np.random.default_rng(seed)
    labels = [list(PATHS)[k % len(PATHS)] for k in range(count)]
    return [make(label, rng, int(rng.integers(60, 140))) for label in labels], np.array(labels)


def elastic(kind="imu", rate=50.0, *, seconds=4.0, seed=0, **options):
    options = {"samples": 12, "steps": 0, **options}
    return ActivityClassifier(kind, rate, model="elastic", seconds=seconds, seed=seed, options=options)


def fast(families=4, **rest):
    return ActivityClassifier(options={"families": families}, **rest)


@pytest.fixture(scope="module", params=["fast", "elastic"])
def fitted(request):
    X, y = examples(measured, 9, 0)
    return (fast() if request.param == "fast" else elastic(samples=16, steps=4)).fit(X, y)


# what it is good for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_elastic_where_a_fixed_time_fails(seed):
    """Classes differ by their path and instances by their speed; one example of each class is enough, then."""
    (X, y), (unseen, truth) = examples(turned, 3, 10 + seed), examples(turned, 45, 20 + seed)
    scores = {}
    for slopes in (6, 4, 1):
        classifier = elastic("rotations", rate=100.0, seconds=10.0, samples=60, slopes=slopes)
        scores[slopes] = classifier.fit(X, y).score(unseen, truth)
    assert scores[6] >= 0.97
    assert scores[4] >= 0.97
    assert scores[1] < 0.8


def test_learning_the_inner_product():
    """Where one channel of six tells the classes and the others tell of other things, which one is learned."""

    def waves(count, seed):
        rng = np.random.default_rng(seed)
        t = np.linspace(0, 1, 100)[:, None]
        curves = []
        for k in range(count):
            curve = sum(rng.normal(0, 1, 6) * np.sin(2 * np.pi * m * t + rng.uniform(0, 6, 6)) for m in range(1, 5))
            curve[:, 0] = 2 * np.sin(2 * np.pi * (k % 3 + 1) * t[:, 0])
            curves.append(curve)
        return curves, np.arange(count) % 3

    (X, y), (unseen, truth) = waves(24, 1), waves(60, 2)
    plain, learned = (elastic(samples=24, steps=steps, lr=0.3).fit(X, y).score(unseen, truth) for steps in (0, 60))
    assert plain < 0.85
    assert learned > 0.95


@needs_watch
def test_shipped_weights_on_people_they_never_saw():
    config = shipped_config()
    data = watch().of(config["held_out"])
    classifier = ActivityClassifier.load(SHIPPED)
    assert np.mean(classifier.predict(data.samples[:14]) == data.labels[:14]) > 0.85  # chance is 1 / 7


@needs_watch
@pytest.mark.slow
def test_shipped_weights_are_what_their_configuration_makes():
    """Bit for bit on one thread of the machine that made them; elsewhere to rounding."""
    made, shipped = train(shipped_config()), ActivityClassifier.load(SHIPPED)
    torch.testing.assert_close(made.model_.tensors(), shipped.model_.tensors(), rtol=1e-3, atol=1e-3)
    held_out = watch().of(shipped_config()["held_out"])
    np.testing.assert_allclose(made.predict_proba(held_out.samples), shipped.predict_proba(held_out.samples), atol=1e-3)


def test_shipped_weights_say_what_made_them():
    about = load_weights(SHIPPED, "activity")[1]
    assert about["config"] == shipped_config()
    parameters = ActivityClassifier(**shipped_config()["classifier"]).get_params()
    assert about["parameters"] == parameters


# scikit-learn --------------------------------------------------------------------------------------------------------


def test_parameters():
    classifier = ActivityClassifier(rate=25.0, options={"families": 3})
    assert classifier.get_params()["rate"] == 25
    assert clone(classifier).get_params() == classifier.get_params()
    classifier.set_params(seconds=2.0, kind="rotations")
    assert (classifier.seconds, classifier.kind) == (2.0, "rotations")
    with pytest.raises(ValueError, match="neighbours"):
        classifier.set_params(neighbours=3)
    with pytest.raises(NotFittedError):
        classifier.predict([np.zeros((50, 6))])


def test_in_scikit_learn():
    X, y = examples(measured, 18, 4)
    groups = np.arange(18) // 3
    assert cross_val_score(elastic(), X, y, groups=groups, cv=3).mean() > 0.6
    choice = [{"samples": 12, "steps": 0, "slopes": slopes} for slopes in (1, 4)]
    search = GridSearchCV(elastic(), {"options": choice}, cv=2).fit(X, y)
    assert search.best_params_["options"]["slopes"] == 4


@pytest.mark.parametrize("kind", [str, int, bool, float])
def test_labels(kind):
    X, y = examples(measured, 8, 0)
    labels = {str: y, int: np.array([7, -2, 7, 5, -2, 7, 5, 5]), bool: y == "back", float: np.arange(8) // 3 / 2}[kind]
    classifier = elastic(steps=1).fit(X, list(labels))
    assert classifier.classes_.tolist() == sorted(set(labels.tolist()))
    predicted = classifier.predict(X)
    np.testing.assert_array_equal(predicted, labels)  # its own neighbours
    assert predicted.dtype.kind == np.asarray(labels).dtype.kind


def test_probabilities(fitted):
    X, _ = examples(measured, 6, 8)
    p = fitted.predict_proba(X)
    assert p.shape == (6, 3)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[p.argmax(1)])
    np.testing.assert_allclose(np.concatenate([fitted.predict_proba([x]) for x in X]), p, atol=1e-5)
    long = np.concatenate([X[0], X[1], X[2], X[3], X[4]])
    of_windows, owner = fitted.window_probabilities([long, X[5]])
    assert len(of_windows) == len(long) // 200 + 1
    assert owner.tolist() == [0] * (len(long) // 200) + [1]
    np.testing.assert_allclose(fitted.predict_proba([long])[0], of_windows[owner == 0].mean(0), rtol=1e-6)


def test_the_same_seed_gives_the_same_classifier():
    X, y = examples(measured, 9, 0)
    first, again, other = (elastic(steps=5, seed=seed).fit(X, y).model_ for seed in (1, 1, 2))
    assert torch.equal(first.metric_.metric, again.metric_.metric)
    assert not torch.equal(first.metric_.metric, other.metric_.metric)
    assert torch.linalg.eigvalsh(first.metric_.metric.detach()).min() > 0


def test_groups_keep_neighbours_of_one_person_apart(monkeypatch):
    """No neighbour from the same group enters the loss: with one person alone there is nothing to learn from."""
    X, y = examples(measured, 9, 0)
    alone = elastic(steps=3).fit(X, y, groups=["one"] * 9).model_
    apart = elastic(steps=3).fit(X, y, groups=np.arange(9) // 3).model_
    start = elastic().fit(X, y).model_
    torch.testing.assert_close(alone.metric_.metric, start.metric_.metric)
    assert (apart.metric_.metric - start.metric_.metric).abs().max() > 1e-3


def test_rotation_kind_does_not_depend_on_the_frame():
    """Curves on SO(3)^2 seen from another frame of the room: increments, and so everything, stay."""
    rng = np.random.default_rng(0)
    X = [np.concatenate([turned(a, rng, 80), turned(b, rng, 80)], 1) for a, b in [("there", "back"), ("across", "back"),
                                                                                ("back", "there")]]  # fmt: skip
    classifier = elastic("rotations", samples=20, steps=2).fit(X, [0, 1, 2])
    assert classifier.model_.neighbours_.shape == (3, 20, 6)
    turn = Rotation.random(rng=1).as_matrix()
    p = classifier.predict_proba(X)
    np.testing.assert_allclose(classifier.predict_proba([turn @ x for x in X]), p, atol=1e-4)
    assert p.argmax(1).tolist() == [0, 1, 2]


def test_scale_of_a_sensor_does_not_matter():
    """Lengths of curves are divided out: twice the angular velocity and acceleration is the same curve."""
    metric = ElasticMetric(torch.eye(6))
    increments = torch.randn(3, 20, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(metric(increments), metric(5 * increments))
    assert torch.equal(metric(torch.zeros(1, 20, 6)), torch.zeros(1, 20, 6))  # standing still
    torch.testing.assert_close(metric(increments).square().sum((-2, -1)), torch.ones(3))


def test_still_recordings():
    X, y = examples(measured, 6, 0)
    still = np.zeros((200, 6))
    classifier = elastic(steps=2).fit([*X, still, still], [*y, "still", "still"])
    p = classifier.predict_proba([still])
    assert np.isfinite(p).all()
    assert classifier.predict([still]) == ["still"]


# sides and streams ---------------------------------------------------------------------------------------------------


def test_the_side_told():
    """Mirrored curves of the other wrist are the same to a classifier that is told, and a prediction must be told."""
    X, y = examples(measured, 9, 0)
    sides = np.arange(9) % 2
    told = fast().fit([mirror(x) if side else x for x, side in zip(X, sides, strict=True)], y, sides=sides)
    whole = fast().fit(X, y, sides=np.zeros(9, int))
    np.testing.assert_allclose(told.predict_proba(X, np.zeros(9, int)), whole.predict_proba(X, [0] * 9), atol=1e-5)
    np.testing.assert_allclose(
        told.predict_proba([mirror(x) for x in X], [1] * 9), told.predict_proba(X, [0] * 9), atol=1e-4
    )
    with pytest.raises(InputError, match="sides"):
        told.predict(X)
    with pytest.raises(InputError, match="sides"):
        fast().fit(X, y).predict(X, sides)


def test_the_mirror_can_be_left_out():
    X, y = examples(measured, 9, 0)
    for mirrored in (True, False):
        classifier = fast(mirror=mirrored).fit(X, y)
        change = np.abs(classifier.predict_proba([mirror(x) for x in X]) - classifier.predict_proba(X)).max()
        assert (change < 1e-3) == mirrored


def test_a_stream(fitted):
    """One sample after the other gives what whole windows give, and later samples change nothing."""
    X, _ = examples(measured, 5, 8)
    curve = np.concatenate(X)[:330]
    found = list(fitted.stream(iter(curve), every=0.9))
    assert [round(seconds, 6) for seconds, _ in found] == [4.0, 4.9, 5.8]
    for seconds, p in found:
        end = round(seconds * 50)
        np.testing.assert_allclose(p, fitted.predict_proba([curve[end - 200 : end]])[0], atol=1e-6)
    assert list(fitted.stream(curve[:199])) == []
    begun = fitted.stream(iter(curve))
    np.testing.assert_allclose(next(begun)[1], found[0][1], atol=1e-6)
    with pytest.raises(InputError, match="every"):
        next(fitted.stream(curve, every=0.001))
    with pytest.raises(InputError, match=r"samples.*\(5,\)"):
        next(fitted.stream([*curve[:10], curve[10, :5]]))
    with pytest.raises(InputError, match="sides"):
        next(fitted.stream(curve, side=1))


def test_a_short_curve_is_slowed_down():
    """Its path stays: the turn from begin to end is that of the curve."""
    curve = measured("there", np.random.default_rng(0), 90)
    (window,) = ActivityClassifier()._windows(curve, 4.0)
    assert window.shape == (200, 6)
    ends = [attitudes(x[None, :, :3], 50.0)[0] for x in (curve, window)]
    np.testing.assert_allclose(ends[1][180], ends[0][81], atol=1e-9)


def test_some_models_learn_from_windows_that_overlap(monkeypatch):
    """ "inception" is shown about four windows where "fast" is shown one."""
    X, y = examples(measured, 9, 0)
    X = [np.concatenate([x] * 10)[:800] for x in X]
    shown = {}
    for name, options in (("fast", {"families": 2}), ("inception", {"steps": 1, "batch": 4, "filters": 2})):
        kind = type(build(name, "imu"))
        fit = kind.fit
        seen = shown.setdefault(name, [])
        monkeypatch.setattr(
            kind,
            "fit",
            lambda self, windows, *rest, fit=fit, seen=seen: seen.append(len(windows)) or fit(self, windows, *rest),
        )
        found = ActivityClassifier(model=name, options=options).fit(X, y)
        assert found.predict(X[:2]).shape == (2,)
    assert shown == {
        name: [sum((len(x) - 200) // step + 1 for x in X)] for name, step in (("fast", 200), ("inception", 50))
    }


# files ---------------------------------------------------------------------------------------------------------------


def test_save_and_load(fitted, tmp_path):
    """A loaded classifier answers bit for bit as the one that was saved."""
    X, _ = examples(measured, 5, 6)
    fitted.save(tmp_path / "w.safetensors")
    loaded = ActivityClassifier.load(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(loaded.classes_, fitted.classes_)
    assert loaded.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        ActivityClassifier().save(tmp_path / "none.safetensors")


def test_weights_of_another_kind_or_version(fitted, tmp_path):
    fitted.save(tmp_path / "w.safetensors")
    state, about = load_weights(tmp_path / "w.safetensors", "activity")
    fewer = {name: tensor for name, tensor in state.items() if not name.startswith(("neighbours", "kernels"))}
    for name, kind, tensors, content in (
        ("insar", "insar", state, about),
        ("fewer", "activity", fewer, about),
        ("newer", "activity", state, {**about, "parameters": {"future": 1}}),
        ("poorer", "activity", state, {"classes": ["a", "b"]}),
    ):
        save_weights(tmp_path / f"{name}.safetensors", kind, tensors, content)
        with pytest.raises(InputError, match=name):
            ActivityClassifier.load(tmp_path / f"{name}.safetensors")


def test_recordings_of_another_rate(fitted):
    """Twice the samples of the same movement are the same curve."""
    curve = measured("there", np.random.default_rng(0), 100)
    doubled = Recording("r", "imu", curve.repeat(2, 0), 100.0)
    np.testing.assert_allclose(fitted.curve_of(doubled), curve, atol=1e-6)
    assert fitted.curve_of(Recording("r", "imu", curve, 50.0)) is curve
    with pytest.raises(InputError, match="rotations"):
        fitted.curve_of(Recording("r", "rotations", np.tile(np.eye(3), (40, 1, 1, 1)), 50.0))


# refusals ------------------------------------------------------------------------------------------------------------


def test_refused_fits():
    X, y = examples(measured, 4, 0)
    broken = [x.copy() for x in X]
    broken[2][5, 1] = np.nan
    rotations = [np.tile(np.eye(3), (30, bodies, 1, 1)) for bodies in (1, 2)]
    for parameters, arguments, words in (
        ({}, (X, y[:3]), r"y.*4 curves.*\(3,\)"),
        ({}, (X, y[:, None]), r"y.*\(4, 1\)"),
        ({}, (X, y, [1, 2]), "groups"),
        ({}, (X, y, None, [0, 1]), "sides"),
        ({}, (X, y, None, [0, 1, 2, 0]), r"sides.*\[0, 1, 2\]"),
        ({"kind": "rotations"}, (X, y, None, [0, 1, 1, 0]), "sides"),
        ({"model": "oracle"}, (X, y), "model.*oracle"),
        ({"kind": "rotations", "model": "fast"}, (X, y), "model.*rotations"),
        ({"options": {"colour": 1}}, (X, y), "options.*colour"),
        ({"device": "abacus"}, (X, y), "abacus"),
        ({}, (X, ["a"] * 4), "two classes"),
        ({}, ([], []), "two classes"),
        ({}, ([*X[:3], X[3][:10]], y), "at least 16 samples.*10"),
        ({}, (broken, y), "finite.*1"),
        ({}, ([x[:, :3] for x in X], y), r"\(N, 6\)"),
        ({"kind": "rotations"}, (X, y), r"\(N, k, 3, 3\)"),
        ({"kind": "rotations"}, (rotations, ["a", "b"]), r"bodies.*\[1, 2\]"),
        ({"kind": "video"}, (X, y), "kind.*video"),
        ({"rate": 0.0}, (X, y), "rate"),
        ({"seconds": -1.0}, (X, y), "seconds"),
        ({"model": "elastic", "options": {"slopes": 0, "samples": 8}}, (X, y), "slopes"),
    ):
        with pytest.raises(InputError, match=words):
            ActivityClassifier(**parameters).fit(*arguments)


def test_refused_predictions(fitted):
    with pytest.raises(InputError, match=r"X.*no curve"):
        fitted.predict([])
    with pytest.raises(InputError, match=r"\(N, 6\)"):
        fitted.predict([np.zeros((30, 5))])
    one = elastic("rotations", samples=8)
    curves = [turned(name, np.random.default_rng(0), 40) for name in ("there", "back")]
    with pytest.raises(InputError, match=r"1 bodies.*2"):
        one.fit(curves, [0, 1]).predict([np.concatenate([curves[0], curves[0]], 1)])
