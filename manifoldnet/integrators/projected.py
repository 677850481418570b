"""Steps of fields that are projected onto a convex set: every Euler step inside a method is."""

from __future__ import annotations

from manifoldnet.integrators.stepping import Start, Step, combination, spread
from manifoldnet.integrators.tableau import Tableau


def projected_step(name: str, tableau: Tableau | None, start: Start) -> Step:
    """One step of a field with ``project(y)``, in a vector space, of a method that is made of Euler steps.

    Each Euler step is projected, so y1 is in the convex set and steps expand no difference that Euler steps of
    length h / radius do not. Projecting only the result of a method of higher order would keep neither its order at
    the boundary nor that.

    Raises:
        ValueError: if the method is not a convex combination of Euler steps.
    """
    form = None if tableau is None else tableau.shu_osher
    if tableau is None or form is None or not form.radius:
        raise ValueError(
            f"method: a projected field wants 'euler' or a strong-stability-preserving method such as 'ssprk33', got "
            f"{name!r}"
        )
    field, action, t, h, y, *_ = start
    scale = spread(h, action) / form.radius
    euler = [field.project(y + scale * start.slope())]
    point = y
    for i in range(1, len(form.v)):
        convex = combination(form.alpha[i], euler, form.v[i] * y if form.v[i] else None)
        assert convex is not None
        point = convex
        if i < tableau.stages:
            euler.append(field.project(point + scale * field(t + tableau.c[i] * h, point)))
    return Step(point)
