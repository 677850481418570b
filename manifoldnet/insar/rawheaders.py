"""Header files of raw rasters: ENVI, ROI_PAC, ISCE and GAMMA.

An ENVI header and the XML of ISCE state everything. ROI_PAC files are little endian and row major: ``.int`` is
complex64; ``.unw`` and ``.cor`` alternate a line of amplitude with a line of phase or coherence (float32). GAMMA's
files are big endian, complex64 or float32 as their size tells. Files without header are complex64, little endian, of a
width that the caller knows.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from manifoldnet.errors import InputError
from manifoldnet.insar.rawbinary import INTERLEAVES, Raw

_ENVI_DTYPES = {"4": "f4", "5": "f8", "6": "c8", "9": "c16"}
_ISCE_DTYPES = {"float": "f4", "double": "f8", "cfloat": "c8", "cdouble": "c16"}
# what the bands of ROI_PAC's files are, which those of ISCE follow
_BANDS = {".int": ("",), ".unw": ("amplitude", "phase"), ".cor": ("amplitude", "coherence")}
_COHERENCE = (".cor", ".cc", ".coh", ".corr")
_HEADERLESS = (".int", ".diff", ".cpx")
# GAMMA's keywords for samples and lines: of interferograms, of single images and of maps
_GAMMA = (
    ("interferogram_width", "interferogram_azimuth_lines"),
    ("range_samples", "azimuth_lines"),
    ("width", "nlines"),
)


def layout_of(path: Path, width: int | None = None, like: Raw | tuple[int, int] | None = None) -> Raw:
    """Layout of a raw file by its header, else by ``width``.

    ``like`` is the layout, or (H, W), of the interferogram that a coherence file belongs to: without a header such a
    file is one band of float32, or a line of amplitude and a line of coherence in turn, as its size tells.

    Raises InputError for a missing or incomplete header.
    """
    for side, parse in _HEADERS:
        header = path.parent / side.format(name=path.name, stem=path.stem)
        if header.is_file() and header != path:
            content = header.read_bytes()
            return parse(path, header, content.decode("utf-8", "replace"), (side, content))
    if like is not None:
        rows, columns = (like.lines, like.samples) if isinstance(like, Raw) else like
        order = ">" if isinstance(like, Raw) and like.dtype.str.startswith(">") else "<"
        names = ("amplitude", "coherence") if path.stat().st_size == 8 * rows * columns else ("coherence",)
        return Raw(np.dtype(order + "f4"), names, rows, columns, INTERLEAVES["bil"])
    if path.suffix.lower() not in _HEADERLESS:
        raise InputError(
            f"{path}: wanted .tif, .npy, .h5, .nc, a complex {', '.join(_HEADERLESS)}, or a raw file with a header "
            f"{path.name}.hdr (ENVI), .rsc (ROI_PAC), .xml (ISCE), .par or .off (GAMMA) beside it"
        )
    if width is None:
        raise InputError(
            f"{path}: no {path.name}.hdr, .rsc, .xml, .par or .off beside it; wanted one of them, or width"
        )
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
    if interleave not in INTERLEAVES:
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
        INTERLEAVES[interleave],
        preamble,
        _ignore_value(fields, header),
        (side,),
    )


def _roi_pac(path: Path, header: Path, text: str, side: tuple[str, bytes]) -> Raw:
    suffix = path.suffix.lower()
    if suffix not in _BANDS:
        raise InputError(f"{path}: a .rsc file does not tell its layout; wanted {', '.join(_BANDS)}")
    names = _BANDS[suffix]
    dtype = np.dtype("<c8" if suffix == ".int" else "<f4")
    fields = {key.lower(): value for key, value in re.findall(r"^[ \t]*(\S+)[ \t]+(\S+)", text, re.MULTILINE)}
    lines, samples = _number(fields, header, "file_length"), _number(fields, header, "width")
    return Raw(dtype, names, lines, samples, INTERLEAVES["bil"], sides=(side,))


def _isce(path: Path, header: Path, text: str, side: tuple[str, bytes]) -> Raw:
    try:
        properties = ElementTree.fromstring(text).findall("property")
    except ElementTree.ParseError as error:
        raise InputError(f"{header}: wanted the XML of an ISCE image ({error})") from error
    fields = {(part.get("name") or "").lower(): (part.findtext("value") or "").strip() for part in properties}
    kind = _field(fields, header, "data_type").lower()
    if kind not in _ISCE_DTYPES:
        raise InputError(f"{header}: data_type {kind}; wanted {', '.join(_ISCE_DTYPES)}")
    scheme = _field(fields, header, "scheme", "bip").lower()
    if scheme not in INTERLEAVES:
        raise InputError(f"{header}: scheme {scheme}; wanted BSQ, BIL or BIP")
    order = _field(fields, header, "byte_order", "l").lower()
    if order not in ("l", "b"):
        raise InputError(f"{header}: byte_order {order}; wanted l (little endian) or b (big endian)")
    lines, samples = _number(fields, header, "length"), _number(fields, header, "width")
    bands = _number(fields, header, "number_bands", "1")
    named = _BANDS.get(path.suffix.lower(), ())
    names = named if len(named) == bands else _single(path) if bands == 1 else ("",) * bands
    dtype = np.dtype("<>"[order == "b"] + _ISCE_DTYPES[kind])
    return Raw(dtype, names, lines, samples, INTERLEAVES[scheme], sides=(side,), called=fields.get("file_name", ""))


def _gamma(path: Path, header: Path, text: str, side: tuple[str, bytes]) -> Raw:
    fields = dict(re.findall(r"^[ \t]*(\w+):[ \t]*(\S+)", text, re.MULTILINE))
    for across, down in _GAMMA:
        if across in fields:
            samples, lines = _number(fields, header, across), _number(fields, header, down)
            complex_size = 8 * lines * samples
            dtype = np.dtype(">c8" if path.stat().st_size == complex_size else ">f4")
            return Raw(dtype, _single(path), lines, samples, sides=(side,))
    raise InputError(f"{header}: wanted one of {', '.join(key for key, _ in _GAMMA)} as in a file of GAMMA's")


def _single(path: Path) -> tuple[str]:
    return ("coherence" if path.suffix.lower() in _COHERENCE else "",)


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


# in the order in which they are looked for
_HEADERS = (
    ("{name}.hdr", _envi), ("{name}.rsc", _roi_pac), ("{stem}.hdr", _envi), ("{name}.xml", _isce),
    ("{name}.par", _gamma), ("{name}.off", _gamma), ("{stem}.off", _gamma), ("{stem}.par", _gamma),
)  # fmt: skip
