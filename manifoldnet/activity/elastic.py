"""Elastic comparison of movements by velocity and pose together, of curves in SO(3)^k x R^m.

The elastic distance of velocities alone does not see where a movement is made. A pose p(t) has no part in it, because
it is carried along by a reparametrisation, p o phi, while square-root velocities also change their size. Weighted by
arc length it has: with the speed |v|,

    q = sqrt|v| (v / |v|, w p),    q -> sqrt(phi') q o phi when the curve is run through by phi,

so that all that holds of square-root velocities (isometric action, dynamic programming, kernels) holds of q.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from manifoldnet.activity.channels import Motion, attitudes, gravity
from manifoldnet.activity.windows import MIRROR, resample_imu
from manifoldnet.curves import pairwise_elastic_distance, srvt_of_increments, unit_length
from manifoldnet.errors import InputError

LEAST_SCALE = 1e-6
SAMPLED = 128  # training curves from which the scale of a piece is taken


def posed_transform(
    velocity: Float[Tensor, "*batch cells d"], pose: Float[Tensor, "*batch cells m"], weight: float | int = 1.0
) -> Float[Tensor, "*batch cells both"]:
    """q = sqrt|v| (v / |v|, w p): square-root velocities of a curve with its pose beside them.

    The squared norm is the integral of (1 + w^2 |p|^2) ds over arc length. Elastic distances of q are the same at
    whatever speed each curve is run through, and see the pose along the best alignment; with p = 0 they are those of
    :func:`manifoldnet.curves.srvt_of_increments`.

    Args:
        velocity: (..., cells, d), increments v.
        pose: (..., cells, m), in coordinates of a vector space: unit vectors, entries of rotation matrices, or
            logarithms at a fixed point.
        weight: w, not negative; in units of 1 / p.

    Returns:
        (..., cells, d + m); cells at rest give 0.

    Raises:
        InputError: weight is negative.
    """
    if not weight >= 0:
        raise InputError(f"weight: wanted a number >= 0, got {weight}")
    q = srvt_of_increments(velocity)
    # |q| = sqrt|v|, and 0 with it
    return torch.cat([q, weight * torch.linalg.vector_norm(q, dim=-1, keepdim=True) * pose], -1)


def inertial_transform(
    windows: Float[np.ndarray, "n t 6"], rate: float | int, cells: int, turning: float | int, pull: float | int
) -> Float[Tensor, "n cells 9"]:
    """:func:`posed_transform` of inertial windows: velocity in SO(3) x R^3, and gravity's direction as the pose.

    Args:
        windows: gyroscope xyz in rad/s, then acceleration xyz in g.
        rate: in Hz.
        cells: to which a window is resampled along its path.
        turning, pull: by which angular velocity (rad/s) and acceleration (g) are divided.

    Returns:
        (n, cells, 9), float32; nothing in it depends on the attitude in which a window begins.
    """
    samples = resample_imu(windows, cells, rate)
    seconds = windows.shape[1] / rate
    motion = Motion(samples[..., :3], samples[..., 3:], attitudes(samples[..., :3], cells / seconds))
    velocity = samples / np.repeat([turning, pull], 3) * (seconds / cells)
    up = gravity(motion)
    return posed_transform(torch.from_numpy(velocity).float(), torch.from_numpy(up).float())


def mirrored_transform(q: Float[Tensor, "*batch cells 9"]) -> Float[Tensor, "*batch cells 9"]:
    """The :func:`inertial_transform` of the mirrored body; the mirror is linear in q."""
    return q * torch.as_tensor(np.concatenate([MIRROR, MIRROR[3:]]), dtype=q.dtype)


def pieces(q: Float[Tensor, "n cells d"], length: int, stride: int) -> Float[Tensor, "n places length d"]:
    """Pieces of ``length`` cells, each of norm 1, beginning every ``stride`` cells.

    Raises:
        InputError: length is not between 2 and the cells there are, or stride is below 1.
    """
    if not 2 <= length <= q.shape[1] or stride < 1:
        raise InputError(f"length, stride: wanted 2 to {q.shape[1]} cells and >= 1, got {length} and {stride}")
    return unit_length(q.unfold(1, length, stride).transpose(-1, -2).contiguous())


@dataclass(frozen=True)
class ElasticPieces:
    """Pieces of training curves, and features of a curve by how near it comes to each of them, anywhere.

    Attributes:
        prototypes: (prototypes, length, d), norm 1.
        scales: (prototypes,), median over training curves of the least squared distance.
        stride, slopes: of the places that are tried, and as in :func:`manifoldnet.curves.elastic_distance`.
    """

    prototypes: Tensor
    scales: Tensor
    stride: int
    slopes: int

    def features(self, q: Float[Tensor, "n cells d"]) -> Float[np.ndarray, "n features"]:
        """(n, 2 prototypes): the least distance over the places, and the mean of exp(-d^2 / scale) over them.

        Like shapelets (Ye and Keogh 2009), with the elastic distance in place of the Euclidean one, so that a piece may
        be run through at another speed than the prototype, and at any phase of the curve.
        """
        squared = _squared(q, self.prototypes, self.stride, self.slopes)
        often = (-squared / self.scales).exp().mean(1)
        return torch.cat([squared.amin(1).sqrt(), often], 1).numpy()


def choose_pieces(
    q: Float[Tensor, "n cells d"],
    codes: Int[np.ndarray, "n"],
    count: int,
    length: int,
    stride: int,
    slopes: int,
    generator: np.random.Generator,
) -> ElasticPieces:
    """Random pieces of training curves, equally many of each class.

    Args:
        q: transforms of the training curves.
        codes: of their classes, from 0.
        count: of pieces.
        length, stride: in cells.
        slopes: as in :func:`manifoldnet.curves.elastic_distance`.
        generator: of the choice.

    Raises:
        InputError: as :func:`pieces`, or count is below the number of classes.
    """
    classes = int(codes.max()) + 1
    if count < classes:
        raise InputError(f"count: wanted at least one piece of each of the {classes} classes, got {count}")
    every = pieces(q, length, stride)
    # the curves of a class in turn, in a random order
    order = generator.permutation(len(codes))
    turns = [np.resize(order[codes[order] == k], -(-count // classes)) for k in range(classes)]
    owners = np.stack(turns, 1).ravel()[:count]
    places = generator.integers(every.shape[1], size=count)
    prototypes = every[torch.from_numpy(owners), torch.from_numpy(places)].contiguous()
    some = q[torch.from_numpy(order[:SAMPLED])]
    nearest = _squared(some, prototypes, stride, slopes).amin(1)
    return ElasticPieces(prototypes, nearest.median(0).values.clamp_min(LEAST_SCALE), stride, slopes)


def _squared(q: Tensor, prototypes: Tensor, stride: int, slopes: int) -> Tensor:
    """Squared distances (n, places, prototypes)."""
    every = pieces(q, prototypes.shape[1], stride)
    return pairwise_elastic_distance(every.flatten(0, 1), prototypes, slopes).square().view(*every.shape[:2], -1)
