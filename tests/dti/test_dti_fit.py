"""The tensor fit against exact signals, dipy and the noise that was put in."""

import numpy as np
import pytest
import torch
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel

from manifoldnet.dti import fit, simulate


def table(n=32, b=1000.0):
    bvals = torch.tensor([0.0] + [b] * n, dtype=torch.float64)
    bvecs = torch.zeros(n + 1, 3, dtype=torch.float64)
    bvecs[1:] = torch.from_numpy(simulate.directions(n))
    return bvals, bvecs


def random_spd(n, seed=0):
    """mm^2/s, eigenvalues .2e-3 to 2e-3."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((n, 3, 3)))
    return torch.from_numpy((q * rng.uniform(0.2e-3, 2e-3, (n, 1, 3))) @ q.swapaxes(-1, -2))


def signals(tensors, bvals, bvecs, s0=900.0):
    out = np.empty((len(tensors), len(bvals)))
    for i, (b, g) in enumerate(zip(bvals.numpy(), bvecs.numpy(), strict=True)):
        out[:, i] = s0 * np.exp(-b * np.einsum("i,nij,j->n", g, tensors.numpy(), g))
    return torch.from_numpy(out)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_noiseless_signals_give_the_tensor(dtype, tolerance):
    bvals, bvecs = table()
    tensors = random_spd(50)
    dwi = signals(tensors, bvals, bvecs).to(dtype).reshape(5, 10, -1)
    found = fit.wls(dwi, bvals.to(dtype), bvecs.to(dtype))
    assert found.shape == (5, 10, 3, 3)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), tensors.reshape(5, 10, 3, 3), rtol=0, atol=2e-3 * tolerance)


def test_noisy_signals_agree_with_dipy():
    bvals, bvecs = table()
    rng = np.random.default_rng(1)
    dwi = signals(random_spd(300), bvals, bvecs).numpy()
    dwi = np.abs(dwi + 45 * (rng.standard_normal(dwi.shape) + 1j * rng.standard_normal(dwi.shape)))
    gradients = gradient_table(bvals.numpy(), bvecs=bvecs.numpy(), b0_threshold=60)
    expected = TensorModel(gradients, fit_method="WLS", min_signal=1).fit(dwi)
    regular = expected.evals[:, 2] > 2 * fit.FLOOR * expected.evals[:, 0].clip(1e-3)
    assert regular.sum() > 200
    found = fit.wls(torch.from_numpy(dwi), bvals, bvecs).numpy()
    np.testing.assert_allclose(found[regular], expected.quadratic_form[regular], atol=1e-10)


def test_more_voxels_than_a_chunk_and_none(monkeypatch):
    bvals, bvecs = table()
    dwi = signals(random_spd(25), bvals, bvecs)
    whole = fit.wls(dwi, bvals, bvecs)
    monkeypatch.setattr(fit, "CHUNK", 7)
    torch.testing.assert_close(fit.wls(dwi, bvals, bvecs), whole, rtol=1e-12, atol=0)
    assert fit.wls(dwi[:0], bvals, bvecs).shape == (0, 3, 3)


def test_every_fit_is_spd_even_of_nonsense():
    bvals, bvecs = table()
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(200, len(bvals), generator=generator, dtype=torch.float64)
    dwi = torch.cat([noise, torch.zeros(1, len(bvals)), 1e5 * (noise[:50] > 0.5), noise[:1] * 1e-9])
    values = torch.linalg.eigvalsh(fit.wls(dwi, bvals, bvecs))
    assert (values > 0.999e-5).all()
    assert (values[:, 0] > 0.999 * fit.FLOOR * values[:, 2]).all()


def test_floor_raises_only_what_lies_below_it():
    good = random_spd(5)
    bad = torch.diag(torch.tensor([2.0, 1.0, -0.5], dtype=torch.float64)).expand(1, 3, 3)
    out = fit.floored(torch.cat([good, bad]), smallest=1e-5)
    assert torch.equal(out[:5], good)
    torch.testing.assert_close(out[5], torch.diag(torch.tensor([2.0, 1.0, 0.02], dtype=torch.float64)))


def test_residual_sigma_is_the_noise_level():
    bvals, bvecs = table(60)
    dwi = signals(random_spd(4000), bvals, bvecs)
    generator = torch.Generator().manual_seed(2)
    noisy = dwi + 900 * 0.03 * torch.randn(dwi.shape, generator=generator, dtype=dwi.dtype)
    for measured, expected, tolerance in ((noisy, 0.03, 0.0006), (dwi, 0.0, 1e-9)):
        sigma = fit.residual_sigma(measured, bvals, bvecs, fit.wls(measured, bvals, bvecs))
        assert sigma.square().mean().sqrt().item() == pytest.approx(expected, abs=tolerance)


def test_lower_triangle_order():
    lower = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    matrix = torch.tensor([[1.0, 2.0, 4.0], [2.0, 3.0, 5.0], [4.0, 5.0, 6.0]])
    assert torch.equal(fit.from_lower(lower), matrix)
    assert torch.equal(fit.to_lower(matrix), lower)
