"""Isotropic functions of symmetric matrices at every voxel of a volume."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from manifoldnet.linalg import safe_norm, sym_from_vector, sym_to_vector
from manifoldnet.nn.initial import seeded

HIDDEN = 16
LARGEST = 8.0  # at a signal-to-noise ratio of 5 fluid needs 7: r is .07 there, and .5 of the log determinant is lost
TINY = 1e-6


def trace_and_deviator(
    logs: Float[Tensor, "b 6 x y z"],
) -> tuple[Float[Tensor, "b 6 x y z"], Float[Tensor, "b 6 x y z"]]:
    """The multiple of the identity and the traceless part that add up to each matrix."""
    trace = logs[:, [0, 2, 5]].sum(1, keepdim=True) * identity(logs) / 3
    return trace, logs - trace


def identity(like: Float[Tensor, "b 6 x y z"]) -> Float[Tensor, "6 1 1 1"]:
    """Coordinates of the identity matrix."""
    return like.new_tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])[:, None, None, None]


def shape_of(deviator: Float[Tensor, "b 6 x y z"]) -> tuple[Tensor, Tensor, Tensor]:
    """Norm and cube root of the determinant (b, 1, x, y, z) of traceless matrices; their squares (b, x, y, z, 3, 3).

    The determinant is tr(A^3) / 3, which has a derivative where A is 0.
    """
    matrices = sym_from_vector(deviator.movedim(1, -1))
    squares = matrices @ matrices
    determinant = (squares * matrices).sum((-2, -1)).unsqueeze(1) / 3
    size = safe_norm(deviator.movedim(1, -1)).unsqueeze(1)
    return size, determinant.sign() * (determinant.abs() + TINY) ** (1 / 3), squares


class IsotropicFunction(nn.Module):
    """L + r (s I / 3 + g A + h (A^2)'), A = L' being the traceless part of L, r a roughness, and s, g, h in (-8, 8)
    functions of features and of the invariants of A.

    All functions of a symmetric 3 x 3 matrix that commute with rotations have this form (Rivlin and Ericksen 1955). A
    mean cannot leave the hull of what it averages; this undoes what noise does to all of that alike, such as the bias
    of magnitudes (Rician), which flattens fibres. At first it does next to nothing, and where r = 0, nothing.

    Args:
        features: channels of the features.
        generator: source of the initial parameters.
    """

    def __init__(self, features: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.hidden = skip_init(nn.Conv3d, features + 2, HIDDEN, 1)
        self.coefficients = skip_init(nn.Conv3d, HIDDEN, 3, 1)
        seeded(self.hidden, 1.0, generator)
        seeded(self.coefficients, 0.01, generator)

    def forward(
        self,
        logs: Float[Tensor, "b 6 x y z"],
        features: Float[Tensor, "b c x y z"],
        roughness: Float[Tensor, "b 1 x y z"],
    ) -> Float[Tensor, "b 6 x y z"]:
        """Coordinates of the function of each matrix."""
        deviator = trace_and_deviator(logs)[1]
        size, shape, squares = shape_of(deviator)
        seen = functional.gelu(self.hidden(torch.cat([features, size, shape], 1)))
        s, g, h = (LARGEST * (self.coefficients(seen) / LARGEST).tanh()).split(1, 1)
        square = trace_and_deviator(sym_to_vector(squares).movedim(-1, 1))[1]
        return logs + roughness * (s * identity(logs) / 3 + g * deviator + h * square)
