"""Masks that were compressed with loss: their class ids are no longer those that were drawn."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import tifffile

from sonarseg.errors import UserError

_TIFF = tifffile.COMPRESSION
_LOSSLESS_TIFF = (
    _TIFF.NONE,
    _TIFF.CCITTRLE,
    _TIFF.CCITT_T4,
    _TIFF.CCITT_T6,
    _TIFF.LZW,
    _TIFF.ADOBE_DEFLATE,
    _TIFF.DEFLATE,
    _TIFF.PACKBITS,
    _TIFF.LZMA,
    _TIFF.ZSTD,
    _TIFF.ZSTD_DEPRECATED,
    _TIFF.PNG,
)
_JPEG2000_TIFF = (_TIFF.JPEG2000, _TIFF.JPEG_2000_LOSSY, _TIFF.APERIO_JP2000_RGB, _TIFF.APERIO_JP2000_YCBC)
_LERC_PARAMETERS = 50674
_LERC_ERROR_OF_WHOLE_NUMBERS = 0.5
# As Pillow calls what lies in a file
_LOSSLESS_FORMATS = ("PNG", "GIF", "BMP", "PPM")


def refuse_lossy_tiff(path: Path, page: tifffile.TiffPage) -> None:
    """Refuse (UserError) a TIFF mask whose compression loses, or may lose for all that can be told."""
    compression = page.compression
    if compression in _LOSSLESS_TIFF:
        return
    first = _first_segment(page)
    if compression in _JPEG2000_TIFF and keeps_jpeg2000(first):
        return
    if compression == _TIFF.LERC and _keeps_lerc(first, page.tags.valueof(_LERC_PARAMETERS)):
        return
    raise _lossy(path, getattr(compression, "name", str(compression)))


def refuse_lossy_format(path: Path, name: str) -> None:
    """Refuse (UserError) a mask in a file format that loses; `name` is the format as Pillow calls it."""
    if name in _LOSSLESS_FORMATS or (name == "JPEG2000" and keeps_jpeg2000(path.read_bytes())):
        return
    raise _lossy(path, "JPEG" if name == "MPO" else name)


def keeps_jpeg2000(stream: bytes) -> bool:
    """Whether a JPEG 2000 stream uses the reversible wavelet (ISO/IEC 15444-1, A.6.1)."""
    start = stream.find(b"\xff\x4f\xff\x51")
    style = stream.find(b"\xff\x52", start)
    # Marker, length, coding style, progression, layers (2), colour transform, levels, blocks (3), wavelet
    return start >= 0 and style >= 0 and stream[style + 13 : style + 14] == b"\x01"


def _first_segment(page: tifffile.TiffPage) -> bytes:
    handle = page.parent.filehandle
    handle.seek(page.dataoffsets[0])
    return bytes(handle.read(page.databytecounts[0]))


def _keeps_lerc(segment: bytes, parameters: object) -> bool:
    """Whether a LERC stream allows no error: 0, or .5 as it is written for whole numbers."""
    packed = parameters[1] if isinstance(parameters, tuple) and len(parameters) > 1 else 0
    if packed:
        unpack = imagecodecs.zlib_decode if packed == 1 else imagecodecs.zstd_decode
        segment = bytes(unpack(segment))
    if not segment.startswith(b"Lerc2 "):
        return False
    (version,) = struct.unpack_from("<i", segment, 6)
    # Magic and version, a checksum from 3 on, six numbers, a seventh from 4 on, two more words from 6 on
    offset = 10 + 4 * (version >= 3) + 24 + 4 * (version >= 4) + 8 * (version >= 6)
    (error,) = struct.unpack_from("<d", segment, offset)
    return bool(error <= _LERC_ERROR_OF_WHOLE_NUMBERS)


def _lossy(path: Path, compression: str) -> UserError:
    return UserError(
        f"{path} is compressed as {compression}, which changes class ids: save it as PNG, from the original."
    )
