import numpy as np
import pytest
import scipy.linalg
import torch

from manifoldnet.linalg import expm


@pytest.mark.parametrize("batch", [(), (1,), (1, 1), (2,), (3, 2)])
@pytest.mark.parametrize("norm", [0.0, 1e-6, 1e-3, 1e-2, 0.04, 0.049, 0.06, 0.5, 3.0])
def test_expm_is_scipys_for_single_matrices_too(batch, norm):
    """torch.linalg.matrix_exp of one matrix with norm 0.04 is wrong by 4e-11."""
    for seed in range(10):
        x = torch.randn(*batch, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        x = norm * x / torch.linalg.matrix_norm(x, 1)[..., None, None]
        wanted = scipy.linalg.expm(x.numpy())
        assert np.abs(expm(x).numpy() - wanted).max() < 3e-14 * max(1, np.abs(wanted).max())


@pytest.mark.parametrize("batch", [(), (4,)])
def test_gradient_is_scipys_frechet_derivative(batch):
    for norm in (0.02, 0.5):
        x = torch.randn(*batch, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        x = (norm * x / torch.linalg.matrix_norm(x, 1)[..., None, None]).requires_grad_()
        g = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        (g * expm(x)).sum().backward()
        for one, found in zip(x.detach().reshape(-1, 3, 3), x.grad.reshape(-1, 3, 3), strict=True):
            wanted = scipy.linalg.expm_frechet(one.T.numpy(), g.numpy(), compute_expm=False)
            assert np.abs(found.numpy() - wanted).max() < 1e-14


def test_one_generator_may_stand_for_a_batch():
    x = 0.3 * torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    many = expm(x.expand(5, 4, 3, 3))
    assert many.shape == (5, 4, 3, 3)
    assert (many - expm(x)).abs().max() < 1e-15
    assert expm(torch.zeros(0, 3, 3)).shape == (0, 3, 3)
