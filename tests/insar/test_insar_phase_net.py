"""The network of phases: equivariant by construction whatever its weights, calibrated by counting, local."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from manifoldnet.insar.calibration import GROUPS, KINDS, KNOTS, LEVELS, Calibration
from manifoldnet.insar.model import surroundings
from manifoldnet.insar.moduli import coherence_around, relative_modulus
from manifoldnet.insar.phase_net import Observed, PhaseNet, angle


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def observed(side=48, seed=0, dtype=torch.float64, height=None):
    shape = 2, height or side, side
    phase, coherence, modulus = torch.rand(3, *shape, dtype=dtype, generator=rng(seed)).unbind(0)
    there = torch.rand(*shape, generator=rng(seed + 1)) > 0.1
    phasor = torch.polar(there.to(dtype), 3 * phase + torch.linspace(0, 9, side, dtype=dtype))
    return Observed(phasor, coherence * there, 0.5 + modulus, torch.full_like(coherence, 0.25))


@pytest.fixture(scope="module")
def net():
    """With large random weights everywhere, so that nothing is near the identity."""
    net = PhaseNet(((4, 6), (4,)), generator=rng()).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, dtype=p.dtype, generator=rng(p.numel())))
    return net


@torch.no_grad()
def test_a_common_phase_passes_through(net):
    known, turn = observed(), torch.polar(torch.ones((), dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64))
    for a, b in zip(net(known._replace(phasor=known.phasor * turn)), net(known), strict=True):
        torch.testing.assert_close(a, b * turn, rtol=0, atol=1e-10)


@torch.no_grad()
def test_conjugation_passes_through(net):
    known = observed()
    for a, b in zip(net(known._replace(phasor=known.phasor.conj().resolve_conj())), net(known), strict=True):
        torch.testing.assert_close(a, b.conj().resolve_conj(), rtol=0, atol=1e-10)


@torch.no_grad()
def test_nothing_comes_from_beyond_the_margin(net):
    side = 2 * net.margin + 2 * net.factor
    known = observed(height=side)
    other = observed(height=side, seed=9)
    row = net.margin + net.factor
    mixed = Observed(*(torch.cat([a[:, :row], b[:, row:]], 1) for a, b in zip(known, other, strict=True)))
    same, last = net(mixed)[-1], net(known)[-1]
    assert torch.equal(same[:, : row - net.margin], last[:, : row - net.margin])
    assert not torch.equal(same[:, :row], last[:, :row])


@torch.no_grad()
def test_a_cut_leaves_out_what_does_not_matter(net):
    """In corners, at edges and inside, for sizes that are no multiples of the factor; smaller images at every stage."""
    height, width = net.margin + 3 * net.factor, net.margin + 8 * net.factor
    known = Observed(*(image[:1] for image in observed(width, height=height)))
    whole = net(known)[-1]
    _, frames = net.last(known, (slice(0, height), slice(0, width)))
    sizes = []
    hooks = [stage.register_forward_hook(lambda m, i, out: sizes.append(out[0].numel())) for stage in net.stages]
    corner, edge, inside = ((0, 33), (16, 48)), ((height - 48, height), (0, 50)), ((32, 40), (112, 121))
    for rows, columns in (corner, edge, inside):
        cut = slice(*rows), slice(*columns)
        part, frame = net.last(known, cut)
        torch.testing.assert_close(part, whole[(..., *cut)], rtol=0, atol=1e-10)
        torch.testing.assert_close(frame, frames[(..., *cut)], rtol=0, atol=1e-10)
    for hook in hooks:
        hook.remove()
    assert sizes[0] > sizes[1]


def test_every_parameter_gets_a_gradient(net):
    outputs = net(observed(32))
    sum((z - 1).abs().square().mean() for z in outputs).backward()
    for name, p in net.named_parameters():
        assert p.grad.isfinite().all(), name
        assert p.grad.abs().max() > 0, name
    net.zero_grad()


def test_angles_have_bounded_gradients():
    z = torch.tensor([0j, 1e-9j, 0.01 + 0.01j, 2 - 1j], dtype=torch.complex128, requires_grad=True)
    out = angle(z)
    torch.testing.assert_close(out, torch.atan2(z.imag, z.real))
    out.sum().backward()
    assert z.grad.abs().max() <= 10
    torch.testing.assert_close(z.grad[3], torch.tensor((1 + 2j) / 5, dtype=torch.complex128))


def test_calibration_counts_errors():
    """Normal errors whose spread depends on both moduli: the widths are the spread and 1.96 times that."""

    def spread(modulus, around):
        return 0.1 + 0.5 * (1 - modulus) + 0.4 * (1 - around) ** 2

    modulus, around = torch.rand(2, 1_000_000, generator=rng()).unbind(0)
    calibration = Calibration()
    uniform = math.pi * torch.tensor(LEVELS)[:, None, None].expand(2, 3, 4)
    torch.testing.assert_close(calibration(*torch.rand(2, 3, 4, generator=rng(2))), uniform)
    calibration.fit(modulus, around, spread(modulus, around) * torch.randn(1_000_000, generator=rng(1)), 2)
    own, others = torch.meshgrid(torch.linspace(0.05, 0.95, 10), torch.linspace(0.1, 0.9, 7), indexing="ij")
    one, two = calibration(own, others, 2)
    torch.testing.assert_close(one, spread(own, others), rtol=0.06, atol=0)
    torch.testing.assert_close(two, 1.96 * spread(own, others), rtol=0.06, atol=0)
    assert (calibration.widths.diff(dim=-1) <= 0).all()
    assert calibration.modulus.shape == (KINDS, GROUPS, KNOTS)
    for kind in (0, 1, 3):  # of which nothing was measured
        assert (calibration(own, others, kind) == uniform[:, :1, :1]).all()


def test_calibration_goes_on_beyond_what_it_saw():
    """Moduli beyond the knots have the widths of the last, whatever the group; widths have no steps between."""
    calibration = Calibration()
    modulus, around = torch.rand(2, 100_000, generator=rng()).unbind(0)
    calibration.fit(modulus, around, 2 - modulus - around)
    corners = calibration(torch.tensor([-9.0, -9.0, 9.0, 9.0]), torch.tensor([-9.0, 9.0, -9.0, 9.0]))
    last = calibration.widths[0][:, [0, -1]][..., [0, -1]]
    torch.testing.assert_close(corners, torch.stack([last[:, 0, 0], last[:, 1, 0], last[:, 0, 1], last[:, 1, 1]], 1))
    along = torch.linspace(0, 1, 20_001)
    for line in (calibration(along, 0 * along + 0.3), calibration(0 * along + 0.7, along)):
        assert line.diff(dim=1).abs().max() < 1e-3


def test_surroundings_are_scipys_means_of_what_is_there():
    modulus, there = torch.rand(2, 40, 53, dtype=torch.float64, generator=rng()), torch.ones(2, 40, 53, dtype=bool)
    there[0, 3:9, 4:20] = False
    there[1, :, :] = False
    parts = [uniform_filter(x.numpy(), 31, mode="constant") for x in (modulus[0] * there[0], there[0].double())]
    np.testing.assert_allclose(surroundings(modulus, there)[0], parts[0] / parts[1], rtol=1e-10)
    assert (surroundings(modulus, there)[1] == 0).all()


def test_moduli_and_coherence_are_scipys_means():
    z = torch.randn(1, 20, 23, dtype=torch.complex128, generator=rng())
    z[0, 3:6, 4:9] = 0
    size = np.abs(z[0].numpy())
    means = [uniform_filter(part, 9, mode="constant") for part in (size, (size > 0).astype(float))]
    wanted = np.where(size > 0, size * means[1] / means[0], 1.0)
    np.testing.assert_allclose(relative_modulus(z.abs())[0], wanted, rtol=1e-10)
    parts = [uniform_filter(part, 5, mode="constant") for part in (z[0].real.numpy(), z[0].imag.numpy(), size)]
    found = coherence_around(z, z.abs(), 5)[0]
    np.testing.assert_allclose(found, np.hypot(*parts[:2]) / parts[2], rtol=1e-10)
