"""Actions on curves: velocities and attitudes stay those of one movement."""

import torch

from manifoldnet.activity.curve_actions import acted_on, mirrored, remounted, warped
from manifoldnet.activity.lie_network import Curves
from manifoldnet.manifolds import SO3


def curves(n=3, t=40, k=2, seed=0):
    """Attitudes that follow velocities in rad a cell, R_{i+1} = R_i exp(v_i)."""
    g = torch.Generator().manual_seed(seed)
    u = torch.arange(t, dtype=torch.float64)[:, None, None] / t
    waves = torch.randn(n, 1, k, 3, generator=g, dtype=torch.float64)
    velocity = 0.2 * waves * (2 * torch.pi * u + torch.randn(n, 1, k, 3, generator=g)).cos()
    attitude = [SO3().random(n, k, 3, 3, generator=g, dtype=torch.float64)]
    for i in range(t - 1):
        attitude.append(attitude[-1] @ SO3().exp(velocity[:, i]))
    vector = torch.randn(n, t, 3, generator=g, dtype=torch.float64)
    return Curves(velocity.flatten(-2), vector, torch.stack(attitude, 1))


def steps(c):
    return SO3().log(c.attitude[:, :-1].mT @ c.attitude[:, 1:]).flatten(-2)


EVERY = torch.tensor([True, True, True])


def test_mirror_takes_velocities_and_attitudes_along_and_back():
    c = curves()
    image = mirrored(c, EVERY, torch.tensor([1, 0]))
    torch.testing.assert_close(steps(image), image.velocity[:, :-1])
    assert (image.velocity - c.velocity).abs().max() > 0.1
    for old, new in zip(c, mirrored(image, EVERY, torch.tensor([1, 0])), strict=True):
        torch.testing.assert_close(old, new)


def test_mirror_leaves_those_that_are_not_meant():
    c = curves()
    image = mirrored(c, torch.tensor([True, False, True]))
    assert torch.equal(image.velocity[1], c.velocity[1])
    assert torch.equal(image.attitude[1], c.attitude[1])


def test_remounting_conjugates():
    c = curves()
    Q = SO3().random(3, 3, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    turned = remounted(c, Q)
    torch.testing.assert_close(steps(turned), turned.velocity[:, :-1])
    torch.testing.assert_close(turned.vector, torch.einsum("nij,ntj->nti", Q, c.vector))


def test_warp_by_the_identity_is_none():
    c = curves()
    t = c.velocity.shape[1]
    same = warped(c, torch.arange(t, dtype=torch.float64).expand(3, -1), torch.ones(3, t, dtype=torch.float64))
    for old, new in zip(c, same, strict=True):
        torch.testing.assert_close(old, new)


def test_warp_keeps_the_path():
    """Half of the time at half the speed: every second attitude is one that the curve had."""
    c = curves(t=80)
    place = 19.75 + 0.5 * torch.arange(80, dtype=torch.float64).expand(3, -1)
    slow = warped(c, place, torch.full((3, 80), 0.5, dtype=torch.float64))
    torch.testing.assert_close(slow.attitude[:, ::2], c.attitude[:, 20:60])
    whole = c.attitude[:, 20].mT @ c.attitude[:, 59]
    turned = c.attitude[:, 20]
    for i in range(78):
        turned = turned @ SO3().exp(slow.velocity[:, i].unflatten(-1, (-1, 3)))
    assert SO3().log((c.attitude[:, 20].mT @ turned).mT @ whole).norm(dim=-1).max() < 0.02


def test_random_actions_are_reproducible_and_leave_rotations():
    c = Curves(*(x.float() for x in curves()))
    one, two = (acted_on(c, 0.3, 0.7, 0.5, torch.Generator().manual_seed(4)) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a, b)
    assert (one.attitude.mT @ one.attitude - torch.eye(3)).abs().max() < 1e-5
    assert (one.velocity - c.velocity).abs().max() > 0.01
