"""The picture of a confusion matrix."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from manifoldnet.activity.plot import confusion
from manifoldnet.errors import InputError


def test_confusion(tmp_path):
    """Perfect answers darken the diagonal, wrong ones what lies beside it."""
    labels = np.array(["ABD", "ROW", "PEN"] * 4)
    confusion(labels, labels, tmp_path / "right.png")
    confusion(labels, np.roll(labels, 1), tmp_path / "wrong.png")
    right, wrong = (plt.imread(tmp_path / f"{name}.png")[..., :3] for name in ("right", "wrong"))
    assert right.shape == wrong.shape
    assert np.abs(right - wrong).max() > 0.5
    blue = (right[..., 2] - right[..., 0]) > 0.2
    assert 0.02 < blue.mean() < 0.4
    assert plt.get_fignums() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["right.png", "wrong.png"]


def test_refusals(tmp_path):
    for truth, predicted, name, words in (
        (["a"], ["a", "b"], "a.png", "predicted"),
        (["a"], ["a"], "a.jpg", r"\.png"),
        ([], [], "a.png", "truth"),
    ):
        with pytest.raises(InputError, match=words):
            confusion(np.array(truth), np.array(predicted), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
