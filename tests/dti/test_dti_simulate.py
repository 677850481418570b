"""Phantoms, directions and signals against closed forms."""

import numpy as np
import pytest
import torch

from manifoldnet.dti import metrics, simulate
from manifoldnet.errors import InputError


def smallest_angle(g):
    cosine = np.abs(g @ g.T)
    np.fill_diagonal(cosine, 0)
    return np.degrees(np.arccos(cosine.max()))


def test_directions_are_spread_as_axes():
    # six axes: the icosahedron; three: an orthogonal frame
    assert smallest_angle(simulate.directions(3)) == pytest.approx(90, abs=0.01)
    assert smallest_angle(simulate.directions(6)) == pytest.approx(np.degrees(np.arctan(2)), abs=0.01)
    for n in (1, 12, 30, 64):
        g = simulate.directions(n)
        np.testing.assert_allclose(np.linalg.norm(g, axis=1), 1)
        # caps of half the smallest angle round all 2n ends do not overlap; here they cover over 60 %
        if n > 1:
            assert 0.6 < n * (1 - np.cos(np.radians(smallest_angle(g) / 2))) < 1
    assert np.array_equal(g, simulate.directions(64))


def test_signal_of_a_mixture():
    tensors = torch.from_numpy(np.stack([np.diag([1.7, 0.3, 0.2]), 3 * np.eye(3)])[None])
    tilt = torch.tensor([[0.6, 0.8, 0], [-0.8, 0.6, 0], [0, 0, 1.0]], dtype=torch.float64)
    tensors[0, 0] = tilt @ tensors[0, 0] @ tilt.T
    g = torch.tensor([[0.0, 0, 0], [0.6, -0.8, 0], [0.0, 0, 1]], dtype=torch.float64)
    found = simulate.signal(tensors, torch.tensor([[0.75, 0.5]]).double(), torch.tensor([0.0, 1000, 2000]).double(), g)
    expected = [1.25, 0.75 * np.exp(-1.7) + 0.5 * np.exp(-3), 0.75 * np.exp(-0.4) + 0.5 * np.exp(-6)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)


def test_phantom():
    scene = simulate.phantom((20, 24, 16), np.random.default_rng(0))
    k = scene.s0.shape[-1]
    assert 6 <= k <= 9
    assert scene.tensors.shape == (20, 24, 16, k, 3, 3)
    assert 0.3 < scene.mask.float().mean() < 0.7
    assert (scene.s0[~scene.mask] == 0).all()
    assert (scene.s0 >= 0).all()
    total = scene.s0[scene.mask].sum(-1)
    assert total.min() > 0.6
    assert total.max() < 4.5
    values = torch.linalg.eigvalsh(scene.tensors[scene.mask][scene.s0[scene.mask] > 0])
    assert values.min() > 0.05
    assert values.max() < 5
    present = scene.s0[scene.mask] > 0
    assert present.any(0).sum() >= 5  # bundles, grey matter, fluid
    assert (present.sum(1) > 1).float().mean() > 0.1  # partial volume
    again = simulate.phantom((20, 24, 16), np.random.default_rng(0))
    assert torch.equal(scene.tensors, again.tensors)
    assert torch.equal(scene.s0, again.s0)
    with pytest.raises(InputError, match="size: wanted at least 8"):
        simulate.phantom((20, 24, 4), np.random.default_rng(0))


def test_phantoms_have_white_grey_and_fluid():
    rng = np.random.default_rng(1)
    bvals, bvecs = table(20)
    fa, md = [], []
    for _ in range(6):
        scene = simulate.phantom(20, rng)
        pair = simulate.pair(scene, bvals, bvecs, 20.0, torch.Generator().manual_seed(0))
        fa.append(metrics.fa(pair.true[pair.mask]))
        md.append(metrics.md(pair.true[pair.mask]))
    fa, md = torch.cat(fa), torch.cat(md)
    assert 0.1 < (fa > 0.3).float().mean() < 0.6
    assert 0.03 < (md > 2).float().mean() < 0.4
    assert 0.7 < md.median() < 1.1


def table(n):
    bvals = torch.tensor([0.0] + [1000.0] * n)
    bvecs = torch.zeros(n + 1, 3)
    bvecs[1:] = torch.from_numpy(simulate.directions(n))
    return bvals, bvecs


def test_pair_gets_better_with_snr():
    scene = simulate.phantom(16, np.random.default_rng(0))
    bvals, bvecs = table(30)
    errors = []
    for snr in (5.0, 20.0, 80.0):
        pair = simulate.pair(scene, bvals, bvecs, snr, torch.Generator().manual_seed(0))
        noisy, true = pair.noisy[pair.mask], pair.true[pair.mask]
        assert torch.isnan(pair.noisy[~pair.mask]).all()
        assert (torch.linalg.eigvalsh(noisy) > 0).all()
        brightness = scene.s0[scene.mask].sum(-1)
        # signals at the noise floor vary less; partial volume, of more than one exponent, adds to it
        assert 0.85 / snr < (pair.sigma[pair.mask] * brightness).median() < 1.15 / snr
        errors.append(metrics.distance_to_truth(noisy, true).mean())
    # far above the noise floor the error of a least-squares fit is proportional to the noise
    assert (errors[1] / errors[2]).item() == pytest.approx(16, rel=0.3)
    assert errors[0] > 16 * errors[1]


def test_dwi_is_reproducible_noise_on_the_signal():
    scene = simulate.phantom(12, np.random.default_rng(0))
    bvals, bvecs = table(6)
    arguments = (scene.tensors[scene.mask], scene.s0[scene.mask], bvals, bvecs)
    one, two = (simulate.dwi(*arguments, 10.0, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    difference = one[:, 0] - simulate.signal(*arguments)[:, 0]
    assert difference.std().item() == pytest.approx(0.1, rel=0.1)


def test_dwi_where_the_ratio_varies():
    shape = (40, 40, 4)
    tensors, s0 = torch.eye(3).expand(*shape, 1, 3, 3), torch.ones(*shape, 1)
    bvals, bvecs = table(30)
    snr = torch.full(shape, 10.0)
    snr[20:] = 40.0
    noise = simulate.dwi(tensors, s0, bvals, bvecs, snr, torch.Generator().manual_seed(0)) - simulate.signal(
        tensors, s0, bvals, bvecs
    )
    assert noise[:20].std().item() == pytest.approx(0.1, rel=0.05)
    assert noise[20:].std().item() == pytest.approx(0.025, rel=0.05)
    many = simulate.dwi(tensors, s0, bvals, bvecs, snr, torch.Generator().manual_seed(0), coils=8)
    # the floor of eight channels is far above that of one: sqrt(15.5) against sqrt(1.5) noise levels
    assert many[:20, :, :, 1:].mean() > 0.37 + 0.15


def test_pair_takes_a_field_and_coils():
    scene = simulate.phantom(12, np.random.default_rng(0))
    bvals, bvecs = table(20)
    snr = torch.full(scene.mask.shape, 80.0)
    snr[:6] = 20.0
    found = simulate.pair(scene, bvals, bvecs, snr, torch.Generator().manual_seed(0))
    halves = [found.sigma[:6].nanmedian() * 20, found.sigma[6:].nanmedian() * 80]
    assert all(0.5 < level < 1.5 for level in halves)
    coils = simulate.pair(scene, bvals, bvecs, 5.0, torch.Generator().manual_seed(0), coils=16)
    one = simulate.pair(scene, bvals, bvecs, 5.0, torch.Generator().manual_seed(0))
    # a noise floor flattens the decay
    assert metrics.md(coils.noisy[scene.mask]).median() < 0.8 * metrics.md(one.noisy[scene.mask]).median()
