"""NRRD tensor files, written with pynrrd from tensors whose frame is known."""

import sys

import nibabel as nib
import nrrd as pynrrd
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manifoldnet.dti import io
from manifoldnet.dti.nrrd import read
from manifoldnet.errors import InputError

SHAPE = (5, 4, 3)
FULL = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
UPPER = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
ORDERS = {
    "fsl": UPPER,
    "dipy": [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2)],
    "mrtrix": [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)],
}
TURN = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
FRAME = Rotation.from_euler("zyx", [100, 25, -70], degrees=True).as_matrix()  # columns: measurement axes in space
AFFINE = np.eye(4)
AFFINE[:3, :3], AFFINE[:3, 3] = TURN @ np.diag([2.0, 1.9, 2.5]), [-30, 12, 7]
FLIPS = {"left-posterior-superior": np.diag([-1.0, -1, 1]), "right-anterior-superior": np.eye(3),
         "left-anterior-superior": np.diag([-1.0, 1, 1])}  # fmt: skip


def field():
    """SPD tensors in mm^2/s, in scanner axes."""
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((*SHAPE, 3, 3)))
    return (q * rng.uniform(2e-4, 2e-3, (*SHAPE, 1, 3))) @ q.swapaxes(-1, -2)


def save(path, tensors, pairs=UPPER, kind="3D-symmetric-matrix", mask=None, space="left-posterior-superior",
         frame=FRAME, last=False, options=None, **header):  # fmt: skip
    """Tensors and ``AFFINE``, given in scanner axes, as a file in ``space`` measured along the axes of ``frame``."""
    flip = FLIPS[space]
    measured = np.einsum("ai,ab,...bc,cd,dj->...ij", frame, flip, tensors, flip, frame)
    data = np.stack([measured[..., i, j] for i, j in pairs], -1).astype(np.float32)
    if mask is not None:
        data = np.concatenate([mask[..., None].astype(np.float32), data], -1)
    directions = np.full((4, 3), np.nan)
    kinds = ["space"] * 4
    axis = 3 if last else 0
    directions[[k for k in range(4) if k != axis]] = (flip @ AFFINE[:3, :3]).T
    kinds[axis] = kind
    fields = {"space": space, "kinds": kinds, "space directions": directions, "space origin": flip @ AFFINE[:3, 3],
              "measurement frame": frame.T}  # fmt: skip
    pynrrd.write(str(path), data if last else np.moveaxis(data, -1, 0), {**fields, **header}, **(options or {}))
    return path


CONTENTS = [("3D-symmetric-matrix", UPPER, False), ("3D-masked-symmetric-matrix", UPPER, True),
            ("3D-matrix", FULL, False), ("3D-masked-matrix", FULL, True)]  # fmt: skip


@pytest.mark.parametrize(("kind", "pairs", "masked"), CONTENTS)
@pytest.mark.parametrize("last", [False, True])
def test_declared_kinds(tmp_path, kind, pairs, masked, last):
    confidence = np.ones(SHAPE)
    confidence[1, 2] = 0.2
    confidence[2, 2] = 0.8
    mask = confidence if masked else None
    found = read(save(tmp_path / "a.nrrd", field(), pairs, kind, mask, last=last))
    np.testing.assert_allclose(found.tensors, field(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-12)
    np.testing.assert_array_equal(found.inside, (confidence > 0.5) | (not masked))


@pytest.mark.parametrize("space", FLIPS)
@pytest.mark.parametrize("frame", [np.eye(3), FRAME, np.diag([1.0, -1, 1])])
def test_spaces_and_frames(tmp_path, space, frame):
    found = read(save(tmp_path / "a.nrrd", field(), space=space, frame=frame))
    np.testing.assert_allclose(found.tensors, field(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-12)


def test_encodings_and_detached_headers(tmp_path):
    for name, options in (("a.nhdr", {"detached_header": True}), ("b.nrrd", {})):
        for header in ({"encoding": "raw"}, {"encoding": "gzip"}, {"encoding": "raw", "endian": "big"}):
            path = save(tmp_path / name, field(), options=options, **header)
            np.testing.assert_allclose(read(path).tensors, field(), rtol=0, atol=1e-9)


def test_plain_axes(tmp_path):
    data = np.stack([field()[..., i, j] for i, j in UPPER]).astype(np.float32)
    header = {"kinds": ["3D-symmetric-matrix", "domain", "domain", "domain"], "spacings": [np.nan, 2, 1.9, 2.5]}
    pynrrd.write(str(tmp_path / "a.nrrd"), data, header)
    found = read(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(found.tensors, field().astype(np.float32))
    np.testing.assert_array_equal(found.affine, np.diag([2, 1.9, 2.5, 1]))


@pytest.mark.parametrize("order", ORDERS)
def test_order_that_the_file_does_not_tell(tmp_path, order):
    path = save(tmp_path / "a.nrrd", field(), ORDERS[order], "vector", np.ones(SHAPE) if order == "dipy" else None)
    np.testing.assert_allclose(read(path, order).tensors, field(), rtol=0, atol=1e-9)
    with pytest.raises(InputError, match=r"order: .* the file does not tell it; one of fsl \(xx"):
        read(path)
    with pytest.raises(InputError, match=r"order: .* got 'full'"):
        read(path, "full")


def test_through_io(tmp_path):
    confidence = np.ones(SHAPE)
    confidence[0] = 0
    tensors = field()
    tensors[1, 1, 1] = 0
    path = save(tmp_path / "a.nrrd", tensors, kind="3D-masked-symmetric-matrix", mask=confidence)
    volume = io.read(path)
    expected = confidence > 0
    expected[1, 1, 1] = False
    np.testing.assert_array_equal(volume.mask, expected)
    assert volume.unit == "mm^2/s"
    io.write(tmp_path / "out.nii.gz", volume.tensors, volume)
    again = io.read(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(again.tensors, volume.tensors)
    np.testing.assert_allclose(nib.load(tmp_path / "out_fa.nii.gz").affine, AFFINE, atol=1e-6)
    inner = np.zeros(SHAPE, bool)
    inner[2:4] = True
    np.testing.assert_array_equal(io.read(path, mask=inner).mask, inner)
    tensors[3, 2, 1] = np.diag([1e-3, 5e-4, -1e-4])
    path = save(tmp_path / "a.nrrd", tensors, kind="3D-masked-symmetric-matrix", mask=confidence)
    with pytest.raises(InputError, match=r"1 of 47 tensors .* first at voxel \(3, 2, 1\)"):
        io.read(path)
    assert io.read(path, repair=True).floored == 1


def test_refused_in_one_line(tmp_path, monkeypatch):
    good = save(tmp_path / "a.nrrd", field())
    crooked = field()
    crooked[3, 2, 1, 0, 1] *= 1.2
    (tmp_path / "words.nrrd").write_text("no image")
    cut = tmp_path / "cut.nrrd"
    cut.write_bytes(good.read_bytes()[:-200])
    raw = save(tmp_path / "raw.nrrd", field(), encoding="raw")
    raw.write_bytes(raw.read_bytes()[:-200])
    lone = save(tmp_path / "lone.nhdr", field(), options={"detached_header": True})
    next(path for path in tmp_path.glob("lone.*") if path != lone).unlink()
    flat = tmp_path / "flat.nrrd"
    pynrrd.write(str(flat), np.zeros(SHAPE, np.float32))
    for path, arguments, message in (
        (tmp_path / "none.nrrd", {}, "no such file"),
        (tmp_path / "words.nrrd", {}, "not a NRRD file, or damaged"),
        (cut, {}, "not a NRRD file, or damaged"),
        (raw, {}, "not a NRRD file, or damaged"),
        (lone, {}, "not a NRRD file, or damaged"),
        (flat, {}, r"shape \(5, 4, 3\), wanted 4 dimensions"),
        (good, {"order": "mrtrix"}, "order: got 'mrtrix', but .* declares xx, xy, xz, yy, yz, zz"),
        (good, {"bvals": "b"}, "bvals: got b, but a NRRD file is read as tensors"),
        (good, {"fit": "wls"}, "fit: got wls, but a NRRD file is read as tensors"),
        (save(tmp_path / "b.nrrd", field(), frame=2 * np.eye(3)), {}, "measurement frame is no rotation"),
        (save(tmp_path / "c.nrrd", field(), UPPER[:5], "vector"), {}, "no axis is of 6, 7, 9 or 10 components"),
        (save(tmp_path / "d.nrrd", field(), UPPER, "3D-matrix"), {}, "6 components along an axis of kind 3d-matrix"),
        (save(tmp_path / "e.nrrd", crooked, FULL, "3D-matrix"), {}, r"1 matrices are not symmetric.*\(3, 2, 1\)"),
    ):
        with pytest.raises(InputError, match=message) as error:
            io.read(path, **arguments)
        assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "nrrd", None)
    with pytest.raises(InputError, match=r"need pynrrd, .* pip install 'manifoldnet\[nrrd\]'"):
        io.read(good)
