"""Reading and writing tensor images; every file is made and read again with nibabel."""

from pathlib import Path

import dipy.data
import nibabel as nib
import numpy as np
import pytest
from dipy.reconst import dti as dipy_dti
from dipy.reconst.dti import fractional_anisotropy, mean_diffusivity

from manifoldnet.dti import io
from manifoldnet.dti.maps import MAPS
from manifoldnet.errors import InputError

FILES = Path(dipy.data.__file__).parent / "files"
SHAPE = (5, 4, 3)
AFFINE = np.array([[-2.0, 0, 0, 30], [0, 1.9, 0.3, -20], [0, -0.3, 2.1, 5], [0, 0, 0, 1]])
# index pairs written out by hand, independent of the package's tables
PAIRS = {
    "fsl": [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)],
    "dipy": [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2)],
    "mrtrix": [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)],
}


def field(seed=0, dtype=np.float32):
    """SPD tensors, mm^2/s, with a NaN voxel, a negative-zero voxel and a zero voxel outside the data."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((*SHAPE, 3, 3)))
    tensors = ((q * rng.uniform(2e-4, 2e-3, (*SHAPE, 1, 3))) @ q.swapaxes(-1, -2)).astype(dtype)
    tensors = 0.5 * (tensors + tensors.swapaxes(-1, -2))
    tensors[0, 0, 0], tensors[1, 0, 0], tensors[2, 0, 0] = np.nan, -0.0, 0
    return tensors


def components(tensors, order):
    return np.stack([tensors[..., i, j] for i, j in PAIRS[order]], -1)


def save(path, data, intent=0, kind=nib.Nifti1Image, **header):
    image = kind(data, AFFINE)
    image.header.set_intent(intent, (3,) if intent else ())
    image.header["descrip"] = b"made by a test"
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def outside():
    mask = np.ones(SHAPE, bool)
    mask[:3, 0, 0] = False
    return ~mask


def bits(data):
    return np.ascontiguousarray(data).view(np.uint8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", PAIRS)
@pytest.mark.parametrize("five", [False, True])
def test_tensor_volume_round_trip(tmp_path, order, five, dtype):
    tensors = field(dtype=dtype)
    data = components(tensors, order)
    data = data[:, :, :, None] if five else data
    path = save(tmp_path / "in.nii.gz", data, cal_max=0.25)
    volume = io.read(path, order=order)
    np.testing.assert_array_equal(volume.mask, ~outside())
    np.testing.assert_array_equal(volume.tensors[volume.mask], tensors[volume.mask].astype(np.float32))
    assert np.isnan(volume.tensors[outside()]).all()
    result = np.where(volume.mask[..., None, None], volume.tensors * 0.5, 7.0)
    io.write(tmp_path / "out.nii", result, volume)
    before, after = nib.load(path), nib.load(tmp_path / "out.nii")
    assert after.shape == data.shape
    assert after.get_data_dtype() == dtype
    np.testing.assert_array_equal(after.affine, before.affine)
    for key in ("pixdim", "descrip", "qform_code", "sform_code", "xyzt_units", "cal_max", "intent_code"):
        assert np.array_equal(after.header[key], before.header[key]), key
    stored = np.asarray(after.dataobj)
    np.testing.assert_array_equal(bits(stored[outside()]), bits(data[outside()]))
    expected = components(tensors.astype(np.float32) * np.float32(0.5), order)
    np.testing.assert_array_equal(stored.reshape(*SHAPE, 6)[volume.mask], expected[volume.mask])


@pytest.mark.parametrize("shape", [(9,), (1, 9), (3, 3)])
def test_full_matrices(tmp_path, shape):
    tensors = field()
    volume = io.read(save(tmp_path / "in.nii", tensors.reshape(*SHAPE, *shape)))
    np.testing.assert_array_equal(volume.tensors[volume.mask], tensors[volume.mask])
    io.write(tmp_path / "out.nii", volume.tensors, volume)
    stored = np.asarray(nib.load(tmp_path / "out.nii").dataobj)
    np.testing.assert_array_equal(bits(stored), bits(tensors.reshape(*SHAPE, *shape)))
    tensors[3, 2, 1, 0, 1] *= 1.01
    with pytest.raises(InputError, match=r"1 matrices are not symmetric, the first at voxel \(3, 2, 1\)"):
        io.read(save(tmp_path / "in.nii", tensors.reshape(*SHAPE, *shape)))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_symmetric_matrix_intent_tells_the_order(tmp_path, kind):
    tensors = field()
    data = components(tensors, "dipy")[:, :, :, None]
    volume = io.read(save(tmp_path / "in.nii.gz", data, intent=1005, kind=kind))
    np.testing.assert_array_equal(volume.tensors[volume.mask], tensors[volume.mask])
    io.write(tmp_path / "out.nii.gz", volume.tensors, volume)
    after = nib.load(tmp_path / "out.nii.gz")
    assert type(after) is kind
    assert after.header.get_intent()[:2] == ("symmetric matrix", (3.0,))
    assert nib.load(tmp_path / "out_fa.nii.gz").header.get_intent()[0] == "none"


def test_big_endian_and_scaled_integers(tmp_path):
    tensors = field()
    big = nib.Nifti1Image(components(tensors, "fsl"), AFFINE, nib.Nifti1Header(endianness=">"))
    nib.save(big, tmp_path / "big.nii")
    volume = io.read(tmp_path / "big.nii", order="fsl")
    io.write(tmp_path / "out.nii", volume.tensors, volume)
    assert (tmp_path / "out.nii").read_bytes()[352:] == (tmp_path / "big.nii").read_bytes()[352:]
    whole = np.nan_to_num(tensors)
    scaled = nib.Nifti1Image(components(whole, "fsl"), AFFINE)
    scaled.set_data_dtype(np.int16)
    nib.save(scaled, tmp_path / "int.nii.gz")
    volume = io.read(tmp_path / "int.nii.gz", order="fsl", mask=~outside())
    np.testing.assert_allclose(volume.tensors[volume.mask], whole[volume.mask], atol=1e-7)
    io.write(tmp_path / "out.nii.gz", volume.tensors, volume)
    after = nib.load(tmp_path / "out.nii.gz")
    assert after.get_data_dtype() == np.float32
    np.testing.assert_array_equal(
        after.get_fdata(dtype=np.float32)[volume.mask], components(volume.tensors, "fsl")[volume.mask]
    )


def test_maps(tmp_path):
    volume = io.read(save(tmp_path / "in.nii.gz", components(field(), "fsl"), cal_max=0.25), order="fsl")
    io.write(tmp_path / "out.nii.gz", volume.tensors, volume)
    values = np.linalg.eigvalsh(volume.tensors[volume.mask].astype(np.float64))
    for name, expected in (("fa", fractional_anisotropy(values)), ("md", mean_diffusivity(values))):
        image = nib.load(tmp_path / f"out_{name}.nii.gz")
        assert image.shape == SHAPE
        assert image.header["cal_max"] == 0
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
        np.testing.assert_allclose(image.get_fdata()[volume.mask], expected, rtol=1e-5)
        assert (image.get_fdata()[~volume.mask] == 0).all()


def test_all_maps_beside_those_of_dipy(tmp_path):
    volume = io.read(save(tmp_path / "in.nii.gz", components(field(), "fsl")), order="fsl")
    io.write(tmp_path / "out.nii.gz", volume.tensors, volume, list(MAPS))
    values, vectors = np.linalg.eigh(volume.tensors[volume.mask].astype(np.float64))
    values, axes = values[:, ::-1], vectors[..., 2]
    expected = {
        "fa": dipy_dti.fractional_anisotropy(values),
        "md": dipy_dti.mean_diffusivity(values),
        "ad": dipy_dti.axial_diffusivity(values),
        "rd": dipy_dti.radial_diffusivity(values),
        "rgb": dipy_dti.color_fa(dipy_dti.fractional_anisotropy(values), vectors[..., ::-1]),
        "v1": axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(-1)[:, None], -1)),
    }
    assert set(expected) == set(MAPS)
    for name, wanted in expected.items():
        image = nib.load(tmp_path / f"out_{name}.nii.gz")
        found = image.get_fdata()
        assert image.get_data_dtype() == np.float32
        assert (found[~volume.mask] == 0).all()
        np.testing.assert_allclose(found[volume.mask], wanted, rtol=1e-4, atol=1e-6 if name in ("v1", "rgb") else 0)
    with pytest.raises(InputError, match="maps: wanted some of fa, md, ad, rd, v1, rgb, got 'color'"):
        io.write(tmp_path / "other.nii.gz", volume.tensors, volume, ["fa", "color"])
    assert not list(tmp_path.glob("other*"))


def test_units(tmp_path):
    path = save(tmp_path / "in.nii", 1000 * components(field(), "fsl"))
    assert io.read(path, order="fsl").unit == "um^2/ms"
    assert io.read(path, order="fsl", unit="mm^2/s").unit == "mm^2/s"
    with pytest.raises(InputError, match="unit: wanted one of"):
        io.read(path, order="fsl", unit="mm")


def spoiled():
    tensors = field()
    tensors[1, 1, 1] = np.diag([1e-3, 5e-4, -1e-4])
    tensors[2, 2, 2] = -np.eye(3) * 1e-3
    tensors[3, 3, 1] = np.diag([1e-3, 5e-4, 1e-11])
    tensors[4, 0, 2, 0, 0] = np.inf
    return components(tensors, "fsl")


def test_tensors_that_are_not_spd_are_refused_or_repaired(tmp_path):
    path = save(tmp_path / "in.nii", spoiled())
    with pytest.raises(InputError, match=r"4 of 57 tensors .* first at voxel \(1, 1, 1\).*--repair"):
        io.read(path, order="fsl")
    volume = io.read(path, order="fsl", repair=True)
    assert volume.floored == 2
    assert volume.mask.sum() == 55
    np.testing.assert_allclose(volume.tensors[1, 1, 1], np.diag([1e-3, 5e-4, 1e-5]), atol=1e-10)
    assert not volume.mask[2, 2, 2]
    assert not volume.mask[4, 0, 2]
    io.write(tmp_path / "out.nii", volume.tensors, volume)
    stored = np.asarray(nib.load(tmp_path / "out.nii").dataobj)
    np.testing.assert_array_equal(bits(stored[~volume.mask]), bits(spoiled()[~volume.mask]))


def test_given_mask(tmp_path):
    path = save(tmp_path / "in.nii", components(field(), "fsl"))
    inner = np.zeros(SHAPE, np.uint8)
    inner[1:4, 1:3] = 1
    save(tmp_path / "mask.nii.gz", inner[..., None])
    for mask in (tmp_path / "mask.nii.gz", inner, inner.astype(bool)):
        volume = io.read(path, order="fsl", mask=mask)
        np.testing.assert_array_equal(volume.mask, inner != 0)
        assert np.isnan(volume.tensors[inner == 0]).all()
    whole = np.ones(SHAPE, bool)
    with pytest.raises(InputError, match=r"3 of 60 .* first at voxel \(0, 0, 0\)"):
        io.read(path, order="fsl", mask=whole)
    assert io.read(path, order="fsl", mask=whole, repair=True).mask.sum() == 57
    with pytest.raises(InputError, match=r"mask: shape \(5, 4, 2\), wanted \(5, 4, 3\)"):
        io.read(path, order="fsl", mask=whole[..., :2])
    with pytest.raises(InputError, match="mask: it is empty"):
        io.read(path, order="fsl", mask=~whole)


def test_scan(tmp_path):
    volume = io.read(FILES / "small_64D.nii")  # .bval and .bvec lie beside it
    assert volume.mask.all()
    assert volume.unit == "mm^2/s"
    assert volume.stored is None
    assert volume.scan.dwi.shape == (10, 10, 10, 65)
    assert volume.scan.bvecs.shape == (len(volume.scan.bvals), 3) == (65, 3)
    assert 5e-4 < np.median(np.trace(volume.tensors, axis1=-2, axis2=-1) / 3) < 1e-3
    mask = np.zeros((10, 10, 10), bool)
    mask[2:8, 3:7, 4:9] = True
    volume = io.read(FILES / "small_64D.nii", bvals=FILES / "small_64D.bval", bvecs=FILES / "small_64D.bvec", mask=mask)
    np.testing.assert_array_equal(volume.mask, mask)
    io.write(tmp_path / "out.nii.gz", volume.tensors, volume)
    after = nib.load(tmp_path / "out.nii.gz")
    assert after.shape == (10, 10, 10, 1, 6)
    assert after.get_data_dtype() == np.float32
    assert after.header.get_intent() == ("symmetric matrix", (3.0,), "tensor")
    assert after.header.get_zooms()[:3] == nib.load(FILES / "small_64D.nii").header.get_zooms()[:3]
    np.testing.assert_array_equal(after.affine, nib.load(FILES / "small_64D.nii").affine)
    stored = np.asarray(after.dataobj)[:, :, :, 0]
    np.testing.assert_array_equal(stored[mask], components(volume.tensors, "dipy")[mask])
    assert (stored[~mask] == 0).all()
    again = io.read(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(again.tensors, volume.tensors)


def scan(folder, volumes=13, suffixes=(".bval", ".bvec")):
    save(folder / "scan.nii", np.full((*SHAPE, volumes), 100, np.int16))
    for suffix in suffixes:
        (folder / f"scan{suffix}").write_text("0 " * 13)
    return folder / "scan.nii"


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((5, 4, 3), {}, "wanted 4 or 5 dimensions"),
        ((5, 4, 3, 7), {}, r"no bvals, and shape \(5, 4, 3, 7\)"),
        ((5, 4, 3, 2, 6), {}, "no tensor volume"),
        ((5, 4, 3, 6), {}, r"order: .* fsl \(xx, xy, xz, yy, yz, zz\), dipy \(.*\), mrtrix \(.*\)"),
        ((5, 4, 3, 1, 6), {}, "order: .* the file does not tell it"),
        ((5, 4, 3, 6), {"order": "full"}, "order: .* got 'full'"),
        ((5, 4, 3, 6), {"order": "ants"}, "order: .* got 'ants'"),
        ((5, 4, 3, 6), {"order": "fsl"}, "every voxel is zero or NaN"),
        ((5, 4, 3, 6), {"order": "fsl", "bvals": "b"}, "order: 'fsl' is for tensor volumes"),
        ((5, 4, 3, 7), {"bvals": "b"}, "bvecs: needed to fit"),
        ((5, 4, 3, 7), {"bvecs": "b"}, "bvals: needed to fit"),
        ((5, 4, 3, 1, 7), {"bvals": "b", "bvecs": "b"}, "a diffusion-weighted scan has 4 dimensions"),
        ((5, 4, 3, 7), {"bvals": "b", "bvecs": "b"}, "b: no such b-value file"),
        ((5, 4, 3, 6), {"mask": "m.nii"}, "m.nii: no such file"),
    ],
)
@pytest.mark.parametrize("fill", [0, np.nan])
def test_refused_in_one_line(tmp_path, monkeypatch, shape, arguments, message, fill):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "in.nii", np.full(shape, fill, np.float32))
    with pytest.raises(InputError, match=message) as error:
        io.read("in.nii", **arguments)
    assert "\n" not in str(error.value)


def test_scans_refused(tmp_path):
    with pytest.raises(InputError, match=r"bvals: .* holds 13 values, wanted 8"):
        io.read(scan(tmp_path, volumes=8))
    (tmp_path / "scan.bvec").unlink()
    with pytest.raises(InputError, match="no bvals, and shape"):
        io.read(scan(tmp_path, volumes=8, suffixes=()))
    dark = save(tmp_path / "dark.nii", np.zeros((5, 4, 3, 65), np.int16))
    with pytest.raises(InputError, match="no voxel with signal"):
        io.read(dark, bvals=FILES / "small_64D.bval", bvecs=FILES / "small_64D.bvec")


def test_files_that_are_no_images(tmp_path):
    for name, content in (("a.nii", b"not an image"), ("a.nii.gz", b"\x1f\x8b\x08no"), ("a.txt", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="not a NIfTI file"):
            io.read(tmp_path / name)
    (tmp_path / "a.mif").write_bytes(b"mrtrix image\ndim: 5,4,3,6\n")
    with pytest.raises(InputError, match=r"not a NIfTI file .*; mrconvert of MRtrix turns it into one"):
        io.read(tmp_path / "a.mif")
    nib.save(nib.MGHImage(np.zeros((5, 4, 3, 6), np.float32), AFFINE), tmp_path / "a.mgz")
    with pytest.raises(InputError, match="wanted a NIfTI file, got MGHImage"):
        io.read(tmp_path / "a.mgz")
    save(tmp_path / "c.nii", np.zeros((5, 4, 3, 6), np.complex64))
    with pytest.raises(InputError, match="wanted real numbers, got data type complex64"):
        io.read(tmp_path / "c.nii")
    for name in ("cut.nii", "cut.nii.gz"):
        path = save(tmp_path / name, components(field(), "fsl"))
        path.write_bytes(path.read_bytes()[:-300])
        with pytest.raises(InputError, match="damaged or cut short"):
            io.read(path, order="fsl")


def test_failed_writes_leave_nothing(tmp_path):
    volume = io.read(save(tmp_path / "in.nii", components(field(), "fsl")), order="fsl")
    bad = volume.tensors.copy()
    bad[4, 3, 2, 0, 0] = np.nan
    bad[4, 2, 2] = np.diag([1e-3, 1e-3, 1e-12])
    with pytest.raises(InputError, match=r"tensors: 2 are not symmetric positive definite.*\(4, 2, 2\)"):
        io.write(tmp_path / "out.nii", bad, volume)
    with pytest.raises(InputError, match=r"tensors: shape \(4, 4, 3, 3, 3\), wanted \(5, 4, 3, 3, 3\)"):
        io.write(tmp_path / "out.nii", volume.tensors[1:], volume)
    with pytest.raises(InputError, match=r"ends in \.nii or"):
        io.write(tmp_path / "out.mif", volume.tensors, volume)
    with pytest.raises(InputError, match="folder"):
        io.write(tmp_path / "none" / "out.nii", volume.tensors, volume)
    assert [path.name for path in tmp_path.iterdir()] == ["in.nii"]


def test_input_may_be_overwritten(tmp_path):
    path = save(tmp_path / "in.nii", components(field(), "fsl"))
    volume = io.read(path, order="fsl")
    io.write(path, volume.tensors * 2, volume)
    again = io.read(path, order="fsl")
    np.testing.assert_allclose(again.tensors, volume.tensors * 2)
