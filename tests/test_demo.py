"""The demonstration: all three jobs, their pictures, and files that agree with the table."""

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

from manifoldnet import demo
from manifoldnet.activity import train as activity_train
from manifoldnet.data import cached, load_diffusion
from manifoldnet.dti.model import DtiDenoiser
from manifoldnet.errors import InputError
from manifoldnet.insar.model import InsarDenoiser

SHIPPED = [InsarDenoiser.shipped, DtiDenoiser.shipped, activity_train.SHIPPED]
pytestmark = pytest.mark.skipif(not all(path.is_file() for path in SHIPPED), reason="no shipped weights")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def recordings():
    """Whether the watch recordings are there; where they are not, nothing is fetched for a test."""
    return cached("watch") is not None


@pytest.fixture(scope="module")
def made(tmp_path_factory, recordings):
    """The folder that the demonstration fills, and its rows."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    with pytest.MonkeyPatch.context() as patch:
        if not recordings:
            patch.setattr(activity_train, "load_watch", absent)
        rows = demo.run(folder, Console())
    return folder, rows


def absent():
    raise InputError("watch: no network")


def test_rows(made, recordings):
    _, (insar, dti, activity) = made
    assert insar.keys() == dti.keys() == activity.keys()
    for row in (insar, dti):
        assert 0 < row["manifoldnet"] < row["before"]
    assert insar["manifoldnet"] < insar["beside it"]
    if recordings:
        assert activity["beside it"] == pytest.approx(1 / 7)
        assert 0.5 < activity["manifoldnet"] <= 1


def test_files(made, recordings):
    folder, _ = made
    expected = {"insar.png", "insar_noisy.npy", "insar_denoised.npy", "dti.png", "dti_denoised.nii.gz",
                "dti_denoised_fa.nii.gz", "dti_denoised_md.nii.gz"}  # fmt: skip
    assert {path.name for path in folder.iterdir()} == expected | ({"activity.png"} if recordings else set())
    for path in folder.glob("*.png"):
        content = path.read_bytes()
        assert content.startswith(PNG)
        assert len(content) > 5000
    noisy, denoised = (np.load(folder / f"insar_{name}.npy") for name in ("noisy", "denoised"))
    assert noisy.shape == denoised.shape == (256, 256)
    assert noisy.dtype.kind == "c"
    # residues, of which a clean phase has few
    assert loops(denoised) < 0.2 * loops(np.angle(noisy))
    image = nib.load(folder / "dti_denoised.nii.gz")
    assert image.shape == (10, 10, 10, 1, 6)
    np.testing.assert_allclose(image.affine, load_diffusion("small-64d").affine, atol=1e-5)
    diffusivity = nib.load(folder / "dti_denoised_md.nii.gz").get_fdata()
    assert 5e-4 < np.median(diffusivity[diffusivity > 0]) < 2e-3  # mm^2/s


def loops(phase):
    """Number of 2 by 2 loops round which the wrapped differences do not cancel."""
    right, down = (np.angle(np.exp(1j * np.diff(phase, axis=axis))) for axis in (1, 0))
    return int((np.abs(right[:-1] + down[:, 1:] - right[1:] - down[:, :-1]) > np.pi).sum())


def test_without_the_recordings(tmp_path, monkeypatch):
    """The third job is left out, and the table says why."""
    monkeypatch.setattr(activity_train, "load_watch", absent)
    (row,) = demo._activity(tmp_path)
    assert np.isnan(row["manifoldnet"])
    assert row["which is"] == "skipped: watch: no network"
    assert list(tmp_path.iterdir()) == []
