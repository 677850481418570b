"""The bounds of spectra against the convolutions' matrices."""

import numpy as np
import pytest
import torch

from manifoldnet.certificates import operator_norm
from manifoldnet.fields import ConvolutionMaps, DenseMaps

F64 = torch.float64


def matrix_of(linear, shape):
    """The matrix of a linear map, column by column."""
    size = torch.Size(shape).numel()
    return linear(torch.eye(size, dtype=F64).reshape(size, *shape)).reshape(size, -1).T


def kernel(out, into, k, seed=0):
    return torch.randn(out, into, k, k, dtype=F64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("padding", ["circular", "zeros"])
@pytest.mark.parametrize(("out", "into", "k"), [(2, 2, 3), (3, 2, 3), (2, 3, 5), (1, 1, 1)])
def test_the_transposed_convolution_is_the_transposed_matrix(padding, out, into, k):
    maps, A = ConvolutionMaps(k, padding), kernel(out, into, k)
    there = matrix_of(lambda x: maps.apply(A, x), (into, 6, 7))
    back = matrix_of(lambda x: maps.adjoint(A, x), (out, 6, 7))
    assert (there.T - back).abs().max() < 1e-14


@pytest.mark.parametrize("padding", ["circular", "zeros"])
@pytest.mark.parametrize(("out", "into", "k"), [(2, 2, 3), (3, 2, 3), (2, 3, 5), (1, 1, 3)])
def test_bounds_hold_for_images_of_every_size_and_are_close(padding, out, into, k):
    """Within 2.5 % of the supremum over all frequencies; for circular ones exact where the size is given."""
    maps, A = ConvolutionMaps(k, padding), kernel(out, into, k)
    for size in ((5, 5), (8, 6), (13, 13)):
        matrix = matrix_of(lambda x: maps.apply(A, x), (into, *size))
        singular = torch.linalg.svdvals(matrix)
        assert singular[0] <= maps.norm(A) * (1 + 1e-12)
        least = singular[-1].square() if out >= into else 0.0
        assert maps.least_gram(A) <= least + 1e-10
        if padding == "circular":
            assert abs(maps.norm(A, size) - singular[0]) < 1e-12 * singular[0]
            assert abs(maps.least_gram(A, size) - least) < 1e-10 * singular[0].square()
        if out == into:
            top = torch.linalg.eigvalsh(0.5 * (matrix + matrix.T))[-1]
            assert top <= maps.greatest_symmetric(A) + 1e-10
            if size == (13, 13):
                assert maps.greatest_symmetric(A) < top + 0.1 * singular[0]
    supremum = np.linalg.norm(np.fft.fft2(A.numpy(), (256, 256)).transpose(2, 3, 0, 1), 2, axis=(-2, -1)).max()
    assert supremum <= maps.norm(A) <= 1.025 * supremum


def test_bounds_of_matrices_are_exact():
    maps, A = DenseMaps(), torch.randn(4, 3, dtype=F64, generator=torch.Generator().manual_seed(1))
    assert abs(maps.norm(A) - torch.linalg.svdvals(A)[0]) < 1e-14
    assert abs(maps.least_gram(A) - torch.linalg.eigvalsh(A.T @ A)[0]) < 1e-14
    assert maps.least_gram(A.T) == 0  # a wide matrix has a kernel, whatever its singular values


@pytest.mark.parametrize(
    "layer",
    [
        torch.nn.Conv2d(2, 3, 3, padding=1),
        torch.nn.Conv2d(2, 3, 3, padding=1, stride=2),
        torch.nn.Conv2d(2, 4, 3, padding=2, groups=2),
        torch.nn.Conv2d(2, 3, (3, 5)),
        torch.nn.Conv2d(2, 3, 3, padding=2, dilation=2),
        torch.nn.Conv2d(2, 3, 3, padding="same", padding_mode="circular"),
    ],
    ids=str,
)
def test_the_norm_of_torchs_convolutions_lies_between_its_bounds(layer):
    weight = layer.weight.detach().double()
    matrix = matrix_of(lambda x: layer._conv_forward(x, weight, None), (2, 9, 9))
    exact = torch.linalg.svdvals(matrix)[0].item()
    lower, upper = operator_norm(layer, (2, 9, 9))
    assert lower <= exact * (1 + 1e-12)
    assert lower >= 0.999 * exact
    assert upper >= exact * (1 - 1e-12)


def test_what_has_no_bound_is_refused():
    with pytest.raises(ValueError, match="padding_mode='reflect'"):
        operator_norm(torch.nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), (2, 8, 8))
    with pytest.raises(ValueError, match="shape: wanted"):
        operator_norm(torch.nn.Conv2d(2, 2, 3))
    with pytest.raises(ValueError, match="got BatchNorm2d"):
        operator_norm(torch.nn.BatchNorm2d(2))
    with pytest.raises(ValueError, match="kernel_size: wanted an odd number, got 4"):
        ConvolutionMaps(4)
    with pytest.raises(ValueError, match=r"padding: .*'reflect'"):
        ConvolutionMaps(3, "reflect")
