"""Kernels of transformed curves, the same at whatever speed each curve is run through."""

from __future__ import annotations

import numpy as np
import torch

from manifoldnet.curves.elastic import elastic_distance
from manifoldnet.curves.pairwise import pairwise_elastic_distance
from manifoldnet.curves.ragged import Curves, as_transforms, padded
from manifoldnet.errors import InputError

GRAM_ENTRIES = 2**22  # products of cells in one call: 32 MiB in float64


def elastic_kernel(
    qs: Curves,
    others: Curves | None = None,
    gamma: int | float = 1.0,
    slopes: int = 4,
    band: int | float | None = None,
) -> np.ndarray:
    """exp(-gamma d^2) with the elastic distance d, for estimators with kernel="precomputed".

    It is not positive definite: d is a distance of orbits, not of points of a Hilbert space. Its matrix for 60 random
    transforms of 4 cells in one coordinate, |q| about 1, has with gamma = 0.3 eigenvalues down to -0.3 or -0.4. See
    :func:`alignment_kernel` for one that is.

    Args:
        qs: k transforms (cells_i, dim) of any lengths within the factor ``slopes``.
        others: l transforms, or None for those of ``qs``.
        gamma: > 0, in units of 1 / d^2.
        slopes, band: as in :func:`manifoldnet.curves.elastic_distance`.

    Returns:
        (k, l), between 0 and 1, of the dtype of ``qs``.

    Raises:
        InputError: gamma is not positive, or as :func:`manifoldnet.curves.pairwise_elastic_distance`.
    """
    if not gamma > 0:
        raise InputError(f"gamma: wanted a positive number, got {gamma}")
    left = as_transforms(qs, "qs")
    right = None if others is None else as_transforms(others, "others", left[0])
    return (-gamma * pairwise_elastic_distance(left, right, slopes, band).square()).exp().cpu().numpy()


def alignment_kernel(
    qs: Curves, others: Curves | None = None, smoothing: int | float = 1.0, slopes: int = 4
) -> np.ndarray:
    """exp(-d^2 / (2 gamma)) with the soft elastic distance of gamma = ``smoothing``: positive definite.

    exp(S(x, y) / gamma), S the soft best value, is a sum over ways to cut x and y into equally many segments of
    products of exp(<segment of x, segment of y> / gamma), a convolution kernel (Haussler 1999; for time warping
    Cuturi, Vert, Birkenes and Matsui 2007). Divided by the roots of its values at (x, x) and (y, y) it is this one.

    Args:
        qs: k transforms (cells_i, dim) of any lengths within the factor ``slopes``.
        others: l transforms, or None for those of ``qs``.
        smoothing: gamma > 0, in units of d^2. The kernel tends to the identity for gamma -> 0.
        slopes: as in :func:`manifoldnet.curves.elastic_distance`.

    Returns:
        (k, l), above 0, at most 1, of the dtype of ``qs``.

    Raises:
        InputError: as :func:`manifoldnet.curves.elastic_distance`.
    """
    rows = as_transforms(qs, "qs")
    columns = rows if others is None else as_transforms(others, "others", rows[0])
    (left, left_cells), (right, right_cells) = padded(rows), padded(columns)
    matrix = left.new_empty(len(left), len(right))
    step = max(1, GRAM_ENTRIES // (len(right) * left.shape[1] * right.shape[1]))
    for begin in range(0, len(left), step):
        part, rest = slice(begin, begin + step), slice(begin if others is None else 0, None)
        with torch.no_grad():
            d = elastic_distance(
                left[part, None],
                right[rest],
                slopes,
                smoothing=smoothing,
                cells0=left_cells[part, None],
                cells1=right_cells[rest],
            )
        values = (-d.square() / (2 * smoothing)).exp()
        matrix[part, rest] = values
        if others is None:
            matrix[rest, part] = values.mT
    return matrix.cpu().numpy()
