"""Bad input to ``denoise dti``: each case makes its files in ``p`` and returns the arguments of the command."""

import numpy as np
from cli_inputs import case, nifti, six, spd_field


def scan(p, volumes=7, shape=(4, 4, 3)):
    """A scan of one b0 and directions enough, and its b-values."""
    directions = np.concatenate([np.zeros((1, 3)), np.random.default_rng(0).standard_normal((volumes - 1, 3))])
    directions[1:] /= np.linalg.norm(directions[1:], axis=1, keepdims=True)
    np.savetxt(p / "s.bval", [0, *[1000] * (volumes - 1)])
    np.savetxt(p / "s.bvec", directions)
    signal = np.random.default_rng(1).uniform(300, 500, (*shape, volumes)).astype(np.float32)
    signal[..., 0] = 1000
    return nifti(p / "dwi.nii.gz", signal)


def dti(w, source, *rest):
    return ["denoise", "dti", source, source.parent / "out.nii.gz", "--weights", w["dti"], *rest]


def not_spd(path):
    """Six components of tensors of which two, the first at (1, 2, 0), are not SPD."""
    tensors = spd_field((4, 3, 2))
    tensors[1, 2, 0, 0, 0] = -1e-3
    tensors[3, 0, 1, 2, 2] = 0
    return nifti(path, six(tensors))


@case
def dti_missing_file(p, w):
    return dti(w, p / "nowhere.nii.gz")


@case
def dti_strength_beyond_one(p, w):
    return dti(w, nifti(p / "a.nii.gz", spd_field((3, 3, 2))), "--strength", 1.5)


@case
def dti_too_few_directions(p, w):
    return dti(w, nifti(p / "a.nii.gz", spd_field((3, 3, 2))), "--directions", 3)


@case
def dti_not_NIfTI(p, w):
    (p / "a.nii").write_text("no image")
    return dti(w, p / "a.nii")


@case
def dti_truncated_NIfTI(p, w):
    content = nifti(p / "whole.nii.gz", six(spd_field((9, 9, 9)))).read_bytes()
    (p / "a.nii.gz").write_bytes(content[: len(content) // 2])
    return dti(w, p / "a.nii.gz", "--order", "fsl")


@case
def dti_scan_without_bvals(p, w):
    return dti(w, scan(p))


@case
def dti_bvals_without_bvecs(p, w):
    return dti(w, scan(p), "--bvals", p / "s.bval")


@case
def dti_count_of_bvals(p, w):
    np.savetxt(p / "s6.bval", [0, *[1000] * 5])
    return dti(w, scan(p), "--bvals", p / "s6.bval", "--bvecs", p / "s.bvec")


@case
def dti_bvals_no_numbers(p, w):
    (p / "words.bval").write_text("zero one two")
    return dti(w, scan(p), "--bvals", p / "words.bval", "--bvecs", p / "s.bvec")


@case
def dti_six_components_without_order(p, w):
    return dti(w, nifti(p / "t.nii.gz", six(spd_field((4, 3, 2)))))


@case
def dti_unknown_order(p, w):
    return dti(w, nifti(p / "t.nii.gz", six(spd_field((4, 3, 2)))), "--order", "xyz")


@case
def dti_not_SPD(p, w):
    return dti(w, not_spd(p / "t.nii.gz"), "--order", "fsl")


@case
def dti_unknown_fit(p, w):
    return dti(w, scan(p, 9), "--bvals", p / "s.bval", "--bvecs", p / "s.bvec", "--fit", "ols")


@case
def dti_glyphs_not_PNG(p, w):
    return dti(w, nifti(p / "a.nii.gz", spd_field((3, 3, 2))), "--glyphs", p / "a.pdf")


@case
def dti_fit_of_tensors(p, w):
    return dti(w, nifti(p / "a.nii.gz", spd_field((3, 3, 2))), "--fit", "restore")


@case
def dti_damaged_NRRD(p, w):
    (p / "a.nrrd").write_text("NRRD0004\ntype: float\n")
    return dti(w, p / "a.nrrd")


@case
def dti_mask_of_another_shape(p, w):
    mask = nifti(p / "mask.nii.gz", np.ones((4, 3, 3), np.uint8))
    return dti(w, nifti(p / "t.nii.gz", six(spd_field((4, 3, 2)))), "--order", "fsl", "--mask", mask)


@case
def dti_empty_mask(p, w):
    mask = nifti(p / "mask.nii.gz", np.zeros((4, 3, 2), np.uint8))
    return dti(w, nifti(p / "t.nii.gz", six(spd_field((4, 3, 2)))), "--order", "fsl", "--mask", mask)


@case
def dti_all_NaN(p, w):
    return dti(w, nifti(p / "t.nii.gz", np.full((4, 3, 2, 6), np.nan, np.float32)), "--order", "fsl")


@case
def dti_OUT_not_NIfTI(p, w):
    source = nifti(p / "t.nii.gz", six(spd_field((4, 3, 2))))
    return ["denoise", "dti", source, p / "out.npy", "--order", "fsl", "--weights", w["dti"]]


@case
def dti_weights_of_another_kind(p, w):
    return dti({"dti": w["insar"]}, nifti(p / "t.nii.gz", six(spd_field((4, 3, 2)))), "--order", "fsl")
