"""Layers for curves on SO(3)^k: on the manifold, equivariant, and equal to what scipy computes."""

import numpy as np
import torch
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from manifoldnet.activity.rotation_layers import CurveFlow, LearnedClock, RotationMap, RotationPool
from manifoldnet.linalg import hat
from manifoldnet.manifolds import SO3
from manifoldnet.training import RiemannianAdam


def rotations(*shape, seed=0):
    return SO3().random(*shape, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonality(x):
    return (x.mT @ x - torch.eye(3, dtype=x.dtype)).abs().max()


def test_rotation_map_turns_the_frame_and_leaves_body_velocities():
    layer = RotationMap(3, 2, generator=torch.Generator().manual_seed(1)).double()
    x = rotations(4, 7, 2)
    y = layer(x)
    assert y.shape == (4, 7, 6, 3, 3)
    torch.testing.assert_close(y[:, :, 2:4], layer.rotations[1] @ x)
    torch.testing.assert_close(y[:, :, :2], x)  # the first chart starts as it is given
    torch.testing.assert_close(y[:, :-1].mT @ y[:, 1:], (x[:, :-1].mT @ x[:, 1:]).repeat(1, 1, 3, 1, 1))


def test_learned_rotations_stay_rotations():
    layer = RotationMap(2, 1, generator=torch.Generator().manual_seed(1)).double()
    start = layer.rotations.detach().clone()
    optimizer = RiemannianAdam(layer.parameters(), 0.1)
    x = rotations(5, 1)
    for _ in range(5):
        optimizer.zero_grad()
        SO3().log(layer(x)).square().sum().backward()
        optimizer.step()
    assert orthogonality(layer.rotations.detach()) < 1e-12
    assert (layer.rotations - start).abs().max() > 0.05


def test_pooling_keeps_the_widest_turn_of_each_body():
    x = rotations(2, 7, 3)
    pooled = RotationPool(3)(x)
    angle = Rotation.from_matrix(x.numpy().reshape(-1, 3, 3)).magnitude().reshape(2, 7, 3)
    assert pooled.shape == (2, 2, 3, 3, 3)
    for n, t, k in np.ndindex(2, 2, 3):
        best = 3 * t + angle[n, 3 * t : 3 * t + 3, k].argmax()
        assert torch.equal(pooled[n, t, k], x[n, best, k])


def test_flow_of_a_constant_generator_is_its_exponential():
    flow = CurveFlow(2, 3).double()
    torch.nn.init.zeros_(flow.generator.weight)
    torch.nn.init.normal_(flow.generator.bias, generator=torch.Generator().manual_seed(2))
    x = rotations(2, 5, 2)
    moved = flow(x, torch.randn(2, 3, 5, dtype=torch.float64))
    v = flow.generator.bias.detach().tanh().view(2, 3)
    wanted = torch.from_numpy(np.stack([expm(hat(u).numpy()) for u in v])) @ x
    torch.testing.assert_close(moved, wanted)


def test_flow_keeps_curves_on_the_group():
    flow = CurveFlow(2, 3, steps=2).double()
    moved = flow(rotations(2, 9, 2), torch.randn(2, 3, 9, dtype=torch.float64))
    assert orthogonality(moved) < 1e-12


def smooth(cells, seed=0):
    """Square-root velocities of a smooth curve, (1, cells, 3)."""
    u = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    phases = torch.rand(3, generator=torch.Generator().manual_seed(seed)) * 6
    return ((2 * torch.pi * u[:, None] + phases).sin() + 1.5)[None] / cells**0.5


def test_clock_acts_by_an_isometry_up_to_the_sampling():
    clock = LearnedClock().double()
    torch.nn.init.normal_(clock.increments[-1].weight, std=0.3, generator=torch.Generator().manual_seed(3))
    defects = []
    for cells in (64, 256):
        q = smooth(cells)
        warped = clock(q).detach()
        assert (warped - q).abs().max() > 0.02 * q.abs().max()
        defects.append(float((warped.square().sum() / q.square().sum() - 1).abs()))
    assert defects[1] < 0.03 > defects[0]


def test_clock_that_has_nothing_to_say_is_the_identity():
    clock = LearnedClock().double()
    torch.nn.init.zeros_(clock.increments[-1].weight)
    torch.nn.init.zeros_(clock.increments[-1].bias)
    q = smooth(40)
    torch.testing.assert_close(clock(q), q)


def test_clock_has_finite_gradients_at_rest():
    q = torch.zeros(2, 16, 3, requires_grad=True)
    LearnedClock()(q).square().sum().backward()
    assert q.grad.isfinite().all()
