"""From recordings to equal pieces: windows, resampling that keeps the path, and the mirror image of a body.

Inertial samples are (..., 6), gyroscope x y z in rad/s then acceleration x y z in g; a sample stands for
the time until the next one, over which the angular velocity is constant.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped
from scipy.spatial.transform import Rotation

from manifoldnet.activity.channels import AXIAL, POLAR, attitudes
from manifoldnet.data import load_watch
from manifoldnet.errors import InputError

MIRROR = np.array([*AXIAL, *POLAR])  # of the gyroscope, whose vectors are axial, and of the accelerometer


def windows(
    samples: Shaped[np.ndarray, "n *point"], rate: float, seconds: float = 4.0, step: float | None = None
) -> Shaped[np.ndarray, "windows length *point"]:
    """All whole windows of ``seconds``, each beginning ``step`` seconds after the last (default: end to end).

    ``rate`` in Hz. A remainder at the end is left out. Raises InputError when the recording is shorter than
    one window or when a window or step is shorter than one sample.
    """
    length = round(seconds * rate)
    stride = length if step is None else round(step * rate)
    if length < 1 or stride < 1:
        raise InputError(f"seconds, step: {seconds:g} and {step} s at {rate:g} Hz are less than one sample")
    if len(samples) < length:
        raise InputError(
            f"samples: {len(samples)} samples at {rate:g} Hz last {len(samples) / rate:.3g} s, "
            f"wanted at least one window of {seconds:g} s"
        )
    starts = np.arange(0, len(samples) - length + 1, stride)
    return samples[starts[:, None] + np.arange(length)]


def mirror(samples: Float[np.ndarray, "*batch 6"]) -> Float[np.ndarray, "*batch 6"]:
    """The inertial samples of the mirrored movement: what the other wrist measures in the same exercise.

    Signs (+, -, -) for the gyroscope and (-, +, +) for the acceleration: x points across the body's symmetry
    plane. Twice is the identity.
    """
    return samples * MIRROR.astype(samples.dtype)


def resample_imu(
    samples: Float[np.ndarray, "*batch n 6"], count: int, rate: float
) -> Float[np.ndarray, "*batch count 6"]:
    """Inertial samples on ``count`` equal cells of the same time span; the new rate is rate * count / n.

    The angular velocity of a cell is the one that makes the turn the old samples make over it, so that the
    orientation at every cell edge stays where it was. Of the velocities that do, the one nearest to the
    mean is taken: whole turns within a cell are kept. The acceleration is the mean over the cell. Works up
    and down.
    """
    n, dt = samples.shape[-2], 1 / rate
    _check_count(n, count)
    flat = samples.reshape(-1, n, 6).astype(np.float64)
    edges = np.linspace(0, n, count + 1)
    index = np.minimum(edges.astype(np.int64), n - 1)
    part = (edges - index)[:, None]

    # integrals up to the edges; within a sample they are linear
    total = np.concatenate([np.zeros_like(flat[:, :1]), np.cumsum(flat, axis=1)], axis=1)
    mean = np.diff(total[:, index] + part * flat[:, index], axis=1) * (count / n)

    attitude = attitudes(flat[..., :3], rate)[:, index] @ _exp(flat[:, index, :3] * dt * part)
    turn = _log(attitude[:, :-1].swapaxes(-1, -2) @ attitude[:, 1:])
    cell = n / count * dt
    mean[..., :3] = _nearest_branch(turn, mean[..., :3] * cell) / cell
    return mean.reshape(*samples.shape[:-2], count, 6).astype(samples.dtype)


def resample_rotations(rotations: Float[np.ndarray, "n k 3 3"], count: int) -> Float[np.ndarray, "count k 3 3"]:
    """Orientations at ``count`` equally spaced times, first and last kept, along the geodesics between."""
    n = len(rotations)
    _check_count(n, count)
    place = np.linspace(0, n - 1, count)
    index = np.minimum(place.astype(np.int64), max(n - 2, 0))
    following = np.minimum(index + 1, n - 1)
    part = (place - index)[:, None, None]
    before = rotations[index].astype(np.float64)
    step = _log(before.swapaxes(-1, -2) @ rotations[following])
    return (before @ _exp(step * part)).astype(rotations.dtype)


def _check_count(n: int, count: int) -> None:
    if n < 1 or count < 1:
        raise InputError(f"count: {count} samples out of {n}, wanted at least one of each")


def _exp(vectors: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3)."""
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape, 3)


def _log(matrices: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3), no longer than π, of rotation matrices (..., 3, 3)."""
    return Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec().reshape(matrices.shape[:-1])


def _nearest_branch(vector: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """``vector`` plus as many whole turns about its axis as bring it nearest to ``guess``; (..., 3) each."""
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    size = np.linalg.norm(guess, axis=-1, keepdims=True)
    # a whole turn may be about any axis: about that of the guess
    still = angle < 1e-9
    axis = np.where(still, guess, vector) / np.maximum(np.where(still, size, angle), 1e-300)
    turns = np.round(((axis * guess).sum(axis=-1, keepdims=True) - angle) / (2 * np.pi))
    return vector + 2 * np.pi * turns * axis


@dataclass(frozen=True)
class WatchWindows:
    """Windows of the ``watch`` data with what is known about each.

    ``samples`` (n, length, 6), gyroscope then acceleration; ``labels`` (n,) names of the exercise;
    ``subjects`` (n,); ``sides`` (n,), 0 left and 1 right wrist; ``recordings`` (n,), from 0 to 139;
    ``rate`` in Hz.
    """

    samples: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    sides: np.ndarray
    recordings: np.ndarray
    rate: float


def watch_windows(seconds: float = 4.0, step: float | None = None, *, cache: str | Path | None = None) -> WatchWindows:
    """The watch data cut into windows; the default gives 1149 of 200 samples. Fetches the data on first use.

    Raises InputError as :func:`manifoldnet.data.get` and :func:`windows` do.
    """
    data = load_watch(cache=cache)
    pieces = [windows(recording, data.rate, seconds, step) for recording in data.samples]
    recordings = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    return WatchWindows(
        samples=np.concatenate(pieces),
        labels=data.labels[recordings],
        subjects=data.subjects[recordings],
        sides=data.sides[recordings],
        recordings=recordings,
        rate=data.rate,
    )
