"""Networks of even and odd images: conjugation passes through to the bit, and their reach is what they say."""

import pytest
import torch

from manifoldnet.nn.even_odd import EvenOddBlock, EvenOddConv2d, EvenOddUNet, Pair, activated


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pair(even, odd, side=16, dtype=torch.float32):
    shapes = (2, even, side, side), (2, odd, side, side)
    return Pair(*(torch.randn(shape, dtype=dtype, generator=rng(k)) for k, shape in enumerate(shapes)))


def conjugate(x):
    return Pair(x.even, -x.odd)


LAYERS = {
    "convolution": (EvenOddConv2d((3, 2), (5, 4), generator=rng()), (3, 2)),
    "halving": (EvenOddConv2d((3, 2), (5, 4), 2, 2, generator=rng()), (3, 2)),
    "activation": (activated, (3, 3)),
    "block": (EvenOddBlock(4, rng()), (4, 4)),
    "network": (EvenOddUNet((3, 2), (2, 1), (4, 6, 8), generator=rng()), (3, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_conjugation_passes_through(name):
    layer, channels = LAYERS[name]
    x = pair(*channels)
    out, turned = layer(x), layer(conjugate(x))
    assert torch.equal(turned.even, out.even)
    assert torch.equal(turned.odd, -out.odd)
    assert out.odd.abs().max() > 0


def test_even_outputs_see_odd_inputs():
    """They would not in two separate networks."""
    net, x = LAYERS["network"][0], pair(3, 2)
    other = net(Pair(x.even, 2 * x.odd))
    assert (net(x).even - other.even).abs().max() > 1e-3


def test_a_copy_is_activated_by_itself():
    x = pair(3, 3, dtype=torch.float64)
    out = activated(x)
    for sign in (1, -1):
        torch.testing.assert_close(out.even + sign * out.odd, torch.nn.functional.silu(x.even + sign * x.odd))


def test_variance_is_kept():
    out = EvenOddConv2d((40, 30), (50, 50), generator=rng())(pair(40, 30, 32))
    for image in out:
        assert image[..., 1:-1, 1:-1].var().item() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(("channels", "blocks"), [((4,), 1), ((4, 6), 2), ((4, 5, 6), 1)])
def test_outputs_depend_on_nothing_beyond_the_reach(channels, blocks):
    net = EvenOddUNet((1, 1), (1, 1), channels, blocks, rng()).double()
    side = 4 * (2 * net.reach // 4 + 4)
    assert side % net.factor == 0
    x = pair(1, 1, side, torch.float64)
    x.even.requires_grad_()
    middle = side // 2
    net(x).even[0, 0, middle, middle].backward()
    seen = x.even.grad[0, 0].abs().sum(0).nonzero()
    assert middle - int(seen.min()) <= net.reach
    assert int(seen.max()) - middle <= net.reach
    assert int(seen.max()) - int(seen.min()) > net.reach / 2  # the bound is not idle
