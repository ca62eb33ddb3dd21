"""Read sonar pictures and masks of any common kind; write index and grey pictures whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonarseg.class_colours import colour_table
from sonarseg.errors import UserError
from sonarseg.files.whole import whole_file
from sonarseg.ignore import IGNORE
from sonarseg.survey.formats.found import holds_tiff, readable
from sonarseg.survey.formats.raster import raster_bits, raster_size, read_raster, read_raster_ids
from sonarseg.survey.formats.tiff import read_tiff, read_tiff_ids, tiff_bits, tiff_size
from sonarseg.survey.no_data import read_valid

Picture = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]


def read_picture(path: Path) -> Picture:
    """Read a tile, upright.

    Parameters
    ----------
    path : Path
        PNG, TIFF or JPEG: 8 or 16 bit, grey, RGB or with a palette; an alpha channel is dropped. Or a TIFF
        of one channel of floating-point numbers.

    Returns
    -------
    uint8 or uint16, (H, W) or (H, W, 3); or float32 (H, W), NaN and infinite values as they are

    Raises
    ------
    UserError
        If the file cannot be read or is of another kind.
    """
    with readable(path):
        array = read_tiff(path) if holds_tiff(path) else read_raster(path)
    array = _of_known_type(path, array)
    if array.ndim == 3 and array.shape[2] in (1, 2):
        array = array[..., 0]
    elif array.ndim == 3 and array.shape[2] == 4:
        array = array[..., :3]
    if 0 in array.shape or (array.ndim != 2 and not (array.ndim == 3 and array.shape[2] == 3)):
        raise UserError(f"{path} has the shape {array.shape}: expected one grey or RGB picture.")
    if array.ndim == 3 and array.dtype == np.float32:
        raise UserError(
            f"{path} holds three channels of floating-point numbers: save it as grey, or with 16 bits."
        )
    picture: Picture = np.ascontiguousarray(array)
    return picture


def _of_known_type(path: Path, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Bring numbers to uint8, uint16 or float32, if they fit."""
    if array.dtype in (np.uint8, np.uint16):
        return array
    if array.dtype.kind == "f":
        # Fill values of 64 bits may be too large for 32: they become infinite, which is no data either.
        with np.errstate(over="ignore"):
            return array.astype(np.float32)
    if array.dtype.kind in "iu" and array.size:
        if _fits(array):
            return array.astype(np.uint16)
        # What stands for no data (-9999, say) need not fit.
        valid = read_valid(path)
        if valid is not None:
            shown = np.where(valid if array.ndim == 2 else valid[..., None], array, 0)
            if _fits(shown):
                return shown.astype(np.uint16)
    raise UserError(
        f"{path} holds {array.dtype} values: save it as whole numbers of 8 or 16 bits, or as float32."
    )


def _fits(array: NDArray[np.generic]) -> bool:
    """Whether whole numbers fit 16 bits."""
    return int(np.min(array)) >= 0 and int(np.max(array)) <= np.iinfo(np.uint16).max


def picture_size(path: Path) -> tuple[int, int]:
    """Read the height and width of a picture or mask, upright, from its header, in pixels.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    with readable(path):
        return tiff_size(path) if holds_tiff(path) else raster_size(path)


def picture_bits(path: Path) -> int:
    """Read from its header how many bits the grey levels of a picture have: 8, 16, or 32 for floating point.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    with readable(path):
        return tiff_bits(path) if holds_tiff(path) else raster_bits(path)


def read_mask_file(path: Path) -> NDArray[np.uint8]:
    """Read a mask of class ids, uint8 (H, W), upright; pictures with a palette give their indices.

    Pixels that the file itself marks as without data, see `read_valid`, are 255.

    Raises
    ------
    UserError
        If the file cannot be read, was compressed with loss, holds more than one channel, or values that
        are no class ids.
    """
    with readable(path):
        array = read_tiff_ids(path) if holds_tiff(path) else read_raster_ids(path)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2:
        raise UserError(
            f"{path} has {array.shape[-1]} channels: save the mask with one channel that holds class ids."
        )
    if array.dtype.kind not in "bui":
        raise UserError(f"{path} holds {array.dtype} values: save the mask with whole numbers of 8 bits.")
    valid = read_valid(path)
    if valid is not None:
        array = np.where(valid, array.astype(np.int64), IGNORE)
    # Compared before they are made bytes, so that 256 does not become 0
    for value in (np.min(array), np.max(array)) if array.size else ():
        if not 0 <= int(value) <= IGNORE:
            raise UserError(f"{path} holds the value {value}: class ids go from 0 to 254, 255 is no data.")
    return np.ascontiguousarray(array.astype(np.uint8))


def write_index_png(path: Path, mask: NDArray[np.uint8]) -> None:
    """Write class ids, uint8 (H, W), as an 8-bit PNG whose palette holds the colours of the classes."""
    picture = Image.fromarray(np.ascontiguousarray(mask))
    picture.putpalette(colour_table().tobytes())
    _save(path, picture)


def write_png(path: Path, array: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W) or (H, W, 3) beside `path` and move it into place."""
    _save(path, Image.fromarray(np.ascontiguousarray(array)))


def _save(path: Path, picture: Image.Image) -> None:
    with whole_file(path) as partial:
        picture.save(partial, format="PNG")
