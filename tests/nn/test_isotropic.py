"""Convolutions that treat all axes alike: the symmetry, and the kernel written out."""

import itertools

import pytest
import torch

from manifoldnet.nn.isotropic import IsotropicConv3d

F64 = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dilation", [1, 2])
def test_it_commutes_with_the_cube_group(dilation):
    layer = IsotropicConv3d(3, 4, dilation, generator=rng()).double()
    x = torch.randn(2, 3, 5, 6, 7, generator=rng(1), dtype=F64)
    out = layer(x)
    assert out.shape == (2, 4, 5, 6, 7)
    for axes in itertools.permutations((2, 3, 4)):
        for flips in itertools.product((False, True), repeat=3):
            dims = [axis for axis, flip in zip((2, 3, 4), flips, strict=True) if flip]
            moved = layer(x.permute(0, 1, *axes).flip(dims))
            assert (moved - out.permute(0, 1, *axes).flip(dims)).abs().max() < 1e-12


@pytest.mark.parametrize("dilation", [1, 3])
def test_values_are_sums_over_centre_faces_edges_and_corners(dilation):
    layer = IsotropicConv3d(2, 1, dilation, generator=rng()).double()
    with torch.no_grad():
        layer.bias.fill_(0.5)
    x = torch.randn(1, 2, 9, 9, 9, generator=rng(1), dtype=F64)
    wanted = 0.5
    for offset in itertools.product((-1, 0, 1), repeat=3):
        place = tuple(4 + dilation * o for o in offset)
        wanted = wanted + (layer.weight[0, :, sum(map(abs, offset))] * x[(0, slice(None), *place)]).sum()
    assert torch.allclose(layer(x)[0, 0, 4, 4, 4], wanted, rtol=1e-12)


def test_initial_weights_keep_the_mean_square():
    layer = IsotropicConv3d(64, 64, generator=rng())
    out = layer(torch.randn(1, 64, 12, 12, 12, generator=rng(1)))[..., 1:-1, 1:-1, 1:-1]
    assert 0.7 < out.square().mean() < 1.4
    again = IsotropicConv3d(64, 64, generator=rng())
    assert torch.equal(layer.weight, again.weight)
