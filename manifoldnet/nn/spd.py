"""Autoencoding averages of SPD-valued volumes.

Volumes are matrix logarithms in orthonormal coordinates, shape (batch, 6, x, y, z); see ``sym_to_vector``. The
network only chooses the weights of log-Euclidean Fréchet means of neighbours, from features that do not change
under D -> s R D R' (s > 0, R orthogonal). So its output is SPD and commutes with these maps by construction.
"""

from __future__ import annotations

import itertools
import math

import geoopt
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from manifoldnet.linalg import safe_norm, sym_from_vector
from manifoldnet.manifolds import SPD
from manifoldnet.nn.initial import seeded

TINY = 1e-6
INVARIANTS = 10
SHARPNESS = 4.0


def neighbourhood(radius2: int) -> list[tuple[int, int, int]]:
    """Integer offsets o with |o|^2 <= radius2, the zero offset first."""
    reach = range(-math.isqrt(radius2), math.isqrt(radius2) + 1)
    lengths = {(i, j, k): i * i + j * j + k * k for i, j, k in itertools.product(reach, reach, reach)}
    return sorted((offset for offset in lengths if lengths[offset] <= radius2), key=lambda offset: lengths[offset])


def shifted(x: Float[Tensor, "b c x y z"], offset: tuple[int, int, int]) -> Float[Tensor, "b c x y z"]:
    """The volume whose value at p is x[p + offset], 0 outside."""
    sides = [side for o in reversed(offset) for side in (max(-o, 0), max(o, 0))]
    padded = functional.pad(x, sides)
    start = [max(o, 0) for o in offset]
    nx, ny, nz = x.shape[-3:]
    return padded[..., start[0] : start[0] + nx, start[1] : start[1] + ny, start[2] : start[2] + nz]


def trace_and_deviator(
    logs: Float[Tensor, "b 6 x y z"],
) -> tuple[Float[Tensor, "b 6 x y z"], Float[Tensor, "b 6 x y z"]]:
    """The multiple of the identity and the traceless part that add up to each matrix."""
    diagonal = logs.new_tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])[:, None, None, None] / 3
    trace = logs[:, [0, 2, 5]].sum(1, keepdim=True) * diagonal
    return trace, logs - trace


def invariants(
    logs: Float[Tensor, "b 6 x y z"], mask: Bool[Tensor, "b 1 x y z"], sigma: Float[Tensor, "b 1 x y z"]
) -> Float[Tensor, "b 10 x y z"]:
    """Features of a voxel and its 3 x 3 x 3 surroundings that no rotation or scaling of the tensors changes.

    ``sigma`` is the noise level (standard deviation of the signal over S0), 0 where it is not known.
    """
    inside = mask.to(logs.dtype)
    share = functional.avg_pool3d(inside, 3, 1, 1)

    def local_mean(x: Tensor) -> Tensor:
        return functional.avg_pool3d(x * inside, 3, 1, 1) / share.clamp_min(TINY)

    mean = local_mean(logs)
    (_, deviator), (_, mean_deviator) = trace_and_deviator(logs), trace_and_deviator(mean)
    rise = (logs - mean)[:, [0, 2, 5]].sum(1, keepdim=True) / math.sqrt(3.0)
    size, mean_size = (safe_norm(d.movedim(1, -1)).unsqueeze(1) for d in (deviator, mean_deviator))
    determinant = torch.linalg.det(sym_from_vector(deviator.movedim(1, -1))).unsqueeze(1)
    aligned = (deviator * mean_deviator).sum(1, keepdim=True) / (size * mean_size + TINY)
    gap = safe_norm((logs - mean).movedim(1, -1)).unsqueeze(1)
    spread = (local_mean(logs.square()).sum(1, keepdim=True) - mean.square().sum(1, keepdim=True)).clamp_min(0)
    known = (sigma > 0).to(logs.dtype)
    noise = known * (4.0 + sigma.clamp_min(1e-3).log())
    shape = determinant.sign() * (determinant.abs() + TINY) ** (1 / 3)
    parts = [
        rise,
        size,
        shape,
        aligned,
        mean_size,
        gap,
        (spread + TINY).sqrt(),
        noise,
        known,
        share,
    ]
    return torch.cat(parts, 1) * inside


def _activated(x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
    """gelu of the channels scaled to mean square 1 at each voxel, which lets plain gradient descent take long steps."""
    return functional.gelu(x * (x.square().mean(1, keepdim=True) + TINY).rsqrt())


class SPDAutoencoder(nn.Module):
    """Log-Euclidean means over a neighbourhood with weights from an autoencoder of invariant features.

    The weight of neighbour j for voxel i is softmax_j of a_ij - b_i |L_i - L_j|^2 - (e_i - e_j)' M (e_i - e_j): the
    encoder-decoder gives a (a number for each offset), b > 0, the embedding e, and two shares in (0, 1) of the way from
    L_i to the mean that are gone, in the determinant and in the shape of unit determinant (SPD is their product, and
    noise is much smaller in the first); M is a parameter on SPD(n).

    Args:
        width: channels at full resolution; twice as many at half resolution.
        embedding: size n of e.
        radius2: neighbours have squared distance <= radius2 in voxels (5 gives 57).
        generator: source of the initial parameters.
    """

    def __init__(
        self, width: int = 24, embedding: int = 8, radius2: int = 5, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.offsets = neighbourhood(radius2)
        self.embedding = embedding
        self.first = skip_init(nn.Conv3d, INVARIANTS, width, 3, padding=1)
        self.encode = skip_init(nn.Conv3d, width, width, 3, padding=1)
        self.deep = skip_init(nn.Conv3d, width, 2 * width, 3, padding=1)
        self.deeper = skip_init(nn.Conv3d, 2 * width, 2 * width, 3, padding=1)
        self.decode = skip_init(nn.Conv3d, 3 * width, width, 3, padding=1)
        self.head = skip_init(nn.Conv3d, width, len(self.offsets) + 3 + embedding, 1)
        metric = SPD("affine-invariant", n=embedding)
        self.metric = geoopt.ManifoldParameter(torch.eye(embedding), manifold=metric)
        for layer in (self.first, self.encode, self.deep, self.deeper, self.decode):
            seeded(layer, math.sqrt(2.0), generator)
        # before training the weights are those of a narrow Gaussian: averaging less is learned slowly
        prior = torch.zeros(self.head.out_channels)
        prior[: len(self.offsets)] = -torch.tensor([float(sum(i * i for i in o)) for o in self.offsets]) / SHARPNESS
        seeded(self.head, 0.3, generator, bias=prior)
        with torch.no_grad():
            self.head.weight[: len(self.offsets)].div_(SHARPNESS)
        # the features reach 1 voxel, five convolutions 1 + 1 + 2 + 2 + 1, pooling 1, and the embedding is compared
        # across the neighbourhood; rounded up to an even number so that blocks pool as the whole volume does
        reach = 9 + math.isqrt(radius2)
        self.margin = reach + reach % 2

    def forward(
        self,
        logs: Float[Tensor, "b 6 x y z"],
        mask: Bool[Tensor, "b 1 x y z"],
        sigma: Float[Tensor, "b 1 x y z"],
    ) -> Float[Tensor, "b 6 x y z"]:
        """Logarithms of the weighted means; voxels outside the mask are 0."""
        size = logs.shape[-3:]
        # windows of 3 and halving need room: a slice or two get empty ones beside them
        room = [side for n in reversed(size) for side in (0, max(0, 4 - n))]
        logs, sigma = functional.pad(torch.where(mask, logs, 0.0), room), functional.pad(sigma, room)
        mask = functional.pad(mask, room)
        sizes = [len(self.offsets), 1, 2, self.embedding]
        a, b, shares, e = self._encode(invariants(logs, mask, sigma)).split(sizes, 1)
        a, b = SHARPNESS * a, (2 + SHARPNESS * b).clamp(-6, 6).exp()
        factor = torch.linalg.cholesky(self.metric)
        e = torch.einsum("ij,bixyz->bjxyz", factor, e)
        stack = torch.cat([logs, e, mask.to(logs.dtype)], 1)
        scores = []
        for k, offset in enumerate(self.offsets):
            near_logs, near_e, near_mask = shifted(stack, offset).split([6, self.embedding, 1], 1)
            range_term = b * (near_logs - logs).square().sum(1, keepdim=True)
            score = a[:, k : k + 1] - range_term - (near_e - e).square().sum(1, keepdim=True)
            scores.append(torch.where(near_mask > 0, score, -1e4))
        weights = torch.cat(scores, 1).softmax(1)
        mean = torch.zeros_like(logs)
        for k, offset in enumerate(self.offsets):
            mean = mean + weights[:, k : k + 1] * shifted(logs, offset)
        share_of_trace, share_of_deviator = shares.sigmoid().split(1, 1)
        trace, deviator = trace_and_deviator(mean - logs)
        mean = logs + share_of_trace * trace + share_of_deviator * deviator
        return torch.where(mask, mean, 0.0)[..., : size[0], : size[1], : size[2]]

    def _encode(self, x: Tensor) -> Tensor:
        size = x.shape[-3:]
        padded = functional.pad(x, [s for n in reversed(size) for s in (0, n % 2)])
        fine = _activated(self.encode(_activated(self.first(padded))))
        coarse = _activated(self.deep(functional.avg_pool3d(fine, 2)))
        coarse = _activated(self.deeper(coarse))
        back = functional.interpolate(coarse, scale_factor=2, mode="nearest")
        out = self.head(_activated(self.decode(torch.cat([fine, back], 1))))
        return out[..., : size[0], : size[1], : size[2]]
