"""The truncated tensor algebra in which signatures live: product, quotient, exponential, logarithm, Lyndon words.

An element of depth N over R^dim is stored flat, (..., dim + dim^2 + ... + dim^N): the coefficients of all words of
length 1, then of length 2, and so on, each length in lexicographic order. The coefficient of the empty word is not
stored. It is 1 for signatures (s, t below) and 0 for their logarithms (x).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from manifoldnet.errors import InputError


def signature_dim(dim: int, depth: int) -> int:
    """Number of words of length 1 to ``depth`` over ``dim`` letters: dim + dim^2 + ... + dim^depth.

    Raises:
        InputError: dim or depth is below 1.
    """
    _check_size(dim, depth)
    return sum(dim**k for k in range(1, depth + 1))


def logsignature_dim(dim: int, depth: int) -> int:
    """Number of Lyndon words of length 1 to ``depth``, the dimension of the free nilpotent Lie algebra.

    There are n_k of length k, with the sum of r n_r over the divisors r of k equal to dim^k (Witt 1937).

    Raises:
        InputError: dim or depth is below 1.
    """
    _check_size(dim, depth)
    counts: list[int] = []
    for k in range(1, depth + 1):
        shorter = sum(r * counts[r - 1] for r in range(1, k) if k % r == 0)
        counts.append((dim**k - shorter) // k)
    return sum(counts)


def levels(s: Float[Tensor, "*batch words"], dim: int) -> list[Tensor]:
    """The levels of s: for k = 1 to depth the coefficients (..., dim^k) of the words of length k, as views.

    Raises:
        InputError: the last dimension is not dim + dim^2 + ... + dim^depth for a depth >= 1.
    """
    return _levels(s, "s", dim)


def tensor_product(
    s: Float[Tensor, "*left words"], t: Float[Tensor, "*right _words"], dim: int
) -> Float[Tensor, "..."]:
    """The product s ⊗ t of elements with scalar term 1; leading dimensions broadcast.

    By Chen's identity (1954) the signature of a path followed by another is the product of theirs.

    Raises:
        InputError: as :func:`levels`, or s and t differ in depth.
    """
    left, right = _level_pairs(s, t, dim)
    return torch.cat([_add_products(left[k] + right[k], left, right, k) for k in range(len(left))], -1)


def tensor_quotient(
    s: Float[Tensor, "*left words"], t: Float[Tensor, "*right _words"], dim: int
) -> Float[Tensor, "..."]:
    """s^-1 ⊗ t for elements with scalar term 1: exactly 0 where s = t; leading dimensions broadcast.

    Solves s ⊗ g = t level by level, so that only differences of s and t enter and the levels of g are small where
    s is close to t; the product of an inverse with t would leave the rounding of s.

    Raises:
        InputError: as :func:`levels`, or s and t differ in depth.
    """
    left, right = _level_pairs(s, t, dim)
    g: list[Tensor] = []
    for k in range(len(left)):
        g.append(_add_products(right[k] - left[k], left, g, k, sign=-1))
    return torch.cat(g, -1)


def tensor_inverse(s: Float[Tensor, "*batch words"], dim: int) -> Float[Tensor, "*batch words"]:
    """The inverse of an element with scalar term 1, which need not be a signature.

    The inverse of a signature is that of the path run backwards, and has for the word i_1 ... i_k the coefficient
    (-1)^k of the reversed word i_k ... i_1 (the antipode; Reutenauer 1993).

    Raises:
        InputError: as :func:`levels`.
    """
    return tensor_quotient(s, torch.zeros_like(s), dim)


def tensor_exp(x: Float[Tensor, "*batch words"], dim: int) -> Float[Tensor, "*batch words"]:
    """exp(x) = 1 + x + x^2/2! + ..., without its scalar term 1, of an element x with scalar term 0.

    Raises:
        InputError: as :func:`levels`.
    """
    parts = _levels(x, "x", dim)
    return _power_series(parts, [1 / math.factorial(m) for m in range(1, len(parts) + 1)])


def tensor_log(s: Float[Tensor, "*batch words"], dim: int) -> Float[Tensor, "*batch words"]:
    """log(1 + s) = s - s^2/2 + s^3/3 - ..., for s stored without its scalar term 1; inverse of :func:`tensor_exp`.

    Raises:
        InputError: as :func:`levels`.
    """
    parts = _levels(s, "s", dim)
    return _power_series(parts, [-((-1) ** m) / m for m in range(1, len(parts) + 1)])


def lyndon_coordinates(x: Float[Tensor, "*batch words"], dim: int) -> Float[Tensor, "*batch lyndon"]:
    """The coefficients of the Lyndon words, which determine x if it is a Lie element, as log-signatures are.

    A Lyndon word comes strictly before all its rotations. The matrix from the Lyndon basis of the free Lie algebra
    to these coefficients is triangular with ones on the diagonal (Reutenauer 1993, chapter 5).

    Returns:
        (..., logsignature_dim(dim, depth)), by length, then in lexicographic order.

    Raises:
        InputError: as :func:`levels`.
    """
    return x.index_select(-1, _lyndon_index(dim, len(_levels(x, "x", dim)), x.device))


@torch.compiler.assume_constant_result
def _lyndon_index(dim: int, depth: int, device: torch.device) -> Int[Tensor, " lyndon"]:
    return torch.from_numpy(_lyndon_positions(dim, depth)).to(device)


@lru_cache(maxsize=64)
def _lyndon_positions(dim: int, depth: int) -> np.ndarray:
    """Positions of the Lyndon words among all words, in the order of :func:`levels`."""
    positions, start = [], 0
    for k in range(1, depth + 1):
        words = np.arange(dim**k)  # a word as a number with k digits, so that lexicographic order is that of numbers
        rotations = (words % dim ** (k - r) * dim**r + words // dim ** (k - r) for r in range(1, k))
        first = np.ones(len(words), dtype=bool)
        for rotation in rotations:
            first &= words < rotation
        positions.append(start + np.flatnonzero(first))
        start += len(words)
    return np.concatenate(positions)


def _level_pairs(s: Tensor, t: Tensor, dim: int) -> tuple[list[Tensor], list[Tensor]]:
    if s.shape[-1] != t.shape[-1]:
        raise InputError(f"t: wanted the {s.shape[-1]} coefficients of s, got {t.shape[-1]}")
    return _levels(s, "s", dim), _levels(t, "t", dim)


def _levels(s: Tensor, name: str, dim: int) -> list[Tensor]:
    _check_size(dim, 1)
    sizes = [dim]
    while sum(sizes) < s.shape[-1]:
        sizes.append(dim * sizes[-1])
    if sum(sizes) != s.shape[-1]:
        raise InputError(
            f"{name}: wanted dim + dim^2 + ... + dim^depth coefficients with dim = {dim}, got {s.shape[-1]}"
        )
    return list(s.split(sizes, -1))


def _add_products(total: Tensor, left: Sequence[Tensor], right: Sequence[Tensor], k: int, sign: int = 1) -> Tensor:
    """total + sign * sum of left[i] ⊗ right[k-1-i] over i < k: all ways to cut a word of length k + 1 in two."""
    for i in range(k):
        a, b = left[i], right[k - 1 - i]
        cut = total.unflatten(-1, (a.shape[-1], b.shape[-1]))
        total = torch.addcmul(cut, a.unsqueeze(-1), b.unsqueeze(-2), value=sign).flatten(-2)
    return total


def _power_series(x: Sequence[Tensor], coefficients: Sequence[float]) -> Tensor:
    """sum of coefficients[m-1] x^m over m = 1 to depth, by Horner's rule x (c_1 + x (c_2 + ...))."""
    value: list[Tensor] = []
    for kept, c in enumerate(reversed(coefficients), 1):
        # what is still to be multiplied by x depth - kept times matters up to level ``kept`` only
        value = [_add_products(c * x[k], x, value, k) for k in range(kept)]
    return torch.cat(value, -1)


def _check_size(dim: int, depth: int) -> None:
    if dim < 1:
        raise InputError(f"dim: wanted a number of letters >= 1, got {dim}")
    if depth < 1:
        raise InputError(f"depth: wanted a number of levels >= 1, got {depth}")
