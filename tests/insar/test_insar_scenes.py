"""From file to file: the same as the whole image at once, whatever the tile, the batch and the format."""

import numpy as np
import pytest
import rasterio
import torch
from numpy.testing import assert_allclose, assert_array_equal

from manifoldnet.errors import InputError
from manifoldnet.insar import raster, scenes
from manifoldnet.insar.calibration import KINDS
from manifoldnet.insar.model import InsarDenoiser, denoise
from manifoldnet.insar.scenes import denoise_file
from manifoldnet.insar.tiles import tiles

SHAPE = (136, 240)
TILE = 80


@pytest.fixture(scope="module")
def network() -> InsarDenoiser:
    model = InsarDenoiser({"channels": [[4, 6]], "blocks": 1}, torch.Generator().manual_seed(0)).eval()
    assert model.margin + TILE < max(SHAPE)  # some tiles do not see the whole image
    modulus, around = torch.rand(2, 9600, generator=torch.Generator().manual_seed(1))
    for kind in range(KINDS):
        model.calibration.fit(modulus, around, (3 - modulus - around) / (1 + kind), kind)
    return model


def interferogram(shape=SHAPE, seed=0):
    """A noisy bowl with amplitudes and holes, complex64, and a coherence."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    phase = 0.003 * ((x - 90) ** 2 + (y - 60) ** 2) + rng.normal(0, 0.5, shape)
    z = (rng.gamma(3, 5, shape) * (1 + x / 50) * np.exp(1j * phase)).astype(np.complex64)
    z[20:40, 60:90] = 0
    return z, np.clip(rng.normal(0.6, 0.2, shape), 0.01, 1).astype(np.float32)


def arc(a, b):
    """Largest distance on the circle; both must miss the same pixels."""
    assert_array_equal(np.isnan(a), np.isnan(b))
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return np.nanmax(np.abs(np.angle(np.exp(1j * difference))))


def save(path, image):
    np.save(path, image)
    return path


@pytest.mark.parametrize("batch", [1, 3])
def test_the_same_as_in_memory(tmp_path, network, batch):
    z, gamma = interferogram()
    source, known = save(tmp_path / "a.npy", z), save(tmp_path / "c.npy", gamma)
    report = denoise_file(source, tmp_path / "out.npy", known, looks=4, model=network, tile=TILE, batch=batch,
                          uncertainty=tmp_path / "u.npy")  # fmt: skip
    assert (report.shape, report.layers, report.with_coherence) == (SHAPE, 1, True)
    out, widths = np.load(tmp_path / "out.npy"), np.load(tmp_path / "u.npy")
    wanted = denoise(z, gamma, 4, network, tile=TILE, uncertainty=True)
    assert_array_equal(out == 0, z == 0)
    assert_allclose(np.abs(out), np.abs(z), rtol=1e-5)
    assert arc(np.where(z == 0, np.nan, np.angle(out)), wanted.phase) < 1e-4
    assert_allclose(widths, wanted.uncertainty, atol=1e-4)
    assert np.nanstd(widths) > 0.01
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "c.npy", "out.npy", "u.npy"]


def test_tiles_leave_no_seams(tmp_path, network):
    phase = np.angle(interferogram()[0])
    phase[20:40, 60:90] = 1.0
    source = save(tmp_path / "a.npy", phase)
    denoise_file(source, tmp_path / "out.npy", model=network, tile=TILE)
    assert arc(np.load(tmp_path / "out.npy"), denoise(phase, model=network, tile=4096)) < 1e-4


def test_tiles_leave_no_seams_where_moduli_vary(tmp_path, network):
    z, gamma = interferogram()
    source, known = save(tmp_path / "a.npy", z), save(tmp_path / "c.npy", gamma)
    denoise_file(source, tmp_path / "out.npy", known, model=network, tile=TILE)
    out = np.load(tmp_path / "out.npy")
    wanted = denoise(z, gamma, model=network, tile=4096)
    assert arc(np.where(z == 0, np.nan, np.angle(out)), wanted) < 1e-4


def test_windows_start_where_the_network_can():
    """Blocks cover the image once; windows hold the margin, as far as there is one."""
    covered = np.zeros((130, 75), int)
    for place in tiles((130, 75), 37, 8, 24):
        covered[place.inner] += 1
        for inner, window, cut, size in zip(*place, (130, 75), strict=True):
            assert inner.start % 8 == window.start % 8 == 0
            assert window.start == max(0, inner.start - 24)
            assert window.stop == min(size, inner.stop + 24)
            assert (window.start + cut.start, window.start + cut.stop) == (inner.start, inner.stop)
    assert_array_equal(covered, 1)


def test_what_only_the_whole_image_tells(tmp_path, network, monkeypatch):
    """Padding with zeros is counted over the scene, and a single look's coherence is judged over it."""
    monkeypatch.setattr(raster, "BLOCK", 30 * SHAPE[1])  # looked at in five blocks
    phase = np.angle(interferogram()[0])
    phase[20:40, 60:90] = 1.0
    phase[5, 5] = 0.0  # one zero among many pixels is a phase
    source, ones = save(tmp_path / "a.npy", phase), save(tmp_path / "c.npy", np.ones(SHAPE))
    report = denoise_file(source, tmp_path / "out.npy", ones, looks=1, model=network, tile=TILE)
    assert not report.with_coherence
    assert np.load(tmp_path / "out.npy")[5, 5] != 0
    assert arc(np.load(tmp_path / "out.npy"), denoise(phase, np.ones(SHAPE), 1, network, tile=TILE)) < 1e-4
    half = np.where(np.arange(SHAPE[0]) < 100, 0.5, 1.0)[:, None] * np.ones(SHAPE)
    report = denoise_file(source, tmp_path / "out.npy", save(tmp_path / "c.npy", half), 1, network, tile=TILE)
    assert report.with_coherence
    assert arc(np.load(tmp_path / "out.npy"), denoise(phase, half, 1, network, tile=TILE)) < 1e-4


def test_tiles_without_data_cost_nothing(tmp_path, network, monkeypatch):
    z, _ = interferogram()
    z[:, :140] = 0
    source = save(tmp_path / "a.npy", z)
    seen, count = [], []
    estimate = network.estimate
    monkeypatch.setattr(network, "estimate", lambda known, *rest: seen.append(len(known[0])) or estimate(known, *rest))
    denoise_file(source, tmp_path / "out.npy", model=network, tile=TILE, progress=lambda *done: count.append(done))
    assert len(seen) == 4  # two of the three columns of tiles, two rows
    assert sorted(count) == [(n, 6) for n in range(1, 7)]


def test_geotiff_keeps_all_but_the_phase(tmp_path, network):
    """Strips, a mask inside, a second band with the coherence, and a GeoTIFF of uncertainties in the same place."""
    z, gamma = interferogram()
    place = {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(5e5, 4e6, 30, 40)}
    options = {"driver": "GTiff", "dtype": "float32", "count": 2, "height": SHAPE[0], "width": SHAPE[1]}
    valid = z != 0
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(tmp_path / "a.tif", "w", **options, **place, compress="deflate") as file,
    ):
        file.write(np.stack([np.angle(z), gamma]))
        file.descriptions = ("phase", "coherence")
        file.write_mask(valid)
    report = denoise_file(tmp_path / "a.tif", tmp_path / "out.tif", model=network, tile=TILE,
                          uncertainty=tmp_path / "u.tif")  # fmt: skip
    assert report.with_coherence
    phase = np.where(valid, np.angle(z), np.nan)
    wanted = denoise(phase, gamma, model=network, tile=TILE, uncertainty=True)
    with rasterio.open(tmp_path / "a.tif") as old, rasterio.open(tmp_path / "out.tif") as new:
        assert new.profile == old.profile
        assert_array_equal(new.read_masks(1) > 0, valid)
        assert_array_equal(new.read(2), gamma)
        assert arc(np.where(valid, new.read(1), np.nan), wanted.phase) < 1e-4
    with rasterio.open(tmp_path / "u.tif") as file:
        assert (file.crs, file.transform, file.units) == (old.crs, old.transform, ("radian",))
        assert_allclose(file.read(1), wanted.uncertainty, atol=1e-4)


def test_in_place(tmp_path, network):
    z, _ = interferogram()
    source = save(tmp_path / "a.npy", z)
    denoise_file(source, tmp_path / "out.npy", model=network, tile=TILE)
    denoise_file(source, source, model=network, tile=TILE)
    assert_array_equal(np.load(source), np.load(tmp_path / "out.npy"))


def test_never_half_written(tmp_path, network, monkeypatch):
    z, _ = interferogram()
    source = save(tmp_path / "a.npy", z)
    (tmp_path / "out.npy").write_text("older")

    def failing(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise_file(source, tmp_path / "out.npy", model=network, tile=TILE, progress=failing,
                     uncertainty=tmp_path / "u.npy")  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "out.npy"]
    assert (tmp_path / "out.npy").read_text() == "older"


def test_refusals(tmp_path, network):
    source = save(tmp_path / "a.npy", interferogram()[0])
    for arguments, words in (
        ({"target": "out.tif"}, r"ends in \.tif; wanted \.npy"),
        ({"uncertainty": "u.png"}, r"uncertainty.*u\.png"),
        ({"uncertainty": "out.npy"}, "uncertainty: .*out.npy is the output"),
        ({"tile": 0}, "tile: .*0"),
        ({"batch": 0}, "batch: .*0"),
        ({"looks": 0.5}, "looks.*0.5"),
        ({"device": "gpu"}, "device.*gpu"),
        ({"dataset": "phase"}, "dataset.*no HDF5"),
        ({"target": "nowhere/out.npy"}, "does not exist"),
        ({"target": "out.npy", "uncertainty": "nowhere/u.npy"}, "does not exist"),
    ):
        paths = {key: tmp_path / arguments[key] for key in ("target", "uncertainty") if key in arguments}
        with pytest.raises(InputError, match=words):
            denoise_file(source, **{"target": tmp_path / "out.npy", "model": network, **arguments, **paths})
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    with pytest.raises(InputError, match="none of its 20 by 20 pixels"):
        denoise_file(save(tmp_path / "b.npy", np.zeros((20, 20), complex)), tmp_path / "out.npy", model=network)
    assert scenes.TILE % network.net.factor == 0
