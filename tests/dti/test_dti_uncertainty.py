"""What denoised tensors are said to be off: measured without bias, fitted, and the same in every frame and unit."""

import itertools

import numpy as np
import pytest
import torch
from scipy.linalg import logm, sqrtm

from manifoldnet.dti import uncertainty
from manifoldnet.dti.examples import PhantomSource, Pool, ScanSource, phantom_sources, protocol, volume_example
from manifoldnet.dti.model import DtiDenoiser, denoise
from manifoldnet.dti.noise import rician
from manifoldnet.dti.simulate import signal
from manifoldnet.dti.uncertainty import calibrate, errors
from manifoldnet.errors import InputError
from manifoldnet.linalg import sym_from_vector

SMALL = {"members": 2, "width": 6, "embedding": 3, "radius2": 2}
FEATURES = 12  # of both members


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def untrained():
    return DtiDenoiser({**SMALL, "strength": {"tensors": (0.0, 0.0), "signals": (0.5, 0.0)}}, generator(1)).eval()


@pytest.fixture(scope="module")
def phantom_source() -> PhantomSource:
    return phantom_sources(1, 14, 3, 0)[0]


def test_an_error_is_the_affine_invariant_distance_to_a_known_truth(untrained, phantom_source):
    _, found = errors(untrained, phantom_source, False, generator(2))
    example, again = volume_example(phantom_source, False, generator(2))
    assert torch.equal(example.target, again)
    noisy, true = (torch.matrix_exp(sym_from_vector(x.movedim(0, -1)[example.mask[0]].double())).numpy()
                   for x in (example.noisy, example.target))  # fmt: skip
    for i in range(0, len(found), 97):  # strength 0: the result is the noisy tensor
        root = np.linalg.inv(sqrtm(noisy[i]))
        expected = np.sum(logm(root @ true[i] @ root) ** 2)
        assert float(found[i]) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_the_noise_of_a_scans_references_does_not_count(untrained, phantom_source):
    """A scan made of a phantom: the mean error is the one to the truth, though single references are further away."""
    bvals, bvecs = protocol(64)
    scene = phantom_source.scene
    clean = signal(scene.tensors, scene.s0, bvals, bvecs)
    measured = rician(clean, 0.03, generator(5))
    measured[..., 0] = clean[..., 0]  # all fits share it, so its noise would go unseen
    noisy = ScanSource(measured, bvals, bvecs, scene.mask)
    drawn = noisy.measure((slice(None),) * 3, generator(6), targets=2)
    features, found = errors(untrained, noisy, False, generator(6))
    true, _ = volume_example(phantom_source, False, generator(0))
    example, again = volume_example(noisy, False, generator(6))
    assert len(drawn.targets) == 2
    assert not true.matched
    assert example.matched
    assert not torch.equal(example.target, again)
    inside = scene.mask

    def gap(a, b):
        return float((a - b).movedim(0, -1)[inside].square().sum(-1).mean())

    to_truth, to_reference = gap(example.noisy, true.target), gap(example.noisy, example.target)
    assert to_reference > 1.15 * to_truth
    assert float(found.mean()) == pytest.approx(to_truth, rel=0.1)
    assert features.shape == (len(found), FEATURES)


def test_calibration_finds_a_law(untrained, phantom_source, monkeypatch):
    """Squared errors that are chi-squared with a mean that depends on the features, some below zero as on scans."""
    law, rng = np.linspace(-0.4, 0.6, FEATURES), np.random.default_rng(3)

    def drawn(model, source, with_signals, generator):
        features = rng.standard_normal((20000, FEATURES))
        mean = np.exp(features @ law - 3)
        squares = mean * rng.chisquare(6, 20000) / 6 + mean * rng.standard_normal(20000)
        return torch.from_numpy(features).float(), torch.from_numpy(squares)

    monkeypatch.setattr(uncertainty, "errors", drawn)
    before = {name: value.clone() for name, value in untrained.state_dict().items()}
    calibrate(untrained, [Pool(0.2, [phantom_source] * 2), Pool(0.8, [phantom_source])], 7)
    changed = {name for name, value in untrained.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"net.members.{k}.error.{what}" for k in range(2) for what in ("weight", "bias")}
    # the values of the law at features of which one is 1 and the others 0, and of none
    probes = torch.cat([torch.eye(FEATURES), torch.zeros(1, FEATURES)]).T[None, :, :, None, None]
    *values, constant = untrained.net.error(probes).flatten().tolist()
    np.testing.assert_allclose(np.array(values) - constant, law, atol=0.02)
    assert constant == pytest.approx(-3, abs=0.02)


def test_frames_and_units(untrained):
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((6, 7, 5, 3, 3)))
    tensors = (q * rng.uniform(2e-4, 2e-3, (6, 7, 5, 1, 3))) @ q.swapaxes(-1, -2)
    tensors = 0.5 * (tensors + tensors.swapaxes(-1, -2))
    mask = rng.random((6, 7, 5)) < 0.8
    result, expected = denoise(tensors, mask, model=untrained, uncertainty=True)
    np.testing.assert_array_equal(np.isnan(expected), ~mask)
    assert (expected[mask] > 0).all()
    np.testing.assert_array_equal(result, denoise(tensors, mask, model=untrained))
    np.testing.assert_allclose(denoise(1000 * tensors, mask, model=untrained, uncertainty=True)[1], expected, rtol=1e-4)
    for axes in itertools.permutations(range(3)):
        P = np.eye(3)[list(axes)]
        turned = np.transpose(P @ tensors @ P.T, (*axes, 3, 4))
        found = denoise(turned, np.transpose(mask, axes), model=untrained, uncertainty=True)[1]
        np.testing.assert_allclose(found, np.transpose(expected, axes), rtol=1e-4)


def test_it_is_for_the_models_own_strength(untrained):
    tensors = np.broadcast_to(1e-3 * np.eye(3), (4, 4, 4, 3, 3)).copy()
    with pytest.raises(InputError, match="strength: wanted None"):
        denoise(tensors, model=untrained, strength=0.3, uncertainty=True)
