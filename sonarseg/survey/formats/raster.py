"""PNG, JPEG and the other files that Pillow reads, one picture each."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PpmImagePlugin

from sonarseg.errors import UserError
from sonarseg.survey.formats.found import cmyk, refuse_huge, several
from sonarseg.survey.formats.lossy import refuse_lossy_format
from sonarseg.survey.formats.orientation import TAG, UPRIGHT, upright, upright_size

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = struct.Struct(">8s4x4sIIBB")
_PNG_CHUNK = struct.Struct(">I4s")
# Chunks that may hold EXIF or XMP: only with one of them is Pillow asked, which may decode all pixels for it.
_PNG_REMARKS = {b"eXIf", b"tEXt", b"zTXt", b"iTXt"}
_PNG_GREY = 0
_HIGHEST = 255
# As Pillow calls grey levels of more than 8 bits
_DEEP_MODES = {"I": 16, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "F": 32}


@contextmanager
def only_frame(path: Path) -> Iterator[Image.Image]:
    """Open a picture file, whatever its suffix.

    Raises
    ------
    UserError
        If it holds several frames, or is too large.
    """
    with Image.open(path) as picture:
        if getattr(picture, "n_frames", 1) > 1:
            raise several(path)
        refuse_huge(path, picture.height, picture.width)
        yield picture


def raster_size(path: Path) -> tuple[int, int]:
    """Height and width as the picture is shown; no pixel is decoded unless remarks have to be read."""
    with only_frame(path) as picture:
        return upright_size(picture.height, picture.width, orientation_of(path, picture))


def raster_bits(path: Path) -> int:
    """Bits of the grey levels of a picture: 8, 16, or 32 for floating point."""
    depth, _ = png_kind(path)
    if depth:
        return 16 if depth == 16 else 8
    with only_frame(path) as picture:
        _refuse_cmyk(path, picture)
        return _DEEP_MODES.get(picture.mode, 8)


def read_raster(path: Path) -> NDArray[np.generic]:
    """Read a picture, (H, W) or (H, W, C): colours of a palette looked up, few bits stretched to 0..255."""
    with only_frame(path) as picture:
        orientation = orientation_of(path, picture)
        _refuse_cmyk(path, picture)
        depth, kind = png_kind(path)
        if depth == 16 and kind != _PNG_GREY:
            # Pillow would cut these to 8 bits.
            array = np.asarray(imagecodecs.png_decode(path.read_bytes()))
        elif picture.mode in ("P", "PA"):
            array = np.asarray(picture.convert("RGBA"))
        else:
            array = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
    return upright(array, orientation)


def read_raster_ids(path: Path) -> NDArray[np.generic]:
    """Read a mask, (H, W) or (H, W, C): stored numbers, indices if it has a palette.

    Raises
    ------
    UserError
        If it was compressed with loss, or its ids cannot be told from stretched grey levels.
    """
    with only_frame(path) as picture:
        refuse_lossy_format(path, picture.format or "a format of its own")
        _refuse_stretched(path, picture)
        orientation = orientation_of(path, picture)
        array = np.asarray(picture)
    depth, kind = png_kind(path)
    if kind == _PNG_GREY and depth in (2, 4):
        # Pillow stretches these to 0..255: the highest id would become "no data".
        array = array // np.uint8(_HIGHEST // (2**depth - 1))
    return upright(array, orientation)


def _refuse_cmyk(path: Path, picture: Image.Image) -> None:
    if picture.mode in ("CMYK", "YCCK"):
        raise cmyk(path)


def _refuse_stretched(path: Path, picture: Image.Image) -> None:
    """Refuse a PGM mask whose highest level is neither 255 nor 65535: Pillow stretches its numbers."""
    decoder = picture.tile[0] if isinstance(picture, PpmImagePlugin.PpmImageFile) else None
    if decoder is None or decoder.codec_name == "raw" or picture.mode == "1":
        return
    highest = decoder.args[-1] if isinstance(decoder.args, tuple) else _HIGHEST
    if highest != _HIGHEST:
        raise UserError(f"{path} is a PGM file of levels 0 to {highest}: save the mask as PNG.")


def png_kind(path: Path) -> tuple[int, int]:
    """Bits a channel and colour type of a PNG, from its header; zeros if the file is something else."""
    with path.open("rb") as file:
        head = file.read(_PNG_HEAD.size)
    if len(head) < _PNG_HEAD.size or not head.startswith(_PNG_SIGNATURE):
        return 0, 0
    _, _, _, _, depth, kind = _PNG_HEAD.unpack(head)
    return depth, kind


def orientation_of(path: Path, picture: Image.Image) -> object:
    """Value of the orientation tag, in EXIF or XMP; 1 if there is none."""
    if picture.format == "PNG" and not _has_remarks(path):
        return UPRIGHT
    return picture.getexif().get(TAG, UPRIGHT)


def _has_remarks(path: Path) -> bool:
    """Whether a PNG has chunks besides the pixels that could say how it is to be turned, after them too."""
    with path.open("rb") as file:
        file.seek(len(_PNG_SIGNATURE))
        while len(head := file.read(_PNG_CHUNK.size)) == _PNG_CHUNK.size:
            length, kind = _PNG_CHUNK.unpack(head)
            if kind in _PNG_REMARKS:
                return True
            file.seek(length + 4, 1)
    return False
