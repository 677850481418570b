"""Raw binary files, their headers, and bytes in the wrong order. GDAL's ENVI driver is the second opinion."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.testing import assert_allclose, assert_array_equal

from manifoldnet.errors import InputError
from manifoldnet.insar.io import read, write

SHAPE = (12, 20)
ENVI_CODES = {"f4": 4, "f8": 5, "c8": 6, "c16": 9, "i2": 2}
RSC = "WIDTH          20\nFILE_LENGTH    12\nWAVELENGTH     0.0555\nX_FIRST        -99.2\n"

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)


@pytest.fixture
def z(rng) -> np.ndarray:
    return (rng.gamma(2, 5, SHAPE) * np.exp(1j * rng.uniform(-3, 3, SHAPE))).astype(np.complex64)


def envi(dtype: str, **changes: object) -> str:
    order, code = dtype[0], ENVI_CODES[dtype[1:]]
    fields = {
        "description": "{\n  samples = 999 in a comment,\n  two lines}",
        "samples": 20,
        "lines": 12,
        "bands": 1,
        "header offset": 0,
        "data type": code,
        "interleave": "bsq",
        "byte order": int(order == ">"),
    } | {key.replace("_", " "): value for key, value in changes.items()}
    return "ENVI\n" + "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<c8", ">c8", ">c16"])
@pytest.mark.parametrize("header", ["scene.raw.hdr", "scene.hdr"])
def test_envi_goes_round(tmp_path, z, dtype, header):
    image = (z if "c" in dtype else np.angle(z)).astype(dtype)
    (tmp_path / "scene.raw").write_bytes(b"preamble" + image.tobytes())
    (tmp_path / header).write_text(envi(dtype, header_offset=8))
    interferogram = read(tmp_path / "scene.raw")
    assert_allclose(interferogram.phase, np.angle(z), atol=1e-6)
    (tmp_path / "out").mkdir()
    write(tmp_path / "out" / "scene.raw", interferogram.phase, interferogram)
    assert (tmp_path / "out" / header).read_bytes() == (tmp_path / header).read_bytes()
    written = (tmp_path / "out" / "scene.raw").read_bytes()
    assert written[:8] == b"preamble"
    assert_allclose(np.frombuffer(written[8:], dtype), image.ravel(), rtol=1e-5, atol=1e-6)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([header, "scene.raw"])


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_envi_bands_agree_with_gdal(tmp_path, z, interleave):
    bands = np.stack([np.angle(z), np.linspace(0, 1, z.size, dtype=np.float32).reshape(SHAPE)])
    options = {"driver": "ENVI", "dtype": "float32", "count": 2, "height": 12, "width": 20}
    with rasterio.open(tmp_path / "in.img", "w", interleave=interleave, **options) as target:
        target.write(bands)
        target.descriptions = ("wrapped phase", "coherence")
    interferogram = read(tmp_path / "in.img")
    assert_array_equal(interferogram.phase, bands[0])
    assert_array_equal(interferogram.coherence, bands[1])
    write(tmp_path / "out.img", -interferogram.phase, interferogram)
    with rasterio.open(tmp_path / "out.img") as source:
        assert_array_equal(source.read(), [-bands[0], bands[1]])


def test_envi_ignore_value(tmp_path, z):
    phase = np.angle(z)
    phase[2, 2:5] = -999
    (tmp_path / "in.phs").write_bytes(phase.tobytes())
    (tmp_path / "in.phs.hdr").write_text(envi("<f4", data_ignore_value=-999))
    interferogram = read(tmp_path / "in.phs")
    assert_array_equal(np.isnan(interferogram.phase), phase == -999)
    write(tmp_path / "out.phs", interferogram.phase, interferogram)
    assert (tmp_path / "out.phs").read_bytes() == phase.tobytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": None}, "has no 'samples'"),
        ({"lines": "many"}, "lines is 'many'"),
        ({"lines": 13}, "960 bytes; wanted 1040 for 13 lines of 20 samples"),
        ({"lines": 10**12}, "960 bytes; wanted 80000000000000"),
        ({"lines": 0}, "960 bytes; wanted 0"),
        ({"data type": 2}, "data type 2; wanted 4, 5"),
        ({"interleave": "tiles"}, "interleave tiles"),
        ({"byte order": 2}, "byte order 2"),
        ({"data ignore value": "none"}, "data ignore value is 'none'"),
    ],
)
def test_envi_refusals(tmp_path, z, changes, message):
    (tmp_path / "in.phs").write_bytes(np.angle(z).tobytes())
    (tmp_path / "in.phs.hdr").write_text(envi("<f4", **changes))
    with pytest.raises(InputError, match=message):
        read(tmp_path / "in.phs")
    (tmp_path / "in.phs.hdr").write_text("samples = 20")
    with pytest.raises(InputError, match="wanted an ENVI header"):
        read(tmp_path / "in.phs")


def test_roi_pac_int(tmp_path, z):
    (tmp_path / "in.int").write_bytes(z.tobytes())
    (tmp_path / "in.int.rsc").write_text(RSC)
    interferogram = read(tmp_path / "in.int")
    assert_allclose(interferogram.phase, np.angle(z), atol=1e-6)
    write(tmp_path / "out.int", interferogram.phase, interferogram)
    assert_allclose(np.fromfile(tmp_path / "out.int", "<c8"), z.ravel(), rtol=1e-5)
    assert (tmp_path / "out.int.rsc").read_text() == RSC


def test_roi_pac_lines_alternate(tmp_path, z):
    unwrapped = np.angle(z) + np.float32(4 * np.pi)
    lines = np.stack([np.abs(z), unwrapped], axis=1)
    (tmp_path / "in.unw").write_bytes(lines.tobytes())
    (tmp_path / "in.unw.rsc").write_text(RSC)
    gamma = np.linspace(0, 1, z.size, dtype=np.float32).reshape(SHAPE)
    (tmp_path / "in.cor").write_bytes(np.stack([np.abs(z), gamma], axis=1).tobytes())
    (tmp_path / "in.cor.rsc").write_text(RSC)
    interferogram = read(tmp_path / "in.unw", tmp_path / "in.cor")
    assert_array_equal(interferogram.amplitude, np.abs(z))
    assert_array_equal(interferogram.coherence, gamma)
    assert_allclose(interferogram.phase, np.angle(z), atol=2e-6)
    write(tmp_path / "out.unw", interferogram.phase, interferogram)
    out = np.fromfile(tmp_path / "out.unw", "<f4").reshape(12, 2, 20)
    assert_array_equal(out[:, 0], np.abs(z))
    assert_array_equal(out[:, 1], interferogram.phase)
    with pytest.raises(InputError, match="wanted one phase band"):
        read(tmp_path / "in.cor")


@pytest.mark.parametrize("with_amplitude", [False, True])
def test_headerless_int_and_coherence(tmp_path, z, with_amplitude):
    (tmp_path / "in.int").write_bytes(z.tobytes())
    gamma = np.linspace(0, 1, z.size, dtype=np.float32).reshape(SHAPE)
    lines = np.stack([np.abs(z), gamma], axis=1) if with_amplitude else gamma
    (tmp_path / "in.cc").write_bytes(lines.tobytes())
    interferogram = read(tmp_path / "in.int", tmp_path / "in.cc", width=20)
    assert_array_equal(interferogram.coherence, gamma)
    write(tmp_path / "out.int", interferogram.phase, interferogram)
    assert_allclose(np.fromfile(tmp_path / "out.int", "<c8"), z.ravel(), rtol=1e-5)


def test_headerless_refusals(tmp_path, z):
    path = tmp_path / "in.int"
    path.write_bytes(z.tobytes())
    with pytest.raises(InputError, match="wanted one of them, or width"):
        read(path)
    with pytest.raises(InputError, match="1920 bytes are not a whole number of lines of 19"):
        read(path, width=19)
    with pytest.raises(InputError, match="width: 0"):
        read(path, width=0)
    (tmp_path / "short.cc").write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match="100 bytes; wanted 960 for 12 lines of 20 samples"):
        read(path, tmp_path / "short.cc", width=20)
    (tmp_path / "in.int.rsc").write_text("FILE_LENGTH 12\n")
    with pytest.raises(InputError, match="has no 'width'"):
        read(path)
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8 not really")
    with pytest.raises(InputError, match=r"picture\.jpg: wanted \.tif, \.npy"):
        read(tmp_path / "picture.jpg")
    (tmp_path / "in.xyz").write_bytes(z.tobytes())
    (tmp_path / "in.xyz.rsc").write_text(RSC)
    with pytest.raises(InputError, match="does not tell its layout"):
        read(tmp_path / "in.xyz")


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize(("written", "stated", "wanted"), [(">", "<", "order = 1"), ("<", ">", "order = 0")])
def test_wrong_byte_order_is_named(tmp_path, z, dtype, written, stated, wanted):
    image = (z if "c" in dtype else np.angle(z)).astype(written + dtype)
    image[:3] = 0
    (tmp_path / "in.raw").write_bytes(image.tobytes())
    (tmp_path / "in.raw.hdr").write_text(envi(stated + dtype))
    with pytest.raises(InputError, match=f"huge or denormal.*byte {wanted}"):
        read(tmp_path / "in.raw")


def test_gamma_file_without_header_is_told_to_be_big_endian(tmp_path, z):
    (tmp_path / "in.diff").write_bytes(z.astype(">c8").tobytes())
    with pytest.raises(InputError, match="plausible as big endian"):
        read(tmp_path / "in.diff", width=20)


def test_bytes_that_are_no_numbers(tmp_path, rng):
    (tmp_path / "in.int").write_bytes(rng.bytes(8 * 20 * 12))
    with pytest.raises(InputError, match="not complex64 numbers in either byte order"):
        read(tmp_path / "in.int", width=20)


def test_a_file_that_was_there_survives_a_failure(tmp_path: Path, z, monkeypatch):
    (tmp_path / "in.int").write_bytes(z.tobytes())
    (tmp_path / "in.int.rsc").write_text(RSC)
    interferogram = read(tmp_path / "in.int")
    monkeypatch.setattr(Path, "write_bytes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "in.int", -interferogram.phase, interferogram)
    assert_array_equal(np.fromfile(tmp_path / "in.int", "<c8").reshape(SHAPE), z)
    assert len(list(tmp_path.iterdir())) == 2
