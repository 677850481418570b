"""Other recordings of the same movement, by group actions: mirror image, re-mounted sensor, other speed.

The mirror is :func:`manifoldnet.activity.windows.mirror`, an action of the group of two elements.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.spatial.transform import Rotation

from manifoldnet.activity.windows import mirror


def canonical(samples: Float[np.ndarray, "n t 6"], sides: Int[np.ndarray, "n"] | None) -> Float[np.ndarray, "n t 6"]:
    """All windows as if from the left wrist: those of side 1 mirrored, none where sides are unknown."""
    if sides is None:
        return samples
    return np.where((sides == 1)[:, None, None], mirror(samples), samples)


def remount(samples: Float[np.ndarray, "n t 6"], rotations: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n t 6"]:
    """What a sensor that is turned by a fixed rotation measures: Q w and Q a."""
    vectors = samples.reshape(*samples.shape[:-1], 2, 3)
    turned = np.einsum("nij,ntsj->ntsi", rotations.astype(samples.dtype), vectors)
    return turned.reshape(samples.shape)


def random_mounts(
    rng: np.random.Generator, groups: Shaped[np.ndarray, "n"], angle: float | int
) -> Float[np.ndarray, "n 3 3"]:
    """One rotation a group, exp of a normal rotation vector with deviation ``angle`` in rad along each axis."""
    names, places = np.unique(groups, return_inverse=True)
    return Rotation.from_rotvec(rng.normal(0, angle, (len(names), 3))).as_matrix()[places]


def warp(
    samples: Float[np.ndarray, "n t 6"],
    starts: Float[np.ndarray, "n"],
    speeds: Float[np.ndarray, "n count"],
) -> Float[np.ndarray, "n count 6"]:
    """The same paths run through at other speeds, from ``starts`` in samples on.

    ``speeds`` are in old samples a new sample; the gyroscope turns as much faster, so that the curve on SO(3) stays;
    gravity, most of the pull, does not change with speed and accelerations are left as they are. Beyond its end a
    window is continued by its last sample.
    """
    n, t, _ = samples.shape
    place = starts[:, None] + np.concatenate([np.zeros((n, 1)), np.cumsum(speeds[:, :-1], 1)], 1)
    place = np.clip(place, 0, t - 1)
    before = np.minimum(place.astype(np.int64), max(t - 2, 0))
    after = np.minimum(before + 1, t - 1)
    part = (place - before)[..., None].astype(samples.dtype)
    rows = np.arange(n)[:, None]
    drawn = samples[rows, before] * (1 - part) + samples[rows, after] * part
    drawn[..., :3] *= speeds[..., None].astype(samples.dtype)
    return drawn


def random_speeds(
    rng: np.random.Generator, n: int, count: int, spread: float | int = 0.12, ripple: float | int = 0.2
) -> Float[np.ndarray, "n count"]:
    """Positive speeds around 1: one log-normal factor of deviation ``spread`` a window, times a smooth log-normal one.

    The smooth one has three knots of deviation ``ripple``, between which its logarithm is linear.
    """
    knots = rng.normal(0, ripple, (n, 3))
    knots -= knots.mean(1, keepdims=True)
    place = np.linspace(0, 2, count)
    left = np.minimum(place.astype(np.int64), 1)
    bend = knots[:, left] * (1 - (place - left)) + knots[:, left + 1] * (place - left)
    return np.exp(rng.normal(0, spread, (n, 1)) + bend)
