"""Displacement of the ground above sources in an elastic half space with Poisson's ratio 1/4.

Positions are in kilometres, east ``x`` and north ``y``; displacements have three components (east, north,
up) in front and the unit of the slip, or an arbitrary one where only the shape matters.
"""

import math

import numpy as np
from jaxtyping import Float64

_LAME_RATIO = 0.5  # mu / (lambda + mu) = 1 - 2 nu


def mogi(
    x: Float64[np.ndarray, "h w"], y: Float64[np.ndarray, "h w"], depth: float | int
) -> Float64[np.ndarray, "3 h w"]:
    """Displacement over a point of pressure at the origin, 1 right above it.

    Mogi (1958): it points away from the source and falls off with the square of the distance.
    """
    return depth**2 * np.stack((x, y, np.full_like(x, depth))) / (x * x + y * y + depth * depth) ** 1.5


def rectangular_dislocation(
    x: Float64[np.ndarray, "h w"],
    y: Float64[np.ndarray, "h w"],
    *,
    depth: float | int,
    length: float | int,
    width: float | int,
    strike: float | int,
    dip: float | int,
    rake: float | int,
) -> Float64[np.ndarray, "3 h w"]:
    """Displacement for a unit of slip on a rectangular fault whose lower edge begins at the origin.

    Okada (1985), "Surface deformation due to shear and tensile faults in a half-space", equations 25 to 29.
    ``depth`` (of the lower edge), ``length`` (along strike) and ``width`` (up dip) in kilometres. Angles in
    radians: ``strike`` clockwise from north, ``dip`` strictly between 0 and pi/2 (the formulas divide by its
    cosine; a vertical fault is 1e-4 short of pi/2), ``rake`` of the hanging wall, 0 for left-lateral slip.
    """
    along = x * math.sin(strike) + y * math.cos(strike)
    across = -x * math.cos(strike) + y * math.sin(strike)
    p = across * math.cos(dip) + depth * math.sin(dip)
    q = across * math.sin(dip) - depth * math.cos(dip)
    slip = (math.cos(rake), math.sin(rake))
    u, v, w = (
        _primitive(along, p, q, dip, slip)
        - _primitive(along, p - width, q, dip, slip)
        - _primitive(along - length, p, q, dip, slip)
        + _primitive(along - length, p - width, q, dip, slip)
    )
    return np.stack((u * math.sin(strike) - v * math.cos(strike), u * math.cos(strike) + v * math.sin(strike), w))


def _primitive(xi: np.ndarray, eta: np.ndarray, q: np.ndarray, dip: float, slip: tuple[float, float]) -> np.ndarray:
    """Okada's expressions at one corner of the fault: (along strike, across, up), in his notation."""
    s, c, t = math.sin(dip), math.cos(dip), math.tan(dip)
    R = np.sqrt(xi * xi + eta * eta + q * q)
    X = np.sqrt(xi * xi + q * q)
    y = eta * c + q * s
    d = eta * s - q * c
    log = np.log(R + eta)
    with np.errstate(divide="ignore", invalid="ignore"):  # both angles are 0 where their denominator is
        angle = np.where(q == 0, 0.0, np.arctan(xi * eta / (q * R)))
        I5 = np.arctan((eta * (X + q * c) + X * (R + X) * s) / (xi * (R + X) * c))
    I5 = _LAME_RATIO * 2 / c * np.where(xi == 0, 0.0, I5)
    I4 = _LAME_RATIO / c * (np.log(R + d) - s * log)
    I3 = _LAME_RATIO * (y / (c * (R + d)) - log) + t * I4
    I2 = -_LAME_RATIO * log - I3
    I1 = -_LAME_RATIO * xi / (c * (R + d)) - t * I5
    by_eta, by_xi = q / (R * (R + eta)), q / (R * (R + xi))
    strike_slip = (
        xi * by_eta + angle + I1 * s,
        y * by_eta + q * c / (R + eta) + I2 * s,
        d * by_eta + q * s / (R + eta) + I4 * s,
    )
    dip_slip = (
        q / R - I3 * s * c,
        y * by_xi + c * angle - I1 * s * c,
        d * by_xi + s * angle - I5 * s * c,
    )
    return -(slip[0] * np.stack(strike_slip) + slip[1] * np.stack(dip_slip)) / (2 * math.pi)
