"""The denoiser of diffusion tensors given the signals too: the noise level that their residuals tell."""

import pytest
import torch
from test_dti_model import SMALL, apart, field

from manifoldnet.dti.examples import protocol
from manifoldnet.dti.fit import wls
from manifoldnet.dti.model import USUAL_LEVEL, DtiDenoiser, Known, denoise, filtered, told_level
from manifoldnet.dti.mppca import mppca
from manifoldnet.dti.simulate import directions, dwi
from manifoldnet.errors import InputError


@pytest.fixture(scope="module")
def untrained():
    return DtiDenoiser(SMALL, torch.Generator().manual_seed(1)).eval()


def scan(shape=(6, 6, 4), n=20, snr=15.0, seed=0):
    """Tensors (mm^2/s), signals, b-values and directions of a small phantom-like block."""
    bvals, bvecs = protocol(n)
    true = torch.from_numpy(1e3 * field(*shape, seed=seed))
    signals = dwi(true[..., None, :, :], torch.ones(*shape, 1), bvals, bvecs, snr, torch.Generator().manual_seed(seed))
    return wls(signals, bvals, bvecs), signals, bvals, bvecs


def test_signals_tell_the_noise(untrained):
    tensors, signals, bvals, bvecs = scan()
    alone = denoise(tensors, model=untrained)
    result = denoise(tensors, None, signals, bvals, bvecs, untrained)
    assert apart(result, alone) > 1e-4
    # against the level taken from the definition: residuals of log S, weighted, about the mean
    predicted = -torch.einsum("ni,...ij,nj,n->...n", bvecs, tensors, bvecs, bvals)
    weights = (2 * predicted).exp()
    intercept = signals.log() - predicted
    mean = (weights * intercept).sum(-1, keepdim=True) / weights.sum(-1, keepdim=True)
    sigma = ((weights * (intercept - mean).square()).sum(-1) / (len(bvals) - 7)).sqrt()
    assert 0.04 < sigma.median() < 0.1  # 1 / 15
    mask = torch.ones(6, 6, 4, dtype=torch.bool)
    kept = wls(mppca(signals, mask), bvals, bvecs)
    expected = filtered(tensors, mask, Known(sigma, 20, kept), untrained).tensors
    assert apart(result, expected) < 1e-4
    # other kinds of arrays, and in other units of brightness
    again = denoise(tensors.numpy(), None, (1000 * signals).numpy(), bvals.tolist(), bvecs.double().numpy(), untrained)
    assert apart(again, result) < 1e-4
    whole = (1e4 * signals).round().to(torch.int16).numpy()
    assert apart(denoise(tensors, None, whole, bvals, bvecs, untrained), result) < 1e-2


def test_low_levels_are_told_as_usual_ones(untrained):
    mask = torch.rand(5, 5, 4, generator=torch.Generator().manual_seed(0)) > 0.2
    sigma = torch.rand(5, 5, 4, generator=torch.Generator().manual_seed(1)) * mask
    sigma[2, 2, :2] = 0  # not known
    for scale in (0.01, 10.0):
        level = told_level(scale * sigma, mask)
        torch.testing.assert_close(level / level.max(), sigma / sigma.max())
        known = level[mask & (sigma > 0)].median()
        assert known == pytest.approx(max(USUAL_LEVEL, scale * float(sigma[mask & (sigma > 0)].median())))
    for unchanged in ((0 * sigma, mask), (0.01 * sigma, mask, 1.0)):
        assert torch.equal(told_level(*unchanged), unchanged[0])


def test_signals_with_gaps(untrained):
    """dipy writes NaN directions where b is 0; dead voxels have no signal."""
    tensors, signals, bvals, bvecs = scan()
    expected = denoise(tensors, None, signals, bvals, bvecs, untrained)
    undefined = bvecs.clone()
    undefined[0] = torch.nan
    torch.testing.assert_close(denoise(tensors, None, signals, bvals, undefined, untrained), expected)
    dead = signals.clone()
    dead[3, 3, 2, 5] = torch.nan
    dead[1, 1, 1, 4] = torch.inf
    dead[4, 2, 2] = 0
    result = denoise(tensors, None, dead, bvals, bvecs, untrained)
    assert result.isfinite().all()
    assert torch.linalg.eigvalsh(result.double()).min() > 0


def test_high_b_values_are_left_out(untrained):
    tensors, signals, bvals, bvecs = scan()
    expected = denoise(tensors, None, signals, bvals, bvecs, untrained)
    more = torch.cat([signals, torch.rand(*signals.shape[:3], 12)], -1)
    b = torch.cat([bvals, torch.full((12,), 3000.0)])
    v = torch.cat([bvecs, torch.tensor(directions(12), dtype=torch.float32)])
    torch.testing.assert_close(denoise(tensors, None, more, b, v, untrained), expected)


def test_refused_signals(untrained):
    tensors, signals, b, v = scan()
    for arguments, words in (
        ((signals, None, None), "all three or none"),
        ((None, b, v), "all three or none"),
        ((signals[:5], b, v), "dwi, bvals, bvecs"),
        ((signals[..., 0], b, v), "dwi, bvals, bvecs"),
        ((signals, b[:-1], v), "dwi, bvals, bvecs"),
        ((signals, b, v.T), "dwi, bvals, bvecs"),
        ((signals, b, 2 * v), "unit vectors"),
        ((signals, b / 1000, v), "bvals|bvecs"),
        ((signals, b + 100, v), "bvals|bvecs"),
    ):
        with pytest.raises(InputError, match=words):
            denoise(tensors, None, *arguments, untrained)
    with pytest.raises(InputError, match=r"mm\^2/s"):  # um^2/ms beside s/mm^2
        denoise(1e3 * tensors, None, signals, b, v, untrained)
