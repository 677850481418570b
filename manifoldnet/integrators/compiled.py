"""Several steps at once as one compiled graph."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from manifoldnet.integrators.methods import Method
from manifoldnet.integrators.stepping import Field
from manifoldnet.manifolds import Space

STEPS_AT_ONCE = 4  # what a call costs is shared by so many steps; compiling takes so many times longer

Steps = Callable[[Tensor, Tensor, Tensor], Tensor]
_steps: WeakKeyDictionary[Field, dict[tuple[str, str, int, str], Steps]] = WeakKeyDictionary()


def compiled_steps(method: Method, field: Field, space: Space, count: int, device: str) -> Steps:
    """(t, h, y) -> the point after ``count`` steps of length h; compiled at the first call and kept with the field."""
    known = _steps.setdefault(field, {})
    key = method.name, f"{space!r} {space.point_shape} {getattr(space, 'shapes', '')}", count, device
    if key not in known:
        action = method.action_on(space)

        def steps(t: Tensor, h: Tensor, y: Tensor) -> Tensor:
            for k in range(count):
                y = method.step(field, action, t + k * h, h, y)
            return y

        # torch counts what it compiled by code object: one for every field
        steps.__code__ = steps.__code__.replace(co_name=f"steps_{len(_steps)}_{len(known)}")
        # kernels of small steps are short: calling them from C++ costs a fifth less than from Python
        known[key] = torch.compile(steps, dynamic=False, options={"cpp_wrapper": device == "cpu"})
    return known[key]
