"""The eigenvalue test of stability, and the field by which it fails."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from manifoldnet.certificates.jacobians import jacobian

Field = Callable[[Tensor, Tensor], Tensor]


def spectral_abscissa(field: Field, t: Tensor, y: Tensor) -> Tensor:
    """(*batch,): the largest real part of the eigenvalues of df/dy at time t.

    Haber and Ruthotto (2017) ask it to be at most 0. That is no proof of stability where the Jacobian changes with
    time: see :class:`RotatingField`. The logarithmic norm is.
    """
    return torch.linalg.eigvals(jacobian(lambda x: field(t, x), y)).real.amax(-1)


def logarithmic_norm(field: Field, t: Tensor, y: Tensor) -> Tensor:
    """(*batch,): the largest eigenvalue of the symmetric part of df/dy at time t, a lower bound of nu."""
    G = jacobian(lambda x: field(t, x), y)
    return torch.linalg.eigvalsh(0.5 * (G + G.mT)).amax(-1)


class RotatingField(nn.Module):
    """y' = A(t) y: the eigenvalues of A(t) are (-1 +- i sqrt 7) / 4 at every time, and solutions grow like e^{t/2}.

    A = [[-1 + 1.5 c^2, 1 - 1.5 s c], [-1 - 1.5 s c, -1 + 1.5 s^2]] with c = cos t, s = sin t (Markus and Yamabe 1960);
    (-c, s) e^{t/2} is a solution.
    """

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        c, s = torch.cos(t), torch.sin(t)
        x, z = y[..., 0], y[..., 1]
        first = (-1 + 1.5 * c**2) * x + (1 - 1.5 * s * c) * z
        second = (-1 - 1.5 * s * c) * x + (-1 + 1.5 * s**2) * z
        return torch.stack([first, second], -1)
