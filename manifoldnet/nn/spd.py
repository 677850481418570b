"""Autoencoding averages of SPD-valued volumes.

Volumes are matrix logarithms in orthonormal coordinates, shape (batch, 6, x, y, z); see ``sym_to_vector``. The
network chooses the weights of log-Euclidean Fréchet means of neighbours and an isotropic function of these means, from
features that do not change under D -> s D (s > 0) or when D -> R D R' goes with a rotation or reflection R of the grid.
So its output is SPD and commutes with these maps by construction.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import geoopt
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from manifoldnet.errors import InputError
from manifoldnet.linalg import sym_to_vector
from manifoldnet.manifolds import SPD
from manifoldnet.nn.initial import seeded
from manifoldnet.nn.invariants import TOLD, roughness, told
from manifoldnet.nn.isotropic import IsotropicConv3d
from manifoldnet.nn.isotropic_function import TINY, IsotropicFunction, trace_and_deviator
from manifoldnet.nn.neighbours import Chosen, Everywhere, neighbourhood
from manifoldnet.nn.slabs import slabwise
from manifoldnet.nn.surroundings import Surroundings, local_mean, surroundings

SHARPNESS = 4.0
DILATIONS = (1, 2, 4, 2)


def _activated(x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
    """gelu of the channels scaled to mean square 1 at each voxel, which lets plain gradient descent take long steps."""
    return functional.gelu(x * (x.square().mean(1, keepdim=True) + TINY).rsqrt())


def _residual(layer: nn.Module, x: Tensor) -> Tensor:
    return x + layer(_activated(x))


def _activated_twice(layer: nn.Module, x: Tensor) -> Tensor:
    return _activated(layer(_activated(x)))


def _whole(function: Callable[[Tensor], Tensor], x: Tensor, reach: int) -> Tensor:
    return function(x)


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
        self.first = IsotropicConv3d(TOLD, width, 1, root2, generator)
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
        at_once: int | None = None,
    ) -> tuple[Float[Tensor, "b 6 x y z"], Float[Tensor, "b width x y z"]]:
        """The result of :meth:`forward` and the features that it came from, of which ``error`` makes the logarithm of
        the mean squared distance to the truth.

        Means for ``at_once`` voxels of the mask at a time are the same; they need less memory and, if no gradient is
        wanted, less time.
        """
        (out,), features = autoencoded([self], logs, mask, sigma, directions, filtered, at_once)
        return out, features

    def moved(
        self,
        near: Surroundings,
        features: Float[Tensor, "b width x y z"],
        embedded: Float[Tensor, "B n X Y Z"],
        rough: Float[Tensor, "b 1 x y z"],
    ) -> Float[Tensor, "b 6 x y z"]:
        """The share of the way to the mean, corrected, at the voxels whose surroundings are given, as are their
        features and the :func:`roughness` of the noisy tensors; ``embedded`` are the :meth:`embeddings` of all."""
        a, b, c, shares = self._headed(features)
        mean = self._mean(near, a, b, c, embedded)
        start = torch.stack(near.kinds).mean(0)
        share_of_trace, share_of_deviator = shares.sigmoid().split(1, 1)
        trace, deviator = trace_and_deviator(mean - start)
        moved = start + share_of_trace * trace + share_of_deviator * deviator
        return self.corrected(moved, features, rough)

    def features(self, told: Float[Tensor, "b told x y z"], piecewise: bool = False) -> Float[Tensor, "b width x y z"]:
        """The features of all that a network is :func:`told`; ``piecewise`` :func:`slabwise`, for whole heads."""
        part = slabwise if piecewise else _whole
        x = part(self.first, told, 1)
        for layer, dilation in zip(self.body, DILATIONS, strict=True):
            x = part(partial(_residual, layer), x, dilation)
        return part(partial(_activated_twice, self.last), x, 1)

    def embeddings(self, features: Float[Tensor, "b width x y z"]) -> Float[Tensor, "b n x y z"]:
        """e, in coordinates in which M is the identity."""
        e = functional.conv3d(features, self.head.weight[-self.embedding :], self.head.bias[-self.embedding :])
        return torch.einsum("ij,bixyz->bjxyz", torch.linalg.cholesky(self.metric), e)

    def _headed(self, features: Tensor) -> tuple[Tensor, ...]:
        """a, b, c and the shares."""
        head = functional.conv3d(features, self.head.weight[: -self.embedding], self.head.bias[: -self.embedding])
        a, b, c, shares = head.split(self.sizes[:-1], 1)
        return SHARPNESS * a, (2 + SHARPNESS * b).clamp(-6, 6).exp(), SHARPNESS * c, shares

    def _mean(self, near: Surroundings, a: Tensor, b: Tensor, c: Tensor, embedded: Tensor) -> Tensor:
        e = near.voxels.own(embedded)
        gaps = [(other - e).square().sum(1, keepdim=True) for other in near.voxels.near(embedded)]
        scores = []
        for k, (squares, fibres) in enumerate(zip(near.squares, near.fibres, strict=True)):
            for shell, square, fibre, gap, there in zip(self.shell, squares, fibres, gaps, near.inside, strict=True):
                own = k * self.shells + shell
                score = a[:, own : own + 1] - b[:, k : k + 1] * square - gap
                scores.append(torch.where(there, score + c[:, k : k + 1] * fibre, -1e4))
        weights = torch.cat(scores, 1).softmax(1)
        mean = torch.zeros_like(near.kinds[0])
        for j, value in enumerate(value for values in near.values for value in values):
            mean = mean + weights[:, j : j + 1] * value
        return mean


def autoencoded(
    members: Sequence[SPDAutoencoder],
    logs: Float[Tensor, "b 6 x y z"],
    mask: Bool[Tensor, "b 1 x y z"],
    sigma: Float[Tensor, "b 1 x y z"],
    directions: Float[Tensor, " b"],
    filtered: Float[Tensor, "b 6 x y z"] | None = None,
    at_once: int | None = None,
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
    features = _features(members, told(kinds, wide, sigma, directions), at_once is not None)
    seen = features.split([member.width for member in members], 1)
    embedded = [member.embeddings(part) for member, part in zip(members, seen, strict=True)]
    rough = roughness(kinds[0], wide)
    pairs = [torch.cat([kind, trace_and_deviator(local_mean(kind, wide))[1]], 1) for kind in kinds]
    if at_once is None:
        near = surroundings(Everywhere(first.offsets), pairs, wide, first.axes)
        each = zip(members, seen, embedded, strict=True)
        outs = [torch.where(wide, member.moved(near, part, e, rough), 0.0) for member, part, e in each]
    else:
        shape = (len(wide), *wide.shape[2:])
        columns = [rough.new_zeros(6, wide.numel()) for _ in members]
        for chosen in wide.flatten().nonzero()[:, 0].split(at_once):
            voxels = Chosen(chosen, shape, first.offsets)
            near = surroundings(voxels, pairs, wide, first.axes)
            own = voxels.own(rough)
            for member, part, e, column in zip(members, seen, embedded, columns, strict=True):
                column[:, chosen] = member.moved(near, voxels.own(part), e, own)[0, :, :, 0, 0]
        outs = [column.unflatten(1, shape).movedim(1, 0) for column in columns]
    nx, ny, nz = size
    return [out[..., :nx, :ny, :nz] for out in outs], features[..., :nx, :ny, :nz]


def _features(members: Sequence[SPDAutoencoder], given: Tensor, piecewise: bool) -> Tensor:
    if not given.is_cuda:
        # a dilation of 4 is three times as fast as with the channels first
        given = given.contiguous(memory_format=torch.channels_last_3d)
    ends = list(itertools.accumulate(member.width for member in members))
    # in one piece at once: parts beside it would be half a gigabyte of a head
    features = given.new_empty(len(given), ends[-1], *given.shape[2:])
    for member, end in zip(members, ends, strict=True):
        features[:, end - member.width : end] = member.features(given, piecewise)
    return features
