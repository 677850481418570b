"""What the named columns of a table hold, and the recording that they make."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manifoldnet.activity.options import Options, recording_of, skeleton_recording
from manifoldnet.activity.recording import Recording, checked
from manifoldnet.activity.rotation_arrays import from_quaternions, from_rotation_vectors, rotations_of, triples
from manifoldnet.activity.skeleton import filled
from manifoldnet.activity.timing import even
from manifoldnet.activity.units import UNITS
from manifoldnet.errors import InputError

CHANNELS = [f"{sensor} {axis}" for sensor in ("gyroscope", "acceleration") for axis in "xyz"]
ABOUT = ("label", "subject", "side")

_GYROSCOPE = re.compile(r"(?:g|w|gyr|gyro|gyroscope|omega|angularvelocity|rotationrate)([xyz])")
_ACCELERATION = re.compile(r"(?:a|acc|accel|accelerometer|acceleration)([xyz])")
_TIME = re.compile(r"(?:t|time|timestamp|seconds_elapsed)(?:_(s|ms|us|ns))?")
_COUNTER = re.compile(r"|counter|index|frame|sample|packet|(?:frame|sample|packet)_number")
_QUATERNION = re.compile(r"(?:(?:(.+?)_)?(?:q|quat|quaternion)_?)?([wxyz])(?:_element)?")
_VECTOR = re.compile(r"(?:(.+?)_)?(?:rv|rotvec|rotation_vector|expmap)_?([xyz])")
_SIDES = {"0": 0, "l": 0, "left": 0, "1": 1, "r": 1, "right": 1}


@dataclass(frozen=True)
class Columns(ABC):
    """A table with names. ``rate`` in Hz if the file tells it apart from the samples."""

    path: Path
    names: list[str]
    rate: float | None

    @abstractmethod
    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        """The columns as float64 (rows, columns), nan where there is nothing; InputError where there is text."""

    @abstractmethod
    def values(self, column: int) -> set[str]:
        """The different cells of a column."""

    @abstractmethod
    def place(self, row: int) -> str:
        """Where in the file a row is, counted from 0."""


def read(table: Columns, options: Options) -> Recording:
    """The one recording in a table; :func:`manifoldnet.activity.io.read` says which names are understood.

    Raises InputError when columns are missing, double or of an unknown unit, and when times are bad.
    """
    roles, factors = _roles(table)
    about: dict[str, Any] = {role: _constant(table, role, roles[role]) for role in ABOUT if role in roles}
    if options.content is not None:
        used = {*roles.values(), *(i for i, name in enumerate(table.names) if _COUNTER.fullmatch(_words(name)))}
        samples = _declared(table, [i for i in range(len(table.names)) if i not in used], options)
    elif any(channel in roles for channel in CHANNELS):
        samples = _inertial(table, roles, factors, options)
    else:
        samples, about["bodies"] = _rotations(table)
    rate = table.rate
    if "time" in roles:
        times = table.numbers([roles["time"]])[:, 0]
        samples, rate = even(str(table.path), times, samples, factors["time"], table.place)
    source = f"the times in {table.path}" if "time" in roles else f"the comments in {table.path}"
    rate = options.agreed_rate(rate, source)
    where, name = str(table.path), table.path.stem
    if options.content == "positions":
        joints = options.joints()
        return skeleton_recording(where, name, samples.reshape(len(samples), -1, 3), joints, rate, **about)
    declared = options.units is not None or any(factors.get(channel) is not None for channel in CHANNELS)
    return checked(where, name, samples, rate, declared=declared, **about)


def _words(name: str) -> str:
    """Lower-case words of a name, without its unit, joined by underscores."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", re.split(r"[(\[]", name)[0])
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


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
    if unit is not None and unit not in UNITS[quantity]:
        units = ", ".join(UNITS[quantity])
        raise InputError(f"{path}: column {name!r}: unknown unit {unit!r}, wanted one of {units}")
    return role, None if unit is None else UNITS[quantity][unit]


def _roles(table: Columns) -> tuple[dict[str, int], dict[str, float | None]]:
    """The column of each role, and the factor of its unit."""
    columns: dict[str, int] = {}
    factors: dict[str, float | None] = {}
    for column, name in enumerate(table.names):
        role, factor = _role(table.path, name)
        if role in columns:
            raise InputError(f"{table.path}: the columns {table.names[columns[role]]!r} and {name!r} both hold {role}")
        if role:
            columns[role], factors[role] = column, factor
    return columns, factors


def _inertial(table: Columns, roles: dict[str, int], factors: dict[str, float | None], options: Options) -> np.ndarray:
    missing = [channel for channel in CHANNELS if channel not in roles]
    if missing:
        raise InputError(
            f"{table.path}: no column for {', '.join(missing)}; the header has {', '.join(table.names)}, wanted names "
            "such as gx gy gz ax ay az or gyro_x ... acc_x ..."
        )
    samples = table.numbers([roles[channel] for channel in CHANNELS])
    given = dict(zip(("gyroscope", "acceleration"), options.units or (None, None), strict=True))
    for number, channel in enumerate(CHANNELS):
        unit, found = given[channel.split()[0]], factors[channel]
        wanted = None if unit is None else UNITS[channel.split()[0]][unit.lower()]
        if None not in (wanted, found) and wanted != found:
            raise InputError(f"units: {unit}, but {table.path} has the column {table.names[roles[channel]]!r}")
        samples[:, number] *= wanted or found or 1.0
    return samples


def _rotations(table: Columns) -> tuple[np.ndarray, tuple[str, ...]]:
    """Rotations (N, k, 3, 3) from columns of quaternions or rotation vectors, and the names of their bodies."""
    for pattern, axes in ((_QUATERNION, "wxyz"), (_VECTOR, "xyz")):
        found: dict[str, dict[str, int]] = {}
        for column, name in enumerate(table.names):
            match = pattern.fullmatch(_words(name))
            if match is not None:
                found.setdefault((match[1] or "").replace("_", " "), {})[match[2]] = column
        whole = {body: columns for body, columns in found.items() if len(columns) == len(axes)}
        if not whole:
            continue
        if len(whole) < len(found):
            body = next(body for body in found if body not in whole)
            raise InputError(f"{table.path}: the body {body!r} has no column for all of {', '.join(axes)}")
        values = table.numbers([columns[axis] for columns in whole.values() for axis in axes])
        values = values.reshape(len(values), len(whole), len(axes))
        where = str(table.path)
        turn = from_quaternions(values, "wxyz", where) if len(axes) == 4 else from_rotation_vectors(values, where)
        return turn, tuple(whole)
    raise InputError(
        f"{table.path}: no column for {', '.join(CHANNELS)}, nor for quaternions (qw qx qy qz) or rotation vectors "
        f"(rv_x rv_y rv_z); the header has {', '.join(table.names)}; wanted names such as gx gy gz ax ay az"
    )


def _declared(table: Columns, columns: Sequence[int], options: Options) -> np.ndarray:
    """Rotations (N, k, 3, 3), or positions (N, 3 J) in the order of the skeleton's joints."""
    where = str(table.path)
    assert options.content is not None
    if options.content != "positions":
        return rotations_of(where, table.numbers(columns), options.content)
    joints = options.joints().joints
    words = {frozenset(_words(table.names[column]).split("_")): column for column in columns}
    order = [words.get(frozenset((*joint.split(), axis))) for joint in joints for axis in "xyz"]
    chosen = [column for column in order if column is not None]
    if chosen and len(chosen) < len(order):
        lost = order.index(None)
        raise InputError(f"{where}: no column for {joints[lost // 3]} {'xyz'[lost % 3]}")
    values = triples(where, table.numbers(chosen or columns), "positions")
    try:
        return filled(values).reshape(len(values), -1)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _constant(table: Columns, role: str, column: int) -> str | int:
    """The one value of a column that describes the recording; the side as 0 (left) or 1 (right)."""
    values = table.values(column)
    if len(values) > 1:
        raise InputError(f"{table.path}: the column {role} changes; a table is one recording, so split it there")
    (value,) = values
    if role != "side":
        return value
    if value.lower() not in _SIDES:
        raise InputError(f"{table.path}: side is {value!r}, wanted left or right (0 or 1)")
    return _SIDES[value.lower()]


def unnamed(path: Path, numbers: np.ndarray, options: Options) -> Recording:
    """The recording in a table (rows, columns) without names, whose rate must be given."""
    if options.content is None and numbers.shape[1] != 6:
        raise InputError(
            f"{path}: {numbers.shape[1]} columns without a header, wanted 6: gyroscope x y z in rad/s, "
            "acceleration x y z in g; with a header (gx, gy, gz, ax, ay, az) any order will do"
        )
    return recording_of(str(path), path.stem, numbers, options, options.rate)
