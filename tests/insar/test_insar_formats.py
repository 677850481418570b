"""Files of processors, made by other libraries or byte by byte, through the network and back."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import torch
import xarray
from numpy.testing import assert_allclose, assert_array_equal

from manifoldnet.errors import InputError
from manifoldnet.insar.io import read, write
from manifoldnet.insar.model import InsarDenoiser, denoise
from manifoldnet.insar.scenes import denoise_file

SHAPE = (40, 56)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def network() -> InsarDenoiser:
    return InsarDenoiser({"channels": [[4, 6]], "blocks": 1}, torch.Generator().manual_seed(0)).eval()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


@pytest.fixture
def z(rng) -> np.ndarray:
    z = (rng.gamma(2, 5, SHAPE) * np.exp(1j * rng.uniform(-3, 3, SHAPE))).astype(np.complex64)
    z[3:6, 7:11] = 0
    return z


@pytest.fixture
def gamma(rng) -> np.ndarray:
    return rng.uniform(0.1, 1, SHAPE).astype(np.float32)


def arc(a, b):
    assert_array_equal(np.isnan(a), np.isnan(b))
    return np.nanmax(np.abs(np.angle(np.exp(1j * (np.asarray(a, np.float64) - b)))))


def holes(image, missing):
    return np.where(missing, np.nan, image)


# ISCE ----------------------------------------------------------------------------------------------------------------

ISCE = """<imageFile>
    <property name="access_mode"><value>read</value></property>
    <property name="byte_order"><value>{order}</value><doc>Endianness.</doc></property>
    <property name="data_type"><value>{kind}</value></property>
    <property name="file_name"><value>{name}</value></property>
    <property name="length"><value>40</value></property>
    <property name="number_bands"><value>{bands}</value></property>
    <property name="scheme"><value>{scheme}</value></property>
    <property name="width"><value>56</value></property>
    <component name="coordinate1"><property name="size"><value>999</value></property></component>
</imageFile>
"""


def isce(path: Path, array: np.ndarray, scheme="BIP", bands=1, **changes) -> Path:
    kind = {"c": "CFLOAT", "f": "FLOAT"}[array.dtype.kind]
    order = "b" if array.dtype.str.startswith(">") else "l"
    path.write_bytes(array.tobytes())
    fields = {"order": order, "kind": kind, "name": path.name, "bands": bands, "scheme": scheme, **changes}
    path.with_name(f"{path.name}.xml").write_text(ISCE.format(**fields))
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["filt_topophase.flat", "fine.int"])
def test_isce_interferogram(tmp_path, network, z, gamma, name, order):
    source = isce(tmp_path / name, z.astype(f"{order}c8"))
    known = isce(tmp_path / "phsig.cor", gamma)
    target = tmp_path / f"new{source.suffix}"
    denoise_file(source, target, known, model=network)
    out = np.fromfile(target, f"{order}c8").reshape(SHAPE)
    wanted = denoise(z, gamma, model=network)
    assert arc(holes(np.angle(out), z == 0), wanted) < 1e-4
    assert_allclose(np.abs(out), np.abs(z), rtol=1e-5)
    header = target.with_name(f"{target.name}.xml").read_text()
    assert header == (tmp_path / f"{name}.xml").read_text().replace(name, target.name)


def test_isce_unwrapped_and_coherence_with_amplitudes(tmp_path, z, gamma):
    unwrapped = np.angle(z) + np.float32(2 * np.pi)
    unwrapped[z == 0] = 0
    source = isce(tmp_path / "a.unw", np.stack([np.abs(z), unwrapped], 1), "BIL", 2)
    known = isce(tmp_path / "a.cor", np.stack([np.abs(z), gamma], 1), "BIL", 2)
    image = read(source, known)
    assert arc(image.phase, holes(np.angle(z), z == 0)) < 1e-5
    assert_array_equal(image.coherence, gamma * (z != 0))
    write(tmp_path / "b.unw", image.phase, image)
    assert_array_equal(np.fromfile(tmp_path / "b.unw", "<f4").reshape(40, 2, 56)[:, 0], np.abs(z))


def test_isce_refusals(tmp_path, z):
    for changes, words in (
        ({"kind": "CSHORT"}, "data_type cshort; wanted float"),
        ({"scheme": "TILED"}, "scheme tiled"),
        ({"order": "x"}, "byte_order x"),
        ({"bands": "two"}, "number_bands is 'two'"),
    ):
        with pytest.raises(InputError, match=words):
            read(isce(tmp_path / "a.int", z, **changes))
    (tmp_path / "a.int.xml").write_text("<imageFile>")
    with pytest.raises(InputError, match="wanted the XML of an ISCE image"):
        read(tmp_path / "a.int")


# GAMMA ---------------------------------------------------------------------------------------------------------------

OFF = """Gamma Interferometric SAR Processor (ISP)
Interferogram and Image Offset Parameter File

title:     20180106  20180130
initial_range_offset:                0
offset_estimation_range_samples:    32
interferogram_width:                56
interferogram_azimuth_lines:        40
interferogram_range_looks:           8
"""
MAP = "Gamma DIFF&GEO DEM/MAP parameter file\nDEM_projection:     EQA\nwidth:                56\nnlines:     40\n"
IMAGE = "Gamma Interferometric SAR Processor (ISP) - Image Parameter File\nrange_samples:   56\nazimuth_lines:  40\n"


@pytest.mark.parametrize(("header", "text"), [("a.off", OFF), ("a.diff.par", MAP), ("a.par", IMAGE)])
def test_gamma(tmp_path, network, z, gamma, header, text):
    z.astype(">c8").tofile(tmp_path / "a.diff")
    (tmp_path / header).write_text(text)
    gamma.astype(">f4").tofile(tmp_path / "a.cc")  # beside a.off it has a header, beside a.diff.par it has not
    denoise_file(tmp_path / "a.diff", tmp_path / "b.diff", tmp_path / "a.cc", model=network)
    out = np.fromfile(tmp_path / "b.diff", ">c8").reshape(SHAPE)
    assert arc(holes(np.angle(out), z == 0), denoise(z, gamma, model=network)) < 1e-4
    assert (tmp_path / header.replace("a.", "b.", 1)).read_text() == text


def test_gamma_unwrapped(tmp_path, z):
    unwrapped = np.where(z == 0, 0, np.angle(z) + 9).astype(">f4")
    unwrapped.tofile(tmp_path / "a.unw")
    (tmp_path / "a.off").write_text(OFF)
    image = read(tmp_path / "a.unw")
    assert arc(image.phase, holes(np.angle(z) + 9, z == 0)) < 1e-5
    write(tmp_path / "b.unw", image.phase, image)
    assert np.fromfile(tmp_path / "b.unw", ">f4").size == z.size
    (tmp_path / "a.off").write_text("title: nothing\n")
    with pytest.raises(InputError, match="wanted one of interferogram_width"):
        read(tmp_path / "a.unw")
    (tmp_path / "a.off").write_text(OFF.replace("40", "41"))
    with pytest.raises(InputError, match="8960 bytes; wanted 9184"):
        read(tmp_path / "a.unw")


# HyP3 ----------------------------------------------------------------------------------------------------------------


def test_hyp3_finds_its_coherence(tmp_path, network, z, gamma):
    stem = "S1AA_20180106T004020_20180130T004020_VVP024_INT80_G_ueF_1234"
    options = {"driver": "GTiff", "dtype": "float32", "count": 1, "height": 40, "width": 56, "nodata": 0,
               "crs": "EPSG:32614", "transform": rasterio.transform.from_origin(4e5, 2e6, 80, 80), "tiled": True,
               "blockxsize": 32, "blockysize": 16}  # fmt: skip
    for name, band in (("wrapped_phase", np.angle(z)), ("corr", gamma)):
        with rasterio.open(tmp_path / f"{stem}_{name}.tif", "w", **options) as file:
            file.write(band, 1)
    source = tmp_path / f"{stem}_wrapped_phase.tif"
    assert denoise_file(source, tmp_path / "out.tif", model=network).with_coherence
    with rasterio.open(source) as old, rasterio.open(tmp_path / "out.tif") as new:
        assert new.profile == old.profile
        out = new.read(1)
    phase = holes(np.angle(z), z == 0)
    assert arc(holes(out, z == 0), denoise(phase, gamma, model=network)) < 1e-4
    (tmp_path / f"{stem}_corr.tif").unlink()
    assert not denoise_file(source, tmp_path / "out.tif", model=network).with_coherence


# HDF5 and NetCDF -----------------------------------------------------------------------------------------------------

GRIDS = "science/grids/data"


def gunw(path: Path, z: np.ndarray, gamma: np.ndarray) -> Path:
    """As the product ARIA-S1-GUNW has it, written by xarray."""
    coords = {"latitude": np.linspace(20, 19, 40), "longitude": np.linspace(-99, -98, 56)}
    dims = ("latitude", "longitude")
    unwrapped = np.where(z == 0, 0, np.angle(z) + 40).astype(np.float32)
    data = xarray.Dataset(
        {
            "unwrappedPhase": (dims, unwrapped, {"units": "rad", "long_name": "unwrapped phase"}),
            "coherence": (dims, np.where(z == 0, 0, gamma)),
            "amplitude": (dims, np.abs(z)),
            "connectedComponents": (dims, (z != 0).astype(np.int16)),
        },
        coords,
    )
    packing = {"zlib": True, "chunksizes": (16, 32), "_FillValue": np.float32(0)}
    encoding = dict.fromkeys(("unwrappedPhase", "coherence", "amplitude"), packing)
    data.to_netcdf(path, group=GRIDS, engine="h5netcdf", encoding=encoding)
    wavelength = xarray.Dataset({"wavelength": 0.0555}, attrs={"mission": "S1"})
    wavelength.to_netcdf(path, mode="a", group="science/radarMetaData", engine="h5netcdf")
    return path


def test_aria_gunw(tmp_path, network, z, gamma):
    source = gunw(tmp_path / "S1-GUNW.nc", z, gamma)
    report = denoise_file(source, tmp_path / "out.nc", model=network, tile=32, uncertainty=tmp_path / "u.npy")
    assert (report.shape, report.layers, report.with_coherence) == (SHAPE, 1, True)
    phase = holes(np.angle(z) + 40, z == 0)
    with (
        xarray.open_dataset(source, group=GRIDS, engine="h5netcdf") as old,
        xarray.open_dataset(tmp_path / "out.nc", group=GRIDS, engine="h5netcdf") as new,
    ):
        xarray.testing.assert_identical(new.drop_vars("unwrappedPhase"), old.drop_vars("unwrappedPhase"))
        assert new.unwrappedPhase.attrs == old.unwrappedPhase.attrs
        assert new.unwrappedPhase.encoding["chunksizes"] == (16, 32)
        out, before = new.unwrappedPhase.to_numpy(), old.unwrappedPhase.to_numpy()
    assert arc(out, denoise(phase, gamma, model=network, tile=32)) < 1e-4
    # it stays unwrapped: within half a turn of what was there
    assert np.nanmax(np.abs(out - before)) <= np.pi + 1e-4
    with xarray.open_dataset(tmp_path / "out.nc", group="science/radarMetaData", engine="h5netcdf") as rest:
        assert float(rest.wavelength) == 0.0555
    image = read(source)
    assert arc(image.phase, phase) < 1e-5
    write(tmp_path / "again.nc", image.phase, image)
    with h5py.File(source) as old, h5py.File(tmp_path / "again.nc") as new:
        name = f"{GRIDS}/unwrappedPhase"
        assert_allclose(new[name][()], old[name][()], atol=1e-5)


def mintpy(path: Path, rng: np.random.Generator, *names: str) -> dict[str, np.ndarray]:
    """A stack of three as MintPy has it, the second one without data."""
    arrays = {name: rng.uniform(-9, 9, (3, *SHAPE)).astype(np.float32) for name in names}
    arrays["coherence"] = rng.uniform(0, 1, (3, *SHAPE)).astype(np.float32)
    for array in arrays.values():
        array[1] = 0
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, chunks=(1, 20, 28), compression="lzf")
        file["date"] = np.array([[b"20180106", b"20180130"]] * 3)
        file["bperp"] = np.zeros(3, np.float32)
        file["dropIfgram"] = np.ones(3, bool)
        file.attrs["FILE_TYPE"] = "ifgramStack"
    return arrays


def test_mintpy_stack(tmp_path, network, rng):
    arrays = mintpy(tmp_path / "ifgramStack.h5", rng, "wrapPhase")
    report = denoise_file(tmp_path / "ifgramStack.h5", tmp_path / "out.h5", model=network,
                          uncertainty=tmp_path / "u.tif")  # fmt: skip
    assert (report.layers, report.with_coherence) == (3, True)
    with h5py.File(tmp_path / "out.h5") as out:
        assert_array_equal(out["coherence"], arrays["coherence"])
        assert out["date"].shape == (3, 2)
        assert dict(out.attrs) == {"FILE_TYPE": "ifgramStack"}
        phases = out["wrapPhase"][()]
    with rasterio.open(tmp_path / "u.tif") as file:
        widths = file.read()
    assert_array_equal(phases[1], 0)
    assert np.isnan(widths[1]).all()
    for layer in (0, 2):
        wanted = denoise(arrays["wrapPhase"][layer], arrays["coherence"][layer], model=network, uncertainty=True)
        assert arc(phases[layer], wanted.phase) < 1e-4
        assert_allclose(widths[layer], wanted.uncertainty, atol=1e-4)


def test_hdf5_wants_to_be_told(tmp_path, network, rng):
    path = tmp_path / "ifgramStack.h5"
    arrays = mintpy(path, rng, "wrapPhase", "unwrapPhase")
    with pytest.raises(InputError, match=r"several of them, /unwrapPhase, /wrapPhase"):
        denoise_file(path, tmp_path / "out.h5", model=network)
    with pytest.raises(InputError, match="no data set 'phase'"):
        denoise_file(path, tmp_path / "out.h5", model=network, dataset="phase")
    denoise_file(path, tmp_path / "out.h5", model=network, dataset="unwrapPhase")
    with h5py.File(tmp_path / "out.h5") as out:
        assert_array_equal(out["wrapPhase"], arrays["wrapPhase"])
        moved = np.abs(out["unwrapPhase"][()] - arrays["unwrapPhase"])
    assert 0.1 < moved.max() <= np.pi + 1e-4
    with pytest.raises(InputError, match="holds 3 interferograms; wanted one"):
        read(path, dataset="wrapPhase")


def test_complex_hdf5(tmp_path, network, z, gamma):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["ifgs/wrappedInterferogram"], file["ifgs/coherenceMagnitude"] = z, gamma
    denoise_file(tmp_path / "a.h5", tmp_path / "out.h5", model=network)
    with h5py.File(tmp_path / "out.h5") as out:
        result = out["ifgs/wrappedInterferogram"][()]
    assert arc(holes(np.angle(result), z == 0), denoise(z, gamma, model=network)) < 1e-4


def test_hdf5_refusals(tmp_path, network):
    path, out = tmp_path / "a.h5", tmp_path / "out.h5"
    path.write_text("text")
    with pytest.raises(InputError, match="not an HDF5 file"):
        denoise_file(path, out, model=network)
    for name, array, words in (
        ("height", np.ones(SHAPE), "called as a phase or to be told which, got none"),
        ("unwrapPhase", np.ones(SHAPE, np.int16), "the pixels are int16"),
        ("phase/unwrapPhase", np.zeros((0, 4)), "none of its 0 by 4 pixels has data"),
    ):
        with h5py.File(path, "w") as file:
            file[name] = array
        with pytest.raises(InputError, match=words):
            denoise_file(path, out, model=network)
    assert not out.exists()
