"""Shapes, units and counts of the real data; each set is skipped unless it is in the cache."""

import numpy as np
import pytest

from manifoldnet.data import (
    cached,
    get,
    load_diffusion,
    load_hapt,
    load_hologram,
    load_watch,
)
from manifoldnet.errors import InputError


def needs(name):
    return pytest.mark.skipif(cached(name) is None, reason=f"needs: manifoldnet data get {name}")


def test_small_64d_needs_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    series = load_diffusion("small-64d", cache=tmp_path)
    assert series.data.shape == (10, 10, 10, 65)
    assert series.data.dtype == np.float32
    assert series.mask is None
    assert (series.bvals < 50).sum() == 1
    length = np.linalg.norm(series.bvecs, axis=1)
    np.testing.assert_allclose(length[series.bvals > 50], 1, atol=1e-3)
    assert length[series.bvals < 50] == 0
    assert series.path == tmp_path / "data" / "small-64d" / "dwi.nii"
    # voxels of 2 mm
    np.testing.assert_allclose(np.linalg.norm(series.affine[:3, :3], axis=0), 2, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "shape", "shells", "voxels"),
    [
        pytest.param("tractseg", (73, 87, 73, 33), {0: 1, 1000: 32}, None, marks=needs("tractseg")),
        pytest.param("nlsam", (192, 192, 96, 41), {0: 1, 1000: 40}, 847271, marks=needs("nlsam")),
        pytest.param(
            "mdt-b1k-b2k",
            (104, 104, 2, 103),
            {0: 13, 1000: 30, 2000: 60},
            8865,
            marks=needs("mdt-b1k-b2k"),
        ),
        pytest.param(
            "mdt-multishell",
            (104, 104, 2, 114),
            {0: 6, 750: 3, 1500: 6, 2250: 9, 3000: 12, 3750: 15, 4500: 18, 5200: 21, 6000: 24},
            8963,
            marks=needs("mdt-multishell"),
        ),
    ],
)
def test_diffusion(name, shape, shells, voxels):
    series = load_diffusion(name)
    assert series.data.shape == shape
    values, counts = np.unique(np.round(series.bvals, -1), return_counts=True)
    assert dict(zip(values, counts, strict=True)) == shells
    length = np.linalg.norm(series.bvecs, axis=1)
    np.testing.assert_allclose(length[series.bvals > 50], 1, atol=1e-3)
    if voxels is None:
        assert series.mask is None
    else:
        assert series.mask is not None
        assert series.mask.shape == shape[:3]
        assert series.mask.sum() == voxels


@needs("watch")
def test_watch():
    data = load_watch()
    lengths = [len(recording) for recording in data.samples]
    assert (len(lengths), min(lengths), max(lengths)) == (140, 947, 2618)
    assert data.rate == 50
    # every subject did every exercise once on each wrist
    assert len(set(zip(data.subjects, data.sides, data.labels, strict=True))) == 140
    assert set(data.labels) == {"PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"}
    samples = np.concatenate(data.samples)
    assert samples.shape == (244102, 6)
    # acceleration last: gravity gives it a median near 1 g; the gyroscope moves about zero
    assert np.median(np.linalg.norm(samples[:, 3:], axis=1)) == pytest.approx(1.07, abs=0.005)
    assert np.abs(samples[:, :3]).max() == pytest.approx(28.96, abs=0.01)


@needs("watch")
def test_watch_npz_holds_no_objects():
    with np.load(get("watch") / "watch.npz", allow_pickle=False) as data:
        assert all(data[name].dtype.kind in "fiU" for name in data.files)


@needs("hapt")
def test_hapt():
    data = load_hapt()
    assert len(data.samples) == 61
    assert sum(len(recording) for recording in data.samples) == 1122772
    assert all(len(a) == len(b) for a, b in zip(data.samples, data.labels, strict=True))
    assert np.unique(data.subjects).tolist() == list(range(1, 31))
    labels = np.concatenate(data.labels)
    assert np.unique(labels).tolist() == [-1, *range(1, 13)]
    samples = np.concatenate(data.samples)
    assert np.median(np.linalg.norm(samples[:, 3:], axis=1)) == pytest.approx(1.023, abs=0.005)
    # who walks turns more than who lies, and a lying phone feels gravity on another axis than a standing one
    turning = np.linalg.norm(samples[:, :3], axis=1)
    assert np.median(turning[labels == 1]) > 5 * np.median(turning[labels == 6])
    standing, lying = (np.abs(samples[labels == label, 3:].mean(axis=0)) for label in (5, 6))
    assert standing.argmax() == 0
    assert lying.argmax() != 0


@needs("hologram")
def test_hologram():
    data = load_hologram()
    assert data.cell.shape == data.background.shape == (200, 210)
    assert data.cell.dtype == np.uint8
    # an off-axis carrier: apart from the mean, the strongest wave is far from the origin
    wave = np.abs(np.fft.fft2(data.background - data.background.mean()))
    row, column = np.unravel_index(wave.argmax(), wave.shape)
    assert min(row, 200 - row) + min(column, 210 - column) > 10


def test_not_a_diffusion_series():
    with pytest.raises(InputError, match="'watch' is not a diffusion series"):
        load_diffusion("watch")
