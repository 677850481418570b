"""Raw binary rasters: ENVI with ``.hdr``, ROI_PAC with ``.rsc``, and headerless complex ``.int``.

Layouts: an ENVI header states everything. ROI_PAC files are little endian and row major: ``.int`` is
complex64; ``.unw`` and ``.cor`` alternate a line of amplitude with a line of phase or coherence (float32).
Files with neither header are complex64, little endian, of a width that the caller knows.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifoldnet.errors import InputError
from manifoldnet.insar.raster import Raster

_ENVI_DTYPES = {"4": "f4", "5": "f8", "6": "c8", "9": "c16"}
# where the axes (band, line, sample) stand in the file
_INTERLEAVES = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}
_ROI_PAC_BANDS = {".int": ("",), ".unw": ("amplitude", "phase"), ".cor": ("amplitude", "coherence")}
_HEADERLESS = (".int", ".diff", ".cpx")


@dataclass(frozen=True, eq=False)
class Raw:
    """Layout of a raw file.

    ``sides`` are its header files: a name with ``{name}`` or ``{stem}`` of the main file in it, and content.
    """

    dtype: np.dtype
    names: tuple[str, ...]
    lines: int
    samples: int
    axes: tuple[int, int, int] = (0, 1, 2)
    preamble: bytes = b""
    nodata: float | None = None
    sides: tuple[tuple[str, bytes], ...] = ()

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The sizes of (band, line, sample) in the file's order."""
        sizes = (len(self.names), self.lines, self.samples)
        return tuple(sizes[axis] for axis in self.axes)

    def write(self, path: Path, bands: Sequence[np.ndarray]) -> None:
        """Write ``bands`` in this layout, and the header files as they were."""
        stored = np.empty(self.stored_shape, self.dtype)
        for band, pixels in zip(stored.transpose(np.argsort(self.axes)), bands, strict=True):
            band[...] = pixels
        with path.open("wb") as file:
            file.write(self.preamble)
            stored.tofile(file)
        for name, content in self.sides:
            (path.parent / name.format(name=path.name, stem=path.stem)).write_bytes(content)


def read_raw(path: Path, width: int | None = None, shape: tuple[int, int] | None = None) -> Raster:
    """Read a raw file by its ``.hdr`` or ``.rsc``, else by ``width``.

    ``shape`` is the (H, W) of the interferogram that a coherence file belongs to: without a header such a
    file is one band of float32, or a line of amplitude and a line of coherence in turn, as its size tells.

    Raises InputError for a missing or incomplete header, a size that does not match it, and bytes that are
    not numbers in the stated byte order.
    """
    layout = _layout(path, width, shape)
    size, offset = path.stat().st_size, len(layout.preamble)
    wanted = offset + math.prod(layout.stored_shape) * layout.dtype.itemsize
    if size != wanted or not all(layout.stored_shape):
        raise InputError(
            f"{path}: {size} bytes; wanted {wanted} for {layout.lines} lines of {layout.samples} samples, "
            f"{len(layout.names)} band(s) of {layout.dtype.name} after {offset} bytes"
        )
    stored = np.fromfile(path, layout.dtype, offset=offset).reshape(layout.stored_shape)
    _check_byte_order(path, stored, layout.nodata)
    return Raster(stored.transpose(np.argsort(layout.axes)), layout.names, layout, layout.nodata)


def _layout(path: Path, width: int | None, shape: tuple[int, int] | None) -> Raw:
    for side, parse in (("{name}.hdr", _envi), ("{name}.rsc", _roi_pac), ("{stem}.hdr", _envi)):
        header = path.parent / side.format(name=path.name, stem=path.stem)
        if header.is_file():
            content = header.read_bytes()
            return parse(path, header, content.decode("utf-8", "replace"), (side, content))
    if shape is not None:
        rows, columns = shape
        names = ("amplitude", "coherence") if path.stat().st_size == 8 * rows * columns else ("coherence",)
        return Raw(np.dtype("<f4"), names, rows, columns, _INTERLEAVES["bil"])
    if path.suffix.lower() not in _HEADERLESS:
        raise InputError(
            f"{path}: wanted .tif, .npy, a complex {', '.join(_HEADERLESS)}, or a raw file with a header "
            f"{path.name}.hdr (ENVI) or {path.name}.rsc (ROI_PAC) beside it"
        )
    if width is None:
        raise InputError(f"{path}: no {path.name}.hdr or {path.name}.rsc beside it; wanted one of them, or width")
    if width < 1:
        raise InputError(f"width: {width}; wanted the number of pixels in a line, at least 1")
    lines, remainder = divmod(path.stat().st_size, 8 * width)
    if remainder or not lines:
        raise InputError(
            f"{path}: {path.stat().st_size} bytes are not a whole number of lines of {width} complex64 "
            "pixels; wanted another width"
        )
    return Raw(np.dtype("<c8"), ("",), lines, width)


def _envi(path: Path, header: Path, text: str, side: tuple[str, bytes]) -> Raw:
    if not text.lstrip().startswith("ENVI"):
        raise InputError(f"{header}: does not begin with ENVI; wanted an ENVI header")
    pairs = re.findall(r"^[ \t]*([^=\n;]+?)[ \t]*=[ \t]*(\{[^}]*\}|[^\n]*)", text, re.MULTILINE)
    fields = {key.lower(): value.strip() for key, value in pairs}
    code = _field(fields, header, "data type")
    if code not in _ENVI_DTYPES:
        raise InputError(f"{header}: data type {code}; wanted 4, 5 (float), 6 or 9 (complex)")
    interleave = _field(fields, header, "interleave", "bsq").lower()
    if interleave not in _INTERLEAVES:
        raise InputError(f"{header}: interleave {interleave}; wanted bsq, bil or bip")
    order = _field(fields, header, "byte order", "0")
    if order not in ("0", "1"):
        raise InputError(f"{header}: byte order {order}; wanted 0 (little endian) or 1 (big endian)")
    bands = _number(fields, header, "bands", "1")
    names = [name.strip() for name in fields.get("band names", "").strip("{}").split(",")]
    offset = _number(fields, header, "header offset", "0")
    with path.open("rb") as file:
        preamble = file.read(offset)
    return Raw(
        np.dtype("<>"[int(order)] + _ENVI_DTYPES[code]),
        tuple(names) if len(names) == bands else ("",) * bands,
        _number(fields, header, "lines"),
        _number(fields, header, "samples"),
        _INTERLEAVES[interleave],
        preamble,
        _ignore_value(fields, header),
        (side,),
    )


def _roi_pac(path: Path, header: Path, text: str, side: tuple[str, bytes]) -> Raw:
    suffix = path.suffix.lower()
    if suffix not in _ROI_PAC_BANDS:
        raise InputError(f"{path}: a .rsc file does not tell its layout; wanted {', '.join(_ROI_PAC_BANDS)}")
    names = _ROI_PAC_BANDS[suffix]
    dtype = np.dtype("<c8" if suffix == ".int" else "<f4")
    fields = {key.lower(): value for key, value in re.findall(r"^[ \t]*(\S+)[ \t]+(\S+)", text, re.MULTILINE)}
    lines, samples = _number(fields, header, "file_length"), _number(fields, header, "width")
    return Raw(dtype, names, lines, samples, _INTERLEAVES["bil"], sides=(side,))


def _field(fields: dict[str, str], header: Path, key: str, default: str | None = None) -> str:
    value = fields.get(key, default)
    if value is None:
        raise InputError(f"{header}: has no {key!r}")
    return value


def _number(fields: dict[str, str], header: Path, key: str, default: str | None = None) -> int:
    value = _field(fields, header, key, default)
    if not value.isdecimal():
        raise InputError(f"{header}: {key} is {value!r}; wanted a whole number")
    return int(value)


def _ignore_value(fields: dict[str, str], header: Path) -> float | None:
    value = fields.get("data ignore value")
    try:
        return None if value is None else float(value)
    except ValueError:
        raise InputError(f"{header}: data ignore value is {value!r}; wanted a number") from None


def _check_byte_order(path: Path, stored: np.ndarray, nodata: float | None) -> None:
    """Numbers read in the wrong byte order have exponents from all over the range.

    Of floats with random exponents half lie outside 1e-18 to 1e18; of phases, amplitudes and coherences none.
    """
    sample = stored.reshape(-1)[:: max(1, stored.size // 65536)]
    with np.errstate(invalid="ignore"):
        parts = np.ascontiguousarray(sample[np.isfinite(sample) & (sample != 0) & (sample != nodata)])
    parts = parts.view(parts.real.dtype)
    if _absurd(parts) <= 0.2:
        return
    if _absurd(parts.byteswap()) < 0.05:
        order = "big" if stored.dtype.newbyteorder("S").str.startswith(">") else "little"
        raise InputError(
            f"{path}: the values are huge or denormal as they stand and plausible as {order} endian; "
            f"wanted an ENVI header {path.name}.hdr with 'byte order = {int(order == 'big')}'"
        )
    raise InputError(f"{path}: the bytes are not {stored.dtype.name} numbers in either byte order")


def _absurd(values: np.ndarray) -> float:
    """Share of values which no interferogram holds."""
    if not values.size:
        return 0.0
    with np.errstate(invalid="ignore"):
        size = np.abs(values)
        return 1.0 - float(np.mean((size == 0) | ((size > 1e-18) & (size < 1e18))))
