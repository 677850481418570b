"""From the moduli of a network's output to the errors that they stand for."""

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import isotonic_regression
from torch import Tensor, nn

KINDS = 4  # of what is known besides phases: nothing, coherence, moduli, both
GROUPS = 12
KNOTS = 32
#: shares of the pixels whose errors are below the two half-widths; the first is that of a standard deviation
LEVELS = (math.erf(math.sqrt(0.5)), 0.95)
LONGEST = 1.5  # moduli beyond it are as good as it


class Calibration(nn.Module):
    """Half-widths of the intervals that hold the truth in 68.3 and in 95 % of the pixels, by modulus.

    A network that is sure of a pixel among others of which it is not is more often wrong than one that is sure all
    round. So pixels are grouped by the mean modulus around them, and each group has a curve of its own. Both are
    measured on scenes of their own and interpolated, and nothing is assumed about the distribution of errors: where
    there is a wrong fringe it is far from normal. Before :meth:`fit`, widths are those of a uniform phase.

    The more a network is told the surer it is, and not always rightly. So there are tables for each kind of input, see
    :func:`input_kind`.

    Attributes:
        around: mean moduli of the groups (kinds, groups).
        modulus: knots of each group's curve (kinds, groups, knots).
        widths: at the knots, radians (kinds, 2, groups, knots).
    """

    around: Tensor
    modulus: Tensor
    widths: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("around", torch.linspace(0, 1, GROUPS).repeat(KINDS, 1))
        self.register_buffer("modulus", torch.linspace(0, 1, KNOTS).repeat(KINDS, GROUPS, 1))
        uniform = math.pi * torch.tensor(LEVELS)[:, None, None]
        self.register_buffer("widths", uniform.expand(KINDS, 2, GROUPS, KNOTS).clone())

    def forward(
        self, modulus: Float[Tensor, "*shape"], around: Float[Tensor, "*shape"], kind: int = 0
    ) -> Float[Tensor, "2 *shape"]:
        """Half-widths in radians, in (0, pi], for the two of :data:`LEVELS`; ``around`` is the mean modulus there."""
        groups = self.around[kind]
        right = torch.searchsorted(groups, around.contiguous()).clamp(1, GROUPS - 1)
        share = _share(around, groups[right - 1], groups[right])
        low, high = (self._of_group(kind, group, modulus) for group in (right - 1, right))
        return torch.lerp(low, high, share)

    def _of_group(self, kind: int, group: Tensor, modulus: Tensor) -> Tensor:
        """The widths of pixels by the curves of their groups."""
        # with a step between groups that no modulus makes up for, all knots are one ascending sequence
        step = 2 * LONGEST
        knots = self.modulus[kind].flatten()
        ascending = (self.modulus[kind] + step * torch.arange(GROUPS, device=group.device)[:, None]).flatten()
        right = torch.searchsorted(ascending, step * group + modulus.clamp(max=LONGEST))
        right = right.clamp(group * KNOTS + 1, (group + 1) * KNOTS - 1)
        share = _share(modulus, knots[right - 1], knots[right])
        widths = self.widths[kind].flatten(1)
        return torch.lerp(widths[:, right - 1], widths[:, right], share)

    @torch.no_grad()
    def fit(
        self, modulus: Float[Tensor, " n"], around: Float[Tensor, " n"], error: Float[Tensor, " n"], kind: int = 0
    ) -> None:
        """Take the quantiles of |error| (radians) among pixels with about the same two moduli, the closest that never
        rise with the pixel's own."""
        levels = torch.tensor(LEVELS, dtype=error.dtype, device=error.device)
        for index, group in enumerate(_parts(around.argsort(), GROUPS)):
            own = _parts(group[modulus[group].argsort()], KNOTS)
            self.around[kind, index] = around[group].median()
            self.modulus[kind, index] = modulus[own].median(1).values.clamp(max=LONGEST)
            found = torch.quantile(error[own].abs(), levels, dim=1).cpu().numpy()
            # a running minimum would take every chance low of some pixels for the truth of all that follow
            falling = [isotonic_regression(row, increasing=False).x for row in found]
            self.widths[kind, :, index] = torch.from_numpy(np.stack(falling))


def input_kind(moduli: bool, coherence: bool) -> int:
    """Which table of :class:`Calibration` is for an input of which these are known besides the phases."""
    return 2 * moduli + coherence


def _parts(x: Tensor, count: int) -> Tensor:
    """(count, n // count), in the order in which they are."""
    return x[: len(x) // count * count].reshape(count, -1)


def _share(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """How far x is on the way from low to high, in [0, 1]."""
    return ((x - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)
