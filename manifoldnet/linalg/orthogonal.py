"""Coordinates of skew matrices and the principal logarithm of rotations of any size."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

# singular vectors of singular values below so many machine epsilons do not come in skew pairs
LOST = 512
# any number above the singular values 0..1 of a rotation's skew part
APART = 2.0


def skew(a: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Skew part (a - a') / 2."""
    return 0.5 * (a - a.mT)


def newton_to_orthogonal(y: Float[Tensor, "*batch n p"]) -> Float[Tensor, "*batch n p"]:
    """One Newton step towards the orthonormal polar factor: a defect e of y'y becomes 3 e^2 / 4."""
    return 1.5 * y - 0.5 * y @ (y.mT @ y)


def skew_to_vector(a: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch d"]:
    """Entries below the diagonal by rows, d = n(n-1)/2; of a general matrix, those of its skew part.

    They are orthonormal coordinates for the inner product tr(A'B)/2.
    """
    n = a.shape[-1]
    rows, columns = torch.tril_indices(n, n, -1, device=a.device)
    return 0.5 * (a[..., rows, columns] - a[..., columns, rows])


def skew_from_vector(v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n n"]:
    """Inverse of :func:`skew_to_vector`.

    Raises:
        ValueError: if the last dimension is not n(n-1)/2 for any n >= 2.
    """
    d = v.shape[-1]
    n = (1 + math.isqrt(8 * d + 1)) // 2
    if d == 0 or n * (n - 1) // 2 != d:
        raise ValueError(f"v: the last dimension must be n(n-1)/2 for some n >= 2, got shape {tuple(v.shape)}")
    rows, columns = torch.tril_indices(n, n, -1, device=v.device)
    index = torch.zeros(n, n, dtype=torch.long, device=v.device)
    index[rows, columns] = index[columns, rows] = torch.arange(d, device=v.device)
    sign = torch.ones(n, n, dtype=v.dtype, device=v.device)
    return v[..., index] * (sign.tril(-1) - sign.triu(1))


def rotation_logm_value(r: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Principal logarithm of n x n rotations up to and at angle pi, to rounding; for use without gradients.

    With S and K the symmetric and the skew part, log R = f(S) K for f(cos t) = t / sin t, which involves no eigenvector
    of its own and keeps the relative precision of small angles. On the planes beyond the widest gap between
    angles, f is replaced by that of -R and pi J is added, J being the polar factor of K there. Where K vanishes, every
    J will do, and one is made from pairs of vectors.
    """
    n = r.shape[-1]
    k = skew(r)
    cosine, v = torch.linalg.eigh(0.5 * (r + r.mT))
    cosine = cosine.clamp(-1, 1)
    half_turn = torch.full_like(cosine[..., :1], math.pi)
    edges = torch.cat([half_turn, torch.acos(cosine), torch.zeros_like(half_turn)], -1)
    count = (edges[..., :-1] - edges[..., 1:]).argmax(-1, keepdim=True)
    order = torch.arange(n, device=r.device)
    far = order < count
    weights = torch.where(far, -_angle_ratio(-cosine), _angle_ratio(cosine))
    far_space = (v * far[..., None, :]) @ v.mT
    j = _complex_structure(far_space @ k, far_space, order >= n - count)
    return skew((v * weights[..., None, :]) @ v.mT @ k) + math.pi * j


def _angle_ratio(cosine: Tensor) -> Tensor:
    """t / sin(t) of cos(t)."""
    square = (1 - cosine) * (1 + cosine)
    some = square > 0
    return torch.where(some, torch.acos(cosine) / torch.where(some, square, 1.0).sqrt(), 1.0)


def _complex_structure(k: Tensor, space: Tensor, inside: Tensor) -> Tensor:
    """Skew J with J^2 = -1 on the range of the projector ``space`` and J K = -|K| there; ``inside`` marks its rank."""
    n = k.shape[-1]
    eye = torch.eye(n, dtype=k.dtype, device=k.device)
    u, size, wh = torch.linalg.svd(k + APART * (eye - space))
    # the two singular values of each plane stand together, counted from the smallest
    pairs = n // 2
    mean = size.flip(-1)[..., : 2 * pairs].unflatten(-1, (pairs, 2)).mean(-1)
    eps = torch.finfo(k.dtype).eps
    lost = mean <= LOST * eps
    inside = inside & ~torch.cat([lost.new_zeros(*lost.shape[:-1], n % 2), lost.flip(-1).repeat_interleave(2, -1)], -1)
    j = skew((u * inside[..., None, :]) @ wh)
    first, second = (wh.flip(-2)[..., i : 2 * pairs : 2, :, None] for i in (0, 1))
    turns = first @ second.mT - second @ first.mT
    sense = (turns * k.unsqueeze(-3)).sum((-2, -1), keepdim=True)
    # where K is rounding alone, the same sense in every precision, by a matrix that is in no special position
    general = torch.arange(1, n * n + 1, dtype=k.dtype, device=k.device).sin().unflatten(0, (n, n))
    sense = torch.where(sense.abs() > 2 * n * eps, sense, (turns * general).sum((-2, -1), keepdim=True))
    j = j + (torch.where(sense > 0, turns, -turns) * lost[..., None, None]).sum(-3)
    for _ in range(3):
        j = 1.5 * j + 0.5 * j @ j @ j
    return j
