"""Markers of optical motion capture in C3D, read by ezc3d (``pip install "manifoldnet[c3d]"``), and rigid bodies.

C3D holds positions. Rotations come either from groups of three or more markers on one rigid segment
(:func:`rigid_bodies`), or from markers at joints, as bones of a skeleton (``skeleton``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from manifoldnet.errors import InputError

MAGIC = 0x50  # second byte of every C3D file
BLOCK = 512  # bytes; a file is at least a header and a block of parameters
INTEL, DEC, SGI = 84, 85, 86  # the processors whose numbers a file holds
PROCESSORS = {INTEL: "<u2", DEC: "<u2", SGI: ">u2"}
FLATTEST = 1e-3  # second singular value of a group of markers by its first: below, they lie on a line


@dataclass(frozen=True)
class Markers:
    """``labels`` (M,); ``positions`` (N, M, 3) in ``unit``, nan where a marker was not seen; ``rate`` in Hz."""

    labels: tuple[str, ...]
    positions: np.ndarray
    unit: str
    rate: float

    def of(self, names: Sequence[str], where: str) -> Float[np.ndarray, "n names 3"]:
        """Positions of the markers ``names``; a label may have the subject's name and a colon before it.

        Raises InputError, which begins with ``where``, when one is not there.
        """
        short = {label.rpartition(":")[2]: number for number, label in enumerate(self.labels)}
        known = {**short, **{label: number for number, label in enumerate(self.labels)}}
        lost = [name for name in names if name not in known]
        if lost:
            raise InputError(f"{where}: no marker {lost[0]!r}; there are {', '.join(self.labels)}")
        return self.positions[:, [known[name] for name in names]]


def read(path: Path) -> Markers:
    """The markers of a C3D file.

    Raises InputError when ezc3d is missing, when the file is not C3D, and when it holds no marker or no frame.
    """
    try:
        import ezc3d
    except ImportError:
        raise InputError(f'{path}: C3D needs ezc3d: pip install "manifoldnet[c3d]"') from None
    _check_length(path)
    try:
        content = ezc3d.c3d(str(path))
        point = content["parameters"]["POINT"]
        positions = np.moveaxis(content["data"]["points"][:3], 0, -1).swapaxes(0, 1)
        labels = [str(label) for label in _values(point, "LABELS")]
        rate = float(_values(point, "RATE")[0])
        unit = str(_values(point, "UNITS")[0]) if len(_values(point, "UNITS")) else ""
    except Exception as error:  # whatever the C++ reader throws: the file is at fault
        raise InputError(f"{path}: not a whole C3D file ({error})") from None
    if positions.shape[0] == 0 or positions.shape[1] == 0:
        raise InputError(f"{path}: {positions.shape[1]} markers in {positions.shape[0]} frames; no positions to read")
    return Markers(tuple(labels[: positions.shape[1]]), positions, unit, rate)


def _check_length(path: Path) -> None:
    """InputError unless the file is as long as its header says; ezc3d does not come back from files that are cut.

    The header is 16-bit words: 2 points, 3 analogue values a frame, 4 and 5 first and last frame, 9 the block in
    which the data begin, 7 and 8 a scale that is negative where values are floats (The C3D file format, 2021).
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = stream.read(BLOCK)
        if len(header) < BLOCK or header[1] != MAGIC:
            raise InputError(f"{path}: not a C3D file")
        begin = (header[0] - 1) * BLOCK
        stream.seek(max(begin, 0))
        parameters = stream.read(4)
    if begin < BLOCK or len(parameters) < 4 or parameters[3] not in PROCESSORS:
        raise InputError(f"{path}: not a whole C3D file (no parameters at byte {begin})")
    words = np.frombuffer(header, PROCESSORS[parameters[3]])
    # the byte with the sign of a float: DEC's has its 16-bit halves in the other order
    floats = header[{INTEL: 15, DEC: 13, SGI: 12}[parameters[3]]] & 0x80
    frames = max(int(words[4]) - int(words[3]) + 1, 0)
    values = frames * (4 * int(words[1]) + int(words[2]))
    wanted = max(begin + parameters[2] * BLOCK, (int(words[8]) - 1) * BLOCK + values * (4 if floats else 2))
    if size < wanted:
        raise InputError(f"{path}: not a whole C3D file ({size} bytes, its header says at least {wanted})")


def _values(group: Any, name: str) -> Any:
    """What a parameter of ezc3d holds: a list of texts or an array."""
    return group[name]["value"]


def rigid_bodies(groups: Mapping[str, Float[np.ndarray, "n _ 3"]]) -> Float[np.ndarray, "n k 3 3"]:
    """Attitudes (N, k, 3, 3) of k named rigid bodies in the room, each from the positions (N, m, 3) of m >= 3 markers.

    A body's own axes are those of its first three markers a, b, c: x along b - a, z along (b - a) x (c - a). The shape
    of a group is its mean over the recording in these axes; the attitude is the rotation that brings the shape
    nearest to the markers in the mean square (Kabsch 1976, Acta Crystallographica A32:922).

    Raises InputError with the body's name for fewer than three markers, positions that are not finite, and markers
    on a line.
    """
    if not groups:
        raise InputError("groups: no body, wanted at least one with three markers")
    return np.stack([_rigid_body(group, name) for name, group in groups.items()], axis=1)


def _rigid_body(markers: np.ndarray, where: str) -> np.ndarray:
    if markers.shape[1] < 3:
        raise InputError(f"{where}: {markers.shape[1]} markers, wanted at least 3")
    if not np.isfinite(markers).all():
        frame, marker = np.argwhere(~np.isfinite(markers).all(axis=2))[0]
        raise InputError(f"{where}: marker {marker} was not seen in frame {frame} (from 0)")
    centred = markers - markers.mean(axis=1, keepdims=True)
    singular = np.linalg.svd(centred, compute_uv=False)
    flat = singular[:, 1] <= FLATTEST * singular[:, 0]
    if flat.any():
        raise InputError(f"{where}: the markers are on one line in frame {flat.argmax()} (from 0)")
    x = markers[:, 1] - markers[:, 0]
    z = np.cross(x, markers[:, 2] - markers[:, 0])
    axes = np.stack([x, np.cross(z, x), z], axis=-1)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    shape = (centred @ axes).mean(axis=0)
    u, _, vh = np.linalg.svd(centred.swapaxes(-1, -2) @ shape)
    u[..., :, 2] *= np.linalg.det(u @ vh)[:, None]
    return u @ vh
