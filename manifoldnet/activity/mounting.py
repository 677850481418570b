"""A frame that a recording brings along, so that it does not matter how the sensor was fixed to the body.

For recordings of several activities, before they are cut: a single posture does not show how the sensor is mounted.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from manifoldnet.activity.augment import remount


def own_frame(samples: Float[np.ndarray, "n 6"]) -> Float[np.ndarray, "3 3"]:
    """Rows x, y, z: the principal axes of the acceleration (in g) over a whole recording.

    y is the strongest axis of the second moments, which gravity makes point upwards on average; z is the second, with
    the sign of the third moment; x = y x z, the axis across both. A recording Q w, Q a has the frame F Q', and its
    mirror image has the mirror image's coordinates under :func:`manifoldnet.activity.windows.mirror`. Where two
    axes are equally strong the frame is arbitrary.
    """
    pull = samples[:, 3:].astype(np.float64)
    axes = np.linalg.eigh(pull.T @ pull / len(pull))[1][:, ::-1]
    up = axes[:, 0] * _sign((pull @ axes[:, 0]).sum())
    second = axes[:, 1] * _sign(((pull @ axes[:, 1]) ** 3).sum())
    return np.stack([np.cross(up, second), up, second])


def _sign(x: float) -> float:
    return -1.0 if x < 0 else 1.0


def in_own_frame(samples: Float[np.ndarray, "n 6"]) -> Float[np.ndarray, "n 6"]:
    """A recording as a sensor would have measured it that was mounted along :func:`own_frame`."""
    return remount(samples[None], own_frame(samples)[None])[0]
