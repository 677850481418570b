"""What optimisers ask of a space: a step that takes vectors along, lengths of gradients, and which spaces are equal."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from enum import Enum
from typing import Any

import geoopt
import torch
from geoopt.manifolds import Manifold
from torch import Tensor, nn

from manifoldnet.errors import InputError
from manifoldnet.linalg import cholesky, sym, sym_expm, sym_sqrtm, whiten
from manifoldnet.linalg.orthogonal import newton_to_orthogonal, skew
from manifoldnet.manifolds import AffineInvariantSPD, Euclidean, Power, Product, Stiefel
from manifoldnet.manifolds.rotations import Rotations

RETRACTIONS = ("retr", "expmap")
# what nn.Module keeps about any module, and says nothing about a space
_BOOKKEEPING = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}


def space_of(parameter: Tensor) -> Manifold:
    """The manifold of a geoopt.ManifoldParameter; Euclidean space for any other tensor."""
    manifold = getattr(parameter, "manifold", None)
    return Euclidean(parameter.dim()) if manifold is None else manifold


def is_flat(space: Manifold) -> bool:
    """Whether steps on it are sums of tensors, those of torch.optim."""
    return isinstance(space, Euclidean | geoopt.Euclidean)


def space_key(space: Manifold) -> Hashable:
    """Equal for spaces of the same class and settings, which make the same steps.

    Settings are compared by value if they are numbers, words or spaces, or sequences of them. Tensors, such as a
    learned curvature, must be the same object, because they may change later.
    """
    items = ((name, value) for name, value in sorted(vars(space).items()) if name not in _BOOKKEEPING)
    return type(space), tuple((name, _frozen(value)) for name, value in items)


def _frozen(value: Any) -> Hashable:
    if isinstance(value, Manifold):
        return space_key(value)
    if value is None or isinstance(value, str | int | float | Enum):
        return value
    if isinstance(value, list | tuple | nn.ModuleList):
        return tuple(map(_frozen, value))
    if isinstance(value, slice):
        return value.start, value.stop, value.step
    if isinstance(value, Mapping):
        return tuple((name, _frozen(item)) for name, item in value.items())
    return id(value)


def move(space: Manifold, x: Tensor, u: Tensor, retraction: str) -> Tensor:
    """(..., *point): the point that the step u from x reaches, by "retr" or "expmap"."""
    y: Tensor = getattr(space, retraction)(x, u)
    return y


def move_along(space: Manifold, x: Tensor, u: Tensor, v: Tensor, retraction: str) -> tuple[Tensor, Tensor]:
    """:func:`move`, and the tangent vector v at x carried along by the space's vector transport.

    Factors of products are moved each by its own rule, and rotations and affine-invariant matrices by the step itself:
    none of these needs a logarithm, which knows no step of more than half a turn.
    """
    if isinstance(space, Product):
        parts = zip(space.spaces, *map(space.split, (x, u, v)), strict=True)
        moved = [move_along(factor, p, w, z, retraction) for factor, p, w, z in parts]
        points, vectors = zip(*moved, strict=True)
        return space.join(points), space.join(vectors)
    if isinstance(space, Power):
        return move_along(space.space, x, u, v, retraction)
    if isinstance(space, Rotations):
        return _turned(space, x, u, v, retraction)
    if isinstance(space, AffineInvariantSPD):
        return _congruent(x, u, v, retraction)
    if isinstance(space, Stiefel) and retraction == "retr" and x.shape[-2] <= 2 * x.shape[-1]:
        return _reframed(space, x, u, v)
    both: tuple[Tensor, Tensor] = getattr(space, retraction + "_transp")(x, u, v)
    return both


def _turned(space: Rotations, x: Tensor, u: Tensor, v: Tensor, retraction: str) -> tuple[Tensor, Tensor]:
    """Parallel transport y exp(-w/2) x'v exp(w/2) to y = x exp(w) with w = x'u."""
    half = space.exp(0.5 * space.vee(x.mT @ u))
    y = x @ half @ half
    if retraction == "retr":
        y = newton_to_orthogonal(y)
    return y, y @ skew(half.mT @ (x.mT @ v) @ half)


def _congruent(x: Tensor, u: Tensor, v: Tensor, retraction: str) -> tuple[Tensor, Tensor]:
    """Parallel transport l r (l^-1 v l^-T) r l' to y = l r^2 l', where x = l l'; r^2 is exp(w) or 1 + w + w^2 / 2."""
    factor = cholesky(x)
    w, whitened = whiten(factor, torch.stack([sym(u), v])).unbind()
    if retraction == "retr":
        square = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device) + w + 0.5 * w @ w
        root = sym_sqrtm(square)
        y = factor @ square @ factor.mT
    else:
        root = sym_expm(0.5 * w)
        y = factor @ root @ root @ factor.mT
    half = factor @ root
    return sym(y), sym(half @ whitened @ half.mT)


def _reframed(space: Stiefel, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The space's Cayley transform, by an inverse of the size of the columns, which for wide frames is the smaller."""
    horizontal = (u - 0.5 * x @ (x.mT @ u)) @ x.mT
    half = skew(horizontal)
    eye = torch.eye(x.shape[-2], dtype=x.dtype, device=x.device)
    turn = torch.linalg.inv_ex(eye - half)[0] @ (eye + half)
    y = newton_to_orthogonal(turn @ x)
    return y, space.proju(y, turn @ v)


def squared_lengths(space: Manifold, x: Tensor, u: Tensor) -> Tensor:
    """<u, u>_x of each irreducible factor, repeated in all of its entries; the shape of u.

    Numbers are factors of their own: on Euclidean space and on circles this is u^2. Everywhere else one number belongs
    to a whole point, so that dividing u by it gives a tangent vector, and no choice of coordinates enters.
    """
    if is_flat(space):
        return u * u
    if isinstance(space, Product):
        parts = zip(space.spaces, space.split(x), space.split(u), strict=True)
        return space.join([squared_lengths(factor, p, w) for factor, p, w in parts])
    if isinstance(space, Power):
        return squared_lengths(space.space, x, u)
    lengths: Tensor = space.component_inner(x, u)
    return lengths.expand_as(u)


def towards(space: Manifold, x: Tensor, anchor: Tensor) -> Tensor:
    """log_x(anchor), the negative gradient of dist(x, anchor)^2 / 2.

    Raises:
        InputError: if the manifold has no logarithm.
    """
    try:
        pull: Tensor = space.logmap(x, anchor)
    except NotImplementedError as error:
        raise InputError(
            f"weight_decay: wanted 0 on {space.name}, which has no logmap towards the point to decay to"
        ) from error
    return pull
