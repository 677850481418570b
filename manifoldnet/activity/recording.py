"""One recording of movement, and the checks that its numbers pass whatever file they come from."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from manifoldnet.errors import InputError

#: samples; with fewer from a sensor neither a window nor a spectrum makes sense, while few poses can be an action
SHORTEST = {"imu": 16, "rotations": 4}
FASTEST = 35.0  # rad/s = 2000 degrees/s, the usual full scale of a gyroscope
HEAVIEST = 4.0  # g, for the median of a whole recording; gravity in m/s² gives 9.8
ORTHOGONALITY = 1e-3  # largest entry of RᵀR - 1; leaves room for text with four decimals
WIDEST_TURN = np.pi / 2  # rad a sample; beyond π the principal logarithm takes the other way round


@dataclass(frozen=True)
class Recording:
    """One recording: ``samples`` at ``rate`` Hz.

    * ``kind`` "imu": samples (N, 6), gyroscope x y z in rad/s, then acceleration x y z in g.
    * ``kind`` "rotations": samples (N, k, 3, 3), the rotations of k bodies, which ``bodies`` names where the file
      does. ``frame`` (N, 3, 3) is the attitude of the whole body where the rotations are relative to it (skeletons).

    ``label``, ``subject`` and ``side`` (0 left, 1 right) are None where the file does not say.
    """

    name: str
    kind: Literal["imu", "rotations"]
    samples: np.ndarray
    rate: float
    label: str | None = None
    subject: str | None = None
    side: int | None = None
    bodies: tuple[str, ...] | None = None
    frame: np.ndarray | None = None


def checked(
    where: str, name: str, samples: np.ndarray, rate: float | None, *, declared: bool = False, **about: Any
) -> Recording:
    """A Recording from numbers that are found to be sane; ``where`` begins every error.

    ``declared``: the units of inertial samples were told, not assumed, so that large values are not suspicious.
    """
    if samples.dtype.kind not in "iuf":
        raise InputError(f"{where}: values of type {samples.dtype}, wanted real numbers")
    samples = samples.astype(np.float32 if samples.dtype == np.float32 else np.float64)
    if samples.ndim == 3 and samples.shape[1:] == (3, 3):
        samples = samples[:, None]
    rotations = samples.ndim == 4 and samples.shape[2:] == (3, 3) and samples.shape[1] > 0
    if not rotations and not (samples.ndim == 2 and samples.shape[1] == 6):
        raise InputError(
            f"{where}: shape {samples.shape}, wanted (N, 6), gyroscope xyz in rad/s then acceleration xyz "
            f"in g, or rotations (N, k, 3, 3){_hint(samples.shape)}"
        )
    least = SHORTEST["rotations" if rotations else "imu"]
    if len(samples) < least:
        raise InputError(f"{where}: {len(samples)} samples, wanted at least {least}")
    if rate is None:
        raise InputError(f"{where}: the sampling rate is not in the file; give rate in Hz")
    if not 0 < rate < float("inf"):
        raise InputError(f"{where}: the sampling rate is {rate:g}, wanted a positive number of Hz")
    bad = ~np.isfinite(samples).reshape(len(samples), -1).all(axis=1)
    if bad.any():
        raise InputError(
            f"{where}: {bad.sum()} of {len(bad)} samples hold nan or infinity, the first is number "
            f"{bad.argmax()} (from 0); fill the gaps or cut the recording there"
        )
    if rotations:
        _check_rotations(where, samples)
    elif not declared:
        _check_units(where, samples)
    kind: Literal["imu", "rotations"] = "rotations" if rotations else "imu"
    return Recording(name=name, kind=kind, samples=samples, rate=float(rate), **about)


def _hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 2 and shape[1] == 3:
        return "; a gyroscope alone is not enough"
    if len(shape) == 3 and shape[2] in (3, 4):
        return "; say with content what else the array holds: quaternions, rotation vectors or positions"
    return ""


def _check_rotations(where: str, samples: np.ndarray) -> None:
    error = np.abs(samples.swapaxes(-1, -2) @ samples - np.eye(3)).max(axis=(-1, -2))
    bad = (error > ORTHOGONALITY) | (np.linalg.det(samples) < 0)
    if bad.any():
        first = np.argwhere(bad)[0]
        raise InputError(
            f"{where}: {bad.sum()} of {bad.size} matrices are not rotations (orthogonal to "
            f"{ORTHOGONALITY:g}, determinant 1); the first is sample {first[0]}, body {first[1]}"
        )


def _check_units(where: str, samples: np.ndarray) -> None:
    turning = float(np.median(np.linalg.norm(samples[:, :3], axis=1)))
    if turning > FASTEST:
        raise InputError(
            f"{where}: the median angular velocity is {turning:.3g}, too fast for rad/s; it looks like "
            "degrees/s (say so with units, or divide by 57.2958)"
        )
    pull = float(np.median(np.linalg.norm(samples[:, 3:], axis=1)))
    if pull > HEAVIEST:
        raise InputError(
            f"{where}: the median acceleration is {pull:.3g}, too much for g; it looks like m/s² "
            "(say so with units, or divide by 9.80665), or the gyroscope does not come first"
        )


def turns(recording: Recording) -> np.ndarray:
    """Angle in rad by which each sample turns until the next: (N,) for "imu", (N - 1, k) for "rotations".

    Of inertial samples dt |w|, of any size; of rotations the angle of R_iᵀR_{i+1}, which is never above π.
    """
    if recording.kind == "imu":
        return np.linalg.norm(recording.samples[:, :3], axis=1) / recording.rate
    steps = recording.samples[:-1].swapaxes(-1, -2) @ recording.samples[1:]
    return Rotation.from_matrix(steps.reshape(-1, 3, 3)).magnitude().reshape(steps.shape[:2])


def warn_of_aliasing(where: str, recordings: Sequence[Recording]) -> None:
    """One UserWarning if samples turn further than π/2 until the next.

    Between samples the axis of such a movement changes too, so that the turn is poorly known; beyond π it cannot be
    found again from rotations at all, since the principal logarithm goes the short way round.
    """
    angles = [turns(recording) for recording in recordings]
    wide = [int((angle > WIDEST_TURN).sum()) for angle in angles]
    if not any(wide):
        return
    largest = max(float(angle.max()) for angle in angles)
    worst = recordings[int(np.argmax([angle.max() for angle in angles]))].name
    warnings.warn(
        f"{where}: aliased: {sum(wide)} of {sum(angle.size for angle in angles)} steps turn by more than π/2 from one "
        f"sample to the next, the most by {largest:.3g} rad ({worst}); a higher sampling rate is wanted",
        stacklevel=3,
    )
