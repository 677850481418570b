"""Displacement of the ground above sources in an elastic half space with Poisson's ratio 1/4.

Positions are in kilometres, east ``x`` and north ``y`` of the source, images (\\*batch, h, w). Parameters are
numbers or tensors (\\*batch). Displacements (\\*batch, 3, h, w) are float64 and have the components east, north
and up, in the unit of the slip, or in an arbitrary one where only the shape matters.
"""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

_LAME_RATIO = 0.5  # mu / (lambda + mu) = 1 - 2 nu
_STEEPEST = math.pi / 2 - 1e-5  # balances the error of the angle with the rounding errors over cos(dip)^2

Image = Float[Tensor, "*batch h w"]
Parameter = Float[Tensor, "*batch"] | float | int
Displacement = Float64[Tensor, "*batch 3 h w"]


def mogi(x: Image, y: Image, depth: Parameter) -> Displacement:
    """Displacement over a point of pressure at the origin, 1 right above it.

    Mogi (1958): it points away from the source and falls off with the square of the distance.
    """
    x, y = x.double(), y.double()
    d = _per_image(depth, x)
    distance2 = x * x + y * y + d * d
    fall_off = d * d / (distance2 * distance2.sqrt())
    return torch.stack((x * fall_off, y * fall_off, d * fall_off), -3)


def circular_crack(x: Image, y: Image, depth: Parameter, radius: Parameter) -> Displacement:
    """Displacement over a horizontal circular crack that opens under pressure, 1 right above its centre.

    The deep crack of Sun (1969), "Theoretical size of hydraulically induced horizontal fractures and
    corresponding surface uplift in an idealized medium": it opens as in an unbounded body, in proportion to
    sqrt(1 - r^2 / radius^2), under the half space's own Green's functions. Fialko, Khazan & Simons (2001) have the
    crack that feels the surface; the two part where the radius nears the depth.
    """
    x, y = x.double(), y.double()
    d, a = _per_image(depth, x), _per_image(radius, x)
    # a tensile point source integrated over the crack is one at the complex depth c (Hankel transform)
    c = torch.complex(d, a)
    distance = (x * x + y * y + c * c).sqrt()
    up = (distance.imag - a * d * distance.reciprocal().real) / a
    ahead = (distance + c).reciprocal()
    outwards = -d * ((ahead / distance).real + ahead.imag / a)
    return torch.stack((outwards * x, outwards * y, up), -3) * ((a * a + d * d) / (a * a)).unsqueeze(-3)


def rectangular_dislocation(
    x: Image,
    y: Image,
    *,
    depth: Parameter,
    length: Parameter,
    width: Parameter,
    strike: Parameter,
    dip: Parameter,
    rake: Parameter,
) -> Displacement:
    """Displacement for a unit of slip on a rectangular fault whose lower edge begins at the origin.

    Okada (1985), "Surface deformation due to shear and tensile faults in a half-space", equations 25 to 29.
    ``depth`` (of the lower edge), ``length`` (along strike) and ``width`` (up dip) in kilometres; the upper edge
    is below the ground. Angles in radians: ``strike`` clockwise from north, ``dip`` above 0 and at most pi/2
    (the formulas divide by its cosine: the last 1e-5 to the vertical count as that), ``rake`` of the hanging
    wall, 0 for left-lateral slip.
    """
    x, y = x.double(), y.double()
    strike, dip, rake = (_per_image(angle, x) for angle in (strike, dip, rake))
    depth, length, width = (_per_image(extent, x) for extent in (depth, length, width))
    dip = dip.clamp(max=_STEEPEST)
    along = x * strike.sin() + y * strike.cos()
    across = -x * strike.cos() + y * strike.sin()
    p = across * dip.cos() + depth * dip.sin()
    q = across * dip.sin() - depth * dip.cos()
    total = [torch.zeros_like(x)] * 3
    for xi, xi_sign in ((along, 1), (along - length, -1)):
        for eta, eta_sign in ((p, 1), (p - width, -1)):
            corner = _primitive(xi, eta, q, dip, rake)
            total = [sum_ + xi_sign * eta_sign * part for sum_, part in zip(total, corner, strict=True)]
    u, v, up = total
    return torch.stack((u * strike.sin() - v * strike.cos(), u * strike.cos() + v * strike.sin(), up), -3)


def _per_image(parameter: Tensor | float | int, image: Tensor) -> Tensor:
    return torch.as_tensor(parameter, dtype=image.dtype, device=image.device)[..., None, None]


def _primitive(xi: Tensor, eta: Tensor, q: Tensor, dip: Tensor, rake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Okada's expressions at one corner of the fault: (along strike, across, up), in his notation."""
    s, c = dip.sin(), dip.cos()
    xi2, q2 = xi * xi, q * q
    X2 = xi2 + q2
    X, R = X2.sqrt(), (X2 + eta * eta).sqrt()
    y, d = eta * c + q * s, eta * s - q * c
    over_R_eta, over_R_d, q_over_R = 1 / (R + eta), 1 / (R + d), q / R
    log = torch.log(R + eta)
    # both angles are 0 where their denominator is
    angle = torch.where(q == 0, 0.0, torch.atan(xi * eta / (q * R)))
    half = torch.atan((eta * (X + q * c) + X * (R + X) * s) / (xi * (R + X) * c))
    I5 = 2 * _LAME_RATIO / c * torch.where(xi == 0, 0.0, half)
    I4 = _LAME_RATIO / c * (torch.log(R + d) - s * log)
    I3 = _LAME_RATIO * (y * over_R_d / c - log) + s / c * I4
    I2 = -_LAME_RATIO * log - I3
    I1 = -_LAME_RATIO / c * xi * over_R_d - s / c * I5
    by_eta, by_xi = q_over_R * over_R_eta, q_over_R / (R + xi)
    q_over_R_eta = q * over_R_eta
    along_strike = -rake.cos() / (2 * math.pi)
    up_dip = -rake.sin() / (2 * math.pi)
    return (
        along_strike * (xi * by_eta + angle + I1 * s) + up_dip * (q_over_R - s * c * I3),
        along_strike * (y * by_eta + c * q_over_R_eta + I2 * s) + up_dip * (y * by_xi + c * angle - s * c * I1),
        along_strike * (d * by_eta + s * q_over_R_eta + I4 * s) + up_dip * (d * by_xi + s * angle - s * c * I5),
    )
