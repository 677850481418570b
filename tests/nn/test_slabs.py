"""Functions of volumes, slab by slab."""

import pytest
import torch

from manifoldnet.nn import slabs
from manifoldnet.nn.isotropic import IsotropicConv3d


@pytest.mark.parametrize(
    ("size", "piece", "count"), [((23, 6, 5), 60, 11), ((2, 3, 4), 60, 1), ((9, 40, 1), 40, 9), ((7, 3, 1), 1, 3)]
)
def test_slabs_are_the_whole(size, piece, count, monkeypatch):
    monkeypatch.setattr(slabs, "PIECE", piece)
    monkeypatch.setattr(slabs, "SIDES", 6)
    layer = IsotropicConv3d(2, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    x, calls = torch.randn(2, 2, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), []

    def function(part):
        calls.append(part.shape[2] * part.shape[3])
        return layer(part)

    torch.testing.assert_close(slabs.slabwise(function, x, 2), layer(x), rtol=1e-12, atol=1e-12)
    assert len(calls) == count
    assert min(calls) >= min(6, size[0] * size[1])
    if count > 1:  # the test could tell
        assert not torch.allclose(slabs.slabwise(function, x, 1), layer(x))
