"""From scans to tensors: the foreground and the fit, against dipy on the scans that it ships."""

from pathlib import Path

import dipy.data
import nibabel as nib
import numpy as np
import pytest
import torch
from dipy.core.gradients import gradient_table
from dipy.io.gradients import read_bvals_bvecs
from dipy.reconst.dti import TensorModel
from scipy.ndimage import binary_erosion

from manifoldnet.dti.fit import FLOOR
from manifoldnet.dti.gradients import check_fittable
from manifoldnet.dti.noise import rician
from manifoldnet.dti.scan import block_means, blurred, fit_scan, foreground, has_signal, noise_level
from manifoldnet.dti.simulate import directions
from manifoldnet.errors import InputError

FILES = Path(dipy.data.__file__).parent / "files"


def shipped(name):
    bvals, bvecs = read_bvals_bvecs(str(FILES / f"{name}.bval"), str(FILES / f"{name}.bvec"))
    image = next(FILES.glob(f"{name}.nii*"))
    return np.asarray(nib.load(image).dataobj), *check_fittable(bvals, bvecs)


def head(air):
    """An ellipsoid of b0 = 1000 with a bright ventricle in Rician air of the given level."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 28, 12)), indexing="ij"), -1)
    inside = np.linalg.norm(grid / [0.7, 0.7, 0.9], axis=-1) < 1
    ventricle = np.linalg.norm(grid / [0.2, 0.2, 0.5], axis=-1) < 1
    bvals = np.array([0.0] + [1000.0] * 6)
    bvecs = np.vstack([np.zeros(3), directions(6)])
    b0 = 1000.0 * inside + 1500 * ventricle
    attenuation = np.exp(-bvals * np.where(ventricle, 3e-3, 0.8e-3)[..., None])
    clean = torch.from_numpy(b0[..., None] * attenuation)
    return rician(clean, air, torch.Generator().manual_seed(0)).numpy(), bvals, bvecs, inside


@pytest.mark.parametrize("air", [0.0, 40.0])
def test_foreground_is_the_head_in_air_or_in_zeros(air):
    signal, bvals, _, inside = head(air)
    found = foreground(signal, bvals)
    assert found[binary_erosion(inside, iterations=2)].all()  # the median filter rounds edges off
    assert found[~inside].mean() < 0.02
    assert found.sum() > 0.8 * inside.sum()


def test_foreground_of_a_crop_is_everything():
    signal, bvals, _, inside = head(0.0)
    crop = signal[7:-7, 9:-9, 3:-3]
    assert inside[7:-7, 9:-9, 3:-3].all()
    assert foreground(crop, bvals).all()
    small, bvals, _ = shipped("small_64D")
    assert foreground(small, bvals).all()


@pytest.mark.parametrize("block", [1, 2, 3])
def test_block_means(block):
    """As torch pools; a block with a voxel outside the mask is outside, what is left over at the ends is dropped."""
    rng = np.random.default_rng(0)
    signal = rng.uniform(0, 900, (7, 9, 6, 4)).astype(np.float32)
    mask = rng.uniform(size=(7, 9, 6)) < 0.9
    means, whole = block_means(signal, mask, block)
    pooled = torch.nn.functional.avg_pool3d(torch.from_numpy(signal).double().movedim(-1, 0), block)
    np.testing.assert_allclose(means, pooled.movedim(0, -1), rtol=1e-6)
    pooled = torch.nn.functional.avg_pool3d(torch.from_numpy(mask).double()[None], block)[0]
    np.testing.assert_array_equal(whole, pooled > 1 - 1e-6)
    assert 0 < whole.sum() < whole.size
    assert means.dtype == np.float32
    with pytest.raises(InputError, match=r"block: .*6.*7"):
        block_means(signal, mask, 7)
    with pytest.raises(InputError, match="block"):
        block_means(signal, mask, 0)


def test_blurred():
    """Weighted means of neighbours along y that are inside: constants stay, noise is correlated along y only."""
    rng = np.random.default_rng(0)
    signal, mask = rng.standard_normal((30, 40, 20, 2)).astype(np.float32), rng.uniform(size=(30, 40, 20)) < 0.9
    found = blurred(signal, mask, 0.22)
    assert found.dtype == np.float32
    for x, y, z in ((0, 0, 0), (4, 7, 5), (29, 39, 19), (12, 20, 3)):
        near = [(0.22 if k != y else 1.0, k) for k in (y - 1, y, y + 1) if 0 <= k < 40 and mask[x, k, z]]
        wanted = sum(w * signal[x, k, z] for w, k in near) / sum(w for w, _ in near) if mask[x, y, z] else [0, 0]
        np.testing.assert_allclose(found[x, y, z], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(blurred(np.ones_like(signal), mask, 0.22), np.broadcast_to(mask[..., None], found.shape))
    whole = blurred(signal, np.ones_like(mask), 0.22)
    along = [np.mean(whole.take(range(1, n), k) * whole.take(range(n - 1), k)) / np.mean(whole**2)
             for k, n in enumerate(whole.shape[:3])]  # fmt: skip
    np.testing.assert_allclose(along, [0, 2 * 0.22 / (1 + 2 * 0.22**2), 0], atol=0.02)


def test_voxels_without_signal():
    signal = np.ones((2, 2, 1, 7), np.float32)
    signal[0, 0, 0, 3] = np.nan
    signal[0, 1, 0, 5] = np.inf
    signal[1, 0, 0, 0] = 0
    assert has_signal(signal, np.array([0.0] + [1000.0] * 6)).ravel().tolist() == [False, False, False, True]


@pytest.mark.parametrize("name", ["small_64D", "small_101D"])
def test_fit_agrees_with_dipy_below_the_bound_on_b(name):
    signal, bvals, bvecs = shipped(name)
    mask = has_signal(signal, bvals)
    mask[0, :, 3] = False
    result = fit_scan(signal, bvals, bvecs, mask)
    used = bvals <= 1515  # small_101D goes on to 4100; its b-values hardly repeat
    assert used.all() == (name == "small_64D")
    gradients = gradient_table(bvals[used], bvecs=bvecs[used], b0_threshold=60)
    expected = TensorModel(gradients, fit_method="WLS", min_signal=1).fit(signal[..., used], mask=mask)
    regular = mask & (expected.evals[..., 2] > FLOOR * np.maximum(expected.evals[..., 0], 1 / bvals[used].max()))
    assert regular.sum() > 0.8 * mask.sum()
    assert result.floored == (mask & ~regular).sum()
    np.testing.assert_allclose(result.tensors[regular], expected.quadratic_form[regular], atol=1e-9)
    np.testing.assert_array_equal(np.isnan(result.tensors).all((-1, -2)), ~mask)
    values = np.linalg.eigvalsh(result.tensors[mask].astype(np.float64))
    assert (values[:, 0] > 0.999 * FLOOR * np.maximum(values[:, 2], 1 / bvals[used].max())).all()


def test_scale_of_the_signal_does_not_matter():
    signal, bvals, bvecs, inside = head(30.0)
    unit = fit_scan(signal / 1000, bvals, bvecs, inside).tensors
    np.testing.assert_allclose(unit[inside], fit_scan(signal, bvals, bvecs, inside).tensors[inside], atol=1e-8)


def corrupted(shape, count=30, noise=20.0, share=1.0):
    """A scan of one tensor, 4 % noise, three of whose volumes are spoiled in a share of the voxels; and the tensor."""
    turn, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((3, 3)))
    tensor = turn @ np.diag([1.6e-3, 4e-4, 3e-4]) @ turn.T
    bvals = np.array([0.0] + [1000.0] * count)
    bvecs = np.vstack([np.zeros(3), directions(count)])
    clean = 500 * np.exp(-bvals * np.einsum("ni,ij,nj->n", bvecs, tensor, bvecs))
    rng = np.random.default_rng(6)
    signal = clean + noise * rng.standard_normal((*shape, count + 1))
    spoiled = rng.random(shape) < share
    for volume, factor in ((4, 0.1), (11, 1.9), (20, 0.2)):
        signal[..., volume][spoiled] *= factor
    return np.maximum(signal, 1.0), bvals, bvecs, tensor


def test_restore_leaves_outliers_out():
    clean, bvals, bvecs, tensor = corrupted((6, 6, 2), share=0.0)
    spoiled, *_ = corrupted((6, 6, 2), share=0.2)
    wrong = (spoiled != clean).any(-1)
    assert 8 < wrong.sum() < 30
    whole = np.ones((6, 6, 2), bool)

    def error(signal, method):
        found = fit_scan(signal, bvals, bvecs, whole, method).tensors - tensor
        return np.linalg.norm(found, axis=(-1, -2)) / np.linalg.norm(tensor)

    usual = error(clean, "wls")
    assert error(spoiled, "wls")[wrong].mean() > 3 * usual.mean()
    assert error(spoiled, "restore")[wrong].mean() < 1.5 * usual.mean()
    # where nothing is wrong few volumes go
    assert error(spoiled, "restore")[~wrong].mean() < 1.15 * usual[~wrong].mean()


@pytest.mark.parametrize(("count", "share", "tolerance"), [(30, 0.0, 0.03), (30, 0.1, 0.05), (7, 0.0, 0.1)])
def test_noise_level(count, share, tolerance):
    scan = corrupted((20, 20, 10), share=share) if count == 30 else few(count)
    assert noise_level(*scan[:3], np.ones((20, 20, 10), bool)) == pytest.approx(20, rel=tolerance)


def few(count):
    signal, bvals, bvecs, tensor = corrupted((20, 20, 10), share=0.0)
    chosen = np.r_[0, np.linspace(1, 30, count).astype(int)]
    return signal[..., chosen], bvals[chosen], bvecs[chosen], tensor


def test_fits_refused():
    signal, bvals, bvecs, _ = few(6)
    inside = np.ones(signal.shape[:3], bool)
    with pytest.raises(InputError, match="fit: wanted one of wls, restore, got 'ols'"):
        fit_scan(signal, bvals, bvecs, inside, "ols")
    with pytest.raises(InputError, match="bvals: the noise level needs more than 7 volumes to fit, got 7"):
        fit_scan(signal, bvals, bvecs, inside, "restore")
