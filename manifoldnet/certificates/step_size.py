"""The longest steps that provably do not expand differences."""

from __future__ import annotations

import math
from typing import Any

from manifoldnet.integrators.methods import Method


def max_step(field: Any, method: Method) -> float:
    """The longest step h with |y1 - z1| <= |y0 - z0| for any two points.

    h = 2 r |nu_bar| for an explicit method of circle radius r (Dahlquist and Jeltsch 1979; Sherry et al. 2023), nu_bar
    the constant of <df, dx> <= nu_bar |df|^2: sufficient, also where the parameters differ from stage to stage.
    Infinite for a B-stable method and a field with nu <= 0. For a field whose steps are projected, r is the radius of
    the method's Shu-Osher form.

    On a curved space, for a :class:`manifoldnet.fields.ManifoldGradientFlow` of a geodesically convex potential, the
    explicit Euler step along geodesics has its :meth:`step_bound`, the implicit one none (curvature is not positive
    where such potentials exist).

    Args:
        field: with ``cocoercivity()``, or for B-stable methods ``nu()``.

    Raises:
        ValueError: if the field declares neither, or the method has no positive radius, or is none along geodesics
            where the space is curved.
    """
    if hasattr(field, "step_bound") and not field.scores.is_chart:
        return _curved_step(field, method)
    is_projected = hasattr(field, "project")
    if method.is_b_stable and not is_projected and hasattr(field, "nu") and float(field.nu()) <= 0:
        return math.inf
    if not hasattr(field, "cocoercivity"):
        raise ValueError(
            f"field: {type(field).__name__} declares no cocoercivity, so that no step of {method.name!r} is certified"
        )
    radius = method.circle_radius
    if is_projected:
        form = method.tableau.shu_osher if method.tableau else None
        radius = form.radius if form else 0.0
    if not radius > 0:
        raise ValueError(f"method: {method.name!r} has no circle radius, so that no step of it is certified")
    return 2 * radius * abs(float(field.cocoercivity()))


def _curved_step(field: Any, method: Method) -> float:
    if method.name == "geodesic-implicit-euler":
        field.nu()  # refuses potentials that are not convex
        return math.inf
    if method.name == "geodesic-euler":
        return field.step_bound()
    raise ValueError(
        f"method: no step of {method.name!r} is certified on {field.space.name}, wanted 'geodesic-euler' or "
        "'geodesic-implicit-euler'"
    )
