"""Motion capture in BVH (Biovision hierarchy): local rotations of joints from Euler angles in any order.

The rotation of a joint is the product of its rotation channels in the order in which they are listed,
R = R_1 R_2 R_3, acting on column vectors in the joint's frame (Meredith & Maddock 2001, Motion capture file formats
explained, University of Sheffield CS-01-11). Angles are in degrees, the time step is in the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from manifoldnet.activity.kinematics import global_positions, global_rotations, product_of_turns
from manifoldnet.activity.lines import fail, numbers, read_lines
from manifoldnet.errors import InputError

_CHANNEL = re.compile(r"([xyz])(position|rotation)", re.IGNORECASE)


@dataclass(frozen=True)
class Bvh:
    """Movement of a tree of joints.

    ``joints`` (J,) names, parents before children; ``parents`` (J,), -1 for a root; ``offsets`` (J, 3) from the
    parent in its frame, in the file's unit of length; ``rotations`` (N, J, 3, 3) relative to the parent;
    ``translations`` (N, J, 3) from the position channels, nan where a joint has none; ``turning`` (J,), whether
    a joint has rotation channels (the others do not turn, as end sites do not); ``rate`` in Hz.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    turning: np.ndarray
    rate: float

    def positions(self) -> Float[np.ndarray, "n joints 3"]:
        """Joint positions in the room by forward kinematics, in the file's unit of length.

        A position channel adds to the offset, which writers leave at 0 for joints that have one.
        """
        attitude = global_rotations(self.rotations, self.parents)
        before = np.array(self.parents)
        carried = np.where((before >= 0)[:, None, None], attitude[:, before], np.eye(3))
        local = self.offsets + np.nan_to_num(self.translations)
        return global_positions((carried @ local[..., None])[..., 0], self.parents)


@dataclass
class _Joint:
    name: str
    parent: int
    line: int
    offset: list[float] | None = None
    channels: list[tuple[str, int]] | None = None
    is_end: bool = False


@dataclass
class _Tokens:
    """Words with the number of their line, and the line after the last of them."""

    path: Path
    words: Iterator[tuple[int, str]]
    last: int
    line: int = 1

    def next_or_end(self) -> str | None:
        self.line, word = next(self.words, (self.last, None))
        return word

    def next(self, wanted: str) -> str:
        word = self.next_or_end()
        if word is None:
            fail(self.path, self.line, f"the hierarchy ends where {wanted} was wanted")
        return word


def read(path: Path) -> Bvh:
    """The movement in a BVH file.

    Raises InputError with the number of the line for unknown keywords and channels, missing or surplus numbers,
    braces that do not match, a missing MOTION section and frames that are missing or of the wrong length.
    """
    lines = read_lines(path)
    start = next((i for i, line in enumerate(lines) if line.upper() == "MOTION"), None)
    if start is None:
        fail(path, max(len(lines), 1), "the file ends without a MOTION section")
    joints = _hierarchy(path, lines[:start])
    values, rate = _motion(path, lines, start, sum(len(joint.channels or []) for joint in joints))
    rotations = np.broadcast_to(np.eye(3), (len(values), len(joints), 3, 3)).copy()
    translations = np.full((len(values), len(joints), 3), np.nan)
    first = 0
    for number, joint in enumerate(joints):
        channels = joint.channels or []
        columns = values[:, first : first + len(channels)]
        first += len(channels)
        turns = [i for i, (kind, _) in enumerate(channels) if kind == "rotation"]
        rotations[:, number] = product_of_turns(np.radians(columns[:, turns]), [channels[i][1] for i in turns])
        for i, (kind, axis) in enumerate(channels):
            if kind == "position":
                translations[:, number, axis] = columns[:, i]
    return Bvh(
        joints=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        offsets=np.array([joint.offset for joint in joints]),
        rotations=rotations,
        translations=translations,
        turning=np.array([any(kind == "rotation" for kind, _ in joint.channels or []) for joint in joints]),
        rate=rate,
    )


def _hierarchy(path: Path, lines: list[str]) -> list[_Joint]:
    words = [
        (number, word)
        for number, line in enumerate(lines, start=1)
        for word in line.replace("{", " { ").replace("}", " } ").split()
    ]
    tokens = _Tokens(path, iter(words), last=len(lines) + 1)
    if tokens.next("HIERARCHY").upper() != "HIERARCHY":
        fail(path, tokens.line, "the file does not begin with HIERARCHY")
    joints: list[_Joint] = []
    open_joints: list[int] = []
    while (word := tokens.next_or_end()) is not None:
        _statement(tokens, word.upper(), joints, open_joints)
    if open_joints:
        fail(path, len(lines) + 1, f"MOTION begins before the joint {joints[open_joints[-1]].name!r} is closed with }}")
    if not joints:
        fail(path, len(lines) + 1, "the hierarchy holds no ROOT")
    return joints


def _statement(tokens: _Tokens, word: str, joints: list[_Joint], open_joints: list[int]) -> None:
    """Take in one statement, whose first word was read."""
    path, line = tokens.path, tokens.line
    if word in ("ROOT", "JOINT", "END"):
        if (word == "ROOT") == bool(open_joints):
            fail(path, line, f"{word} {'inside' if open_joints else 'outside'} of a joint")
        if open_joints and joints[open_joints[-1]].is_end:
            fail(path, line, f"{word} inside of an end site")
        parent = open_joints[-1] if open_joints else -1
        name: list[str] = []
        while (part := tokens.next("{")) != "{":
            if part == "}" or tokens.line > line + 1:
                fail(path, tokens.line, f"wanted {{ after {word} {' '.join(name)}, got {part!r}")
            name.append(part)
        if word == "END":
            name = [joints[parent].name, "end"]
        elif not name:
            fail(path, line, f"{word} without a name")
        joints.append(_Joint(" ".join(name), parent, line, is_end=word == "END"))
        open_joints.append(len(joints) - 1)
    elif not open_joints:
        fail(path, line, f"unknown keyword {word!r}, wanted ROOT or MOTION")
    elif word == "}":
        joint = joints[open_joints.pop()]
        if joint.offset is None:
            fail(path, line, f"the joint {joint.name!r} has no OFFSET")
        if joint.channels is None and not joint.is_end:
            fail(path, line, f"the joint {joint.name!r} has no CHANNELS")
    elif word == "OFFSET":
        joints[open_joints[-1]].offset = numbers(path, line, [tokens.next("a number") for _ in range(3)], 3, "OFFSET")
    elif word == "CHANNELS":
        joints[open_joints[-1]].channels = _channels(tokens)
    else:
        fail(path, line, f"unknown keyword {word!r}, wanted OFFSET, CHANNELS, JOINT, End Site or }}")


def _channels(tokens: _Tokens) -> list[tuple[str, int]]:
    """Kind and axis of each channel of a joint."""
    count = tokens.next("the number of channels")
    if not count.isdecimal() or int(count) > 6:
        fail(tokens.path, tokens.line, f"{count!r} channels, wanted a whole number from 0 to 6")
    channels = []
    for _ in range(int(count)):
        word = tokens.next("a channel")
        match = _CHANNEL.fullmatch(word)
        if match is None:
            fail(tokens.path, tokens.line, f"unknown channel {word!r}, wanted one such as Xposition or Zrotation")
        channels.append((match[2].lower(), "xyz".index(match[1].lower())))
    return channels


def _motion(path: Path, lines: list[str], start: int, channels: int) -> tuple[np.ndarray, float]:
    """The table (frames, channels) after line ``start`` (from 0), and the rate in Hz."""
    rows = [(number, line) for number, line in enumerate(lines[start + 1 :], start=start + 2) if line]
    header = []
    for (number, line), key in zip(rows, (r"Frames\s*:", r"Frame\s+Time\s*:"), strict=False):
        match = re.fullmatch(rf"{key}\s*(\S+)", line, re.IGNORECASE)
        if match is None:
            fail(path, number, f"{line!r}, wanted {'Frame Time: seconds' if 'Time' in key else 'Frames: number'}")
        header.append(numbers(path, number, [match[1]], 1, line.partition(":")[0])[0])
    if len(header) < 2:
        fail(path, len(lines), "the file ends before Frames and Frame Time")
    frames, period = header
    if frames != int(frames) or frames < 1:
        fail(path, rows[0][0], f"{frames:g} frames, wanted a whole number above 0")
    if period <= 0:
        fail(path, rows[1][0], f"a frame time of {period:g} s, wanted a positive number")
    values = [numbers(path, number, line.split(), channels, "the channels of a frame") for number, line in rows[2:]]
    if len(values) != frames:
        raise InputError(f"{path}: line {rows[-1][0]}: {len(values)} frames at the end of the file, wanted {frames:g}")
    return np.array(values).reshape(len(values), channels), 1 / period
