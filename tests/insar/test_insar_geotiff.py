"""GeoTIFF: what rasterio reads back from a written file is what it read from the input."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.testing import assert_allclose, assert_array_equal
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import from_origin

from manifoldnet.errors import InputError
from manifoldnet.insar.io import read, write

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SAMPLES = Path(__file__).parents[2].parent / "shared" / "data" / "insar"
SHAPE = (50, 70)
PLACE = {"crs": CRS.from_epsg(32633), "transform": from_origin(5e5, 4e6, 30, 40)}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def save(path: Path, *bands: np.ndarray, names=(), tags=None, band_tags=None, **profile) -> Path:
    height, width = bands[0].shape
    options = {"driver": "GTiff", "dtype": bands[0].dtype, "height": height, "width": width, **profile}
    with rasterio.open(path, "w", count=len(bands), **options) as target:
        target.write(np.stack(bands))
        target.update_tags(**(tags or {}))
        target.update_tags(ns="MINE", LOOKS="4")
        target.update_tags(1, **(band_tags or {}))
        if names:
            target.descriptions = names
    return path


def facts(path: Path) -> dict:
    """All that rasterio says of a file, but for its pixels and their statistics."""
    with rasterio.open(path) as source:
        profile = {key: str(value) for key, value in source.profile.items()}  # nan equals nan as text
        return {
            **profile,
            "tags": {space: source.tags(ns=space) for space in (None, "IMAGE_STRUCTURE", "MINE")},
            "band tags": [source.tags(band) for band in source.indexes],
            "descriptions": source.descriptions,
            "units": source.units,
            "colours": source.colorinterp,
            "gcps": [(point.row, point.col, point.x, point.y) for point in source.gcps[0]],
            "gcps crs": source.gcps[1],
            "masks": source.mask_flag_enums,
        }


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


@pytest.mark.parametrize("compress", [{}, {"compress": "deflate", "predictor": 3}, {"compress": "packbits"}])
@pytest.mark.parametrize("nodata", [None, -9999.0, float("nan"), 0.0])
def test_everything_but_the_phase_survives(tmp_path, rng, compress, nodata):
    phase = rng.uniform(-30, 30, SHAPE).astype(np.float32)
    if nodata is not None:
        phase[10:20, :5] = nodata
    path = save(
        tmp_path / "in.tif",
        phase,
        names=["unwrapped phase"],
        tags={"WAVELENGTH_METRES": "0.0555", "AREA_OR_POINT": "Point"},
        band_tags={"SOURCE": "GAMMA"},
        nodata=nodata,
        tiled=True,
        blockxsize=32,
        blockysize=16,
        **PLACE,
        **compress,
    )
    image = read(path)
    missing = np.zeros(SHAPE, bool)
    missing[10:20, :5] = nodata is not None
    assert_array_equal(np.isnan(image.phase), missing)
    write(tmp_path / "out.tiff", image.phase, image)
    assert facts(tmp_path / "out.tiff") == facts(path)
    out = pixels(tmp_path / "out.tiff")[0]
    assert_array_equal(out[~missing], image.phase[~missing])
    assert out[missing].tobytes() == phase[missing].tobytes()


def test_stale_statistics_are_dropped(tmp_path, rng):
    phase = rng.uniform(-3, 3, SHAPE).astype(np.float32)
    image = read(save(tmp_path / "in.tif", phase, band_tags={"STATISTICS_MEAN": "7", "KEPT": "1"}, **PLACE))
    write(tmp_path / "out.tif", image.phase, image)
    assert facts(tmp_path / "out.tif")["band tags"] == [{"KEPT": "1"}]


def test_radar_geometry_keeps_its_control_points_without_a_warning(tmp_path, rng):
    z = (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)).astype(np.complex64)
    path = save(tmp_path / "in.tif", z)
    with rasterio.open(path, "r+") as source:
        corners = [(0, 0, 10.0, 50.0), (0, 70, 11.0, 50.0), (50, 0, 10.0, 49.0)]
        source.gcps = ([GroundControlPoint(*corner) for corner in corners], CRS.from_epsg(4326))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read(path)
        write(tmp_path / "out.tif", image.phase, image)
    assert facts(tmp_path / "out.tif") == facts(path)
    assert len(facts(path)["gcps"]) == 3
    assert_allclose(pixels(tmp_path / "out.tif")[0], z, rtol=1e-5)


def test_mask_inside_the_file(tmp_path, rng):
    phase = rng.uniform(-3, 3, SHAPE).astype(np.float32)
    path = save(tmp_path / "in.tif", phase, **PLACE)
    valid = rng.random(SHAPE) > 0.3
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as source:
        source.write_mask(valid)
    image = read(path)
    assert_array_equal(np.isnan(image.phase), ~valid)
    write(tmp_path / "out.tif", np.zeros_like(phase), image)
    assert facts(tmp_path / "out.tif") == facts(path)
    with rasterio.open(tmp_path / "out.tif") as source:
        assert_array_equal(source.read_masks(1) > 0, valid)
    assert_array_equal(pixels(tmp_path / "out.tif")[0], np.where(valid, 0, phase))


@pytest.mark.parametrize("names", [("phase", "Coherence"), ("", "interferometric correlation"), ("cc", "")])
def test_coherence_in_a_described_band(tmp_path, rng, names):
    phase, gamma = rng.uniform(-3, 3, SHAPE).astype("f4"), rng.uniform(0, 1, SHAPE).astype("f4")
    gamma[:2] = np.nan
    bands = (gamma, phase) if names[0] == "cc" else (phase, gamma)
    path = save(tmp_path / "in.tif", *bands, names=names, interleave="pixel", **PLACE)
    image = read(path)
    assert_array_equal(image.phase, phase)  # coherence alone is missing: the phase stays
    assert_array_equal(image.coherence, np.nan_to_num(gamma))
    write(tmp_path / "out.tif", image.phase, image)
    assert facts(tmp_path / "out.tif") == facts(path)
    assert pixels(tmp_path / "out.tif").tobytes() == pixels(path).tobytes()


def test_amplitude_in_a_described_band(tmp_path, rng):
    amplitude, phase = rng.gamma(2, 9, SHAPE).astype("f4"), rng.uniform(-3, 3, SHAPE).astype("f4")
    amplitude[4, 4] = 0
    image = read(save(tmp_path / "in.tif", amplitude, phase, names=("Amplitude", "Phase"), **PLACE))
    assert_array_equal(image.amplitude, amplitude)
    assert_array_equal(np.argwhere(np.isnan(image.phase)), [[4, 4]])
    write(tmp_path / "out.tif", np.ones_like(phase), image)
    assert_array_equal(pixels(tmp_path / "out.tif")[0], amplitude)


def test_missing_coherence_is_zero_and_leaves_the_phase(tmp_path, rng):
    phase, gamma = rng.uniform(-3, 3, SHAPE).astype("f4"), rng.uniform(0.1, 1, SHAPE).astype("f4")
    gamma[:5, :5] = -9
    path = save(tmp_path / "in.tif", phase, **PLACE)
    image = read(path, save(tmp_path / "marked.tif", gamma, nodata=-9, **PLACE))
    assert_array_equal(image.phase, phase)
    assert_array_equal(image.coherence, gamma.clip(min=0))


@pytest.mark.parametrize(
    ("names", "count", "message"),
    [
        ((), 2, "2 band.*wanted one phase band"),
        (("real", "imaginary"), 2, "wanted one phase band"),
        (("phase", "phase"), 2, "wanted one phase band"),
        (("phase", ""), 2, "wanted one phase band"),
        (("coherence",), 1, "1 band.*coherence"),
        ((), 4, "4 band"),
    ],
)
def test_bands_are_not_guessed(tmp_path, rng, names, count, message):
    bands = rng.uniform(0, 1, (count, *SHAPE)).astype("f4")
    with pytest.raises(InputError, match=message):
        read(save(tmp_path / "in.tif", *bands, names=names, **PLACE))


def test_refusals(tmp_path, rng):
    phase = rng.uniform(-3, 3, SHAPE).astype("f4")
    path = save(tmp_path / "in.tif", phase, **PLACE)
    whole = path.read_bytes()
    (tmp_path / "text.tif").write_text("not an image")
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    for name in ("text.tif", "cut.tif"):
        with pytest.raises(InputError, match="not a GeoTIFF that can be read") as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="int16"):
        read(save(tmp_path / "int.tif", np.ones(SHAPE, np.int16)))
    with pytest.raises(InputError, match="complex_int16"):
        read(save(tmp_path / "cint.tif", np.ones(SHAPE, np.complex64), dtype="complex_int16"))
    with pytest.raises(InputError, match="2 complex bands"):
        read(save(tmp_path / "two.tif", phase + 0j, phase + 0j, names=("phase", "amplitude"), dtype="complex64"))
    with pytest.raises(InputError, match="50 by 69; wanted 50 by 70"):
        read(path, save(tmp_path / "cc.tif", abs(phase[:, 1:]) / 4, **PLACE))
    elsewhere = {**PLACE, "transform": from_origin(5e5 + 60, 4e6, 30, 40)}
    with pytest.raises(InputError, match="elsewhere"):
        read(path, save(tmp_path / "cc.tif", abs(phase) / 4, **elsewhere))
    for change in ({"scales": (0.1,)}, {"units": ("degree",)}):
        with rasterio.open(save(tmp_path / "units.tif", phase), "r+") as source:
            for name, value in change.items():
                setattr(source, name, value)
        with pytest.raises(InputError, match=r"wanted .*radians"):
            read(tmp_path / "units.tif")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample interferograms are not here")
def test_real_files_go_round(tmp_path):
    files = sorted(SAMPLES.glob("crop*/*.tif"))
    phases = [path for path in files if not path.name.endswith("_cc.tif")]
    assert (len(files), len(phases)) == (9, 5)
    for path in phases:
        beside = path.with_name(path.name.replace("_eqa_unw", "_flat_eqa_cc"))
        image = read(path, beside if beside != path else None)
        raw = pixels(path)[0]
        missing = raw == 0
        if beside != path:
            assert_array_equal(image.coherence, pixels(beside)[0] * ~missing)
        assert_array_equal(np.isnan(image.phase), missing)
        expected = np.pi - (np.pi - raw.astype(float)) % (2 * np.pi)
        assert_allclose(np.exp(1j * image.phase[~missing]), np.exp(1j * expected[~missing]), atol=2e-6)
        write(tmp_path / "out.tif", image.phase, image)
        assert facts(tmp_path / "out.tif") == facts(path)
        out = pixels(tmp_path / "out.tif")[0]
        assert out[missing].tobytes() == raw[missing].tobytes()
        assert_array_equal(out[~missing], image.phase[~missing])
    assert np.count_nonzero(missing) == 1667  # cropB comes last: zeros under the tag nan


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample interferograms are not here")
def test_real_coherence_files_go_round_as_images(tmp_path):
    for path in SAMPLES.glob("crop*/*_cc.tif"):
        image = read(path)
        write(tmp_path / "out.tif", image.phase, image)
        assert facts(tmp_path / "out.tif") == facts(path)
        assert pixels(tmp_path / "out.tif").tobytes() == pixels(path).tobytes()
