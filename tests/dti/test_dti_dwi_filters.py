"""Filters of signals: against scikit-learn, and on phantoms whose truth is known."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from manifoldnet.dti import dwi_filters, evaluate
from manifoldnet.dti.methods import METHODS
from manifoldnet.dti.metrics import distance_to_truth
from manifoldnet.dti.mppca import mppca

SEED = 2


@pytest.fixture(scope="module")
def case():
    (one,) = evaluate.phantom_cases(1, 14, 10.0, SEED, evaluate.TEST)
    return one


def test_patch2self_is_a_regression_of_each_volume_on_the_others(case):
    out = dwi_filters.patch2self(case.signals, case.mask, case.bvals)
    assert torch.equal(out[~case.mask], case.signals[~case.mask])
    assert torch.equal(out[..., 0], case.signals[..., 0])  # b = 0
    x = case.signals[case.mask][:, 1:].double().numpy()
    for k in (0, 31, 63):
        others = np.delete(x, k, 1)
        predicted = LinearRegression().fit(others, x[:, k]).predict(others)
        np.testing.assert_allclose(out[case.mask][:, 1 + k], predicted, atol=1e-5)


@pytest.mark.parametrize("name", ["MPPCA", "non-local means", "Patch2Self"])
def test_signals_come_nearer_to_the_truth(case, name):
    method = next(method for method in METHODS if method.name == name)
    out = method.run(case, **method.chosen)
    assert torch.isnan(out[~case.mask]).all()
    before, after = (distance_to_truth(x[case.mask], case.reference[case.mask]).mean() for x in (case.noisy, out))
    assert after < {"MPPCA": 0.7, "non-local means": 0.8, "Patch2Self": 1.0}[name] * before


@pytest.mark.parametrize("thin", [False, True])
def test_voxels_outside_the_mask_stay(case, thin):
    """In a volume and in a single slice."""
    z = slice(7, 8) if thin else slice(None)
    signals, mask, sigma = case.signals[:, :, z, :8].contiguous(), case.mask[:, :, z], case.sigma[:, :, z]
    for out in (mppca(signals, mask, 1), dwi_filters.nlmeans(signals, mask, sigma, 1.0)):
        assert out.isfinite().all()
        assert torch.equal(out[~mask], signals[~mask])
        assert (out[mask] != signals[mask]).float().mean() > 0.5
