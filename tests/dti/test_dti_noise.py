"""Magnitude noise against the distributions of scipy."""

import numpy as np
import pytest
import torch
from scipy.stats import chi, kstest, ncx2, rice

from manifoldnet.dti.noise import level_field, noncentral_chi, rician
from manifoldnet.errors import InputError

N = 100_000


def drawn(level, sigma, coils, seed=0):
    clean = torch.full((N,), level, dtype=torch.float64)
    return noncentral_chi(clean, sigma, coils, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("level", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("coils", [1, 2, 12])
def test_law_of_the_squares(level, coils):
    sigma = 0.2
    squares = (drawn(level, sigma, coils) / sigma).square().numpy()
    law = ncx2(2 * coils, (level / sigma) ** 2)
    assert kstest(squares, law.cdf).pvalue > 0.01
    assert squares.mean() == pytest.approx(law.mean(), abs=5 * law.std() / N**0.5)
    assert squares.std() == pytest.approx(law.std(), rel=0.02)


def test_of_no_signal_it_is_chi():
    found = drawn(0.0, 0.5, 4)
    assert found.mean().item() == pytest.approx(chi(8, scale=0.5).mean(), rel=0.005)
    assert found.mean().item() == pytest.approx(0.5 * np.sqrt(7.5), rel=0.01)


@pytest.mark.parametrize("level", [0.0, 0.1, 1.0])
def test_one_coil_is_rician(level):
    sigma = 0.2
    clean = torch.full((N,), level, dtype=torch.float64)
    found = rician(clean, sigma, torch.Generator().manual_seed(3))
    assert torch.equal(found, drawn(level, sigma, 1, seed=3))
    law = rice(level / sigma, scale=sigma)
    assert found.mean().item() == pytest.approx(law.mean(), abs=5 * law.std() / N**0.5)
    assert found.std().item() == pytest.approx(law.std(), rel=0.01)


def test_level_of_each_voxel():
    clean = torch.full((3, 2, 1, 4000), 2.0)
    sigma = torch.tensor([[0.01, 0.02], [0.04, 0.08], [0.16, 0.32]])[..., None]
    found = noncentral_chi(clean, sigma, 1, torch.Generator().manual_seed(0)).std(-1)
    np.testing.assert_allclose(found, sigma, rtol=0.06)
    one = noncentral_chi(clean, torch.tensor(0.5), 3, torch.Generator().manual_seed(0))
    assert torch.equal(one, noncentral_chi(clean, torch.full((3, 2, 1), 0.5), 3, torch.Generator().manual_seed(0)))
    with pytest.raises(InputError, match="coils: wanted at least 1, got 0"):
        noncentral_chi(clean, 1.0, 0, torch.Generator())


@pytest.mark.parametrize("seed", range(4))
def test_field_is_one_smooth_bump(seed):
    field = level_field((30, 24, 20), np.random.default_rng(seed), highest=4)
    assert torch.equal(field, level_field((30, 24, 20), np.random.default_rng(seed), highest=4))
    assert field.median().item() == pytest.approx(1, abs=0.01)
    assert 1.5 < (field.max() / field.min()).item() <= 4
    top = np.unravel_index(int(field.argmax()), field.shape)
    assert all(n // 4 - 1 <= i <= 3 * n // 4 for i, n in zip(top, field.shape, strict=True))
    for axis in range(3):
        steps = field.movedim(axis, -1).diff(dim=-1)
        assert steps.abs().max() < 0.1 * field.max()
        # up to the top and down from there, along every line
        rises = torch.arange(steps.shape[-1]) < top[axis]
        assert (steps[..., rises] >= 0).all()
        assert (steps[..., ~rises] <= 0).all()
    assert (level_field((4, 4, 4), np.random.default_rng(seed), 1) == 1).all()
    with pytest.raises(InputError, match=r"highest: wanted at least 1, got 0\.5"):
        level_field((4, 4, 4), np.random.default_rng(0), 0.5)
