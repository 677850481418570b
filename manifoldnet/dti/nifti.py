"""NIfTI files opened, read and made, with errors that a user can act on."""

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from manifoldnet.errors import InputError
from manifoldnet.files import existing


def open_image(path: str | Path) -> nib.Nifti1Pair:
    """The NIfTI image at ``path``; voxel values are not read yet.

    Raises:
        InputError: the file is missing, is no NIfTI file, or holds colours or complex numbers.
    """
    try:
        image = nib.load(existing(path), mmap=False)
    except (ImageFileError, OSError, EOFError, zlib.error) as error:
        hint = "; mrconvert of MRtrix turns it into one" if Path(path).name.endswith((".mif", ".mif.gz")) else ""
        raise InputError(f"{path}: not a NIfTI file ({error}){hint}") from None
    if not isinstance(image, nib.Nifti1Pair):
        raise InputError(f"{path}: wanted a NIfTI file, got {type(image).__name__}")
    if image.get_data_dtype().kind not in "iuf":
        raise InputError(f"{path}: wanted real numbers, got data type {image.get_data_dtype()}")
    return image


def values(path: str | Path, image: nib.Nifti1Pair) -> np.ndarray:
    """All voxel values: in the file's own dtype where it stores them unscaled, else float32.

    Raises:
        InputError: the file is damaged or cut short.
    """
    proxy: Any = image.dataobj
    unscaled = (proxy.slope, proxy.inter) == (1, 0)
    dtype = image.get_data_dtype().newbyteorder("=") if unscaled else np.dtype(np.float32)
    try:
        return np.asarray(proxy, dtype=dtype)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: the file is damaged or cut short ({error})") from None


def image_like(data: np.ndarray, affine: np.ndarray, header: nib.Nifti1Header) -> nib.Nifti1Image:
    """An image of ``data``, unscaled in its own dtype, with the rest of the header as it was."""
    header = header.copy()
    header.set_data_dtype(data.dtype)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = kind(data, affine, header)
    image.header.set_slope_inter(1, 0)
    return image


def map_like(
    data: np.ndarray, affine: np.ndarray, header: nib.Nifti1Header, intent: int = 0, name: str = ""
) -> nib.Nifti1Image:
    """As :func:`image_like` for data of another kind: its own intent, and no display range.

    Intent 1005 (symmetric matrix) gets its parameter, the size 3.
    """
    image = image_like(data, affine, header)
    image.header.set_intent(intent, (3.0,) if intent else (), name=name)
    image.header["cal_min"] = image.header["cal_max"] = 0
    return image
