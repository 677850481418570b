"""Ellipses of tensors: their geometry, and that what is drawn has it."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from scipy.spatial.transform import Rotation

from manifoldnet.dti.glyphs import draw, glyphs, shadows
from manifoldnet.errors import InputError


def turned(values, degrees, axes="z"):
    turn = Rotation.from_euler(axes, degrees, degrees=True).as_matrix()
    return turn @ np.diag(values) @ turn.T


@pytest.mark.parametrize("angle", [-80.0, -30.0, 0.0, 20.0, 75.0])
def test_in_the_plane(angle):
    found = shadows(turned([1.69, 0.49, 0.25], angle)[None])
    np.testing.assert_allclose(np.concatenate(found), [1.3, 0.7, angle], atol=1e-12)


def test_a_needle_along_the_line_of_sight_is_a_dot():
    a, b, _ = shadows(np.stack([np.diag([0.09, 0.09, 4.0]), turned([0.0, 0.0, 1.0], 30, "y")]))
    np.testing.assert_allclose(a, [0.3, 0.5], atol=1e-12)  # seen at 60 degrees from its axis: sin 30
    np.testing.assert_allclose(b, [0.3, 0.0], atol=1e-12)


def test_against_points_of_the_surface():
    """The farthest that any point of {D^(1/2) u} gets in a direction of the plane is what the ellipse says."""
    rng = np.random.default_rng(0)
    u = rng.standard_normal((200_000, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    tensors = np.stack([turned(rng.uniform(0.1, 2, 3), rng.uniform(-180, 180, 3), "xyz") for _ in range(4)])
    for tensor, a, b, angle in zip(tensors, *shadows(tensors), strict=True):
        values, vectors = np.linalg.eigh(tensor)
        points = (u * np.sqrt(values)) @ vectors.T
        for direction in np.radians([0, 35, 90, 140]):
            farthest = (points[:, :2] @ [np.cos(direction), np.sin(direction)]).max()
            turn = direction - np.radians(angle)
            assert farthest == pytest.approx(np.hypot(a * np.cos(turn), b * np.sin(turn)), rel=1e-3)


def drawn(tensors, longest=1.0, pixels=200):
    """The picture of a slice, ``pixels`` a voxel, with y up: an array (x, y, 3)."""
    x, y = tensors.shape[:2]
    figure = Figure(figsize=(x, y), dpi=pixels)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), frame_on=False)
    draw(axes, tensors, longest)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[::-1, :, :3].swapaxes(0, 1) / 255


def test_what_is_drawn():
    tensors = np.full((3, 2, 3, 3), np.nan)
    tensors[0, 1] = turned([1.0, 0.16, 0.04], 30)
    tensors[2, 0] = np.diag([0.25, 0.25, 0.25])
    picture = drawn(tensors)
    assert picture.shape == (600, 400, 3)
    inked = (picture < 0.99).any(-1)
    for voxel, a, b in (((0, 1), 0.46, 0.46 * 0.4), ((2, 0), 0.23, 0.23)):
        cell = inked[200 * voxel[0] : 200 * voxel[0] + 200, 200 * voxel[1] : 200 * voxel[1] + 200]
        points = (np.argwhere(cell) + 0.5) / 200 - 0.5
        assert len(points) / 200**2 == pytest.approx(np.pi * a * b, rel=0.03)
        np.testing.assert_allclose(points.mean(0), 0, atol=0.005)
        # the second moments of an ellipse are a^2 / 4 and b^2 / 4
        values, vectors = np.linalg.eigh(np.cov(points.T))
        np.testing.assert_allclose(2 * np.sqrt(values), [b, a], rtol=0.03)
        if a != b:
            assert np.degrees(np.arctan2(*vectors[::-1, 1])) % 180 == pytest.approx(30, abs=1)
    assert not inked[200:400].any()
    tilted = picture[100, 300]
    np.testing.assert_allclose(tilted[:2] / tilted[0], [1, np.tan(np.radians(30))], atol=0.02)  # |x| red, |y| green
    assert picture[500, 100].max() < 0.02  # no anisotropy, black


def test_file(tmp_path):
    tensors = np.full((30, 20, 3, 3, 3), np.nan, np.float32)
    tensors[5:15, 4:8, 1] = np.diag([1.5, 0.3, 0.3])
    glyphs({"before": tensors, "after": tensors}, tmp_path / "a.png")
    picture = imread(tmp_path / "a.png")[..., :3]
    red = (picture[..., 0] > picture[..., 1] + 0.3).mean()
    assert red > 0.05
    glyphs({"before": tensors}, tmp_path / "empty.png", z=0)
    assert (imread(tmp_path / "empty.png")[..., :3].std(-1) < 0.1).all()
    for name, z, message in (("a.pdf", None, "ends in .png"), ("a.png", 3, "z: wanted a slice from 0 to 2, got 3")):
        with pytest.raises(InputError, match=message):
            glyphs({"before": tensors}, tmp_path / name, z)
    with pytest.raises(InputError, match="panels: wanted one shape"):
        glyphs({}, tmp_path / "b.png")
