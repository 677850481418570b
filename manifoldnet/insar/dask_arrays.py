"""Stacks of interferograms in arrays of dask and xarray, filtered block by block wherever dask runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from manifoldnet.errors import InputError
from manifoldnet.insar.model import TILE, Denoised, InsarDenoiser, check_looks, denoise


def denoise_array(
    phase_or_complex: Any,
    coherence: Any | None = None,
    looks: float | int | None = None,
    model: str | Path | InsarDenoiser = "default",
    *,
    uncertainty: bool = False,
    tile: int = TILE,
) -> Any:
    """Filtered phases of interferograms in a dask array, which is not computed yet.

    Chunks reach into their neighbours as far as the network looks (:func:`dask.array.map_overlap`), so the result does
    not depend on them. It has chunks whose sides are multiples of ``network.net.factor`` and not smaller than its
    margin; those of some 1000 pixels or more waste little. A path to the weights must be one of the workers'.

    Args:
        phase_or_complex: (n, H, W) or (H, W), as for :func:`manifoldnet.insar.denoise`.
        coherence: of the same shape, a dask array or one of numpy's, or None.
        looks: as there; a single look's coherence of 1 is ignored chunk by chunk.
        model: "default", a file of weights, or a model, which travels with the graph.
        uncertainty: return :class:`Denoised` of three arrays.
        tile: side of the blocks that are computed at once within a chunk.

    Returns:
        A dask array of phases in (-pi, pi], of that shape and of its real dtype, NaN where there is no data. Unlike for
        one image, it is no error if there is none at all.

    Raises:
        InputError: if dask is not installed, the shapes or dtypes are wrong, or the looks are out of range; when it is
            computed, for coherences outside [0, 1].
    """
    da = _dask_array()
    check_looks(looks)
    given = da.asarray(phase_or_complex)
    if given.ndim not in (2, 3) or given.dtype.kind not in "fc":
        got = f"{given.shape} of {given.dtype}"
        raise InputError(f"phase_or_complex: wanted shape (n, H, W) or (H, W), real (radians) or complex, got {got}")
    network = InsarDenoiser.named(model)
    factor, margin = network.net.factor, network.margin
    chunks = (*given.chunks[:-2], *(_aligned(sizes, factor, margin) for sizes in given.chunks[-2:]))
    arrays = [given.rechunk(chunks)]
    if coherence is not None:
        known = da.asarray(coherence)
        if known.shape != given.shape or known.dtype.kind == "c":
            got = f"{known.shape} of {known.dtype}"
            raise InputError(f"coherence: wanted real numbers of shape {given.shape}, got {got}")
        arrays.append(known.rechunk(chunks))
    real = np.empty(0, given.dtype).real.dtype
    names = Denoised._fields if uncertainty else Denoised._fields[:1]
    # one pass gives all images: a structured array has the shape and chunks of the phases
    dtype = np.dtype([(name, real) for name in names])
    # an axis in one piece has no neighbours
    depth = {axis: margin if len(sizes) > 1 else 0 for axis, sizes in enumerate(chunks)}
    if given.ndim == 3:
        depth[0] = 0
    meta = np.empty((0,) * given.ndim, dtype)
    options = {"looks": looks, "model": model, "tile": tile}
    overlap = {"depth": depth, "boundary": "none", "allow_rechunk": False}
    result = da.map_overlap(_block, *arrays, **overlap, meta=meta, dtype=dtype, names=names, options=options)
    return Denoised(*(result[name] for name in names)) if uncertainty else result["phase"]


def denoise_dataarray(
    phase_or_complex: Any,
    coherence: Any | None = None,
    looks: float | int | None = None,
    model: str | Path | InsarDenoiser = "default",
    *,
    uncertainty: bool = False,
    tile: int = TILE,
) -> Any:
    """Filtered phases of an ``xarray.DataArray`` whose last two dimensions are the image.

    Arguments and errors are those of :func:`denoise_array`. Name, coordinates and attributes are kept. With
    ``uncertainty`` the result is an ``xarray.Dataset`` of ``phase``, ``uncertainty`` and ``bound``. What dask holds is
    filtered when it is computed, anything else at once.

    Raises:
        InputError: in addition, if the dimensions of the coherence are others.
    """
    if coherence is not None and getattr(coherence, "dims", phase_or_complex.dims) != phase_or_complex.dims:
        raise InputError(f"coherence: wanted dimensions {phase_or_complex.dims}, got {coherence.dims}")
    known = None if coherence is None else getattr(coherence, "data", coherence)
    given = phase_or_complex.data
    result = denoise_array(given, known, looks, model, uncertainty=uncertainty, tile=tile)
    if getattr(given, "chunks", None) is None:
        result = _dask_array().compute(*result) if uncertainty else result.compute()
    if not uncertainty:
        return phase_or_complex.copy(data=result)
    images = zip(Denoised._fields, result, strict=True)
    arrays = {name: phase_or_complex.copy(data=image).rename(name) for name, image in images}
    return arrays["phase"].to_dataset().assign(arrays)


def _block(
    given: np.ndarray, known: np.ndarray | None = None, *, names: tuple[str, ...], options: dict[str, Any]
) -> np.ndarray:
    """One chunk with what it overlaps; where there are no data at all, nothing is filtered."""
    out = np.full(given.shape, np.nan, [(name, given.real.dtype) for name in names])
    for index in np.ndindex(given.shape[:-2]):
        image = given[index]
        if (np.isfinite(image) & ((image != 0) | (image.dtype.kind == "f"))).any():
            images = denoise(image, None if known is None else known[index], **options, uncertainty=True)
            for name in names:
                out[name][index] = getattr(images, name)
    return out


def _aligned(sizes: tuple[int, ...], factor: int, margin: int) -> tuple[int, ...]:
    """Sizes near these that end at multiples of ``factor`` and are at least ``margin``."""
    total, ends = sum(sizes), [0]
    for end in np.cumsum(sizes)[:-1] // factor * factor:
        if end - ends[-1] >= margin and total - end >= margin:
            ends.append(int(end))
    return tuple(int(size) for size in np.diff([*ends, total]))


def _dask_array() -> Any:
    try:
        import dask.array
    except ImportError:
        raise InputError("dask: wanted it installed, got no such package: pip install manifoldnet[scenes]") from None
    return dask.array
