import pytest
import torch

from manifoldnet import Euclidean

F64 = torch.float64


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_points_may_be_arrays(ndim):
    space = Euclidean(ndim)
    x, y = torch.randn(2, 5, *(2, 3, 4)[:ndim], dtype=F64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(space.dist(x, y), (x - y).flatten(1).norm(dim=1), rtol=1e-12, atol=1e-12)
    assert torch.equal(space.expmap(x, y), x + y)
    assert torch.equal(space.logmap(x, y), y - x)
    assert torch.allclose(space.frechet_mean(torch.stack([x, y], 1)), (x + y) / 2, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_generator_is_the_tangent_vector(ndim):
    space = Euclidean(ndim)
    x, u = torch.randn(2, 5, *(2, 3, 4)[:ndim], dtype=F64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(space.lift(x, u), u)
    assert torch.equal(space.action.tangent(u, x), u)
    assert torch.equal(space.action.act_exp(u, x), u + x)
    assert torch.equal(space.dexpinv(u, x), x)
    assert torch.equal(space.dexpinv(u, x, 3), x)


def test_sizes_are_checked_where_they_are_known():
    assert Euclidean(1).check_point(torch.zeros(7))
    assert not Euclidean(2).check_point(torch.zeros(7))
    assert not Euclidean(1, shape=(3,)).check_point(torch.zeros(7))
    assert Euclidean(2, shape=(3, 4)).dim == 12
    with pytest.raises(ValueError, match="shape"):
        Euclidean(2, shape=(3,))
    with pytest.raises(ValueError, match="identity"):
        Euclidean(1).identity()
