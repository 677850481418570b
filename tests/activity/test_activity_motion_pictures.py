"""Pictures of aligned movements and of mean motions."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from manifoldnet.activity.motion_pictures import mean_motions, moved_to, warped_pair
from manifoldnet.errors import InputError

T, RATE = 60, 15.0


def movement(pace, phase=0.0):
    """Angular velocities (T, 3) of one movement run through at a pace, t -> pace(t) from [0, 1] onto itself."""
    edges = pace(np.linspace(0, 1, T + 1))
    path = np.stack([np.sin(5 * edges + phase), 2 * edges**2, np.cos(7 * edges)], -1)
    return np.diff(path, axis=0) * RATE


def test_a_movement_at_another_pace_becomes_the_first():
    first, second = movement(lambda t: t), movement(lambda t: 0.6 * t + 0.4 * t**2)
    moved, phi = moved_to(first, second)
    assert phi[0] == 0
    assert phi[-1] == 1
    assert np.linalg.norm(moved - first) < 0.15 * np.linalg.norm(second - first)
    # the way is the same, whatever the pace
    np.testing.assert_allclose(moved.sum(0), second.sum(0), atol=1e-9)
    np.testing.assert_allclose(moved_to(first, first)[0], first, atol=1e-9)


def test_pictures(tmp_path):
    still = np.zeros((T, 3))
    windows = np.stack([np.hstack([movement(lambda t, a=a: (1 - a) * t + a * t**2, p), still])
                        for p in (0.0, 1.5) for a in (0.0, 0.2, 0.4)])  # fmt: skip
    labels = np.repeat(["a", "b"], 3)
    warped_pair(windows[0], windows[2], RATE, tmp_path / "pair.png")
    mean_motions(windows, labels, RATE, tmp_path / "means.png")
    for name in ("pair", "means"):
        picture = plt.imread(tmp_path / f"{name}.png")[..., :3]
        assert picture.std() > 0.05
    with pytest.raises(InputError, match=r"\.png"):
        warped_pair(windows[0], windows[1], RATE, tmp_path / "pair.jpg")
    with pytest.raises(InputError, match="windows"):
        mean_motions(windows[:0], labels[:0], RATE, tmp_path / "none.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["means.png", "pair.png"]
