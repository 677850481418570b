"""Sampling rates from time stamps, and even times where they are uneven."""

import warnings
from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from manifoldnet.activity.units import UNITS
from manifoldnet.errors import InputError

LONGEST_GAP = 5  # sampling periods; over a longer gap interpolation would invent movement
JITTER = 0.1  # of a period, by which steps may differ before samples are moved


def even(
    where: str, times: np.ndarray, samples: np.ndarray, factor: float | None, place: Callable[[int], str]
) -> tuple[np.ndarray, float]:
    """Samples at even times, and their rate in Hz.

    ``times`` (N,) in any unit, of which ``factor`` is one in s; without it the one that makes 1 to 1000 Hz is taken.
    ``samples`` (N, channels) are interpolated linearly, rotations (N, k, 3, 3) along geodesics, if steps differ by
    more than a tenth of a period, with a UserWarning that says so. ``place`` names a sample's place in the file.

    Raises InputError when times are missing, do not increase, or have gaps of more than five periods.
    """
    if len(times) < 2 or not np.isfinite(times).all():
        raise InputError(f"{where}: the time column needs a number in every row, and two rows at least")
    steps = np.diff(times)
    if not (steps > 0).all():
        raise InputError(f"{where}: time does not increase at {place(int(np.argmin(steps > 0)) + 1)}")
    period = float(np.median(steps))
    gaps = steps > LONGEST_GAP * period
    if gaps.any():
        raise InputError(
            f"{where}: {gaps.sum()} gaps in time, the first after {place(int(gaps.argmax()))}; cut the recording there"
        )
    if factor is None:
        # one of these units, and only one, can put the rate between 1 and 1000 Hz
        factor = next((unit for unit in UNITS["time"].values() if 1 <= 1 / (period * unit) < 1000), None)
    if factor is None:
        raise InputError(f"{where}: the step in time is {period:g}, in no unit a rate of 1 to 1000 Hz")
    rate = (len(times) - 1) / (float(times[-1] - times[0]) * factor)
    if np.abs(steps - period).max() <= JITTER * period:
        return samples, rate
    warnings.warn(
        f"{where}: uneven times, steps of {steps.min() * factor:.3g} to {steps.max() * factor:.3g} s with a median of "
        f"{period * factor:.3g} s; samples are interpolated at even times",
        stacklevel=2,
    )
    return _at(np.linspace(times[0], times[-1], len(times)), times, samples), rate


def _at(wanted: np.ndarray, times: np.ndarray, samples: np.ndarray) -> np.ndarray:
    if samples.ndim == 2:
        return np.stack([np.interp(wanted, times, channel) for channel in samples.T], axis=-1)
    bodies = [Slerp(times, Rotation.from_matrix(body))(wanted).as_matrix() for body in samples.swapaxes(0, 1)]
    return np.stack(bodies, axis=1)
