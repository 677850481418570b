"""The picture is a PNG with every panel in it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from manifoldnet.errors import InputError
from manifoldnet.insar.plot import compare


def test_compare(tmp_path):
    ramp = np.linspace(-9, 9, 600, dtype=np.float32).reshape(20, 30)
    ramp[:4] = np.nan
    compare({"noisy": ramp, "coherence": np.full((20, 30), 0.25)}, tmp_path / "two.png")
    picture = plt.imread(tmp_path / "two.png")[..., :3]
    height, width, _ = picture.shape
    assert width > 1.5 * height
    colours = np.unique((picture.reshape(-1, 3) * 255).round().astype(int), axis=0)
    colourful = np.ptp(colours, axis=1) > 30
    assert colourful.sum() > 50  # the cyclic scale
    assert [64, 64, 64] in colours.tolist()  # a quarter of white
    assert plt.get_fignums() == []
    assert [path.name for path in tmp_path.iterdir()] == ["two.png"]


def test_phase_colours_are_cyclic(tmp_path):
    rows = np.full((20, 30), 3.1)
    compare({"phase": rows}, tmp_path / "a.png")
    compare({"phase": rows - 4 * np.pi}, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="panels"):
        compare({}, tmp_path / "a.png")
    with pytest.raises(InputError, match=r"ending in \.png"):
        compare({"phase": np.zeros((2, 2))}, tmp_path / "a.jpg")
