"""Scalars and directions of diffusion tensors that are written as images of their own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.dti.metrics import fa, md
from manifoldnet.linalg import sym_eigh


def axial_diffusivity(D: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """The largest eigenvalue, in the unit of D."""
    return sym_eigh(D)[0][..., 2]


def radial_diffusivity(D: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """The mean of the two smaller eigenvalues, in the unit of D."""
    return sym_eigh(D)[0][..., :2].mean(-1)


def principal_direction(D: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Unit vector along the axis of largest diffusivity, of the sign that makes its largest component positive."""
    axis = sym_eigh(D)[1][..., 2]
    largest = axis.gather(-1, axis.abs().argmax(-1, keepdim=True))
    return torch.where(largest < 0, -axis, axis)


def colour_fa(D: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """RGB in [0, 1]: |x|, |y|, |z| of the principal direction times fractional anisotropy.

    With directions in scanner or image axes red is left-right, green front-back, blue up-down (Pajevic and
    Pierpaoli 1999).
    """
    return (principal_direction(D).abs() * fa(D)[..., None]).clamp(0, 1)


#: ending of the file's name: what is in it
MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "fa": fa,
    "md": md,
    "ad": axial_diffusivity,
    "rd": radial_diffusivity,
    "v1": principal_direction,
    "rgb": colour_fa,
}
