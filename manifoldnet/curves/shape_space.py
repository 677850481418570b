"""Reparametrisations acting on square-root velocity transforms, and geodesics between shapes.

A reparametrisation phi of [0, 1] is its samples phi(i / n), i = 0..n, linear in between, as :func:`align` gives
it. Transforms are step functions on uniform grids, v / sqrt|v| in each cell, so that sums over cells are integrals.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.curves.elastic import align
from manifoldnet.curves.srvt import unit_length
from manifoldnet.errors import InputError
from manifoldnet.linalg import safe_norm
from manifoldnet.linalg.kernel import is_transformed


def warp(q: Float[Tensor, "*left m dim"], phi: Float[Tensor, "*right nodes"]) -> Float[Tensor, "... _n dim"]:
    """The L2 projection of sqrt(phi') q o phi, the action of phi on q, onto step functions on phi's grid.

    With Q the primitive of q, x = m phi counted in cells of q, and the unit of v / sqrt|v|, cell i becomes

        (Q(x_(i+1)) - Q(x_i)) / sqrt(x_(i+1) - x_i).

    phi acts by isometries (Srivastava, Klassen, Joshi and Jermyn 2011), and a projection shortens: the norm of
    the result is at most that of q, and equal to it where no cell of phi's grid meets two different cells of q.
    The distance of q0 and sqrt(phi') q o phi is exactly |q0 - warp|^2 + |q|^2 - |warp|^2 for every step
    function q0 on phi's grid.

    Args:
        q: (..., m, dim) as :func:`srvt` gives it with dt=None.
        phi: (..., n + 1), strictly increasing from 0 to 1; leading dimensions broadcast against those of q.

    Returns:
        (..., n, dim); differentiable in q, and in phi where no x_i is an integer.

    Raises:
        InputError: q has no cell, phi is no reparametrisation, or they differ in dtype or device, or do not
            broadcast.
    """
    if q.dim() < 2 or q.shape[-2] < 1:
        raise InputError(f"q: wanted shape (..., cells >= 1, dim), got {tuple(q.shape)}")
    _check_reparametrisation(phi, "phi")
    _check_kind(phi, "phi", q, "q")
    # a difference of running sums: in float32 it would lose m eps
    primitive = torch.nn.functional.pad(q.cumsum(-2, dtype=torch.float64), (0, 0, 1, 0))
    x = q.shape[-2] * phi.double()
    integral = _linear(primitive, x, "phi").diff(dim=-2)
    return (integral / x.diff(dim=-1).sqrt()[..., None]).to(q.dtype)


def compose_warps(phi: Float[Tensor, "*left outer"], psi: Float[Tensor, "*right inner"]) -> Float[Tensor, "... inner"]:
    """phi o psi at the samples of psi, (..., n + 1); leading dimensions broadcast.

    The samples are exact; between them the composition, which may bend anywhere, is replaced by its chord.

    Raises:
        InputError: as :func:`warp`.
    """
    _check_reparametrisation(phi, "phi")
    _check_reparametrisation(psi, "psi")
    _check_kind(psi, "psi", phi, "phi")
    return _linear(phi[..., None], (phi.shape[-1] - 1) * psi, "psi").squeeze(-1)


def invert_warp(phi: Float[Tensor, "*batch nodes"], cells: int | None = None) -> Float[Tensor, "*batch _nodes"]:
    """The inverse of phi at j / cells, j = 0..cells, on a grid as fine as phi's for None; exact at the samples.

    Raises:
        InputError: phi is no reparametrisation, or cells < 1.
    """
    _check_reparametrisation(phi, "phi")
    n = phi.shape[-1] - 1
    if cells is not None and cells < 1:
        raise InputError(f"cells: wanted an integer >= 1 or None, got {cells}")
    return fractional_index(phi, uniform_grid(n if cells is None else cells, phi)) / n


def shape_geodesic(
    q0: Float[Tensor, "*left n dim"],
    q1: Float[Tensor, "*right m _dim"],
    s: int | float | Float[Tensor, "*times"],
    slopes: int = 6,
    scale_free: bool = False,
) -> Float[Tensor, "... n dim"]:
    """Points of the shortest path between the shapes of q0 and q1, on the grid of q0.

    Geodesics of transforms are straight lines, and that between shapes is (1 - s) q0 + s q1*, where q1* is q1
    moved by the best reparametrisation (Celledoni, Eslitzbichler and Schmeding 2016), here by :func:`align` and
    :func:`warp`. Curves come from :func:`inverse_srvt`. The elastic distance from q0 to the point s is at most
    s d, with d that of q0 and q1, and was up to 1.8 % of d below it between smooth rotations of 100 cells: from a
    point that is moved already, slopes reach further.

    Args:
        q0, q1, slopes: as in :func:`elastic_distance`.
        s: number or tensor that broadcasts against the batch; (times, 1) for every time of every pair.
        scale_free: scale q0 and q1* to norm 1, curves of length 1, and follow the great circle through them
            instead, at constant speed. A constant curve stays constant; opposite ones (no reparametrisation
            helps) have no shortest great circle, and the result means nothing.

    Returns:
        (..., n, dim), differentiable in q0, q1 and s with the reparametrisation held fixed.

    Raises:
        InputError: as :func:`elastic_distance`, or s does not broadcast.
    """
    q1 = warp(q1, align(q0, q1, slopes))
    share = _share(s, q1)
    if not scale_free:
        return (1 - share) * q0 + share * q1
    start, end = unit_length(q0), unit_length(q1)
    # the arc cosine of the product has infinite slope where both agree
    angle = 2 * torch.atan2(_norm(start - end), _norm(start + end))

    def weight(part: Tensor) -> Tensor:
        """sin(part angle) / sin(angle)."""
        return part * torch.sinc(part * angle / torch.pi) / torch.sinc(angle / torch.pi)

    return weight(1 - share) * start + weight(share) * end


def uniform_grid(cells: int, like: Tensor) -> Float[Tensor, "nodes"]:
    """i / cells for i = 0..cells in the dtype and on the device of ``like``; with n = cells, exactly i / n."""
    return torch.arange(cells + 1, dtype=like.dtype, device=like.device) / cells


def fractional_index(values: Float[Tensor, "*batch nodes"], at: Float[Tensor, "points"]) -> Float[Tensor, "..."]:
    """Where the increasing polygon of values[..., i] over i reaches ``at``, shape (*batch, points)."""
    cells = values.shape[-1] - 1
    at = at.expand(*values.shape[:-1], len(at)).contiguous()
    index = (torch.searchsorted(values.detach().contiguous(), at, right=True) - 1).clamp(0, cells - 1)
    below, above = values.gather(-1, index), values.gather(-1, index + 1)
    return index + (at - below) / (above - below)


def _linear(nodes: Tensor, x: Tensor, name: str) -> Tensor:
    """Value (..., points, dim) at x (..., points) of the polygon with the values (..., cells + 1, dim) at 0, 1, ..."""
    shape = _broadcast(nodes.shape[:-2], x.shape[:-1], name)
    nodes, x = nodes.expand(*shape, *nodes.shape[-2:]), x.expand(*shape, x.shape[-1])[..., None]
    index = x.detach().floor().long().clamp(0, nodes.shape[-2] - 2)
    below, above = (torch.take_along_dim(nodes, index + k, -2) for k in (0, 1))
    return torch.lerp(below, above, (x - index).expand_as(below))


def _share(s: int | float | Tensor, q: Tensor) -> Tensor:
    """s beside transforms, (..., 1, 1)."""
    share = torch.as_tensor(s, dtype=q.dtype, device=q.device)
    _broadcast(q.shape[:-2], share.shape, "s")
    return share[..., None, None]


def _norm(q: Tensor) -> Tensor:
    return safe_norm(q.flatten(-2))[..., None, None]


def _broadcast(batch0: torch.Size, batch1: torch.Size, name: str) -> torch.Size:
    try:
        return torch.broadcast_shapes(batch0, batch1)
    except RuntimeError:
        raise InputError(f"{name}: wanted a batch that broadcasts with {tuple(batch0)}, got {tuple(batch1)}") from None


def _check_kind(x: Tensor, name: str, like: Tensor, other: str) -> None:
    if (x.dtype, x.device) != (like.dtype, like.device):
        raise InputError(f"{name}: wanted {like.dtype} on {like.device} like {other}, got {x.dtype} on {x.device}")


def _check_reparametrisation(phi: Tensor, name: str) -> None:
    if phi.dim() < 1 or phi.shape[-1] < 2:
        raise InputError(f"{name}: wanted shape (..., n + 1) with n >= 1, got {tuple(phi.shape)}")
    if torch.compiler.is_compiling() or is_transformed():  # values are not known
        return
    tolerance = 16 * torch.finfo(phi.dtype).eps
    ends = (phi[..., 0].abs() <= tolerance) & ((phi[..., -1] - 1).abs() <= tolerance)
    if not bool((ends & (phi.diff(dim=-1) > 0).all(-1)).all()):
        raise InputError(f"{name}: wanted values that increase strictly from 0 to 1")
