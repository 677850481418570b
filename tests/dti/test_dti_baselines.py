"""Classical smoothing against scipy's filters and the invariances that it must have."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.linalg import expm, logm
from scipy.ndimage import gaussian_filter

from manifoldnet.dti import baselines, metrics

METHODS = (baselines.euclidean_gaussian, baselines.log_euclidean_gaussian)
AFFINE = baselines.affine_invariant_gaussian
TV = (partial(baselines.tv, alpha=0.1), partial(baselines.tv, alpha=0.1, metric="affine-invariant"))


def field(shape=(7, 6, 5), seed=0):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((*shape, 3, 3)))
    tensors = torch.from_numpy((q * rng.uniform(0.2, 2, (*shape, 1, 3))) @ q.swapaxes(-1, -2))
    mask = torch.from_numpy(rng.random(shape) > 0.3)
    tensors[~mask] = torch.nan
    return tensors, mask


@pytest.mark.parametrize("sigma", [0.6, 1.3])
@pytest.mark.parametrize("method", METHODS)
def test_agrees_with_scipy(method, sigma):
    tensors, mask = field()
    inside = mask.numpy()
    logarithmic = method is baselines.log_euclidean_gaussian
    values = np.zeros((*inside.shape, 3, 3))
    for voxel in np.argwhere(inside):
        matrix = tensors[tuple(voxel)].numpy()
        values[tuple(voxel)] = logm(matrix) if logarithmic else matrix
    weight = gaussian_filter(inside.astype(float), sigma, mode="constant")
    smooth = gaussian_filter(values, (sigma, sigma, sigma, 0, 0), mode="constant") / weight[..., None, None]
    expected = np.stack([expm(m) if logarithmic else m for m in smooth[inside]])
    found = method(tensors, mask, sigma)
    np.testing.assert_allclose(found[mask], expected, atol=1e-9)
    assert torch.isnan(found[~mask]).all()


def spectral(f, matrices):
    values, vectors = np.linalg.eigh(matrices)
    return (vectors * f(values)[..., None, :]) @ vectors.swapaxes(-1, -2)


def test_affine_invariant_mean_is_that_of_numpy():
    """Forty steps of the fixed point by eigenvalues, up to what three steps leave."""
    tensors, mask = field((5, 4, 3))
    found = AFFINE(tensors, mask, 0.8)
    assert torch.isnan(found[~mask]).all()
    inside = np.argwhere(mask.numpy())
    for voxel in inside[::4]:
        square = ((inside - voxel) ** 2).sum(1)
        weights = np.exp(-0.5 * square / 0.8**2) * (square <= 4)
        weights /= weights.sum()
        points = tensors[mask].numpy()
        mean = (weights[:, None, None] * points).sum(0)
        for _ in range(40):
            root, back = spectral(np.sqrt, mean), spectral(lambda x: x**-0.5, mean)
            logs = spectral(np.log, back @ points @ back)
            mean = root @ spectral(np.exp, (weights[:, None, None] * logs).sum(0)) @ root
        np.testing.assert_allclose(found[tuple(voxel)], mean, atol=1e-3)


def test_affine_invariant_mean_passes_any_congruence():
    """A D A' goes in and comes out, for any A; the other means know rotations only. Steps are taken to convergence."""
    tensors, mask = field()
    a = torch.tensor([[1.0, 0.4, 0.0], [0.0, 0.7, -0.3], [0.2, 0.0, 1.4]], dtype=torch.float64)
    moved, expected = AFFINE(a @ tensors @ a.T, mask, 1.0), a @ AFFINE(tensors, mask, 1.0) @ a.T
    torch.testing.assert_close(moved[mask], expected[mask], rtol=2e-3, atol=2e-3)
    log_moved = baselines.log_euclidean_gaussian(a @ tensors @ a.T, mask, 1.0)
    log_expected = a @ baselines.log_euclidean_gaussian(tensors, mask, 1.0) @ a.T
    assert (log_moved - log_expected)[mask].abs().max() > 5 * (moved - expected)[mask].abs().max()


@pytest.mark.parametrize("method", TV)
def test_total_variation_smooths_noise_and_keeps_edges(method):
    generator = torch.Generator().manual_seed(0)
    true = torch.diag(torch.tensor([1.5, 0.5, 0.4], dtype=torch.float64)).repeat(8, 5, 4, 1, 1)
    true[4:] *= 3
    noise = 0.1 * torch.randn(8, 5, 4, 3, 3, generator=generator, dtype=torch.float64)
    noisy = torch.matrix_exp(0.5 * (noise + noise.mT))
    root = true.sqrt()
    noisy = root @ noisy @ root
    mask = torch.ones(8, 5, 4, dtype=torch.bool)
    mask[0, 0] = False
    noisy[~mask] = torch.nan
    out = method(noisy, mask)
    assert torch.isnan(out[~mask]).all()
    before, after = (metrics.distance_to_truth(x[mask], true[mask]).mean() for x in (noisy, out))
    blurred = baselines.log_euclidean_gaussian(noisy, mask, 0.8)
    assert after < 0.5 * before
    assert after < 0.4 * metrics.distance_to_truth(blurred[mask], true[mask]).mean()


@pytest.mark.parametrize("method", [*METHODS, AFFINE])
def test_constants_and_zero_sigma_change_nothing(method):
    tensors, mask = field()
    assert torch.equal(method(tensors, mask, 0.0)[mask], tensors[mask])
    constant = torch.diag(torch.tensor([1.5, 0.4, 0.3])).repeat(*mask.shape, 1, 1)
    torch.testing.assert_close(method(constant, mask, 1.5), constant, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", [*METHODS, AFFINE])
def test_rotation_and_scale_pass_through(method):
    tensors, mask = field()
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    moved = method(2.5 * turn @ tensors @ turn.T, mask, 1.0)
    expected = 2.5 * turn @ method(tensors, mask, 1.0) @ turn.T
    torch.testing.assert_close(moved[mask], expected[mask])


def test_only_the_euclidean_mean_swells():
    tensors, known = field((9, 9, 9))
    tensors[~known] = torch.diag(torch.tensor([2.0, 0.2, 0.2], dtype=torch.float64))
    mask = torch.ones_like(known)
    before = torch.logdet(tensors).mean()
    swollen = torch.logdet(baselines.euclidean_gaussian(tensors, mask, 1.0)).mean()
    kept = torch.logdet(baselines.log_euclidean_gaussian(tensors, mask, 1.0)).mean()
    assert swollen > before + 0.5
    assert abs(kept - before) < 0.1


def test_tune_picks_the_best_sigma():
    generator = torch.Generator().manual_seed(0)
    true = torch.eye(3, dtype=torch.float64).repeat(10, 10, 10, 1, 1)
    true[5:] *= 2
    mask = torch.ones(10, 10, 10, dtype=torch.bool)
    sigmas = (0.0, 0.5, 1.0, 2.0)
    best = []
    for level in (0.01, 0.2, 0.6):
        noise = level * torch.randn(10, 10, 10, 3, 3, generator=generator, dtype=torch.float64)
        noisy = true @ torch.linalg.matrix_exp(noise + noise.mT)
        noisy = 0.5 * (noisy + noisy.mT)
        method = baselines.log_euclidean_gaussian
        errors = [metrics.distance_to_truth(method(noisy, mask, s), true).mean().item() for s in sigmas]
        best.append(baselines.tune(method, [(noisy, true, mask)], sigmas))
        assert best[-1] == sigmas[int(np.argmin(errors))]
    assert best == sorted(best)
    assert best[0] < best[-1]
