"""What is read and written: wrapping, missing pixels, coherence, errors; `.npy` files carry the tests."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from manifoldnet.errors import InputError
from manifoldnet.insar.io import Interferogram, read, write

SHAPE = (30, 40)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def save(folder: Path, array: np.ndarray, name: str = "in.npy") -> Path:
    np.save(folder / name, array)
    return folder / name


def circle_distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.nanmax(np.abs(np.angle(np.exp(1j * (a.astype(float) - b))))))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_phase_is_wrapped_and_written_in_the_same_type(tmp_path, rng, dtype):
    turns = rng.uniform(-200, 200, SHAPE).astype(dtype)
    image = read(save(tmp_path, turns))
    assert image.phase.dtype == np.dtype(np.float32)
    assert image.phase.min() > -np.float32(np.pi)
    assert image.phase.max() <= np.float32(np.pi)
    assert circle_distance(image.phase, turns.astype(float)) < 3e-6
    assert image.amplitude is None
    assert image.coherence is None
    write(tmp_path / "out.npy", image.phase, image)
    out = np.load(tmp_path / "out.npy")
    assert out.dtype == np.dtype(dtype)
    assert_array_equal(out, image.phase)


def test_wrapped_phase_goes_round_bit_for_bit(tmp_path, rng):
    wrapped = rng.uniform(-np.pi, np.pi, SHAPE).astype(np.float32)
    wrapped[0, :2] = np.float32(np.pi), np.nextafter(np.float32(-np.pi), np.float32(0))
    image = read(save(tmp_path, wrapped))
    write(tmp_path / "out.npy", image.phase, image)
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "in.npy").read_bytes()


def test_minus_pi_becomes_pi(tmp_path, rng):
    phase = rng.uniform(-3, 3, SHAPE)
    phase[0, 0], phase[0, 1] = -np.pi, np.nextafter(-np.pi, 0)
    image = read(save(tmp_path, phase))
    assert_array_equal(image.phase[0, :2], np.float32([np.pi, np.pi]))


@pytest.mark.parametrize("dtype", ["<c8", ">c8", "<c16"])
def test_complex_keeps_its_amplitude(tmp_path, rng, dtype):
    z = (rng.gamma(2, 50, SHAPE) * np.exp(1j * rng.uniform(-3, 3, SHAPE))).astype(dtype)
    z[3:6, 4:9] = 0
    z[7, 7] = complex(np.nan, 1)
    image = read(save(tmp_path, z))
    gone = (z == 0) | np.isnan(z)
    assert_array_equal(np.isnan(image.phase), gone)
    assert_allclose(image.amplitude[~gone], np.abs(z)[~gone], rtol=1e-6)
    assert not image.amplitude[gone].any()
    turned = np.full_like(image.phase, 0.5)
    write(tmp_path / "out.npy", turned, image)
    out = np.load(tmp_path / "out.npy")
    assert out.dtype == z.dtype
    assert_allclose(np.angle(out[~gone]), 0.5, rtol=1e-6)
    assert_allclose(np.abs(out[~gone]), np.abs(z[~gone]), rtol=1e-6)
    assert out[gone].tobytes() == z[gone].tobytes()


def test_fortran_order_survives(tmp_path, rng):
    image = read(save(tmp_path, np.asfortranarray(rng.uniform(-3, 3, SHAPE))))
    write(tmp_path / "out.npy", image.phase, image)
    assert np.load(tmp_path / "out.npy").flags.fnc


def test_output_is_wrapped(tmp_path, rng):
    image = read(save(tmp_path, rng.uniform(-3, 3, SHAPE)))
    write(tmp_path / "out.npy", image.phase.astype(float) + 20 * np.pi, image)
    assert circle_distance(np.load(tmp_path / "out.npy"), image.phase) < 1e-6
    assert np.abs(np.load(tmp_path / "out.npy")).max() <= np.float32(np.pi)


def test_zeros_are_missing_when_they_are_many(tmp_path, rng):
    phase = rng.uniform(-3, 3, SHAPE).astype(np.float32)
    phase[:, :3] = 0
    phase[5, 5] = np.nan
    phase[6, 6] = np.inf
    image = read(save(tmp_path, phase))
    assert_array_equal(np.isnan(image.phase), (phase == 0) | ~np.isfinite(phase))
    write(tmp_path / "out.npy", np.ones_like(phase), image)
    out = np.load(tmp_path / "out.npy")
    assert out[np.isnan(image.phase)].tobytes() == phase[np.isnan(image.phase)].tobytes()
    assert (out[~np.isnan(image.phase)] == 1).all()


def test_few_zeros_are_phases(tmp_path, rng):
    phase = rng.uniform(-3, 3, SHAPE).astype(np.float32)
    phase[4, [3, 8, 30]] = 0
    assert np.isfinite(read(save(tmp_path, phase)).phase).all()


def test_coherence_from_a_second_file(tmp_path, rng):
    gamma = rng.uniform(0, 1, SHAPE)
    gamma[0, 0], gamma[0, 1], gamma[0, 2] = np.nan, 0.0, 1 + 1e-6
    path = save(tmp_path, rng.uniform(-3, 3, SHAPE))
    image = read(path, save(tmp_path, gamma, "cc.npy"))
    assert image.coherence.dtype == np.float32
    assert np.isfinite(image.phase).all()
    assert image.coherence[0, 0] == 0
    assert image.coherence[0, 2] == 1
    assert_allclose(image.coherence[1:], gamma[1:], atol=1e-7)


def refusals(folder: Path) -> dict[str, tuple[np.ndarray | bytes, np.ndarray | None, str]]:
    """name -> (file, coherence, what the message says)."""
    good = np.full(SHAPE, 0.5)
    return {
        "integers": (np.ones(SHAPE, np.int16), None, "int16"),
        "half precision": (np.ones(SHAPE, np.float16), None, "float16"),
        "three axes": (np.ones((2, *SHAPE)), None, r"\(2, 30, 40\)"),
        "one axis": (np.ones(7), None, r"\(7,\)"),
        "objects": (np.array([[{}]]), None, "not a .npy array without objects"),
        "no array": (b"what?", None, "not a .npy array"),
        "empty file": (b"", None, "not a .npy array"),
        "all NaN": (np.full(SHAPE, np.nan), None, "none of its 30 by 40 pixels has data"),
        "all zero": (np.zeros(SHAPE, complex), None, "none of its 30 by 40 pixels has data"),
        "no pixels": (np.zeros((0, 4)), None, "none of its 0 by 4 pixels has data"),
        "coherence size": (good, np.ones((30, 41)), "30 by 41; wanted 30 by 40"),
        "coherence above 1": (good, good * 4, r"from 2 to 2; wanted \[0, 1\]"),
        "coherence below 0": (good, -good, r"from -0.5 to -0.5; wanted \[0, 1\]"),
        "complex coherence": (good, good + 0j, "complex"),
        "coherence in percent": (good, np.ones(SHAPE, np.uint8), "uint8"),
        "no coherence at all": (good, good * np.nan, "none of the pixels of .* has data"),
    }


@pytest.mark.parametrize("name", refusals(Path()))
def test_refusals(tmp_path, name):
    content, gamma, message = refusals(tmp_path)[name]
    if isinstance(content, bytes):
        (tmp_path / "in.npy").write_bytes(content)
    else:
        save(tmp_path, content)
    coherence = None if gamma is None else save(tmp_path, gamma, "cc.npy")
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / "in.npy", coherence)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path, rng):
    with pytest.raises(InputError, match="no such interferogram"):
        read(tmp_path / "absent.tif")
    with pytest.raises(InputError, match="no such coherence file"):
        read(save(tmp_path, rng.uniform(-3, 3, SHAPE)), tmp_path / "absent.tif")


def test_width_must_agree(tmp_path, rng):
    with pytest.raises(InputError, match="width: 41"):
        read(save(tmp_path, rng.uniform(-3, 3, SHAPE)), width=41)


@pytest.fixture
def image(tmp_path, rng) -> Interferogram:
    return read(save(tmp_path, rng.uniform(-3, 3, SHAPE)))


def test_write_refuses(tmp_path, image):
    with pytest.raises(InputError, match=r"ends in \.tif; wanted \.npy"):
        write(tmp_path / "out.tif", image.phase, image)
    with pytest.raises(InputError, match="40 by 30; wanted 30 by 40"):
        write(tmp_path / "out.npy", image.phase.T, image)
    with pytest.raises(InputError, match="does not exist"):
        write(tmp_path / "absent" / "out.npy", image.phase, image)
    broken = image.phase.copy()
    broken[3, 3] = np.nan
    with pytest.raises(InputError, match="1 pixels with data are not finite"):
        write(tmp_path / "out.npy", broken, image)
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]
