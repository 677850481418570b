"""Gradient tables in text files."""

import numpy as np
import pytest

from manifoldnet.dti.gradients import beside, check_fittable, is_b0, read_gradients
from manifoldnet.dti.simulate import directions
from manifoldnet.errors import InputError


def good(n=12):
    return np.array([0.0] + [999.998, 1000.0] * (n // 2)), np.vstack([np.zeros(3), directions(n)])


def files(folder, bvals, bvecs):
    np.savetxt(folder / "a.bval", bvals[None], fmt="%.6f")
    np.savetxt(folder / "a.bvec", bvecs, fmt="%.9f")
    return folder / "a.bval", folder / "a.bvec"


@pytest.mark.parametrize("transposed", [False, True])
def test_both_layouts(tmp_path, transposed):
    b, v = good()
    read_b, read_v = read_gradients(*files(tmp_path, b, v.T if transposed else v), 13)
    np.testing.assert_allclose(read_b, b)
    np.testing.assert_allclose(read_v, v, atol=1e-8)


def test_commas_and_one_value_a_line(tmp_path):
    b, v = good()
    (tmp_path / "b").write_text("\n".join(f"{x:g}," for x in b))
    (tmp_path / "v").write_text("\n".join(",".join(str(x) for x in row) for row in v.T))
    read_b, read_v = read_gradients(tmp_path / "b", tmp_path / "v", 13)
    np.testing.assert_allclose(read_b, b, atol=1e-2)
    np.testing.assert_allclose(read_v, v, atol=1e-12)


def test_directions_are_normalised_and_those_of_b0_ignored():
    b, v = good()
    b[0], v[0] = 5.0, np.nan
    _, unit = check_fittable(b, 1.01 * v)
    np.testing.assert_allclose(unit, np.vstack([np.zeros(3), v[1:]]), atol=1e-12)
    assert is_b0(b).tolist() == [True] + [False] * 12


def change(index, value, of="b"):
    def edit(b, v):
        (b if of == "b" else v)[index] = value
        return b, v

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda b, v: (b[:-1], v), r"bvals: .* holds 12 values, wanted 13"),
        (lambda b, v: (b, v[:-1]), r"bvecs: .* \(12, 3\), wanted \(3, 13\)"),
        (change(3, -5.0), "bvals: wanted finite values >= 0"),
        (change(0, 1000.0), r"bvecs: wanted unit vectors .* length 0 in volume 0"),
        (change(2, [0.5, 0, 0], of="v"), r"length 0\.5 in volume 2"),
        (change(2, [np.nan, 0, 0], of="v"), "length nan in volume 2"),
        (lambda b, v: (np.full(13, 1000.0), np.vstack([v[1:2], v[1:]])), "no volume with b <= 60"),
        (change(slice(1, 8), 3000.0), "got 5 from 5 volumes"),
        (change(slice(1, None), 3000.0), "got 0 from 0 volumes"),
        (change(slice(1, None), [[1.0, 0, 0], [0, 1.0, 0]] * 6, of="v"), "got 2 from 12"),
    ],
)
def test_refused(tmp_path, edit, message):
    with pytest.raises(InputError, match=message) as error:
        read_gradients(*files(tmp_path, *edit(*good())), 13)
    assert "\n" not in str(error.value)


def test_no_numbers(tmp_path):
    b, v = files(tmp_path, *good())
    b.write_text("b-values: see protocol")
    with pytest.raises(InputError, match=r"bvals: .* not a table of numbers"):
        read_gradients(b, v, 13)
    np.savetxt(b, good()[0])
    with pytest.raises(InputError, match="no such gradient direction file"):
        read_gradients(b, tmp_path / "none", 13)


def test_files_beside_the_image(tmp_path):
    image = tmp_path / "scan.nii.gz"
    assert beside(image) == (None, None)
    (tmp_path / "scan.bvals").touch()
    (tmp_path / "scan.bvec").touch()
    assert beside(image) == (tmp_path / "scan.bvals", tmp_path / "scan.bvec")
