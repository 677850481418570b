"""Collections of curves or transforms of any lengths, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifoldnet.arrays import as_tensor
from manifoldnet.errors import InputError

# one array is a collection along its first dimension, otherwise anything as_tensor takes is a curve
Curves = Tensor | np.ndarray | Sequence[Any]


def as_tensors(X: Curves, name: str) -> list[Tensor]:
    """Floating point tensors without gradient.

    Raises:
        InputError: there is no curve, or one is no array of numbers.
    """
    if not len(X):
        raise InputError(f"{name}: wanted at least one curve, got none")
    curves = [as_tensor(f"{name}[{k}]", curve).detach() for k, curve in enumerate(X)]
    return [curve if curve.is_floating_point() else curve.double() for curve in curves]


def as_transforms(X: Curves, name: str, like: Tensor | None = None) -> list[Tensor]:
    """Transforms with the coordinates, dtype and device of ``like``, the first of them when None.

    Raises:
        InputError: as :func:`as_tensors`, or one has another shape than (cells >= 1, dim) or is not finite.
    """
    transforms = as_tensors(X, name)
    first = transforms[0] if like is None else like
    for k, q in enumerate(transforms):
        if q.dim() != 2 or not len(q) or q.shape[-1] != first.shape[-1]:
            wanted = f"(cells >= 1, {first.shape[-1] if first.dim() == 2 else 'dim'})"
            raise InputError(f"{name}[{k}]: wanted shape {wanted}, got {tuple(q.shape)}")
        if not bool(q.isfinite().all()):
            raise InputError(f"{name}[{k}]: wanted finite values, got NaN or infinity")
    return [q.to(first) for q in transforms]


def by_shape(curves: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Curves of one shape and dtype together: their places, and (curves, *shape)."""
    places: dict[Any, list[int]] = {}
    for k, curve in enumerate(curves):
        places.setdefault((curve.shape, curve.dtype), []).append(k)
    return [(torch.tensor(at), torch.stack([curves[k] for k in at])) for at in places.values()]


def padded(transforms: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Transforms (curves, cells, dim) with zeros at the end of shorter ones, and the numbers of cells (curves,)."""
    stack = torch.nn.utils.rnn.pad_sequence(transforms, batch_first=True)
    return stack, torch.tensor([len(q) for q in transforms], device=stack.device)
