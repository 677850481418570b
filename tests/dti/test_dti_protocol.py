"""How real scans become test sets, and the distances that are measured on them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import eigvalsh, expm, logm, sqrtm

from manifoldnet.data import Diffusion
from manifoldnet.dti import protocol
from manifoldnet.dti.fit import wls
from manifoldnet.dti.methods import METHODS
from manifoldnet.dti.metrics import distance_to_truth, fa
from manifoldnet.dti.noise import rician
from manifoldnet.dti.protocol import TRIALS, Trial, limited, reference_fa_bias, reference_noise, splits, well_spread
from manifoldnet.dti.scan import block_means, blurred
from manifoldnet.dti.simulate import directions, signal
from manifoldnet.errors import InputError

SHAPE = (9, 10, 6)
B0 = 4


def scan(b0=B0, count=30, sigma=0.02, seed=0):
    """A synthetic series: volumes at b = 0, 1000 and 3000 s/mm^2; the mask leaves out a rim and a slice."""
    rng = np.random.default_rng(seed)
    spread = directions(count)[rng.permutation(count)]
    bvals = np.concatenate([np.zeros(b0), np.full(count, 1000.0), np.full(5, 3000.0)])
    bvecs = np.concatenate([np.zeros((b0, 3)), spread, spread[:5]])
    q, _ = np.linalg.qr(rng.standard_normal((*SHAPE, 3, 3)))
    tensors = torch.from_numpy((q * rng.uniform(0.3, 1.8, (*SHAPE, 1, 3))) @ q.swapaxes(-1, -2)).float()
    b, v = torch.from_numpy(bvals).float(), torch.from_numpy(bvecs).float()
    clean = 500 * signal(tensors[..., None, :, :], torch.ones(*SHAPE, 1), b, v)
    data = rician(clean, 500 * sigma, torch.Generator().manual_seed(seed)).numpy()
    mask = np.zeros(SHAPE, bool)
    mask[1:-1, 1:-1, 1:] = True
    return Diffusion(data, bvals, bvecs, mask, np.eye(4), Path("dwi.nii"))


@pytest.fixture
def load(monkeypatch):
    """Makes ``load_diffusion`` return the series given."""

    def use(series):
        monkeypatch.setattr(protocol, "load_diffusion", lambda name: series)
        return series

    return use


@pytest.mark.parametrize("count", [6, 12, 15])
def test_subsets_are_well_spread(count):
    """Farther apart than nearly all random subsets, mostly different for different seeds, the same for the same."""
    axes = directions(30)[np.random.default_rng(1).permutation(30)]
    axes *= np.random.default_rng(2).choice([-1, 1], (30, 1))

    def energy(chosen):
        cosine = np.abs(axes[chosen] @ axes[chosen].T)[np.triu_indices(count, 1)]
        return ((2 - 2 * cosine) ** -0.5 + (2 + 2 * cosine) ** -0.5).sum()

    rng = np.random.default_rng(3)
    random = np.array([energy(rng.choice(30, count, replace=False)) for _ in range(400)])
    subsets = [well_spread(axes, count, seed) for seed in range(5)]
    for seed, chosen in enumerate(subsets):
        assert len(set(chosen.tolist())) == count
        assert (random < energy(chosen)).mean() < 0.02
        np.testing.assert_array_equal(chosen, well_spread(-axes, count, seed))
    assert len({tuple(sorted(chosen)) for chosen in subsets}) >= 3
    with pytest.raises(InputError, match="count"):
        well_spread(axes, 31, 0)


@pytest.mark.parametrize("b0", [1, B0])
def test_parts_share_no_volume(load, b0):
    """Input, reference and the halves of the reference, refitted here from the volumes that each must have."""
    series = load(scan(b0))
    for seed in (0, 1):
        (one,) = next(splits(Trial("x", "x", 12), [seed]))
        first, rest, halves = protocol._volumes(series.bvals[: b0 + 30], series.bvecs[: b0 + 30], 12, seed)
        assert (len(first), len(rest)) == (13, 18 + max(b0 - 1, 1))
        assert set(first) & set(rest) == ({0} if b0 == 1 else set())
        assert set(first) | set(rest) == set(range(b0 + 30))  # b = 3000 is in none
        assert set(halves[0]) | set(halves[1]) == set(rest)
        assert set(halves[0]) & set(halves[1]) == ({0} if b0 == 1 else set())
        inside, box = series.mask, series.data[:, :, 1:]
        assert one.mask.shape == (9, 10, 5)  # the slice without a voxel is gone, the rim stays
        np.testing.assert_array_equal(one.signals, box[..., first])
        b, v = (torch.from_numpy(g).float() for g in (series.bvals, series.bvecs))
        for part, used in ((one.noisy, first), (one.reference, rest), (one.halves[0], halves[0])):
            fitted = limited(1e3 * wls(torch.from_numpy(series.data[inside][:, used]), b[used], v[used]))
            torch.testing.assert_close(part[one.mask], fitted)
            assert part[~one.mask].isnan().all()


def test_nothing_outside_the_mask_matters(load):
    """To the pair, to filters of tensors and to the tensors of a network; signals there may be anything."""
    series = load(scan())
    (plain,) = next(splits(Trial("x", "x", 12), [0]))
    other = np.where(series.mask[..., None], series.data, 7e3)
    load(Diffusion(other, series.bvals, series.bvecs, series.mask, np.eye(4), Path("dwi.nii")))
    (changed,) = next(splits(Trial("x", "x", 12), [0]))
    assert not torch.equal(plain.signals, changed.signals)
    for part in ("noisy", "reference", "sigma"):
        torch.testing.assert_close(getattr(plain, part), getattr(changed, part), rtol=0, atol=0, equal_nan=True)
    for method in METHODS:
        if (method.sees == "tensors" and method.name != "affine-invariant TV") or method.name == "Patch2Self":
            a, b = (method.run(case, **method.chosen)[plain.mask] for case in (plain, changed))
            torch.testing.assert_close(a, b)


def test_separate_slices_are_images_with_an_eroded_mask(load):
    series = load(scan())
    whole = next(splits(Trial("x", "x", 12), [0]))
    images = next(splits(Trial("x", "x", 12, separate=True, erosion=2), [0]))
    assert len(whole) == 1
    assert [one.mask.shape[2] for one in images] == [1] * 5
    kept = np.zeros((9, 10), bool)
    kept[3:-3, 3:-3] = True  # two voxels less all round than the mask
    for image in images:
        assert int(image.mask.sum()) == kept.sum()
        x, y, _ = torch.nonzero(image.mask).T
        assert (int(x.max() - x.min()), int(y.max() - y.min())) == (2, 3)
    torch.testing.assert_close(images[2].noisy[images[2].mask], whole[0].noisy[:, :, 2][torch.from_numpy(kept)])
    assert series.mask.sum() > 5 * kept.sum()


def test_larger_voxels(load):
    """Slices are counted before means are taken."""
    series = load(scan())
    (large,) = next(splits(Trial("x", "x", 12, (2, 6), block=2), [0]))
    means, whole = block_means(series.data[:, :, 2:6], series.mask[:, :, 2:6], 2)
    load(dataclasses.replace(series, data=means, mask=whole))
    (expected,) = next(splits(Trial("x", "x", 12), [0]))
    assert int(large.mask.sum()) == whole.sum() > 0
    torch.testing.assert_close(large.noisy, expected.noisy, equal_nan=True)
    torch.testing.assert_close(large.reference, expected.reference, equal_nan=True)


def test_blurred_signals(load):
    series = load(scan())
    (soft,) = next(splits(Trial("x", "x", 12, (1, 5), blur=0.3), [0]))
    load(dataclasses.replace(series, data=blurred(series.data, series.mask, 0.3)))
    (expected,) = next(splits(Trial("x", "x", 12, (1, 5)), [0]))
    torch.testing.assert_close(soft.noisy, expected.noisy, equal_nan=True)
    torch.testing.assert_close(soft.reference, expected.reference, equal_nan=True)
    assert not torch.equal(soft.mask, torch.zeros_like(soft.mask))


def test_slices_are_those_asked_for(load):
    series = load(scan())
    (some,) = next(splits(Trial("x", "x", 12, (2, 4)), [0]))
    (whole,) = next(splits(Trial("x", "x", 12), [0]))
    assert int(some.mask.sum()) == series.mask[:, :, 2:4].sum()
    torch.testing.assert_close(some.noisy[some.mask], whole.noisy[:, :, 1:3][some.mask])


def test_too_few_directions(load):
    load(scan())
    with pytest.raises(InputError, match="has 30 volumes"):
        next(splits(Trial("x", "x", 25), [0]))


def test_distance_and_floors_against_scipy():
    """|log(R^-1/2 E R^-1/2)|^2 of matrices whose eigenvalues are clamped before: inputs to [.05, 4]."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 20, 3, 3))
    estimate = np.stack([expm(x + x.T) for x in a])
    reference = np.stack([expm(1.5 * (x + x.T)) for x in b])
    bounded = limited(torch.from_numpy(reference))
    for full, found, given in zip(reference, bounded.numpy(), estimate, strict=True):
        values, vectors = np.linalg.eigh(full)
        expected = (vectors * values.clip(0.05, 4)) @ vectors.T
        np.testing.assert_allclose(found, expected, atol=1e-12)
        values, vectors = np.linalg.eigh(given)
        output = (vectors * values.clip(1e-3, 20)) @ vectors.T
        root = np.linalg.inv(sqrtm(expected))
        distance = np.linalg.norm(logm(root @ output @ root)) ** 2
        assert distance == pytest.approx((np.log(eigvalsh(output, expected)) ** 2).sum(), rel=1e-8)
        assert float(distance_to_truth(torch.from_numpy(given), torch.from_numpy(full))) == pytest.approx(
            distance, rel=1e-8
        )


def test_noise_of_the_reference(load):
    """About that of the reference about the truth, which is known here: halves of 24 directions."""
    series = load(scan(count=60, sigma=0.04))
    (one,) = next(splits(Trial("x", "x", 12), [0]))
    clean = load(scan(count=60, sigma=0.0))
    assert (clean.mask == series.mask).all()
    (truth,) = next(splits(Trial("x", "x", 12), [0]))
    error = distance_to_truth(one.reference[one.mask], truth.reference[one.mask])
    assert float(reference_noise([one]).mean()) == pytest.approx(float(error.mean()), rel=0.25)
    noisy = distance_to_truth(one.noisy[one.mask], truth.reference[one.mask])
    assert noisy.mean() > 1.3 * error.mean()
    with pytest.raises(InputError, match="is the truth"):
        reference_fa_bias([dataclasses.replace(one, halves=None)])


def test_how_far_noise_raises_the_fa_of_a_reference(load):
    """Nearly isotropic tensors, of which noise makes anisotropic ones."""
    series = scan(b0=20, count=60, sigma=0.015)
    b, v = (torch.from_numpy(g).float() for g in (series.bvals, series.bvecs))
    round_ones = torch.diag(torch.tensor([0.8, 0.7, 0.6])).expand(*SHAPE, 3, 3)
    clean = 500 * signal(round_ones[..., None, :, :], torch.ones(*SHAPE, 1), b, v)
    noisy = rician(clean, 25.0, torch.Generator().manual_seed(2)).numpy()
    load(dataclasses.replace(series, data=noisy))
    ((one,),) = splits(Trial("x", "x", 12), [0])
    above = float(fa(one.reference[one.mask]).mean() - fa(round_ones)[0, 0, 0])
    assert above > 0.003
    assert reference_fa_bias([one]) == pytest.approx(above, rel=0.3)


@pytest.mark.slow
def test_real_sets():
    """Voxels, noisy distances and MPPCA's gains, the figures that others have measured on the same scans."""
    mppca = next(method for method in METHODS if method.name == "MPPCA")
    expected = {  # voxels, mean distance of the input, MPPCA's gain in dB over several splits
        "small-64d, 12 directions": (996, 0.83, 3.03),
        "small-64d, 32 directions": (996, 0.48, 0.93),
        "mdt-b1k-b2k, 12 directions": (7606, 0.049, 0.56),
    }
    for trial in TRIALS:
        if trial.name not in expected:
            continue
        voxels, distance, gain = expected[trial.name]
        (cases,) = splits(trial, [0])
        assert sum(int(one.mask.sum()) for one in cases) == voxels
        reference = torch.cat([one.reference[one.mask] for one in cases])
        before = distance_to_truth(torch.cat([one.noisy[one.mask] for one in cases]), reference).mean()
        after = distance_to_truth(torch.cat([mppca.run(one)[one.mask] for one in cases]), reference).mean()
        assert float(before) == pytest.approx(distance, rel=0.05)
        assert float(10 * torch.log10(before / after)) == pytest.approx(gain, abs=0.4)
