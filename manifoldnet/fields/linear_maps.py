"""The linear maps inside fields, dense or convolutional: their adjoints and rigorous bounds of their spectra."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional


class LinearMaps(ABC):
    """Maps x -> A x between features of ``ndim`` dimensions, the first of which are the channels.

    A is a tensor, or a batch of them with one for every sample. What the methods say of spectra is computed in
    float64 and holds without rounding: bounds are never on the wrong side by more than that.
    """

    ndim: int

    @abstractmethod
    def shape(self, out: int, into: int) -> tuple[int, ...]:
        """Shape of A."""

    @abstractmethod
    def apply(self, A: Tensor, x: Tensor) -> Tensor:
        """A x."""

    @abstractmethod
    def transposed(self, A: Tensor) -> Tensor:
        """A', such that <A x, y> = <x, A' y>."""

    @abstractmethod
    def norm(self, A: Tensor) -> Tensor:
        """An upper bound of |A|_2, 0-dimensional; exact for matrices."""

    @abstractmethod
    def least_gram(self, A: Tensor) -> Tensor:
        """A lower bound of the least eigenvalue of A'A; exact for matrices."""

    @abstractmethod
    def greatest_symmetric(self, A: Tensor) -> Tensor:
        """An upper bound of the largest eigenvalue of (A + A') / 2; exact for matrices."""

    def add_bias(self, x: Tensor, b: Tensor) -> Tensor:
        """x + b, b having one entry for every channel."""
        return x + b[(...,) + (None,) * (self.ndim - 1)]

    def adjoint(self, A: Tensor, y: Tensor) -> Tensor:
        """A' y."""
        return self.apply(self.transposed(A), y)


class DenseMaps(LinearMaps):
    """Matrices (out, in)."""

    ndim = 1

    def shape(self, out: int, into: int) -> tuple[int, ...]:
        return out, into

    def apply(self, A: Tensor, x: Tensor) -> Tensor:
        return x @ A.mT if A.dim() == 2 else (A @ x.unsqueeze(-1)).squeeze(-1)

    def transposed(self, A: Tensor) -> Tensor:
        return A.mT

    def norm(self, A: Tensor) -> Tensor:
        return torch.linalg.matrix_norm(A.double(), 2)

    def least_gram(self, A: Tensor) -> Tensor:
        # min(svd) alone would be wrong for a wide A, which has a kernel
        if A.shape[-2] < A.shape[-1]:
            return A.new_zeros(A.shape[:-2], dtype=torch.float64)
        return torch.linalg.svdvals(A.double()).amin(-1).square()

    def greatest_symmetric(self, A: Tensor) -> Tensor:
        return torch.linalg.eigvalsh(0.5 * (A + A.mT).double()).amax(-1)


class ConvolutionMaps(LinearMaps):
    """Convolutions of images (channels, H, W) with odd kernels (out, in, k, k) that keep the image's size.

    The bounds hold for images of every size and both kinds of padding, because the convolution with zeros around is a
    part of the circular one on a larger torus, and that one's symbol K(w) = sum_j K_j exp(i w.j) is a trigonometric
    polynomial. Such a polynomial of degree d in each of two angles is at most its largest value on N x N points over
    cos(pi d / N)^2 (Ehlich and Zeller 1964).

    Raises:
        ValueError: for an even kernel or another kind of padding.
    """

    ndim = 3

    def __init__(self, kernel_size: int = 3, padding: str = "circular", frequencies: int = 64) -> None:
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: wanted an odd number, got {kernel_size}")
        if padding not in ("circular", "zeros"):
            raise ValueError(f"padding: wanted 'circular' or 'zeros', got {padding!r}")
        self.kernel_size = kernel_size
        self.padding = padding
        self.frequencies = max(frequencies, 8 * kernel_size)

    def shape(self, out: int, into: int) -> tuple[int, ...]:
        return out, into, self.kernel_size, self.kernel_size

    def apply(self, A: Tensor, x: Tensor) -> Tensor:
        if A.dim() == 5:
            return torch.vmap(self.apply)(A, x)
        batch = x.shape[:-3]
        x = x.reshape(-1, *x.shape[-3:])
        edge = self.kernel_size // 2
        mode = "circular" if self.padding == "circular" else "constant"
        y = functional.conv2d(functional.pad(x, (edge, edge, edge, edge), mode=mode), A)
        return y.reshape(*batch, *y.shape[-3:])

    def transposed(self, A: Tensor) -> Tensor:
        return A.flip(-2, -1).transpose(-4, -3)

    def symbol(self, A: Tensor, size: tuple[int, int]) -> Tensor:
        """(*size, out, in), complex: the blocks of the circular convolution of images of that size."""
        kernel = A.double().movedim((-4, -3), (-2, -1))
        k = self.kernel_size
        frequencies = [
            torch.polar(torch.ones(n, k, dtype=torch.float64), angle).to(A.device)
            for n in size
            for angle in [2 * math.pi / n * torch.outer(torch.arange(n), torch.arange(k) - k // 2).double()]
        ]
        return torch.einsum("ua,vb,...aboi->...uvoi", *frequencies, kernel.to(torch.complex128))

    def _squares(self, A: Tensor, size: tuple[int, int]) -> Tensor:
        """The squared singular values of the blocks, of half of them: the others are their conjugates.

        Where A is wide, those that are zero for want of rows are left out.
        """
        symbol = self.symbol(A, size)[..., : size[1] // 2 + 1, :, :]
        gram = symbol.mH @ symbol if symbol.shape[-2] >= symbol.shape[-1] else symbol @ symbol.mH
        return torch.linalg.eigvalsh(gram)

    def norm(self, A: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """An upper bound of |A|_2; exact for a circular convolution where the image's size is given."""
        n = self.frequencies
        if size is not None and self.padding == "circular":
            return self._squares(A, size).amax((-3, -2, -1)).clamp_min(0.0).sqrt()
        # |K u|^2 is a polynomial of degree k - 1
        slack = math.cos(math.pi * (self.kernel_size - 1) / n)
        return self._squares(A, (n, n)).amax((-3, -2, -1)).clamp_min(0.0).sqrt() / slack

    def least_gram(self, A: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """A lower bound of the least eigenvalue of A'A, 0 with zeros around; exact as :meth:`norm`."""
        if self.padding == "zeros" or A.shape[-4] < A.shape[-3]:
            return A.new_zeros(A.shape[:-4], dtype=torch.float64)
        if size is not None:
            return self._squares(A, size).amin((-3, -2, -1)).clamp_min(0.0)
        n = self.frequencies
        squares = self._squares(A, (n, n))
        top = self.norm(A).square()
        slack = math.cos(math.pi * (self.kernel_size - 1) / n) ** 2
        # top - |K u|^2 >= 0 is a polynomial too
        return (top - (top - squares.amin((-3, -2, -1))) / slack).clamp_min(0.0)

    def greatest_symmetric(self, A: Tensor) -> Tensor:
        n = self.frequencies
        symbol = self.symbol(A, (n, n))[..., : n // 2 + 1, :, :]
        values = torch.linalg.eigvalsh(0.5 * (symbol + symbol.mH)).amax((-3, -2, -1))
        shift = self.norm(A)
        slack = math.cos(math.pi * (self.kernel_size // 2) / n) ** 2
        return (values + shift) / slack - shift
