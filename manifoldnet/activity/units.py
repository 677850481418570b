"""Units of inertial recordings and their factors to rad/s, g and s."""

import numpy as np

from manifoldnet.errors import InputError

STANDARD_GRAVITY = 9.80665  # m/s², what 1 g stands for
UNITS: dict[str, dict[str, float]] = {
    "gyroscope": {
        "rad/s": 1.0,
        "deg/s": np.pi / 180,
        "°/s": np.pi / 180,
        "dps": np.pi / 180,
        "mdps": np.pi / 180e3,
    },
    "acceleration": {
        "g": 1.0,
        "mg": 1e-3,
        "m/s^2": 1 / STANDARD_GRAVITY,
        "m/s2": 1 / STANDARD_GRAVITY,
        "m/s²": 1 / STANDARD_GRAVITY,
        "mm/s^2": 1e-3 / STANDARD_GRAVITY,
    },
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9},
}


def factor(quantity: str, unit: str) -> float:
    """What one ``unit`` of a gyroscope is in rad/s, of an acceleration in g, of time in s.

    Raises InputError for units that are not in :data:`UNITS`.
    """
    try:
        return UNITS[quantity][unit.lower()]
    except KeyError:
        raise InputError(f"unknown unit {unit!r} of {quantity}, wanted one of {', '.join(UNITS[quantity])}") from None
