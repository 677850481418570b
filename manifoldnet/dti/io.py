"""Images of diffusion tensors: NIfTI and NRRD volumes read, scans fitted, NIfTI written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Bool, Float

from manifoldnet.dti import layout, nifti, nrrd
from manifoldnet.dti.checked import checked, first, is_spd, present
from manifoldnet.dti.gradients import beside, read_gradients
from manifoldnet.dti.maps import MAPS
from manifoldnet.dti.scan import FITS, fit_scan, foreground, has_signal
from manifoldnet.dti.units import unit_of
from manifoldnet.errors import InputError
from manifoldnet.files import all_written_whole


class Signals(NamedTuple):
    """A diffusion-weighted scan (x, y, z, n), its b-values (n,) in s/mm^2 and directions (n, 3)."""

    dwi: np.ndarray
    bvals: np.ndarray
    bvecs: np.ndarray


@dataclass(frozen=True)
class TensorVolume:
    """An image of tensors with what is needed to write a result of the same kind.

    Attributes:
        tensors: float32, SPD in the mask, NaN outside; unit of the file, mm^2/s for a scan with b in s/mm^2.
        mask: voxels with a tensor.
        affine: voxel to scanner coordinates (mm).
        header: NIfTI header of the file that was read; an empty one for NRRD.
        order: name in ``layout.ORDERS`` of the component order of the file that :func:`write` makes.
        stored: the components as a NIfTI file has them, shape (x, y, z, ...); None for a scan and NRRD.
        scan: what the tensors were fitted to, or None.
        floored: voxels whose eigenvalues had to be raised to make them SPD.
        unit: of the tensors, see ``units.unit_of``; None if it is not known.
    """

    tensors: Float[np.ndarray, "x y z 3 3"]
    mask: Bool[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]
    header: nib.Nifti1Header
    order: str
    stored: np.ndarray | None = None
    scan: Signals | None = None
    floored: int = 0
    unit: str | None = None


def read(
    path: str | Path,
    *,
    bvals: str | Path | None = None,
    bvecs: str | Path | None = None,
    mask: str | Path | np.ndarray | None = None,
    order: str | None = None,
    repair: bool = False,
    fit: str | None = None,
    unit: str | None = None,
) -> TensorVolume:
    """Read a tensor volume, or a diffusion-weighted scan which is then fitted.

    A scan is a 4-D file with ``bvals`` (s/mm^2) and ``bvecs``, given or lying beside it under the same stem
    (.bval, .bvals, .bvec, .bvecs), unless ``order`` says that it is a tensor volume. Its tensors are in the
    frame of the directions as written. A tensor volume is (x, y, z, 6) or (x, y, z, 1, 6), whose component
    order must be given unless the header carries intent code 1005 (ITK, ANTs), or (x, y, z, 9) or (x, y, z, 3, 3).
    A file .nrrd or .nhdr is a tensor volume, see ``nrrd.read``; its tensors come in scanner axes.

    Args:
        mask: NIfTI file or array (x, y, z), non-zero = use. Default: for a scan ``scan.foreground``, for a
            tensor volume the voxels which are neither NaN nor all zero. Voxels of a scan without b0 signal
            or with a value that is not finite never count.
        order: "fsl", "dipy" or "mrtrix", see ``layout.ORDERS``.
        repair: raise eigenvalues below 1e-2 of the largest to that value in voxels of a tensor volume that
            are not SPD; voxels with no positive eigenvalue, zeros and NaN leave the mask.
        unit: of a tensor volume, one of ``units.UM2_PER_MS``; by default found by the size of the numbers.
        fit: of a scan, "wls" (default) or "restore", see ``scan.fit_scan``.

    Raises:
        InputError: for anything wrong with the files, in one line; among others when a tensor in the mask
            is not SPD, meaning a smallest eigenvalue below 1e-6 of the largest, and ``repair`` is off.
    """
    path = Path(path)
    if nrrd.is_nrrd(path):
        return _read_nrrd(path, mask, order, repair, unit, given={"bvals": bvals, "bvecs": bvecs, "fit": fit})
    image = nifti.open_image(path)
    shape = image.shape
    known = _mask(mask, shape[:3])
    given = bvals is not None or bvecs is not None
    if given and order is not None:
        raise InputError(f"order: {order!r} is for tensor volumes; bvals or bvecs make {path} a scan")
    found = beside(path)
    if given or (order is None and len(shape) == 4 and all(found)):
        return _read_scan(path, image, bvals or found[0], bvecs or found[1], known, fit or FITS[0])
    if fit is not None:
        raise InputError(f"fit: {fit!r} is for diffusion-weighted scans; {path} is read as tensors")
    stored, order = _components(path, image, order)
    tensors = layout.unpack(stored.reshape(*shape[:3], -1), order).astype(np.float32)
    tensors, used, raised = checked(path, tensors, present(tensors) if known is None else known, repair)
    unit = unit_of(tensors[used], unit)
    return TensorVolume(tensors, used, image.affine, image.header.copy(), order, stored, floored=raised, unit=unit)


def write(
    path: str | Path,
    tensors: Float[np.ndarray, "x y z 3 3"],
    like: TensorVolume,
    maps: Sequence[str] = ("fa", "md"),
    uncertainty: Float[np.ndarray, "x y z"] | None = None,
) -> None:
    """Write tensors as ``path``, .nii or .nii.gz, and ``maps.MAPS`` as <stem>_fa.nii.gz and so on beside it, likewise
    <stem>_uncertainty.nii.gz if it is given.

    The file is of the kind that ``like`` was read from: same shape, component order, affine and header, and
    outside ``like.mask`` the same bits. For a scan and NRRD it is a 5-D float32 NIfTI with intent 1005 (symmetric
    matrix, lower triangle), 0 outside the mask. Diffusivities have the tensors' unit. Maps are float32, (x, y, z) or
    (x, y, z, 3), 0 outside the mask. All files appear, or none.

    Raises:
        InputError: wrong shape, file name or map, or a tensor in the mask that is not SPD as stored.
    """
    check_maps(maps)
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{path}: wanted a file name that ends in .nii or .nii.gz")
    if tensors.shape != like.tensors.shape:
        raise InputError(f"tensors: shape {tensors.shape}, wanted {like.tensors.shape} as in the input")
    x, y, z = like.mask.shape
    components = np.zeros((x, y, z, 1, 6), np.float32) if like.stored is None else like.stored.copy()
    flat = components.reshape(x, y, z, -1)
    flat[like.mask] = layout.pack(tensors[like.mask], like.order)
    on_disk = layout.unpack(flat[like.mask], like.order)
    bad = like.mask.copy()
    bad[like.mask] = ~is_spd(on_disk)
    if bad.any():
        raise InputError(f"tensors: {bad.sum()} are not symmetric positive definite, the first at {first(bad)}")
    if like.stored is None:
        images = [nifti.map_like(components, like.affine, like.header, layout.SYMMATRIX, "tensor")]
    else:
        images = [nifti.image_like(components, like.affine, like.header)]
    chosen = torch.from_numpy(on_disk.astype(np.float64))
    beside = {name: MAPS[name](chosen).numpy() for name in maps}
    if uncertainty is not None:
        beside["uncertainty"] = uncertainty[like.mask]
    for name, found in beside.items():
        values = np.zeros((x, y, z, *found.shape[1:]), np.float32)
        values[like.mask] = found
        images.append(nifti.map_like(values, like.affine, like.header, name=name.upper()))
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    targets = [path, *(path.with_name(f"{stem}_{name}.nii.gz") for name in beside)]
    with all_written_whole(targets) as scratch:
        for file, content in zip(scratch, images, strict=True):
            nib.save(content, file)


def check_maps(names: Sequence[str]) -> None:
    """Raise InputError unless all are names of ``maps.MAPS``."""
    for name in names:
        if name not in MAPS:
            raise InputError(f"maps: wanted some of {', '.join(MAPS)}, got {name!r}")


def _mask(mask: str | Path | np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    if mask is None:
        return None
    values = np.asarray(mask) if isinstance(mask, np.ndarray) else nifti.values(mask, nifti.open_image(mask))
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.shape != shape:
        raise InputError(f"mask: shape {values.shape}, wanted {shape} as the image")
    inside = np.nan_to_num(values) != 0
    if not inside.any():
        raise InputError("mask: it is empty")
    return inside


def _read_scan(
    path: Path,
    image: nib.Nifti1Pair,
    bvals: str | Path | None,
    bvecs: str | Path | None,
    mask: np.ndarray | None,
    method: str,
) -> TensorVolume:
    if image.ndim != 4:
        raise InputError(f"{path}: a diffusion-weighted scan has 4 dimensions, got shape {image.shape}")
    if bvals is None or bvecs is None:
        missing = "bvals" if bvals is None else "bvecs"
        raise InputError(f"{missing}: needed to fit {path}; give the file or put it beside the image")
    b, v = read_gradients(bvals, bvecs, image.shape[3])
    signal = nifti.values(path, image)
    inside = (foreground(signal, b) if mask is None else mask) & has_signal(signal, b)
    if not inside.any():
        raise InputError(f"{path}: no voxel with signal in the mask")
    fit = fit_scan(signal, b, v, inside, method)
    header, scan = image.header.copy(), Signals(signal, b, v)
    unit = "mm^2/s"
    return TensorVolume(fit.tensors, inside, image.affine, header, "dipy", scan=scan, floored=fit.floored, unit=unit)


def _read_nrrd(
    path: Path,
    mask: str | Path | np.ndarray | None,
    order: str | None,
    repair: bool,
    unit: str | None,
    given: Mapping[str, object],
) -> TensorVolume:
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{name}: got {value}, but a NRRD file is read as tensors; scans are NIfTI files")
    file = nrrd.read(path, order)
    known = _mask(mask, file.inside.shape)
    inside = file.inside & present(file.tensors) if known is None else known
    tensors, used, raised = checked(path, file.tensors, inside, repair)
    unit = unit_of(tensors[used], unit)
    header = nib.Nifti1Header()
    header.set_xyzt_units("mm")
    return TensorVolume(tensors, used, file.affine, header, "dipy", floored=raised, unit=unit)


def _components(path: Path, image: nib.Nifti1Pair, order: str | None) -> tuple[np.ndarray, str]:
    shape = image.shape
    six, nine = (6,), (9,)
    trailing = shape[3:] if shape[3:4] != (1,) else shape[4:]
    if len(shape) < 4:
        raise InputError(f"{path}: shape {shape}, wanted 4 or 5 dimensions: tensors (x, y, z, 6) or a scan with bvals")
    if trailing in (nine, (3, 3)):
        order = "full"
    elif trailing != six:
        hint = "; a diffusion-weighted scan needs bvals and bvecs" if len(shape) == 4 else ""
        raise InputError(f"{path}: no bvals, and shape {shape} is no tensor volume (x, y, z, 6 or 9){hint}")
    elif order is None and len(shape) == 5 and int(image.header["intent_code"]) == layout.SYMMATRIX:
        order = "dipy"
    elif order not in layout.ORDERS or order == "full":
        got = "the file does not tell it" if order is None else f"got {order!r}"
        raise InputError(
            f"order: {path} (six components) needs its component order, {got}; one of {layout.choices()};"
            " a scan needs bvals and bvecs instead"
        )
    stored = nifti.values(path, image)
    return stored if stored.dtype in (np.float32, np.float64) else stored.astype(np.float32), order
