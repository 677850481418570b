"""From the modulus of a network's output to the errors that it stands for."""

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import isotonic_regression
from torch import Tensor, nn

KNOTS = 48
#: shares of the pixels whose errors are below the two half-widths; the first is that of a standard deviation
LEVELS = (math.erf(math.sqrt(0.5)), 0.95)


class Calibration(nn.Module):
    """Half-widths of the intervals that hold the truth in 68.3 and in 95 % of the pixels, by modulus.

    Measured on scenes of their own and interpolated, so nothing is assumed about the distribution of errors: where
    there is a wrong fringe it is far from normal. Before :meth:`fit`, widths are those of a uniform phase.
    """

    modulus: Tensor
    widths: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("modulus", torch.linspace(0, 1, KNOTS))
        self.register_buffer("widths", math.pi * torch.tensor(LEVELS)[:, None].expand(2, KNOTS).clone())

    def forward(self, modulus: Float[Tensor, "*shape"]) -> Float[Tensor, "2 *shape"]:
        """Half-widths in radians, in (0, pi], for the two of :data:`LEVELS`."""
        right = torch.searchsorted(self.modulus, modulus.contiguous()).clamp(1, KNOTS - 1)
        low, high = self.modulus[right - 1], self.modulus[right]
        share = ((modulus - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)
        return self.widths[:, right - 1] * (1 - share) + self.widths[:, right] * share

    @torch.no_grad()
    def fit(self, modulus: Float[Tensor, " n"], error: Float[Tensor, " n"]) -> None:
        """Take the quantiles of |error| (radians) among pixels of about equal modulus, the closest that never
        rise with it."""
        order = modulus.argsort()
        moduli, errors = (x[order][: len(order) // KNOTS * KNOTS].reshape(KNOTS, -1) for x in (modulus, error.abs()))
        self.modulus.copy_(moduli.median(1).values)
        levels = torch.tensor(LEVELS, dtype=errors.dtype, device=errors.device)
        found = torch.quantile(errors, levels, dim=1).cpu().numpy()
        # a running minimum would take every chance low of a group for the truth of all that follow
        falling = [isotonic_regression(row, increasing=False).x for row in found]
        self.widths.copy_(torch.from_numpy(np.stack(falling)))
