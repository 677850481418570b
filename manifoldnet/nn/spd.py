"""Autoencoding averages of SPD-valued volumes.

Volumes are matrix logarithms in orthonormal coordinates, shape (batch, 6, x, y, z); see ``sym_to_vector``. The
network chooses the weights of log-Euclidean Fréchet means of neighbours and an isotropic function of these means, from
features that do not change under D -> s D (s > 0) or when D -> R D R' goes with a rotation or reflection R of the grid.
So its output is SPD and commutes with these maps by construction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import geoopt
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from manifoldnet.errors import InputError
from manifoldnet.linalg import safe_norm, sym_to_vector
from manifoldnet.manifolds import SPD
from manifoldnet.nn.initial import seeded
from manifoldnet.nn.isotropic import IsotropicConv3d
from manifoldnet.nn.isotropic_function import TINY, IsotropicFunction, shape_of, trace_and_deviator
from manifoldnet.nn.surroundings import Surroundings, local_mean, neighbourhood, shifted, surroundings

INVARIANTS = 10
SHARPNESS = 4.0
DILATIONS = (1, 2, 4, 2)
MEAN_LOG_DIRECTIONS = 3.0  # of the usual 6 to 64, from which the feature is counted


def _variance(
    logs: Float[Tensor, "b 6 x y z"], mean: Float[Tensor, "b 6 x y z"], mask: Bool[Tensor, "b 1 x y z"]
) -> Float[Tensor, "b 1 x y z"]:
    return (local_mean(logs.square(), mask).sum(1, keepdim=True) - mean.square().sum(1, keepdim=True)).clamp_min(0)


def roughness(logs: Float[Tensor, "b 6 x y z"], mask: Bool[Tensor, "b 1 x y z"]) -> Float[Tensor, "b 1 x y z"]:
    """v / (1 + v) for the variance v of the 3 x 3 x 3 tensors round each voxel."""
    v = _variance(logs, local_mean(logs, mask), mask)
    return v / (1 + v)


def invariants(
    logs: Float[Tensor, "b 6 x y z"], mask: Bool[Tensor, "b 1 x y z"], sigma: Float[Tensor, "b 1 x y z"]
) -> Float[Tensor, "b 10 x y z"]:
    """Features of a voxel and its 3 x 3 x 3 surroundings that no rotation or scaling of the tensors changes.

    ``sigma`` is the noise level (standard deviation of the signal over S0), 0 where it is not known.
    """
    inside = mask.to(logs.dtype)
    mean = local_mean(logs, mask)
    (_, deviator), (_, mean_deviator) = trace_and_deviator(logs), trace_and_deviator(mean)
    rise = (logs - mean)[:, [0, 2, 5]].sum(1, keepdim=True) / math.sqrt(3.0)
    size, shape, _ = shape_of(deviator)
    mean_size = safe_norm(mean_deviator.movedim(1, -1)).unsqueeze(1)
    aligned = (deviator * mean_deviator).sum(1, keepdim=True) / (size * mean_size + TINY)
    gap = safe_norm((logs - mean).movedim(1, -1)).unsqueeze(1)
    known = (sigma > 0).to(logs.dtype)
    noise = known * (4.0 + sigma.clamp_min(1e-3).log())
    parts = [
        rise,
        size,
        shape,
        aligned,
        mean_size,
        gap,
        (_variance(logs, mean, mask) + TINY).sqrt(),
        noise,
        known,
        functional.avg_pool3d(inside, 3, 1, 1),
    ]
    return torch.cat(parts, 1) * inside


def _activated(x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
    """gelu of the channels scaled to mean square 1 at each voxel, which lets plain gradient descent take long steps."""
    return functional.gelu(x * (x.square().mean(1, keepdim=True) + TINY).rsqrt())


class SPDAutoencoder(nn.Module):
    """Log-Euclidean means over a neighbourhood with weights from isotropic convolutions of invariant features.

    Besides the tensors a volume may have others, of the same voxels, that were fitted to filtered signals; the mean is
    over both. The weight of neighbour j of kind k for voxel i is softmax_jk of

        a_k(|o|) - b_k |L_jk - L_ik|^2 - (e_i - e_j)' M (e_i - e_j) + c_k o'(A_ik + A_jk) o / |o|^2,

    o being the offset and A the mean traceless part of L over 3 x 3 x 3 voxels, which is large along fibres. The
    convolutions give a, b > 0, c, the embedding e, and two shares in (0, 1) of the way from the voxel to the mean that
    are gone, in the determinant and in the shape of unit determinant (SPD is their product, and noise is much smaller
    in the first); M is a parameter on SPD(n). Then comes an :class:`IsotropicFunction`.

    Args:
        width: channels.
        embedding: size n of e.
        radius2: neighbours have squared distance <= radius2 in voxels (5 gives 57).
        generator: source of the initial parameters.
    """

    axes: Tensor

    def __init__(
        self, width: int = 32, embedding: int = 8, radius2: int = 5, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.offsets = neighbourhood(radius2)
        lengths = [sum(i * i for i in offset) for offset in self.offsets]
        shells = sorted(set(lengths))
        self.shell = [shells.index(length) for length in lengths]
        self.shells = len(shells)
        self.sizes = [2 * len(shells), 2, 2, 2, embedding]
        self.width, self.embedding = width, embedding
        along = torch.tensor(self.offsets, dtype=torch.float32)
        squares = along[:, :, None] * along[:, None, :] / torch.tensor(lengths).clamp_min(1)[:, None, None]
        self.register_buffer("axes", sym_to_vector(squares), persistent=False)
        root2 = math.sqrt(2.0)
        self.first = IsotropicConv3d(2 * INVARIANTS + 4, width, 1, root2, generator)
        self.body = nn.ModuleList([IsotropicConv3d(width, width, d, root2, generator) for d in DILATIONS])
        self.last = IsotropicConv3d(width, width, 1, root2, generator)
        self.head = skip_init(nn.Conv3d, width, sum(self.sizes), 1)
        self.error = skip_init(nn.Conv3d, width, 1, 1)
        # before training the weights are those of a narrow Gaussian: averaging less is learned slowly
        prior = torch.zeros(sum(self.sizes))
        prior[: 2 * len(shells)] = -torch.tensor(shells + shells) / SHARPNESS
        seeded(self.head, 0.3, generator, bias=prior)
        with torch.no_grad():
            self.head.weight[: 2 * len(shells)].div_(SHARPNESS)
        seeded(self.error, 0.1, generator)
        self.corrected = IsotropicFunction(width, generator)
        metric = SPD("affine-invariant", n=embedding)
        self.metric = geoopt.ManifoldParameter(torch.eye(embedding), manifold=metric)
        # of a mean, which also sees directions round its neighbours; windows of 3 need 2
        self.reach = max(2, 1 + math.isqrt(radius2))
        # of a result: the features reach 1 voxel, and what they give is compared across the neighbourhood
        self.margin = 1 + 1 + sum(DILATIONS) + 1 + math.isqrt(radius2)

    def forward(
        self,
        logs: Float[Tensor, "b 6 x y z"],
        mask: Bool[Tensor, "b 1 x y z"],
        sigma: Float[Tensor, "b 1 x y z"],
        directions: Float[Tensor, " b"],
        filtered: Float[Tensor, "b 6 x y z"] | None = None,
    ) -> Float[Tensor, "b 6 x y z"]:
        """Logarithms of the weighted means; voxels outside the mask are 0.

        ``sigma`` is the noise level (standard deviation of the signal over S0) and ``directions`` how many the tensors
        were fitted to; 0 where they are not known. ``filtered`` are logarithms of the fit to filtered signals.
        """
        return self.with_features(logs, mask, sigma, directions, filtered)[0]

    def with_features(
        self,
        logs: Float[Tensor, "b 6 x y z"],
        mask: Bool[Tensor, "b 1 x y z"],
        sigma: Float[Tensor, "b 1 x y z"],
        directions: Float[Tensor, " b"],
        filtered: Float[Tensor, "b 6 x y z"] | None = None,
        slab: int | None = None,
    ) -> tuple[Float[Tensor, "b 6 x y z"], Float[Tensor, "b width x y z"]]:
        """The result of :meth:`forward` and the features that it came from, of which ``error`` makes the logarithm of
        the mean squared distance to the truth.

        Means over ``slab`` planes along z at a time need less memory and are the same.
        """
        (out,), features = autoencoded([self], logs, mask, sigma, directions, filtered, slab)
        return out, features

    def moved(
        self, near: Surroundings, features: Float[Tensor, "b width x y z"], rough: Float[Tensor, "b 1 x y z"]
    ) -> Float[Tensor, "b 6 x y z"]:
        """The share of the way to the mean, corrected; ``rough`` is the :func:`roughness` of the noisy tensors."""
        *scores, shares = self._headed(features)
        mean = self._mean(near, *scores)
        start = torch.stack(near.kinds).mean(0)
        share_of_trace, share_of_deviator = shares.sigmoid().split(1, 1)
        trace, deviator = trace_and_deviator(mean - start)
        moved = start + share_of_trace * trace + share_of_deviator * deviator
        return self.corrected(moved, features, rough)

    def features(self, told: Float[Tensor, "b told x y z"]) -> Float[Tensor, "b width x y z"]:
        """The features of all that a network is :func:`told`."""
        x = self.first(told)
        for layer in self.body:
            x = x + layer(_activated(x))
        return _activated(self.last(_activated(x)))

    def _headed(self, features: Tensor) -> tuple[Tensor, ...]:
        """a, b, c, the embedding and the shares."""
        a, b, c, shares, e = self.head(features).split(self.sizes, 1)
        e = torch.einsum("ij,bixyz->bjxyz", torch.linalg.cholesky(self.metric), e)
        return SHARPNESS * a, (2 + SHARPNESS * b).clamp(-6, 6).exp(), SHARPNESS * c, e, shares

    def _mean(self, near: Surroundings, a: Tensor, b: Tensor, c: Tensor, e: Tensor) -> Tensor:
        others = shifted(e, self.offsets)
        scores = []
        for k, (squares, fibres) in enumerate(zip(near.squares, near.fibres, strict=True)):
            for shell, square, fibre, other, there in zip(
                self.shell, squares, fibres, others, near.inside, strict=True
            ):
                own = k * self.shells + shell
                score = a[:, own : own + 1] - b[:, k : k + 1] * square
                score = score - (other - e).square().sum(1, keepdim=True)
                scores.append(torch.where(there, score + c[:, k : k + 1] * fibre, -1e4))
        weights = torch.cat(scores, 1).softmax(1)
        mean = torch.zeros_like(near.kinds[0])
        for j, value in enumerate(value for values in near.values for value in values):
            mean = mean + weights[:, j : j + 1] * value
        return mean


def told(
    kinds: Sequence[Float[Tensor, "b 6 x y z"]],
    mask: Bool[Tensor, "b 1 x y z"],
    sigma: Float[Tensor, "b 1 x y z"],
    directions: Float[Tensor, " b"],
) -> Float[Tensor, "b told x y z"]:
    """What the convolutions see: :func:`invariants` of each kind of tensors, the number of directions, and how far the
    kinds are apart; zeros where there is one kind."""
    inside = mask.to(sigma.dtype)
    n = directions[:, None, None, None, None]
    known = (n > 0) * inside
    parts = [invariants(kinds[0], mask, sigma), known, known * (n.clamp_min(1).log() - MEAN_LOG_DIRECTIONS)]
    if len(kinds) == 2:
        gap = safe_norm((kinds[0] - kinds[1]).movedim(1, -1)).unsqueeze(1)
        parts += [inside, gap, invariants(kinds[1], mask, torch.zeros_like(sigma))]
    else:
        parts.append(torch.zeros_like(sigma).expand(-1, 2 + INVARIANTS, -1, -1, -1))
    return torch.cat(parts, 1)


def autoencoded(
    members: Sequence[SPDAutoencoder],
    logs: Float[Tensor, "b 6 x y z"],
    mask: Bool[Tensor, "b 1 x y z"],
    sigma: Float[Tensor, "b 1 x y z"],
    directions: Float[Tensor, " b"],
    filtered: Float[Tensor, "b 6 x y z"] | None = None,
    slab: int | None = None,
) -> tuple[list[Float[Tensor, "b 6 x y z"]], Float[Tensor, "b widths x y z"]]:
    """The results of several and the features of all, as :meth:`SPDAutoencoder.with_features`; what does not depend on
    parameters is computed once.

    Raises:
        InputError: if their neighbourhoods differ.
    """
    first = members[0]
    if any(member.offsets != first.offsets for member in members):
        raise InputError("members: wanted the same neighbourhood for all")
    size = logs.shape[-3:]
    room = [side for n in reversed(size) for side in (0, max(0, 3 - n))]  # windows of 3 need it
    kinds = [logs] if filtered is None else [logs, filtered]
    kinds = [functional.pad(torch.where(mask, kind, 0.0), room) for kind in kinds]
    wide, sigma = functional.pad(mask, room), functional.pad(sigma, room)
    features = _features(members, told(kinds, wide, sigma, directions))
    widths = [member.width for member in members]
    planes = slab or wide.shape[-1]
    parts: list[list[Tensor]] = [[] for _ in members]
    for low in range(0, wide.shape[-1], planes):
        start = max(0, low - first.reach)
        window = slice(start, low + planes + first.reach)
        near = surroundings([kind[..., window] for kind in kinds], wide[..., window], first.offsets, first.axes)
        rough = roughness(near.kinds[0], wide[..., window])
        for member, seen, out in zip(members, features[..., window].split(widths, 1), parts, strict=True):
            out.append(member.moved(near, seen, rough)[..., low - start : low - start + planes])
    nx, ny, nz = size
    outs = [torch.where(mask, torch.cat(part, -1)[..., :nx, :ny, :nz], 0.0) for part in parts]
    return outs, features[..., :nx, :ny, :nz]


def _features(members: Sequence[SPDAutoencoder], given: Tensor) -> Tensor:
    # in one piece at once: parts beside it would be half a gigabyte of a head while its means are taken
    return torch.cat([member.features(given) for member in members], 1)
