import itertools
import math

import pytest
import torch

from manifoldnet import SPD
from manifoldnet.linalg import sym_from_vector, sym_to_vector
from manifoldnet.nn import SPDAutoencoder
from manifoldnet.nn.invariants import INVARIANTS, invariants

F64 = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def small(dtype=F64, radius2=2, trained=True):
    """A narrow network; ``trained`` moves it away from its smooth start."""
    model = SPDAutoencoder(width=4, embedding=3, radius2=radius2, generator=rng()).to(dtype)
    if trained:
        with torch.no_grad():
            for k, p in enumerate(model.parameters()):
                if p is not model.metric:
                    p.add_(0.2 * torch.randn(p.shape, generator=rng(k + 1)).to(dtype))
            model.metric.copy_(SPD(n=3).random(3, 3, generator=rng(99)).to(dtype))
    return model


def volume(*size, seed=1, dtype=F64):
    """Logarithms, mask, noise level and number of directions of a random volume."""
    logs = torch.randn(1, 6, *size, generator=rng(seed), dtype=F64).to(dtype)
    mask = torch.rand(1, 1, *size, generator=rng(seed + 1)) > 0.2
    sigma = 0.05 * torch.rand(1, 1, *size, generator=rng(seed + 2), dtype=F64).to(dtype)
    return logs, mask, sigma, torch.tensor([12.0], dtype=dtype)


def on_matrices(f, logs):
    """f applied to the matrices of a volume of coordinates."""
    return sym_to_vector(f(sym_from_vector(logs.movedim(1, -1)))).movedim(-1, 1)


def orthogonal(seed, sign):
    q = torch.linalg.qr(torch.randn(3, 3, generator=rng(seed), dtype=F64))[0]
    return q * sign * torch.linalg.det(q).sign()


def grid_rotation(permutation, signs):
    """A signed permutation matrix, and how it moves volumes (..., x, y, z)."""
    r = torch.zeros(3, 3, dtype=F64)
    r[torch.arange(3), torch.tensor(permutation)] = torch.tensor(signs, dtype=F64)
    lead = [k - 3 for k, sign in enumerate(signs) if sign < 0]
    return r, lambda x: x.movedim([p - 3 for p in permutation], (-3, -2, -1)).flip(lead)


@pytest.mark.parametrize("with_filtered", [False, True])
@pytest.mark.parametrize("signs", list(itertools.product((1.0, -1.0), repeat=3)))
@pytest.mark.parametrize("permutation", list(itertools.permutations(range(3))))
def test_turning_tensors_with_the_grid_goes_through(permutation, signs, with_filtered):
    """All 48 rotations and reflections, which is the cube group."""
    model, (logs, mask, sigma, count) = small(), volume(5, 6, 7)
    r, move = grid_rotation(permutation, signs)
    more = [volume(5, 6, 7, seed=7)[0]] if with_filtered else []
    turned = [move(on_matrices(lambda x: r @ x @ r.T, x)) for x in (logs, *more)]
    moved = model(turned[0], move(mask), move(sigma), count, *turned[1:])
    out = model(logs, mask, sigma, count, *more)
    wanted = move(on_matrices(lambda x: r @ x @ r.T, out))
    assert (moved - wanted).abs().max() < 1e-12
    if permutation != (0, 1, 2):
        assert (wanted - move(out)).abs().max() > 0.1


def test_invariants_are_invariant_and_finite():
    logs, mask, sigma, _ = volume(4, 5, 6)
    r = orthogonal(6, -1.0)
    features = invariants(logs, mask, sigma)
    assert features.shape == (1, INVARIANTS, 4, 5, 6)
    moved = on_matrices(lambda x: r @ x @ r.T, logs)
    assert (invariants(moved, mask, sigma) - features).abs().max() < 1e-6
    flat = torch.zeros(1, 6, 4, 4, 4, dtype=F64, requires_grad=True)
    out = invariants(flat, torch.ones(1, 1, 4, 4, 4, dtype=torch.bool), torch.zeros(1, 1, 4, 4, 4, dtype=F64))
    out.sum().backward()
    assert out.isfinite().all()
    assert flat.grad.isfinite().all()


def test_output_is_spd_and_near_its_neighbours():
    """log det stays within 1 of the range of the masked input: the correction of the mean is at most as much."""
    logs, mask, sigma, count = volume(5, 6, 7)
    out = small()(logs, mask, sigma, count)
    tensors = torch.linalg.matrix_exp(sym_from_vector(out.movedim(1, -1)))
    assert SPD().check_point_on_manifold(tensors, explain=True) == (True, None)

    def log_det(x):
        return x[:, [0, 2, 5]].sum(1, keepdim=True)[mask]

    assert log_det(out).max() <= log_det(logs).max() + 1
    assert log_det(out).min() >= log_det(logs).min() - 1


def test_a_constant_volume_stays_constant():
    logs = volume(1, 1, 1)[0].expand(1, 6, 6, 6, 6)
    _, mask, sigma, count = volume(6, 6, 6)
    out = small()(logs, mask, sigma, count)
    assert (out - torch.where(mask, logs, 0.0)).abs().max() < 1e-13


def test_a_voxel_alone_stays_as_it_is():
    logs, mask, sigma, count = volume(5, 5, 5)
    mask = torch.zeros_like(mask)
    mask[..., 2, 2, 2] = True
    out = small()(logs, mask, sigma, count)
    assert torch.allclose(out[..., 2, 2, 2], logs[..., 2, 2, 2], rtol=1e-14, atol=1e-14)
    assert torch.equal(out * ~mask, torch.zeros_like(out))


def test_what_lies_outside_the_mask_is_not_seen_and_comes_out_as_zero():
    model, (logs, mask, sigma, count) = small(), volume(5, 6, 7)
    out = model(logs, mask, sigma, count)
    assert torch.equal(torch.where(mask, 0.0, out), torch.zeros_like(out))
    for other in (1e3, -1e3, math.nan, math.inf):
        changed = model(torch.where(mask, logs, other), mask, sigma, count)
        assert (changed - out).abs().max() < 1e-12


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 5, 3), (7, 4, 1), (4, 4, 4), (9, 3, 5)])
def test_every_size_is_taken(size):
    out = small()(*volume(*size))
    assert out.shape == (1, 6, *size)
    assert out.isfinite().all()


@pytest.mark.parametrize("radius2", [1, 5])
def test_nothing_outside_the_margin_along_z_reaches_a_voxel(radius2):
    model = small(radius2=radius2)
    length = 2 * model.margin + 8
    logs, mask, sigma, count = volume(4, 4, length)
    logs.requires_grad_()
    out = model(logs, mask, sigma, count)
    reach = 0
    for z in (model.margin + 3, model.margin + 4):
        (gradient,) = torch.autograd.grad(out[..., z].sum(), logs, retain_graph=True)
        seen = gradient.abs().sum((0, 1, 2, 3)).nonzero()
        reach = max(reach, (seen - z).abs().max().item())
    assert reach <= model.margin
    assert reach >= model.margin - 3


def test_blocks_with_a_margin_give_the_whole_volume():
    model = small(radius2=1)
    m = model.margin
    logs, mask, sigma, count = volume(4, 4, 2 * m + 10)
    whole = model(logs, mask, sigma, count)
    for start in (2, 5):
        end = start + 2 * m + 4
        part = model(*(x[..., start:end] for x in (logs, mask, sigma)), count)
        assert (part[..., m:-m] - whole[..., start + m : end - m]).abs().max() < 1e-12


def test_gradients_reach_every_parameter():
    model, (logs, mask, sigma, count) = small(), volume(5, 6, 7)
    model(logs, mask, sigma, count).square().sum().backward()
    for name, p in model.named_parameters():
        if name.startswith("error."):  # it is fitted afterwards
            assert p.grad is None
            continue
        assert p.grad.isfinite().all(), name
        assert p.grad.abs().max() > 0, name


def test_the_metric_is_a_parameter_on_spd():
    model = small()
    assert isinstance(model.metric.manifold, SPD)
    assert "metric" in model.state_dict()


def test_a_generator_decides_the_parameters():
    one, two = small(trained=False), small(trained=False)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(p, q)
