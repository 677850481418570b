import itertools
import math

import numpy as np
import pytest
import torch

from manifoldnet.manifolds import Circle
from manifoldnet.nn import CircleAutoencoder, CircleBlock, CircleConv2d
from manifoldnet.nn.circle import double, halve


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def phasors(*shape, dtype=torch.complex128, seed=1):
    """Angles with confidences between 0 and 1, some of them exactly 0."""
    angle = 2 * math.pi * torch.rand(shape, generator=rng(seed), dtype=torch.float64)
    modulus = torch.rand(shape, generator=rng(seed + 100), dtype=torch.float64)
    return torch.polar(torch.where(modulus < 0.1, torch.zeros_like(modulus), modulus), angle).to(dtype)


LAYERS = {
    "conv": (lambda: CircleConv2d(2, 3, 5, rng()), 1),
    "conv 1": (lambda: CircleConv2d(2, 3, 1, rng()), 1),
    "block": (lambda: CircleBlock(2, rng()), 1),
    "autoencoder": (lambda: CircleAutoencoder(2, (4, 6, 8), 1, 5, rng()), 4),
    "shallow": (lambda: CircleAutoencoder(2, (4,), 2, 3, rng()), 1),
    "default": (lambda: CircleAutoencoder(generator=rng()), 4),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.complex64, 1e-6), (torch.complex128, 1e-12)])
def test_a_rotation_of_all_phases_goes_through(name, dtype, tolerance):
    make, _ = LAYERS[name]
    layer = make() if dtype is torch.complex64 else make().double()
    z = phasors(2, 2, 16, 24, dtype=dtype)
    out = layer(z)
    for angle in (0.3, math.pi / 2, 3.0):
        turn = torch.tensor(complex(math.cos(angle), math.sin(angle)), dtype=dtype)
        assert (layer(turn * z) - turn * out).abs().max() < tolerance * max(1, out.abs().max().item())


@pytest.mark.parametrize("name", LAYERS)
def test_sizes_are_kept(name):
    make, factor = LAYERS[name]
    layer = make()
    for height, width in ((8, 12), (4, 4), (20, 8)):
        out = layer(phasors(3, 2, height, width, dtype=torch.complex64))
        assert out.shape[-2:] == (height, width)
        assert out.shape[0] == 3
        assert out.isfinite().all()
    if isinstance(layer, CircleAutoencoder):
        assert layer.factor == factor
        assert out.shape[1] == 1


def test_convolution_is_the_sum_of_rotated_neighbours():
    layer = CircleConv2d(2, 3, 3, rng()).double()
    z = phasors(1, 2, 5, 6)
    padded = np.pad(z[0].numpy(), ((0, 0), (1, 1), (1, 1)))
    kernel = (layer.weight * torch.polar(torch.ones_like(layer.angle), layer.angle.detach())).detach().numpy()
    out = layer(z)[0].detach().numpy()
    for channel, row, column in itertools.product(range(3), range(5), range(6)):
        wanted = (kernel[channel] * padded[:, row : row + 3, column : column + 3]).sum()
        assert abs(out[channel, row, column] - wanted) < 1e-14


def test_angles_are_parameters_on_the_circle():
    layer = CircleConv2d(2, 3, 3, rng())
    assert isinstance(layer.angle.manifold, Circle)
    assert layer.angle.manifold.check_point_on_manifold(layer.angle.detach())
    with pytest.raises(ValueError, match=r"size: .*got 4"):
        CircleConv2d(1, 1, 4)


def test_gain_is_the_size_of_the_output():
    layer = CircleConv2d(8, 64, 5, rng(), gain=0.7)
    unit = phasors(4, 8, 20, 20, dtype=torch.complex64)
    unit = torch.polar(torch.ones_like(unit.real), unit.angle())
    inside = layer(unit)[..., 2:-2, 2:-2]
    assert inside.abs().square().mean().sqrt().item() == pytest.approx(0.7, rel=0.1)


def test_halving_is_the_mean_of_four_and_doubling_repeats():
    z = phasors(2, 3, 6, 8)
    assert torch.allclose(halve(z)[..., 1, 2], z[..., 2:4, 4:6].mean((-2, -1)), rtol=0, atol=1e-15)
    assert torch.equal(halve(double(z)), z)
    assert torch.equal(double(z)[..., 5, 7], z[..., 2, 3])


def reach_of(model, side):
    """Largest distance (rows or columns) from an output pixel to an input pixel that its gradient sees."""
    z = phasors(1, 2, side, side).requires_grad_()
    out = model(z)
    middle, far = side // 2, 0
    for row, column in itertools.product(range(middle, middle + model.factor), repeat=2):
        (gradient,) = torch.autograd.grad(out[0, 0, row, column].abs(), z, retain_graph=True)
        seen = gradient[0].abs().sum(0) > 0
        rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
        far = max(far, (rows - row).abs().max().item(), (columns - column).abs().max().item())
    return far


@pytest.mark.parametrize(
    ("channels", "blocks", "size"), [((2,), 1, 3), ((2, 2), 1, 5), ((2, 3, 2), 1, 7), ((2, 2), 2, 3)]
)
def test_nothing_outside_the_margin_reaches_a_pixel(channels, blocks, size):
    model = CircleAutoencoder(2, channels, blocks, size, rng()).double()
    side = 2 * model.margin + 2 * model.factor
    side += -side % model.factor
    reach = reach_of(model, side)
    assert reach <= model.margin
    assert reach > model.margin - 3 * model.factor  # nor is the margin much larger than it need be
    assert model.margin % model.factor == 0


def test_tiles_with_a_margin_give_the_whole_image():
    model = CircleAutoencoder(2, (2, 3, 2), 1, 5, rng()).double()
    m, f = model.margin, model.factor
    z = phasors(1, 2, 2 * m + 6 * f, 2 * m + 4 * f)
    whole = model(z)
    for top, left in ((f, 0), (3 * f, 2 * f)):
        tile = model(z[..., top : top + 2 * m + 2 * f, left : left + 2 * m + f])
        wanted = whole[..., top + m : top + m + 2 * f, left + m : left + m + f]
        assert (tile[..., m:-m, m:-m] - wanted).abs().max() < 1e-13


def test_an_empty_image_has_finite_values_and_gradients():
    model = CircleAutoencoder(2, (4, 4), 1, 3, rng())
    z = torch.zeros(1, 2, 8, 8, dtype=torch.complex64).requires_grad_()
    out = model(z)
    assert torch.equal(out, torch.zeros_like(out))
    (out - 1).abs().square().sum().backward()
    assert torch.view_as_real(z.grad).isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", LAYERS)
def test_a_generator_decides_the_parameters(name):
    make, _ = LAYERS[name]
    for p, q in zip(make().parameters(), make().parameters(), strict=True):
        assert torch.equal(p, q)


def test_layers_match_differences():
    layer = CircleBlock(1, rng()).double()
    z = torch.view_as_real(phasors(1, 1, 3, 3) + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: torch.view_as_real(layer(torch.view_as_complex(z))), z)
