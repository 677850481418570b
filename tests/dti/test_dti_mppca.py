"""Local principal components: dipy's, batched."""

import numpy as np
import pytest
import torch
from dipy.denoise.localpca import mppca as dipy_mppca

from manifoldnet.dti import evaluate, mppca


@pytest.fixture(scope="module")
def case():
    (one,) = evaluate.phantom_cases(1, 14, 10.0, 2, evaluate.TEST)
    return one


@pytest.mark.parametrize(
    ("volumes", "thin", "radius"),
    [(13, False, 1), (13, False, 2), (40, False, 2), (40, False, 1), (13, True, 2), (30, True, 1)],
)
def test_it_is_dipys(case, volumes, thin, radius):
    """In volumes and in single slices; with more volumes than voxels in a patch too."""
    z = slice(7, 8) if thin else slice(None)
    signals, mask = case.signals[:, :, z, :volumes].double(), case.mask[:, :, z]
    sides = np.array([radius, radius, 0 if thin else radius])
    with np.errstate(invalid="ignore"):
        wanted = dipy_mppca(signals.numpy(), mask=mask.numpy(), patch_radius=sides, suppress_warning=True)
    wanted = torch.from_numpy(wanted)
    found = mppca.mppca(signals, mask, radius)
    there = mask & wanted.isfinite().all(-1) & (wanted > 0).all(-1)  # dipy has NaN outside patches and 0 below it
    assert there.sum() > 0.8 * mask.sum()
    torch.testing.assert_close(found[there], wanted[there], rtol=1e-9, atol=1e-9)
    assert torch.equal(found[~mask], signals[~mask])


def test_chunks_do_not_matter(case, monkeypatch):
    signals = case.signals[..., :13].double()
    whole = mppca.mppca(signals, case.mask)
    monkeypatch.setattr(mppca, "CHUNK", 13 * 27 * 50)
    torch.testing.assert_close(mppca.mppca(signals, case.mask), whole, rtol=1e-12, atol=1e-12)


def test_cores_do_not_matter(case):
    signals, before = case.signals[..., :13].double(), torch.get_num_threads()
    found = []
    for cores in (1, 3):
        torch.set_num_threads(cores)
        try:
            found.append(mppca.mppca(signals, case.mask))
        finally:
            torch.set_num_threads(before)
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


def test_it_leaves_what_has_few_components():
    """Signals that are sums of three patterns, without noise."""
    rng = np.random.default_rng(0)
    signals = torch.from_numpy(5 + rng.random((8, 8, 8, 3)) @ rng.random((3, 20))).float()
    out = mppca.mppca(signals, torch.ones(8, 8, 8, dtype=torch.bool))
    torch.testing.assert_close(out, signals, rtol=1e-5, atol=1e-5)


def test_a_mask_without_a_patch_changes_nothing(case):
    """Neither where no centre of a patch is in the mask, nor in an empty one."""
    mask = torch.zeros_like(case.mask)
    assert torch.equal(mppca.mppca(case.signals, mask), case.signals)
    mask[0] = True
    assert torch.equal(mppca.mppca(case.signals, mask), case.signals)


@pytest.mark.parametrize(("volumes", "thin", "radius"), [(13, False, 1), (30, False, 2), (13, True, 2), (26, True, 3)])
def test_smallest_patches(volumes, thin, radius):
    """3^3 voxels for at most 26 volumes, 5^3 for more; in one slice 5^2 for at most 24, 7^2 for more."""
    shape = 14, 14, 1 if thin else 14
    assert mppca.patch_sides(shape, volumes, None) == mppca.patch_sides(shape, volumes, radius)
    assert mppca.patch_sides(shape, volumes, None) == [radius, radius, 0 if thin else radius]
