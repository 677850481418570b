"""Newton's method whose linear equations are solved from products with the Jacobian alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

NEWTON_ITERATIONS = 15
HALVINGS = 6
KRYLOV_DIMENSION = 50

LinearMap = Callable[[Tensor], Tensor]


class Linearised(NamedTuple):
    """The residual (n) at a point, and a function that makes the linear map of the Jacobian there."""

    residual: Tensor
    jacobian: Callable[[], LinearMap]


def newton_krylov(
    equations: Callable[[Tensor], Linearised], y: Tensor, tolerance: Callable[[Tensor], Tensor]
) -> tuple[Tensor, bool]:
    """A zero (n) of the residual near y, and whether it was found (Knoll and Keyes 2004, section 2).

    Steps are halved until the norm of the residual falls. It was found if the norm is at most ``tolerance``, or at
    most 100 times that where rounding keeps it from falling further.

    Args:
        equations: the residual at a point and its derivative.
        y: (n), the start.
        tolerance: of a point, shape ().
    """
    at = equations(y)
    size = at.residual.norm()
    for _ in range(NEWTON_ITERATIONS):
        if not size > tolerance(y):
            break
        move = gmres(at.jacobian(), -at.residual)
        share = 1.0
        for _ in range(HALVINGS):
            point = y + share * move
            new = equations(point)
            if new.residual.norm() <= (1 - 1e-4 * share) * size:
                break
            share *= 0.5
        else:
            return y, bool(size <= 100 * tolerance(y))
        y, at, size = point, new, new.residual.norm()
    return y, bool(size <= tolerance(y))


def gmres(A: LinearMap, b: Tensor, tolerance: float = 1e-6) -> Tensor:
    """x (n) that makes |b - A x| least in the Krylov space of b, grown until that is below ``tolerance`` |b|.

    The space has at most 50 dimensions (Saad and Schultz 1986).
    """
    size = b.norm()
    if not size > 0:
        return torch.zeros_like(b)
    basis = [b / size]
    columns: list[Tensor] = []
    for k in range(1, min(KRYLOV_DIMENSION, b.shape[0]) + 1):
        image = A(basis[-1])
        V = torch.stack(basis)
        weights = V @ image
        image = image - weights @ V
        # once more, for the digits that the first subtraction has lost
        again = V @ image
        image = image - again @ V
        length = image.norm()
        columns.append(torch.cat([weights + again, length[None]]))
        H = torch.stack([torch.nn.functional.pad(c, (0, k + 1 - c.shape[0])) for c in columns], 1)
        target = torch.nn.functional.pad(size[None], (0, k))
        q, r = torch.linalg.qr(H)
        rest = (target - q @ (q.mT @ target)).norm()
        if rest <= tolerance * size or not length > torch.finfo(b.dtype).eps * weights.norm():
            break
        basis.append(image / length)
    coefficients = torch.linalg.solve_triangular(r, (q.mT @ target)[:, None], upper=True)[:, 0]
    return coefficients @ torch.stack(basis[: len(columns)])
