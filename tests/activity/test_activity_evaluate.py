"""Cross-validation by subject and its table, on synthetic recordings and on the data sets where they are."""

from dataclasses import replace

import numpy as np
import pytest

from manifoldnet.activity import problems, report
from manifoldnet.activity.evaluate import Outcome, evaluate, methods, of_recordings, ours, row, run
from manifoldnet.activity.io import Recording
from manifoldnet.activity.peers import OF_AEON, Moments, Peer, PlainNet
from manifoldnet.activity.train import Recordings
from manifoldnet.activity.windows import mirror
from manifoldnet.data import cached
from manifoldnet.errors import InputError


def recordings(subjects=4, seed=0):
    """Two recordings of each of three movements, which differ by their frequency, by each subject."""
    rng = np.random.default_rng(seed)
    samples, labels, who = [], [], []
    for subject in range(1, subjects + 1):
        for k, label in enumerate(["ABD", "ROW", "PEN"] * 2):
            t = np.arange(int(rng.integers(240, 330)))[:, None] / 50
            wave = np.sin(2 * np.pi * (1 + k % 3) * t + np.arange(3) + rng.uniform(0, 6))
            samples.append(np.concatenate([2 * wave, [0, 0, 1] + 0.2 * wave], 1) + rng.normal(0, 0.1, (len(t), 6)))
            labels.append(label)
            who.append(subject)
    return Recordings(samples, np.array(labels), np.array(who))


def problem(folds=2, side=None, seconds=1.6):
    data = recordings()
    made = [
        Recording(f"r{k}", "imu", samples, 50.0, str(label), str(who), None if side is None else k % 2)
        for k, (samples, label, who) in enumerate(zip(data.samples, data.labels, data.subjects, strict=True))
    ]
    return problems.of_recordings(made, seconds, folds)


class Echo:
    """Says the label that is written in the first sample."""

    def __init__(self, log):
        self.log = log

    def fit(self, windows, labels, groups, sides=None):
        self.log.append((set(groups), len(windows), sides))
        self.classes_ = np.unique(labels)
        return self

    def predict_proba(self, windows, sides=None):
        return np.eye(len(self.classes_))[windows[:, 0, 0].astype(int)]


def echoing(folds=2, **rest):
    """A problem whose windows say what Echo will call them: right for the first subject's, else the first class."""
    whole = problem(folds, **rest)
    windows = np.zeros_like(whole.windows)
    right = whole.subjects == "1"
    windows[:, 0, 0] = np.where(right, np.unique(whole.labels, return_inverse=True)[1], 0)
    return replace(whole, windows=windows)


def test_problem():
    whole = problem()
    assert whole.windows.shape[1:] == (80, 6)
    assert len(whole.windows) == sum(len(x) // 80 for x in recordings().samples)
    assert whole.sides is None
    for train, test in whole.splits:
        assert not set(whole.subjects[train]) & set(whole.subjects[test])
        assert len(train) + len(test) == len(whole.labels)
    assert len(whole.dense.windows) > 2 * len(whole.windows)
    told = problem(side=True)
    assert set(told.sides) == {0, 1}
    assert told.without_sides().sides is told.without_sides().dense.sides is None
    with pytest.raises(InputError, match=r"folds.*2 to 4"):
        problem(5)
    one = Recording("bare", "imu", np.zeros((100, 6)), 50.0, "walking", None)
    with pytest.raises(InputError, match=r"bare.*subject"):
        problems.of_recordings([one])
    with pytest.raises(InputError, match="50 Hz"):
        problems.of_recordings([replace(one, subject="a", rate=50.0), replace(one, subject="b", rate=25.0)])


def test_no_person_is_on_both_sides():
    log = []
    whole = echoing(4)
    (outcome,) = run(ours_echo(log), whole)
    assert outcome.tested.all()
    assert [len(groups) for groups, _, _ in log] == [3] * 4
    log.clear()
    run(ours_echo(log, dense=True), whole)
    assert all(
        n == sum(np.isin(whole.dense.subjects, list(groups))) > 2 * len(whole.windows) // 4 for groups, n, _ in log
    )
    assert [len(groups) for groups, _, _ in log] == [3] * 4


def ours_echo(log, dense=False):
    return ours("fast", mirrored=True)._replace(make=lambda _: Echo(log), dense=dense)


def test_row_by_hand():
    """One subject of four is all right, the others where the answer is the first class by chance."""
    whole = echoing(4)
    (outcome,) = run(ours_echo([]), whole)
    found = row("echo", whole, outcome)
    right = np.where(whole.subjects == "1", True, whole.labels == "ABD")
    people = [right[whole.subjects == subject].mean() for subject in np.unique(whole.subjects)]
    assert found["windows"] == pytest.approx(np.mean(people))  # a fold is a subject
    assert found["sd"] == pytest.approx(np.std(people))
    assert found["s.e."] == pytest.approx(np.std(people, ddof=1) / 2)
    truth, voted = of_recordings(whole, outcome)
    assert len(truth) == len(np.unique(whole.recordings))
    assert found["recordings"] == np.mean(truth == voted)
    assert np.isnan(found["gain"])
    perfect = Outcome(whole.labels, np.ones(len(whole.labels), bool), 1.0, 0.001)
    better = row("perfect", whole, perfect, outcome)
    assert better["gain"] == pytest.approx(1 - np.mean(people))
    assert better["its s.e."] == pytest.approx(found["s.e."])
    assert (better["windows"], better["fit s"], better["window ms"]) == (1, 1, 1)


def test_votes():
    whole = problem()
    first = np.flatnonzero(whole.recordings == np.bincount(whole.recordings).argmax())
    said = np.full(len(whole.labels), "ROW")
    said[first[:-1]] = "PEN"
    truth, voted = of_recordings(whole, Outcome(said, np.ones(len(said), bool), 0.0, 0.0))
    assert voted[np.unique(whole.recordings).searchsorted(whole.recordings[first[0]])] == "PEN"
    assert (np.delete(voted, np.unique(whole.recordings).searchsorted(whole.recordings[first[0]])) == "ROW").all()
    assert truth[0] == whole.labels[0]


def test_table():
    said, outcomes = [], {}
    which = {name: method for name, method in methods(["fast"]).items() if name in ("fast", "random forest on moments")}
    rows = evaluate(problem(), which, reference="fast", progress=said.append, outcomes=outcomes)
    assert [one["method"] for one in rows] == ["fast", "random forest on moments"]
    assert rows[0]["windows"] > 0.9  # an easy problem
    assert np.isnan(rows[0]["gain"])
    assert rows[1]["gain"] == pytest.approx(rows[1]["windows"] - rows[0]["windows"], abs=0.1)
    assert outcomes.keys() == which.keys()
    assert said == [f"{name}, fold {k} of 2" for name in which for k in (1, 2)]
    with pytest.raises(InputError, match=r"reference.*oracle"):
        evaluate(problem(), which, reference="oracle")


def test_methods():
    names = list(methods(["fast", "best"]))
    assert names[:2] == ["fast", "best"]
    assert {"plain CNN", "plain CNN, mirrored"} < set(names)
    assert "plain CNN, mirrored" not in methods(["fast"], mirrored=False)
    assert list(methods(["fast"], others=[])) == ["fast"]
    assert list(methods(["fast"], others=["plain CNN"])) == ["fast", "plain CNN", "plain CNN, mirrored"]
    with pytest.raises(InputError, match="oracle"):
        methods(["oracle"])
    with pytest.raises(InputError, match=r"peers.*plain CNN.*oracle"):
        methods(["fast"], others=["oracle"])


def test_mounted_otherwise():
    whole = echoing(4)
    moved = replace(whole, windows=np.zeros_like(whole.windows))
    (found,) = evaluate(whole, {"echo": ours_echo([])}, moved=moved)
    assert found["windows"] - found["mounted otherwise"] == pytest.approx(found["fall"])
    assert found["mounted otherwise"] == pytest.approx(
        np.mean([(whole.labels[test] == "ABD").mean() for _, test in whole.splits])
    )


@pytest.mark.parametrize("told", [False, True])
def test_a_peer_is_helped_by_the_mirror(told):
    whole = problem(side=True)
    sides = whole.sides if told else None
    seen, written = [], []

    class Spy:
        def fit(self, series, labels):
            seen.append(series)
            self.labels = labels
            written.append(labels)

        def predict(self, series):
            seen.append(series)
            return self.labels[: len(series)]

    for helped in (False, True):
        peer = Peer(Spy, mirrored=helped).fit(whole.windows, whole.labels, whole.subjects, sides)
        p = peer.predict_proba(whole.windows[:9], None if sides is None else sides[:9])
        assert (p.sum(1) == 1).all()
    raw, _, helped, _ = (x.swapaxes(1, 2) for x in seen)
    np.testing.assert_allclose(raw, whole.windows, rtol=1e-6)
    if told:
        np.testing.assert_allclose(helped[whole.sides == 1], mirror(whole.windows)[whole.sides == 1], rtol=1e-6)
        assert len(helped) == len(raw)
    else:
        np.testing.assert_allclose(helped[len(raw) :], mirror(whole.windows), rtol=1e-6)
        np.testing.assert_array_equal(written[1], [*whole.labels, *whole.labels])


def test_peers_learn():
    """Those of this package."""
    rng = np.random.default_rng(0)
    codes = rng.integers(2, size=60)
    series = rng.normal(0, 1, (60, 6, 16)).astype(np.float32)
    series[:, 2] += 2.0 * codes[:, None]
    for found in (Moments(), PlainNet(steps=40)):
        found.fit(series[:40], codes[:40])
        assert np.mean(found.predict(series[40:]) == codes[40:]) > 0.9


@pytest.mark.parametrize("name", OF_AEON)
def test_peers_of_aeon(name):
    pytest.importorskip("aeon")
    rng = np.random.default_rng(0)
    codes = rng.integers(2, size=30)
    series = rng.normal(0, 0.3, (30, 6, 40)).astype(np.float32)
    series += np.sin((1 + codes[:, None, None]) * np.arange(40) / 3).astype(np.float32)
    found = OF_AEON[name]()
    found.fit(series[:20], codes[:20])
    assert np.mean(found.predict(series[20:]) == codes[20:]) > 0.8


def test_report(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "problem_of", lambda data, folds: problem(folds, side=True))
    for sides in (False, True):
        tables = report.report("mine.npz", ["fast"], sides=sides, others=[], folds=2, pictures=tmp_path)
        ((title, rows),) = tables.items()
        assert ("wrist" in title) == sides
        assert rows[0]["windows"] > 0.9
    for name in ("fast", "aligned", "means"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(cached("basic-motions") is None, reason="needs manifoldnet data get basic-motions")
def test_basic_motions():
    ((title, rows),) = report.report("basic-motions", ["fast"], others=[]).items()
    assert "the given split" in title
    assert rows[0]["windows"] == 1


@pytest.mark.skipif(cached("hapt") is None, reason="needs manifoldnet data get hapt")
@pytest.mark.slow
def test_hapt():
    """Random mountings of the sensors are gone in the recordings' own frames, and not without."""
    plain, moved = (problems.hapt(mounts=seed) for seed in (None, 1))
    assert len(plain.windows) == len(moved.windows) == 5409
    assert len(np.unique(plain.labels)) == 6
    assert not np.allclose(moved.windows, plain.windows, atol=0.1)
    np.testing.assert_allclose(*(np.linalg.norm(p.windows[..., 3:], axis=-1) for p in (plain, moved)), rtol=1e-4)
    np.testing.assert_allclose(*(problems.hapt(own_frame=True, mounts=s).windows for s in (None, 1)), atol=1e-4)


@pytest.mark.skipif(cached("watch") is None, reason="needs manifoldnet data get watch")
def test_watch():
    whole = problems.watch()
    assert len(whole.windows) == 1149
    assert len(whole.splits) == 5
    assert len(whole.dense.windows) > 4000


@pytest.mark.skipif(cached("watch") is None, reason="needs manifoldnet data get watch")
@pytest.mark.slow
def test_accuracy_on_the_watch_data():
    """The fast model over the five folds: far above what it would be without the mirror, which is 0.88."""
    (told,) = evaluate(problems.watch(), methods(["fast"], others=[]))
    (untold,) = evaluate(problems.watch().without_sides(), methods(["fast"], others=[]))
    assert told["windows"] > 0.92
    assert told["recordings"] > 0.95
    assert untold["windows"] > 0.90
