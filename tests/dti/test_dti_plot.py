"""Pictures: the colours mean what they say, and the file is whole or absent."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.image import imread

from manifoldnet.dti.plot import colour_fa, compare
from manifoldnet.errors import InputError


def test_colours():
    line = np.diag([1.0, 0, 0])
    tensors = np.stack([line, line[[1, 0, 2]][:, [1, 0, 2]], line[::-1, ::-1], np.eye(3), np.full((3, 3), np.nan)])
    np.testing.assert_allclose(colour_fa(tensors), [*np.eye(3), np.zeros(3), np.zeros(3)], atol=1e-12)


def test_compare_writes_the_chosen_slice(tmp_path):
    tensors = np.full((12, 10, 3, 3, 3), np.nan, np.float32)
    tensors[:, :, 1] = np.diag([2.0, 0, 0])
    tensors[0, 0, 0] = np.diag([0, 2.0, 0])
    compare({"noisy": tensors, "clean": tensors}, tmp_path / "a.png")
    picture = imread(tmp_path / "a.png")[..., :3]
    red = np.all(np.abs(picture - [1, 0, 0]) < 0.02, -1)
    assert 0.2 < red.mean() < 0.6
    compare({"noisy": tensors, "clean": tensors}, tmp_path / "b.png", z=2)
    other = imread(tmp_path / "b.png")[..., :3]
    assert not np.all(np.abs(other - [1, 0, 0]) < 0.02, -1).any()
    assert pyplot.get_fignums() == []


def test_refused(tmp_path):
    tensors = np.zeros((4, 4, 2, 3, 3))
    for panels, name, z, message in (
        ({}, "a.png", None, "panels: wanted one shape"),
        ({"a": tensors, "b": tensors[1:]}, "a.png", None, "panels: wanted one shape"),
        ({"a": tensors}, "a.png", 2, "z: wanted a slice from 0 to 1, got 2"),
        ({"a": tensors}, "a.pdf", None, "ends in .png"),
        ({"a": tensors}, "none/a.png", None, "does not exist"),
    ):
        with pytest.raises(InputError, match=message):
            compare(panels, tmp_path / name, z)
    assert list(tmp_path.iterdir()) == []
