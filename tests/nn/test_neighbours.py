"""Neighbours: where offsets lead, by numpy's loops."""

import numpy as np
import pytest
import torch

from manifoldnet.nn.neighbours import Chosen, Everywhere, neighbourhood, shifted


@pytest.mark.parametrize(("radius2", "count"), [(0, 1), (1, 7), (2, 19), (3, 27), (4, 33), (5, 57)])
def test_neighbourhoods_are_balls(radius2, count):
    offsets = neighbourhood(radius2)
    assert len(offsets) == len(set(offsets)) == count
    assert offsets[0] == (0, 0, 0)
    lengths = [sum(i * i for i in o) for o in offsets]
    assert lengths == sorted(lengths)
    assert max(lengths) <= radius2
    assert {tuple(-i for i in o) for o in offsets} == set(offsets)


@pytest.mark.parametrize("offset", [*neighbourhood(5), (0, 0, 4), (-5, 0, 0)])
def test_shifting_is_numpys_with_zeros(offset):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6))
    wanted = np.zeros_like(x)
    for place in np.ndindex(4, 5, 6):
        near = tuple(p + o for p, o in zip(place, offset, strict=True))
        if all(0 <= n < side for n, side in zip(near, (4, 5, 6), strict=True)):
            wanted[(..., *place)] = x[(..., *near)]
    found = shifted(torch.tensor(x), [(1, 0, 0), offset])
    assert np.array_equal(found[1].numpy(), wanted)


@pytest.mark.parametrize("batch", [1, 3])
def test_chosen_voxels_have_the_neighbours_that_all_have(batch):
    """On the border, where what is outside is in no mask, too."""
    rng, offsets, size = np.random.default_rng(1), neighbourhood(5), (4, 5, 3)
    x = torch.from_numpy(rng.normal(size=(batch, 2, *size)))
    mask = torch.from_numpy(rng.random((batch, 1, *size)) < 0.7)
    places = rng.permutation(batch * 60)[:25]
    chosen, every = Chosen(torch.from_numpy(places), (batch, *size), offsets), Everywhere(offsets)

    def at(volume):
        return volume.movedim(1, 0).flatten(1)[:, places].numpy()

    np.testing.assert_array_equal(chosen.own(x)[0, :, :, 0, 0].numpy(), at(x))
    known = zip(chosen.near(x), every.near(x), chosen.inside(mask), every.inside(mask), strict=True)
    for found, wanted, inside, there in known:
        np.testing.assert_array_equal(inside[0, :, :, 0, 0].numpy(), at(there))
        np.testing.assert_array_equal(found[0, :, :, 0, 0].numpy() * at(there), at(wanted) * at(there))
    assert not all(mask.flatten()[places].tolist())
