"""Channels of an inertial window that live on SO(3) x R^3: turning, pull, attitude and gravity, seen from the sensor.

The attitude R of a window starts at 1 and follows the gyroscope, R_{i+1} = R_i exp(w_i dt). Neither its mean nor
gravity then need the attitude at which the window began, so no channel does; they turn with the sensor, and those of
:data:`INVARIANT` do not even do that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from manifoldnet.activity.compiled import multiply_up
from manifoldnet.errors import InputError

LEAST = 1e-12


class Motion(NamedTuple):
    """A window: ``turning`` (n, t, 3) in rad/s, ``pull`` (n, t, 3) in g, and the ``attitude`` (n, t, 3, 3)."""

    turning: np.ndarray
    pull: np.ndarray
    attitude: np.ndarray


def attitudes(turning: Float[np.ndarray, "n t 3"], rate: float | int) -> Float[np.ndarray, "n t 3 3"]:
    """R_0 = 1, R_{i+1} = R_i exp(w_i / rate): the orientations at the beginning of each sample; w in rad/s."""
    n, t, _ = turning.shape
    steps = np.concatenate([np.zeros((n, 1, 3)), turning[:, :-1] / rate], 1)
    # compiled rotations: a window alone is classified in the time that torch takes for a dozen small calls
    path = Rotation.from_rotvec(steps.reshape(-1, 3)).as_quat().reshape(n, t, 4)
    multiply_up(path)
    return Rotation.from_quat(path.reshape(-1, 4)).as_matrix().reshape(n, t, 3, 3)


def mean_attitude(attitude: Float[np.ndarray, "n t 3 3"]) -> Float[np.ndarray, "n 3 3"]:
    """The rotation nearest to the mean matrix: the chordal mean (Moakher 2002, Prop. 3.3)."""
    u, _, vt = np.linalg.svd(attitude.mean(-3))
    # the last singular direction is turned round where the product would be a reflection
    u[..., -1] *= np.linalg.det(u @ vt)[..., None]
    return u @ vt


def gravity(motion: Motion) -> Float[np.ndarray, "n t 3"]:
    """Unit vectors against gravity in the sensor's frame, from the window alone.

    The mean pull in the frame of the window's begin, where gravity stands still, turned into every sample's frame:
    R_t' (sum_s R_s a_s) / |sum|. In place of a complementary filter, which has a constant to choose.
    """
    total = (motion.attitude @ motion.pull[..., None]).mean(-3)
    up = total / np.maximum(np.linalg.norm(total, axis=-2, keepdims=True), LEAST)
    return (motion.attitude.swapaxes(-1, -2) @ up[:, None])[..., 0]


def deviation(motion: Motion) -> Float[np.ndarray, "n t 3"]:
    """log(mean' R_t), rotation vectors in rad from the mean attitude of the window, each shorter than pi."""
    relative = mean_attitude(motion.attitude).swapaxes(-1, -2)[:, None] @ motion.attitude
    return Rotation.from_matrix(relative.reshape(-1, 3, 3)).as_rotvec().reshape(motion.turning.shape)


def without_gravity(motion: Motion) -> Float[np.ndarray, "n t 3"]:
    """The pull less one g upwards."""
    return motion.pull - gravity(motion)


def invariants(motion: Motion) -> Float[np.ndarray, "n t 7"]:
    """What a sensor measures however it is fixed to the body; w turning, u gravity's direction, a pull less u.

    |w|, |a|, w.u, |w - (w.u) u|, a.u, |a - (a.u) u| and u.(w x a).
    """
    up, turning = gravity(motion), motion.turning
    pull = motion.pull - up

    def size(v: np.ndarray) -> np.ndarray:
        return np.linalg.norm(v, axis=-1, keepdims=True)

    along_turning, along_pull = ((v * up).sum(-1, keepdims=True) for v in (turning, pull))
    triple = (up * np.cross(turning, pull)).sum(-1, keepdims=True)
    across = size(turning - along_turning * up), size(pull - along_pull * up)
    return np.concatenate([size(turning), size(pull), along_turning, across[0], along_pull, across[1], triple], -1)


# what a mirror x -> -x does: M to a polar vector, det(M) M to an axial one, and det(M) to a scalar of odd kind
POLAR, AXIAL = (-1.0, 1.0, 1.0), (1.0, -1.0, -1.0)
CHANNELS = {
    "turning": (lambda motion: motion.turning, AXIAL),
    "pull": (lambda motion: motion.pull, POLAR),
    "deviation": (deviation, AXIAL),
    "gravity": (gravity, POLAR),
    "without_gravity": (without_gravity, POLAR),
    "invariants": (invariants, (1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0)),
}
FAST = ("turning", "pull", "deviation")
INVARIANT = ("invariants",)


def channels(
    samples: Float[np.ndarray, "n t 6"], rate: float | int, names: Sequence[str] = FAST
) -> Float[np.ndarray, "n channels t"]:
    """The named channels of windows, gyroscope xyz in rad/s then acceleration xyz in g, beneath each other.

    Raises:
        InputError: for a name that is not in :data:`CHANNELS`.
    """
    check_names(names)
    turning, pull = samples[..., :3].astype(np.float64), samples[..., 3:].astype(np.float64)
    motion = Motion(turning, pull, attitudes(turning, rate))
    return np.concatenate([CHANNELS[name][0](motion) for name in names], -1).swapaxes(1, 2).astype(np.float32)


def mirror_signs(names: Sequence[str] = FAST) -> Float[np.ndarray, "channels"]:
    """The factors by which the mirror image of the body (:func:`windows.mirror`) changes :func:`channels`.

    Raises:
        InputError: for a name that is not in :data:`CHANNELS`.
    """
    check_names(names)
    return np.array([sign for name in names for sign in CHANNELS[name][1]], np.float32)


def check_names(names: Sequence[str]) -> None:
    """Raise InputError unless all names are channels, and there is one."""
    unknown = [name for name in names if name not in CHANNELS]
    if unknown or not names:
        raise InputError(f"channels: wanted names among {', '.join(CHANNELS)}, got {', '.join(unknown) or 'none'}")
