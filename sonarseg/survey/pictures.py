"""Read sonar pictures and masks of any common kind; write index and grey pictures whole or not at all."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from sonarseg.class_colours import colour_table
from sonarseg.errors import UserError

SUFFIXES = (".png", ".tif", ".tiff")
Picture = NDArray[np.uint8] | NDArray[np.uint16]

# What tifffile logs comes as an exception too; without a handler it would be printed beside our sentence.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = struct.Struct(">8s4x4sIIBB")
_PNG_GREY = 0
_WIDEST_ID = 255
# More is no tile, but a whole strip or a damaged header that would fill the memory.
MOST_PIXELS = 2**27
# What the decoders raise on damaged files; an OSError of the disk itself passes through as it is.
_DAMAGED = (
    AttributeError,
    EOFError,
    Image.DecompressionBombError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what decoders raise into one sentence."""
    if not path.is_file():
        raise UserError(f"{path} is missing: put it there or take its tile from the lists.")
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        # Pillow's own complaints about content carry no errno.
        raise _unreadable(path, error) from error
    except _DAMAGED as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> UserError:
    reason = " ".join(str(error).replace(f" {str(path)!r}", "").split()) or type(error).__name__
    return UserError(f"{path} cannot be read ({reason[:120]}): save it again as PNG or TIFF.")


def _refuse_huge(path: Path, height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise UserError(
            f"{path} is {width} x {height} pixels: cut it into tiles of {MOST_PIXELS} pixels at most."
        )


def holds_tiff(path: Path) -> bool:
    """Whether a file is a TIFF, by its suffix."""
    return path.suffix.lower() in (".tif", ".tiff")


def _read_tiff(path: Path, *, colours: bool) -> NDArray[np.generic]:
    """Read the only page of a TIFF; `colours` looks palette entries up and turns white-is-zero round."""
    with tifffile.TiffFile(path) as file:
        pictures = [page for page in file.pages if _is_picture(page)]
        # ImageJ keeps a stack under one page.
        if len(pictures) != 1 or len(file.series[0].pages) > 1:
            raise UserError(f"{path} holds several pictures: save each tile as a file of its own.")
        page = file.series[0].keyframe
        _refuse_huge(path, page.imagelength, page.imagewidth)
        array = np.asarray(page.asarray())
        if page.axes == "SYX":
            array = np.moveaxis(array, 0, -1)
        elif page.axes not in ("YX", "YXS"):
            raise UserError(f"{path} has the axes {page.axes}: expected one grey or RGB picture.")
        if not colours:
            return array
        if page.photometric == tifffile.PHOTOMETRIC.SEPARATED:
            raise UserError(f"{path} is a CMYK picture: save it as grey or RGB.")
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
            # TIFF keeps palette entries as 16-bit values.
            indices = array if array.ndim == 2 else array[..., 0]
            return np.moveaxis((page.colormap >> 8).astype(np.uint8)[:, indices], 0, -1)
        if array.dtype == bool:
            array = array.astype(np.uint8) * np.uint8(255)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and array.dtype.kind == "u":
            array = np.iinfo(array.dtype).max - array
        return array


def _is_picture(page: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    """Whether a page is neither a reduced copy nor a mask (tag NewSubfileType); a frame repeats a picture."""
    return isinstance(page, tifffile.TiffFrame) or not int(page.subfiletype) & (1 | 4)


def png_kind(path: Path) -> tuple[int, int]:
    """Bits a channel and colour type of a PNG, from its header; zeros where the file is something else."""
    with path.open("rb") as file:
        head = file.read(_PNG_HEAD.size)
    if len(head) < _PNG_HEAD.size or not head.startswith(_PNG_SIGNATURE):
        return 0, 0
    _, _, width, height, depth, kind = _PNG_HEAD.unpack(head)
    _refuse_huge(path, height, width)
    return depth, kind


def _read_png(path: Path) -> NDArray[np.generic]:
    depth, kind = png_kind(path)
    if depth == 16 and kind != _PNG_GREY:
        # Pillow would cut these to 8 bits.
        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    with Image.open(path) as picture:
        if picture.mode == "CMYK":
            raise UserError(f"{path} is a CMYK picture: save it as grey or RGB.")
        if picture.mode == "P":
            return np.asarray(picture.convert("RGBA"))
        return np.asarray(picture.convert("L") if picture.mode == "1" else picture)


def read_picture(path: Path) -> Picture:
    """Read a tile.

    Parameters
    ----------
    path : Path
        PNG or TIFF, 8 or 16 bit, grey, RGB or with a palette; an alpha channel is dropped.

    Returns
    -------
    uint8 or uint16, (H, W) or (H, W, 3)

    Raises
    ------
    UserError
        Where the file cannot be read or is of another kind.
    """
    with readable(path):
        array = _read_tiff(path, colours=True) if holds_tiff(path) else _read_png(path)
    if array.dtype.kind == "i" and array.size and array.min() >= 0 and array.max() <= np.iinfo(np.uint16).max:
        array = array.astype(np.uint16)
    if array.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path} holds {array.dtype} values: save it as whole numbers of 8 or 16 bits.")
    if array.ndim == 3 and array.shape[2] in (1, 2):
        array = array[..., 0]
    elif array.ndim == 3 and array.shape[2] == 4:
        array = array[..., :3]
    if 0 in array.shape or (array.ndim != 2 and not (array.ndim == 3 and array.shape[2] == 3)):
        raise UserError(f"{path} has the shape {array.shape}: expected one grey or RGB picture.")
    picture: Picture = np.ascontiguousarray(array)
    return picture


def picture_size(path: Path) -> tuple[int, int]:
    """Read the height and width of a picture or mask from its header, in pixels.

    Raises
    ------
    UserError
        Where the file cannot be read.
    """
    with readable(path):
        if holds_tiff(path):
            with tifffile.TiffFile(path) as file:
                page = file.series[0].keyframe
                return int(page.imagelength), int(page.imagewidth)
        with Image.open(path) as picture:
            return picture.height, picture.width


def picture_bits(path: Path) -> int:
    """Read from its header how many bits the grey levels of a picture have: 8, 16, or 32 for floating point.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    with readable(path):
        if not holds_tiff(path):
            return 16 if png_kind(path)[0] == 16 else 8
        with tifffile.TiffFile(path) as file:
            page = file.series[0].keyframe
            kind = np.dtype(page.dtype or np.uint8)
            if page.photometric == tifffile.PHOTOMETRIC.PALETTE or kind.kind == "b" or kind == np.uint8:
                return 8
            return 32 if kind.kind == "f" else 16


def _read_png_ids(path: Path) -> NDArray[np.generic]:
    depth, kind = png_kind(path)
    with Image.open(path) as picture:
        array = np.asarray(picture)
    if kind == _PNG_GREY and depth in (2, 4):
        # Pillow stretches these to 0..255: the highest id would become "no data".
        array = array // np.uint8(_WIDEST_ID // (2**depth - 1))
    return array


def read_mask_file(path: Path) -> NDArray[np.uint8]:
    """Read a mask of class ids, uint8 (H, W); pictures with a palette give their indices.

    Raises
    ------
    UserError
        Where the file cannot be read, holds more than one channel, or values that are no class ids.
    """
    with readable(path):
        if holds_tiff(path):
            array = _read_tiff(path, colours=False)
        else:
            array = _read_png_ids(path)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2:
        raise UserError(
            f"{path} has {array.shape[-1]} channels: save the mask with one channel that holds class ids."
        )
    if array.dtype.kind not in "bui":
        raise UserError(f"{path} holds {array.dtype} values: save the mask with whole numbers of 8 bits.")
    for value in (array.min(), array.max()) if array.size else ():
        if not 0 <= int(value) <= _WIDEST_ID:
            raise UserError(f"{path} holds the value {value}: class ids go from 0 to 254, 255 is no data.")
    return array.astype(np.uint8)


def write_index_png(path: Path, mask: NDArray[np.uint8]) -> None:
    """Write class ids, uint8 (H, W), as an 8-bit PNG whose palette holds the colours of the classes."""
    picture = Image.fromarray(np.ascontiguousarray(mask))
    picture.putpalette(colour_table().tobytes())
    _save(path, picture)


def write_png(path: Path, array: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W) or (H, W, 3) beside `path` and move it into place."""
    _save(path, Image.fromarray(np.ascontiguousarray(array)))


def _save(path: Path, picture: Image.Image) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        picture.save(partial, format="PNG")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
