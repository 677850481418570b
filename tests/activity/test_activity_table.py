"""Recordings from text: names, units, times, and what is wrong with a table."""

import numpy as np
import pytest

from manifoldnet.activity.io import read
from manifoldnet.errors import InputError

RNG = np.random.default_rng(0)
SAMPLES = np.round(RNG.normal(scale=0.4, size=(40, 6)) + np.array([0, 0, 0, 0, 0, 1]), 6)
NAMES = ["gx", "gy", "gz", "ax", "ay", "az"]
TIMES = np.arange(40) / 50


def write(path, names, columns, separator=","):
    lines = [] if names is None else [separator.join(names)]
    lines += [separator.join(str(cell) for cell in row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", ", "])
@pytest.mark.parametrize("names", [None, NAMES])
def test_separators(tmp_path, separator, names):
    (out,) = read(write(tmp_path / "a.csv", names, SAMPLES.T, separator), rate=50.0)
    np.testing.assert_array_equal(out.samples, SAMPLES)
    assert (out.name, out.kind, out.rate) == ("a", "imu", 50.0)


@pytest.mark.parametrize("suffix", ["csv", "txt", "tsv", "CSV"])
def test_suffixes(tmp_path, suffix):
    assert read(write(tmp_path / f"a.{suffix}", NAMES, SAMPLES.T), rate=50.0)


@pytest.mark.parametrize(
    "names",
    [
        ["wx", "wy", "wz", "acc_x", "acc_y", "acc_z"],
        ["gyr_x", "gyr_y", "gyr_z", "accel_x", "accel_y", "accel_z"],
        ["Gyro-X", "Gyro-Y", "Gyro-Z", "Acc-X", "Acc-Y", "Acc-Z"],
        ["gyroX", "gyroY", "gyroZ", "accelerometerX", "accelerometerY", "accelerometerZ"],
        [f'"Gyroscope {a} (rad/s)"' for a in "xyz"] + [f'"Acceleration {a} [g]"' for a in "xyz"],
        [
            "rotationRate.x",
            "rotationRate.y",
            "rotationRate.z",
            "acceleration.x",
            "acceleration.y",
            "acceleration.z",
        ],
    ],
)
def test_names_in_any_order(tmp_path, names):
    order = [3, 1, 5, 0, 2, 4]
    columns = [SAMPLES[:, i] for i in order]
    mixed = ["", *(names[i] for i in order), "temperature", "mag_x"]
    columns = [np.arange(40), *columns, np.full(40, 21.5), np.zeros(40)]
    (out,) = read(write(tmp_path / "a.csv", mixed, columns), rate=50.0)
    np.testing.assert_array_equal(out.samples, SAMPLES)


@pytest.mark.parametrize("gyroscope", ["deg/s", "°/s", "dps"])
@pytest.mark.parametrize("acceleration", ["m/s^2", "m/s2", "m/s²"])
def test_units_are_turned(tmp_path, gyroscope, acceleration):
    names = [f"g{a} ({gyroscope})" for a in "xyz"] + [f"a{a} ({acceleration})" for a in "xyz"]
    columns = np.concatenate([np.degrees(SAMPLES[:, :3]), SAMPLES[:, 3:] * 9.80665], axis=1).T
    (out,) = read(write(tmp_path / "a.csv", names, columns), rate=50.0)
    np.testing.assert_allclose(out.samples, SAMPLES, rtol=1e-9)


def test_units_for_a_header_without(tmp_path):
    columns = np.concatenate([np.degrees(SAMPLES[:, :3]), SAMPLES[:, 3:] * 9.80665], axis=1).T
    path = write(tmp_path / "a.csv", NAMES, columns)
    (out,) = read(path, rate=50.0, units=("deg/s", "m/s^2"))
    np.testing.assert_allclose(out.samples, SAMPLES, rtol=1e-9)
    named = write(tmp_path / "b.csv", [f"{name} (rad/s)" for name in NAMES[:3]] + NAMES[3:], columns)
    with pytest.raises(InputError, match=r"units: deg/s, but .* has the column 'gx \(rad/s\)'"):
        read(named, rate=50.0, units=("deg/s", "m/s^2"))


def test_rate_in_a_comment_and_separators_at_the_end(tmp_path):
    """As Xsens writes it."""
    lines = ["// Start Time: 0", "// Sample rate: 40.0Hz", "\t".join(NAMES)]
    lines += ["\t".join(str(value) for value in row) + "\t" for row in SAMPLES]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    (out,) = read(tmp_path / "a.txt")
    assert out.rate == 40
    np.testing.assert_array_equal(out.samples, SAMPLES)
    with pytest.raises(InputError, match=r"rate: 50 Hz, but the comments in .* say 40 Hz"):
        read(tmp_path / "a.txt", 50)


@pytest.mark.parametrize("name", ["gx (rpm)", "gx [m/s^2]"])
def test_unknown_unit(tmp_path, name):
    with pytest.raises(InputError, match=r"unknown unit .* wanted one of rad/s, deg/s"):
        read(write(tmp_path / "a.csv", [name, *NAMES[1:]], SAMPLES.T), rate=50.0)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("t", 1),
        ("time", 1e3),
        ("Timestamp", 1e6),
        ("time", 1e9),
        ("Time (s)", 1),
        ("time_ms", 1e3),
        ("timestamp [ns]", 1e9),
        ("seconds_elapsed", 1),
    ],
)
@pytest.mark.parametrize("start", [0, 1.7e3])
def test_rate_from_times(tmp_path, name, factor, start):
    times = np.round((TIMES + start) * factor, 6)
    (out,) = read(write(tmp_path / "a.csv", [name, *NAMES], [times, *SAMPLES.T]))
    assert out.rate == pytest.approx(50, rel=1e-6)
    np.testing.assert_array_equal(out.samples, SAMPLES)


@pytest.mark.filterwarnings("ignore:.*aliased")
def test_a_named_unit_goes_before_the_guess(tmp_path):
    """20 s between samples would pass for milliseconds."""
    (out,) = read(write(tmp_path / "a.csv", ["t (s)", *NAMES], [TIMES * 1000, *SAMPLES.T]))
    assert out.rate == pytest.approx(0.05)


def test_uneven_times_are_made_even(tmp_path):
    times = TIMES + np.where(np.arange(40) % 2, 0.004, 0)
    wave = np.stack([np.sin(3 * times + phase) for phase in range(6)])
    with pytest.warns(UserWarning, match=r"uneven times, steps of 0\.016 to 0\.024 s"):
        (out,) = read(write(tmp_path / "a.csv", ["t", *NAMES], [times, *wave]))
    even = np.linspace(times[0], times[-1], 40)
    np.testing.assert_allclose(out.samples[:, 2], np.sin(3 * even + 2), atol=1e-3)
    assert np.abs(out.samples[:, 2] - wave[2]).max() > 5e-3
    assert out.rate == pytest.approx(39 / times[-1])


def test_rate_and_times_must_agree(tmp_path):
    path = write(tmp_path / "a.csv", ["t", *NAMES], [TIMES, *SAMPLES.T])
    assert read(path, rate=51.0)[0].rate == 51
    with pytest.raises(InputError, match=r"rate: 100 Hz, but the times in .* say 50 Hz"):
        read(path, rate=100.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: np.where(np.arange(40) == 7, t[6], t), "time does not increase at line 9"),
        (lambda t: np.where(np.arange(40) >= 10, t + 1, t), "1 gaps in time, the first after line 11"),
        (lambda t: t * 1e-7, "no unit a rate"),
        (lambda t: np.where(np.arange(40) == 3, np.nan, t), "needs a number in every row"),
    ],
)
def test_bad_times(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / "a.csv", ["t", *NAMES], [change(TIMES), *SAMPLES.T]))


def test_what_the_recording_is(tmp_path):
    about = [["walking"] * 40, ["7"] * 40, ["Right"] * 40]
    (out,) = read(write(tmp_path / "a.csv", [*NAMES, "Label", "subject", "side"], [*SAMPLES.T, *about]), rate=50.0)
    assert (out.label, out.subject, out.side) == ("walking", "7", 1)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("label", ["a"] * 20 + ["b"] * 20, "column label changes"),
        ("side", ["both"] * 40, "side is 'both', wanted left or right"),
        ("GX", ["0"] * 40, "'gx' and 'GX' both hold gyroscope x"),
        ("label", ["a"] * 39 + ["b,c"], "line 41 has 8 columns, the first has 7"),
    ],
)
def test_columns_that_do_not_fit(tmp_path, name, values, message):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / "a.csv", [*NAMES, name], [*SAMPLES.T, values]), rate=50.0)


def test_comments_byte_order_mark_and_decimal_commas(tmp_path):
    text = "# made by hand\n\n" + ";".join(NAMES) + "\n"
    text += "\n".join(";".join(str(v).replace(".", ",") for v in row) for row in SAMPLES)
    (tmp_path / "a.csv").write_text(text, encoding="utf-8-sig")
    (out,) = read(tmp_path / "a.csv", rate=50.0)
    np.testing.assert_array_equal(out.samples, SAMPLES)


def test_missing_columns_are_named(tmp_path):
    with pytest.raises(InputError, match="no column for gyroscope z, acceleration x; the header has gx, gy"):
        read(write(tmp_path / "a.csv", ["gx", "gy", "q", "r", "ay", "az"], SAMPLES.T), rate=50.0)


@pytest.mark.parametrize("count", [3, 5, 7])
def test_without_header_there_must_be_six(tmp_path, count):
    columns = np.zeros((count, 40))
    with pytest.raises(InputError, match=f"{count} columns without a header, wanted 6: gyroscope"):
        read(write(tmp_path / "a.csv", None, columns), rate=50.0)


def test_cells_that_are_not_numbers(tmp_path):
    columns = [list(column) for column in SAMPLES.T]
    columns[1][5] = "x"
    with pytest.raises(InputError, match="line 7, column gy: 'x' is not a number"):
        read(write(tmp_path / "a.csv", NAMES, columns), rate=50.0)
    columns[1][5] = ""
    with pytest.raises(InputError, match="1 of 40 samples hold nan or infinity, the first is number 5"):
        read(write(tmp_path / "a.csv", NAMES, columns), rate=50.0)


@pytest.mark.parametrize("text", ["\n\n", "# only a comment\n", ",".join(NAMES) + "\n"])
def test_no_samples(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match="no samples"):
        read(tmp_path / "a.csv", rate=50.0)


def test_not_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not a text file"):
        read(tmp_path / "a.csv", rate=50.0)
