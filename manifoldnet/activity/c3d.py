"""Markers of optical motion capture in C3D, read by ezc3d (``pip install "manifoldnet[c3d]"``), and rigid bodies.

C3D holds positions. Rotations come either from groups of three or more markers on one rigid segment
(:func:`rigid_bodies`), or from markers at joints, as bones of a skeleton (``skeleton``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from manifoldnet.errors import InputError

MAGIC = 0x50  # second byte of every C3D file
BLOCK = 512  # bytes; a file is at least a header and a block of parameters
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
    with path.open("rb") as stream:
        start = stream.read(BLOCK)
    if len(start) < BLOCK or start[1] != MAGIC:
        raise InputError(f"{path}: not a C3D file")
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


def _values(group: Mapping[str, Mapping[str, Sequence[object]]], name: str) -> Sequence:
    return group[name]["value"]


def rigid_bodies(groups: Sequence[Float[np.ndarray, "n _ 3"]], where: str = "markers") -> Float[np.ndarray, "n k 3 3"]:
    """Attitudes (N, k, 3, 3) of k rigid bodies in the room, each from the positions (N, m, 3) of m >= 3 markers.

    A body's own axes are those of its first three markers a, b, c: x along b - a, z along (b - a) x (c - a). The shape
    of a group is its mean over the recording in these axes; the attitude is the rotation that brings the shape
    nearest to the markers in the mean square (Kabsch 1976, Acta Crystallographica A32:922).

    Raises InputError, which begins with ``where``, for fewer than three markers, positions that are not finite, and
    markers on a line.
    """
    return np.stack([_rigid_body(group, f"{where}: body {number}") for number, group in enumerate(groups)], axis=1)


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
