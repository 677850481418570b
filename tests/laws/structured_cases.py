"""What the laws of structured fields run over: every registered field, at every dependence on time."""

import pytest
import torch
from law_cases import F64, rng

from manifoldnet.fields import FIELDS, FIELDS_OF_IMAGES, LayerField

TIMES = {"constant": {}, "piecewise-constant": {"time": "piecewise-constant", "knots": 4},
         "piecewise-linear": {"time": "piecewise-linear", "knots": 3}}  # fmt: skip
# fields of positions and momenta, whose points have twice as many features
PAIRED = ("hamiltonian", "hyperbolic", "damped-hamiltonian", "h-dnn", "haber-ruthotto")
every_field = pytest.mark.parametrize("name", FIELDS)
every_field_of_images = pytest.mark.parametrize("name", FIELDS_OF_IMAGES)
every_time = pytest.mark.parametrize("time", TIMES)
every_layered_field = pytest.mark.parametrize(
    "name", [n for n, make in FIELDS.items() if isinstance(make(2), LayerField)]
)
ZERO = torch.zeros((), dtype=F64)


def made(name, dim=3, time="constant", seed=70, **options):
    """The field in float64."""
    return FIELDS[name](dim, generator=rng(seed), **TIMES[time], **options).double()


def made_of_images(name, channels=2, time="constant", seed=70, **options):
    """The twin on images, in float64."""
    return FIELDS_OF_IMAGES[name](channels, generator=rng(seed), **TIMES[time], **options).double()


def points_of(name, *batch, dim=3, scale=2.0, seed=71):
    """Points (*batch, features) for the field of that name."""
    return scale * torch.randn(*batch, 2 * dim if name in PAIRED else dim, dtype=F64, generator=rng(seed))


def images_of(name, n, channels=2, size=(5, 6), seed=71):
    """Images (n, channels, *size) for the field of that name."""
    return torch.randn(n, 2 * channels if name in PAIRED else channels, *size, dtype=F64, generator=rng(seed))
