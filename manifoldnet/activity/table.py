"""Inertial recordings as text: tables with or without a header, and the UEA ``.ts`` format."""

import csv
import re
from pathlib import Path

import numpy as np

from manifoldnet.errors import InputError

STANDARD_GRAVITY = 9.80665  # m/s², what 1 g stands for
LONGEST_GAP = 5  # sampling periods; over a longer gap interpolation would invent movement
CHANNELS = [f"{sensor} {axis}" for sensor in ("gyroscope", "acceleration") for axis in "xyz"]
ABOUT = ("label", "subject", "side")

_GYROSCOPE = re.compile(r"(?:g|w|gyr|gyro|gyroscope|omega|angularvelocity|rotationrate)([xyz])")
_ACCELERATION = re.compile(r"(?:a|acc|accel|accelerometer|acceleration)([xyz])")
_TIME = re.compile(r"(?:t|time|timestamp|seconds_elapsed)(?:_(s|ms|us|ns))?")
_UNITS: dict[str, dict[str, float]] = {
    "gyroscope": {"rad/s": 1.0, "deg/s": np.pi / 180, "°/s": np.pi / 180, "dps": np.pi / 180},
    "acceleration": {
        "g": 1.0,
        "m/s^2": 1 / STANDARD_GRAVITY,
        "m/s2": 1 / STANDARD_GRAVITY,
        "m/s²": 1 / STANDARD_GRAVITY,
    },
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9},
}
_SIDES = {"0": 0, "l": 0, "left": 0, "1": 1, "r": 1, "right": 1}


def read(path: Path) -> tuple[np.ndarray, float | None, dict[str, str | int]]:
    """A table's samples (N, 6), gyroscope then acceleration; its rate in Hz if it has times; its label,
    subject and side as far as there are such columns.

    Uneven times are interpolated linearly onto even ones. Raises InputError when the table is empty or
    ragged, when columns are missing, double, not numbers or of an unknown unit, and when time stands still
    or has gaps.
    """
    rows = _rows(path)
    if not any(_is_number(cell) for cell in rows[0]):
        if len(rows) == 1:
            raise InputError(f"{path}: a header and no samples")
        return _named(path, rows[0], rows[1:])
    if len(rows[0]) != 6:
        raise InputError(
            f"{path}: {len(rows[0])} columns without a header, wanted 6: gyroscope x y z in rad/s, "
            "acceleration x y z in g; with a header (gx, gy, gz, ax, ay, az) any order will do"
        )
    return _numbers(path, rows, {str(i): i for i in range(6)}), None, {}


def _rows(path: Path) -> list[list[str]]:
    """The cells of all lines that are neither empty nor comments, equally many in each."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise InputError(f"{path}: no samples, the file is empty")
    separator = next((mark for mark in ";\t," if mark in lines[0]), None)
    if separator is None:
        rows = [line.split() for line in lines]
    else:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator)]
    if separator == ";":  # tables from places where the comma is the decimal mark
        rows = [[cell.replace(",", ".") for cell in row] for row in rows]
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise InputError(f"{path}: row {number + 1} has {len(row)} columns, the first has {len(rows[0])}")
    return rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(path: Path, rows: list[list[str]], wanted: dict[str, int]) -> np.ndarray:
    """The columns ``wanted`` (name to position), shape (rows, columns); an empty cell is nan."""
    picked = [[row[column] or "nan" for column in wanted.values()] for row in rows]
    try:
        return np.array(picked, dtype=np.float64)
    except ValueError:
        number, name, cell = next(
            (number, name, cell)
            for number, row in enumerate(picked)
            for name, cell in zip(wanted, row, strict=True)
            if not _is_number(cell)
        )
        raise InputError(f"{path}: sample {number}, column {name}: {cell!r} is not a number") from None


def _role(path: Path, name: str) -> tuple[str, float | None]:
    """What a column holds ("gyroscope x", "time", "label" ..., or "") and the factor of its unit if named."""
    before, _, rest = name.lower().replace("[", "(").replace("]", ")").partition("(")
    unit = rest.partition(")")[0].strip() or None
    words = re.sub(r"[^a-z]+", "_", before).strip("_")
    bare = words.replace("_", "")
    if match := _GYROSCOPE.fullmatch(bare):
        quantity, role = "gyroscope", f"gyroscope {match[1]}"
    elif match := _ACCELERATION.fullmatch(bare):
        quantity, role = "acceleration", f"acceleration {match[1]}"
    elif match := _TIME.fullmatch(words):
        quantity, role, unit = "time", "time", unit or match[1]
    else:
        return (bare if bare in ABOUT else ""), None
    if unit is not None and unit not in _UNITS[quantity]:
        units = ", ".join(_UNITS[quantity])
        raise InputError(f"{path}: column {name!r}: unknown unit {unit!r}, wanted one of {units}")
    return role, None if unit is None else _UNITS[quantity][unit]


def _named(
    path: Path, names: list[str], rows: list[list[str]]
) -> tuple[np.ndarray, float | None, dict[str, str | int]]:
    columns: dict[str, int] = {}
    factors: dict[str, float | None] = {}
    for column, name in enumerate(names):
        role, factor = _role(path, name)
        if role in columns:
            raise InputError(f"{path}: the columns {names[columns[role]]!r} and {name!r} both hold {role}")
        if role:
            columns[role], factors[role] = column, factor
    missing = [channel for channel in CHANNELS if channel not in columns]
    if missing:
        raise InputError(
            f"{path}: no column for {', '.join(missing)}; the header has {', '.join(names)}, wanted names "
            "such as gx gy gz ax ay az or gyro_x ... acc_x ..."
        )
    samples = _numbers(path, rows, {names[columns[channel]]: columns[channel] for channel in CHANNELS})
    samples *= [factors[channel] or 1.0 for channel in CHANNELS]
    about = {role: _constant(path, role, rows, column) for role, column in columns.items() if role in ABOUT}
    if "time" not in columns:
        return samples, None, about
    times = _numbers(path, rows, {names[columns["time"]]: columns["time"]})[:, 0]
    even, rate = _even(path, times, samples, factors["time"])
    return even, rate, about


def _constant(path: Path, role: str, rows: list[list[str]], column: int) -> str | int:
    """The one value of a column that describes the recording; the side as 0 (left) or 1 (right)."""
    values = {row[column] for row in rows}
    if len(values) > 1:
        raise InputError(f"{path}: the column {role} changes; a table is one recording, so split it there")
    (value,) = values
    if role != "side":
        return value
    if value.lower() not in _SIDES:
        raise InputError(f"{path}: side is {value!r}, wanted left or right (0 or 1)")
    return _SIDES[value.lower()]


def _even(path: Path, times: np.ndarray, samples: np.ndarray, factor: float | None) -> tuple[np.ndarray, float]:
    """Samples at even times and their rate in Hz; without a ``factor`` the unit of time is inferred."""
    if len(times) < 2 or not np.isfinite(times).all():
        raise InputError(f"{path}: the time column needs a number in every row, and two rows at least")
    steps = np.diff(times)
    if not (steps > 0).all():
        raise InputError(f"{path}: time does not increase at sample {int(np.argmin(steps > 0)) + 1}")
    period = float(np.median(steps))
    gaps = steps > LONGEST_GAP * period
    if gaps.any():
        raise InputError(
            f"{path}: {gaps.sum()} gaps in time, the first after sample {int(gaps.argmax())}; cut the recording there"
        )
    if factor is None:
        # one of these units, and only one, can put the rate between 1 and 1000 Hz
        factor = next((unit for unit in _UNITS["time"].values() if 1 <= 1 / (period * unit) < 1000), None)
    if factor is None:
        raise InputError(f"{path}: the step in time is {period:g}, in no unit a rate of 1 to 1000 Hz")
    rate = (len(times) - 1) / (float(times[-1] - times[0]) * factor)
    if np.abs(steps - period).max() <= 0.1 * period:
        return samples, rate
    even = np.linspace(times[0], times[-1], len(times))
    return np.stack([np.interp(even, times, channel) for channel in samples.T], axis=-1), rate


def read_ts(path: Path) -> tuple[str, list[tuple[np.ndarray, str | None]]]:
    """The problem name of a ``.ts`` file and its cases: an array (channels, length) and the label, if any.

    A case is one line: the channels, separated by colons, are lists of numbers with commas ("?" is nan);
    the label comes last. Raises InputError for files with time stamps, without data, and for malformed
    cases.
    """
    header: dict[str, str] = {}
    cases: list[tuple[np.ndarray, str | None]] = []
    in_data = False
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        if in_data:
            labelled = header.get("classlabel", "").lower().startswith("true")
            cases.append(_case(path, number, line, labelled=labelled))
        elif line.lower() == "@data":
            in_data = True
        elif line.startswith("@"):
            key, _, value = line[1:].partition(" ")
            header[key.lower()] = value.strip()
        else:
            raise InputError(f"{path}: line {number} is neither a comment nor a header line (@...)")
        if header.get("timestamps", "").lower() == "true":
            raise InputError(f"{path}: .ts files with time stamps are not read")
    if not cases:
        raise InputError(f"{path}: no cases after @data")
    return header.get("problemname", ""), cases


def _case(path: Path, number: int, line: str, *, labelled: bool) -> tuple[np.ndarray, str | None]:
    channels = line.split(":")
    label = channels.pop().strip() if labelled else None
    try:
        values = [[float(cell.replace("?", "nan")) for cell in channel.split(",")] for channel in channels]
        return np.array(values, dtype=np.float64), label
    except ValueError:
        raise InputError(f"{path}: line {number} is not lists of numbers of equal length") from None
