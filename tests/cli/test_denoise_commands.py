"""``denoise`` on good input; what it writes is read again with rasterio, nibabel, numpy and dipy."""

import re
from pathlib import Path

import h5py
import nibabel as nib
import nrrd
import numpy as np
import pytest
import rasterio
from cli_inputs import AFFINE, nifti, six, spd_field
from dipy.data import get_fnames
from dipy.reconst.dti import fractional_anisotropy, mean_diffusivity
from rasterio.transform import Affine

from manifoldnet.dti.model import DtiDenoiser

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "insar"


def turn(a, b):
    """Largest arc between angles."""
    return np.abs(np.angle(np.exp(1j * (np.asarray(a, np.float64) - b)))).max()


# interferograms ------------------------------------------------------------------------------------------------------


def interferogram(shape=(70, 93), seed=0):
    """A noisy bowl: complex64 with amplitudes, and its coherence."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    noise = rng.standard_normal((2, *shape)) * 0.4
    phasor = np.exp(1j * 0.004 * ((x - 40) ** 2 + (y - 30) ** 2)) + noise[0] + 1j * noise[1]
    return (rng.uniform(1, 9, shape) * phasor).astype(np.complex64), np.full(shape, 0.7, np.float32)


def test_geotiff(cli, tmp_path):
    z, gamma = interferogram()
    phase = np.angle(z)
    phase[:5, :40] = -9999
    profile = {"driver": "GTiff", "height": 70, "width": 93, "count": 1, "dtype": "float32", "nodata": -9999,
               "crs": "EPSG:32633", "transform": Affine(40.0, 0.0, 500000.0, 0.0, -40.0, 4500000.0),
               "tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}  # fmt: skip
    for name, band in (("a.tif", phase), ("c.tif", gamma)):
        with rasterio.open(tmp_path / name, "w", **profile) as file:
            file.write(band, 1)
            file.update_tags(MASTER_DATE="2018-01-06", WAVELENGTH_METRES="0.0555")
            file.update_tags(1, LOOKS="8")
            file.set_band_description(1, "wrapped phase" if name == "a.tif" else "coherence")
    code, out, err = cli("denoise", "insar", tmp_path / "a.tif", tmp_path / "out.tif", "--coherence",
                         tmp_path / "c.tif", "--looks", "8")  # fmt: skip
    assert (code, err) == (0, "")
    assert "70 x 93 pixels from phase and coherence" in out
    with rasterio.open(tmp_path / "a.tif") as before, rasterio.open(tmp_path / "out.tif") as after:
        assert after.profile == before.profile
        assert after.tags() == before.tags()
        assert after.tags(1) == before.tags(1)
        assert after.descriptions == before.descriptions
        result = after.read(1)
    missing = phase == -9999
    assert np.array_equal(result == -9999, missing)
    kept = result[~missing]
    assert np.abs(kept).max() <= np.float32(np.pi)
    assert not np.array_equal(kept, phase[~missing])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "c.tif", "out.tif"]
    # a single look's coherence of 1 everywhere says nothing, and the message says that it was not used
    with rasterio.open(tmp_path / "c.tif", "r+") as file:
        file.write(np.ones_like(gamma), 1)
    one = cli("denoise", "insar", tmp_path / "a.tif", tmp_path / "one.tif", "--coherence", tmp_path / "c.tif",
              "--looks", "1")  # fmt: skip
    alone = cli("denoise", "insar", tmp_path / "a.tif", tmp_path / "alone.tif", "--looks", "1")
    assert "phase only" in one.out
    assert "phase only" in alone.out
    with rasterio.open(tmp_path / "one.tif") as first, rasterio.open(tmp_path / "alone.tif") as second:
        np.testing.assert_array_equal(first.read(1), second.read(1))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_hdf5_with_uncertainty(cli, weights, tmp_path):
    """Options reach the streaming, and the message says what was done, how fast and in how much memory."""
    z, gamma = interferogram()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, image in (("wrapPhase", np.angle(z)), ("unwrapPhase", np.angle(z)), ("coherence", gamma)):
            file[name] = np.stack([image, image])
    arguments = ("denoise", "insar", tmp_path / "a.h5", tmp_path / "out.h5", "--weights", weights["insar"])
    assert "wanted one data set" in cli(*arguments).err
    code, out, err = cli(*arguments, "--dataset", "wrapPhase", "--uncertainty", tmp_path / "u.tif", "--tile", 40)
    assert (code, err) == (0, "")
    assert "2 interferograms of 70 x 93 pixels from phase and coherence" in out
    assert re.search(r" s, [\d.]+ megapixels per second, peak memory [\d.]+ GB", out)
    with rasterio.open(tmp_path / "u.tif") as file:
        assert (file.count, file.shape) == (2, (70, 93))
    with h5py.File(tmp_path / "out.h5") as file:
        assert not np.array_equal(file["wrapPhase"][1], np.angle(z))
        np.testing.assert_array_equal(file["unwrapPhase"][1], np.angle(z))


ENVI = """ENVI
samples = 93
lines = 70
bands = 1
header offset = 0
data type = 6
interleave = bsq
byte order = {order}
"""


@pytest.mark.parametrize("header", ["envi", "envi big endian", "roi_pac", "width"])
def test_raw(cli, tmp_path, header):
    z, _ = interferogram()
    z[10:14, 20:33] = 0
    dtype = ">c8" if "big" in header else "<c8"
    z.astype(dtype).tofile(tmp_path / "a.int")
    rest = []
    if header.startswith("envi"):
        (tmp_path / "a.int.hdr").write_text(ENVI.format(order=int("big" in header)))
    elif header == "roi_pac":
        (tmp_path / "a.int.rsc").write_text("WIDTH 93\nFILE_LENGTH 70\nWAVELENGTH 0.0562356424\n")
    else:
        rest = ["--width", 93]
    code, _, err = cli("denoise", "insar", tmp_path / "a.int", tmp_path / "out.int", *rest)
    assert (code, err) == (0, "")
    result = np.fromfile(tmp_path / "out.int", dtype).reshape(70, 93)
    assert np.array_equal(result == 0, z == 0)
    np.testing.assert_allclose(np.abs(result), np.abs(z), rtol=1e-5)
    assert turn(np.angle(result), np.angle(z)) > 0.5
    for side in ("hdr", "rsc"):
        if (tmp_path / f"a.int.{side}").is_file():
            assert (tmp_path / f"out.int.{side}").read_bytes() == (tmp_path / f"a.int.{side}").read_bytes()


@pytest.mark.parametrize("kind", ["complex64", "complex128", "float32", "float64"])
def test_npy(cli, tmp_path, kind):
    z, gamma = interferogram()
    image = z.astype(kind) if kind.startswith("complex") else np.angle(z).astype(kind)
    image[30:34, 50:60] = np.nan
    gamma[0, :] = np.nan  # not known: the phase is filtered all the same
    np.save(tmp_path / "a.npy", image)
    np.save(tmp_path / "c.npy", gamma)
    target = tmp_path / "[red]" / "[" / "x].npy"  # "[/x]" is an error where rich reads markup
    target.parent.mkdir(parents=True)
    code, out, err = cli("denoise", "insar", tmp_path / "a.npy", target, "--coherence", tmp_path / "c.npy")
    assert (code, err) == (0, "")
    assert str(target) in out
    result = np.load(target)
    assert result.dtype == image.dtype
    missing = np.isnan(image)
    np.testing.assert_array_equal(result[missing], image[missing])
    assert np.isfinite(result[~missing]).all()
    assert not np.array_equal(result[~missing], image[~missing])


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/insar")
@pytest.mark.parametrize("name", sorted(path.name for path in SHARED.rglob("*.tif") if "_cc" not in path.name))
def test_real_geotiff(cli, tmp_path, name):
    (path,) = SHARED.rglob(name)
    coherence = path.with_name(name.replace("_eqa_unw", "_flat_eqa_cc"))
    rest = ["--coherence", coherence] if coherence != path else []
    code, _, err = cli("denoise", "insar", path, tmp_path / name, *rest)
    assert (code, err) == (0, "")
    with rasterio.open(path) as before, rasterio.open(tmp_path / name) as after:
        np.testing.assert_equal(dict(after.profile), dict(before.profile))  # the no-data tag may be NaN
        # statistics describe the pixels that were replaced
        assert after.tags() == {k: v for k, v in before.tags().items() if not k.startswith("STATISTICS")}
        old, new = before.read(1), after.read(1)
    known = old != 0
    np.testing.assert_array_equal(new[old == 0], 0)
    assert np.abs(new[known]).max() <= np.float32(np.pi)
    # the processor has filtered these: little is left to change
    assert np.median(np.abs(np.angle(np.exp(1j * (new[known] - old[known]))))) < 0.2


# diffusion tensors ---------------------------------------------------------------------------------------------------


def check_maps(folder, stem, tensors, inside):
    values = np.linalg.eigvalsh(tensors.astype(np.float64))
    assert (values[inside] > 0).all()
    for name, measure in (("fa", fractional_anisotropy), ("md", mean_diffusivity)):
        image = nib.load(folder / f"{stem}_{name}.nii.gz")
        found = image.get_fdata()
        np.testing.assert_allclose(found[inside], measure(values[inside]), rtol=1e-4, atol=1e-9)
        assert (found[~inside] == 0).all()


def full(components, order):
    """(..., 3, 3) of six components."""
    places = {"fsl": [[0, 1, 2], [1, 3, 4], [2, 4, 5]], "dipy": [[0, 1, 3], [1, 2, 4], [3, 4, 5]]}
    return components[..., np.array(places[order])]


@pytest.mark.parametrize("shipped", [False, True])
def test_scan(cli, weights, tmp_path, shipped):
    if shipped and not DtiDenoiser.shipped.is_file():
        pytest.skip("no shipped weights")
    source, bvals, bvecs = get_fnames(name="small_64D")
    image = nib.load(source)
    crop = nib.Nifti1Image(np.asarray(image.dataobj)[:6, :7, :5], image.affine, image.header)
    nib.save(crop, tmp_path / "dwi.nii.gz")
    rest = [] if shipped else ["--weights", weights["dti"], "--uncertainty"]
    arguments = [tmp_path / "dwi.nii.gz", tmp_path / "out.nii.gz", "--bvals", bvals, "--bvecs", bvecs, *rest]
    code, out, err = cli("denoise", "dti", *arguments)
    assert (code, err) == (0, "")
    assert "6 x 7 x 5 voxels" in out
    assert "peak memory" in out
    result = nib.load(tmp_path / "out.nii.gz")
    assert result.shape == (6, 7, 5, 1, 6)
    assert int(result.header["intent_code"]) == 1005
    np.testing.assert_array_equal(result.affine, image.affine)
    tensors = full(result.get_fdata()[..., 0, :], "dipy")
    inside = (tensors != 0).any((-1, -2))
    assert inside.mean() > 0.9
    assert 3e-4 < np.median(np.linalg.eigvalsh(tensors[inside])) < 3e-3  # mm^2/s
    check_maps(tmp_path, "out", tensors, inside)
    names = sorted(path.name for path in tmp_path.iterdir())
    beside = [] if shipped else ["out_uncertainty.nii.gz"]
    assert names == ["dwi.nii.gz", "out.nii.gz", "out_fa.nii.gz", "out_md.nii.gz", *beside]
    if not shipped:
        np.testing.assert_array_equal(nib.load(tmp_path / "out_uncertainty.nii.gz").get_fdata() > 0, inside)


def test_gradients_beside_the_scan(cli, weights, tmp_path):
    source, bvals, bvecs = (Path(path) for path in get_fnames(name="small_64D"))
    for path, name in ((source, "dwi.nii"), (bvals, "dwi.bval"), (bvecs, "dwi.bvec")):
        (tmp_path / name).write_bytes(path.read_bytes())
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[2:5, 3:6, 4:6] = 1
    nifti(tmp_path / "mask.nii.gz", mask)
    code, _, err = cli("denoise", "dti", tmp_path / "dwi.nii", tmp_path / "out.nii", "--mask",
                       tmp_path / "mask.nii.gz", "--weights", weights["dti"])  # fmt: skip
    assert (code, err) == (0, "")
    tensors = full(nib.load(tmp_path / "out.nii").get_fdata()[..., 0, :], "dipy")
    np.testing.assert_array_equal((tensors != 0).any((-1, -2)), mask > 0)
    check_maps(tmp_path, "out", tensors, mask > 0)


def test_restore_and_nrrd(cli, weights, tmp_path):
    source, bvals, bvecs = get_fnames(name="small_64D")
    image = nib.load(source)
    crop = nib.Nifti1Image(np.asarray(image.dataobj)[3:6, 3:6, 4:6], image.affine, image.header)
    nib.save(crop, tmp_path / "dwi.nii")
    found = {}
    for fit in ("wls", "restore"):
        rest = ["--bvals", bvals, "--bvecs", bvecs, "--fit", fit, "--strength", 0, "--weights", weights["dti"]]
        code, out, err = cli("denoise", "dti", tmp_path / "dwi.nii", tmp_path / f"{fit}.nii", *rest)
        assert (code, err) == (0, "")
        assert "voxels in mm^2/s" in out
        found[fit] = full(nib.load(tmp_path / f"{fit}.nii").get_fdata()[..., 0, :], "dipy")
    difference = np.linalg.norm(found["wls"] - found["restore"]) / np.linalg.norm(found["wls"])
    assert 1e-4 < difference < 0.1
    data = np.moveaxis(found["wls"].reshape(3, 3, 2, 9), -1, 0).astype(np.float32)
    header = {"kinds": ["3D-matrix", "space", "space", "space"], "space": "RAS", "space origin": image.affine[:3, 3],
              "space directions": np.vstack([np.full(3, np.nan), image.affine[:3, :3].T])}  # fmt: skip
    nrrd.write(str(tmp_path / "in.nrrd"), data, header)
    code, out, err = cli("denoise", "dti", tmp_path / "in.nrrd", tmp_path / "again.nii", "--strength", 0, "--weights",
                         weights["dti"], "--glyphs", tmp_path / "glyphs.png")  # fmt: skip
    assert (code, err) == (0, "")
    assert (tmp_path / "glyphs.png").read_bytes().startswith(b"\x89PNG")
    again = nib.load(tmp_path / "again.nii")
    np.testing.assert_allclose(again.affine, image.affine, atol=1e-5)
    # what leaves the limits of the eigenvalues comes back clamped
    inside = np.linalg.eigvalsh(found["wls"])[..., 0] > 1e-4
    np.testing.assert_allclose(full(again.get_fdata()[..., 0, :], "dipy")[inside], found["wls"][inside], atol=1e-8)


@pytest.mark.parametrize("five", [False, True])
def test_six_components(cli, weights, tmp_path, five):
    tensors = spd_field((7, 6, 5))
    tensors[0, :2, 0] = 0
    order = "dipy" if five else "fsl"
    data = six(tensors) if not five else six(tensors)[..., None, [0, 1, 3, 2, 4, 5]]
    source = nifti(tmp_path / "in.nii.gz", data, intent=1005 if five else 0)
    rest = [] if five else ["--order", "fsl"]  # intent 1005 tells it
    code, out, err = cli("denoise", "dti", source, tmp_path / "out.nii.gz", *rest, "--weights", weights["dti"])
    assert (code, err) == (0, "")
    assert "208 of 7 x 6 x 5 voxels" in out
    image = nib.load(tmp_path / "out.nii.gz")
    assert image.shape == data.shape
    assert int(image.header["intent_code"]) == (1005 if five else 0)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    result = full(image.get_fdata().reshape(7, 6, 5, 6), order)
    inside = (tensors != 0).any((-1, -2))
    np.testing.assert_array_equal(result[~inside], 0)
    assert (result[inside] != tensors[inside]).any()
    # log-Euclidean means do not swell: determinants lie between the neighbours'
    before, after = (np.linalg.slogdet(x[inside].astype(np.float64))[1] for x in (tensors, result))
    assert before.min() - 1e-3 < after.min() < after.max() < before.max() + 1e-3
    check_maps(tmp_path, "out", result, inside)
