"""Inertial samples turned into a frame whose z axis is up, by an attitude filter."""

import numpy as np
from jaxtyping import Float

from manifoldnet.activity.rotation_arrays import from_quaternions
from manifoldnet.activity.skeleton import smallest_rotation
from manifoldnet.errors import InputError


def attitudes(samples: Float[np.ndarray, "n 6"], rate: float | int) -> Float[np.ndarray, "n 3 3"]:
    """Rotations R (N, 3, 3) from the sensor into a room with z up, at the times of the samples.

    ``samples`` (N, 6) are gyroscope in rad/s and acceleration in g with gravity, ``rate`` is in Hz. The filter is the
    explicit complementary filter with bias of Mahony, Hamel, Pflimlin 2008 (IEEE TAC 53:1203, eq. 32 and 48), from
    the library ahrs with its gains (1 and 0.3 rad/s). It runs backwards first, so that the start is as good as the
    rest; it is not for streams. The heading, which these sensors do not show, is such that the first R is the
    smallest rotation that sets the sensor upright; it drifts with the gyroscope.

    Raises InputError when ahrs is missing, for other shapes or values that are not finite, and without acceleration.
    """
    try:
        from ahrs.filters import Mahony
    except ImportError:
        raise InputError('samples: gravity alignment needs ahrs: pip install "manifoldnet[ahrs]"') from None
    if not 0 < rate < float("inf"):
        raise InputError(f"rate: {rate:g}, wanted a positive number of Hz")
    if samples.ndim != 2 or samples.shape[1] != 6 or len(samples) == 0 or not np.isfinite(samples).all():
        raise InputError(f"samples: wanted finite samples (N, 6), at least one, got shape {samples.shape}")
    w, a = np.split(samples.astype(np.float64), 2, axis=1)
    if not a[[0, -1]].any(axis=1).all():
        raise InputError("samples: the first or last acceleration is 0; gravity is needed to know what is up")
    backward = Mahony(gyr=-w[::-1], acc=a[::-1], frequency=float(rate)).Q
    # the filter turns by a sample's velocity on the way to that sample, a recording on the way from it
    forward = Mahony(gyr=np.concatenate([w[:1], w[:-1]]), acc=a, frequency=float(rate), q0=backward[-1]).Q
    turn = from_quaternions(forward, "wxyz")
    upright = smallest_rotation(turn[0, 2], np.array([0.0, 0.0, 1.0]))
    return (upright @ turn[0].T) @ turn


def gravity_aligned(samples: Float[np.ndarray, "n 6"], rate: float | int) -> Float[np.ndarray, "n 6"]:
    """Inertial samples (N, 6) in the room of :func:`attitudes`, z up: R w and R a.

    They do not depend on how the sensor is mounted on the body that moves, up to a heading, one rotation about z.
    Raises InputError as :func:`attitudes` does.
    """
    turn = attitudes(samples, rate)
    channels = samples.reshape(-1, 2, 3)
    return np.einsum("nij,ncj->nci", turn, channels).reshape(-1, 6).astype(samples.dtype)
