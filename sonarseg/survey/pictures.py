"""Read sonar pictures and masks of any common kind; write index and grey pictures whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sonarseg.errors import UserError

SUFFIXES = (".png", ".tif", ".tiff")
Picture = NDArray[np.uint8] | NDArray[np.uint16]


def _read_array(path: Path) -> NDArray[np.generic]:
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            return np.asarray(tifffile.imread(path))
        with Image.open(path) as picture:
            if picture.mode in ("P", "1", "CMYK"):
                if picture.mode == "CMYK":
                    raise UserError(f"{path} is a CMYK picture: save it as grey or RGB.")
                picture = picture.convert("RGB" if picture.mode == "P" else "L")
            return np.asarray(picture)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing.") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, tifffile.TiffFileError) as error:
        reason = str(error).replace("\n", " ")
        raise UserError(f"{path} cannot be read as a picture ({reason}): save it again as PNG or TIFF.") from error


def read_picture(path: Path) -> Picture:
    """Read a tile.

    Parameters
    ----------
    path : Path
        PNG or TIFF, 8 or 16 bit, grey or RGB; an alpha channel is dropped.

    Returns
    -------
    uint8 or uint16, (H, W) or (H, W, 3)

    Raises
    ------
    UserError
        Where the file cannot be read or is of another kind.
    """
    array = np.squeeze(_read_array(path))
    if array.dtype == np.int32 and array.size and 0 <= array.min() and array.max() <= 65535:
        array = array.astype(np.uint16)
    if array.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path} holds {array.dtype} values: save it with 8 or 16 bits a channel.")
    if array.ndim == 0:
        array = array.reshape(1, 1)
    if array.ndim == 1:
        array = array[None]
    if array.ndim == 3 and array.shape[2] in (2, 4):
        array = array[..., 0] if array.shape[2] == 2 else array[..., :3]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] == 3):
        raise UserError(f"{path} has the shape {array.shape}: expected one grey or RGB picture.")
    picture: Picture = array  # type: ignore[assignment]
    return picture


def read_mask_file(path: Path) -> NDArray[np.uint8]:
    """Read a mask of class ids, uint8 (H, W); palette pictures give their indices.

    Raises
    ------
    UserError
        Where the file cannot be read or holds more than one channel.
    """
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            array = np.squeeze(np.asarray(tifffile.imread(path)))
        else:
            with Image.open(path) as picture:
                array = np.asarray(picture)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: draw the tile's mask or take the tile from the split.") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, tifffile.TiffFileError) as error:
        reason = str(error).replace("\n", " ")
        raise UserError(f"{path} cannot be read as a mask ({reason}): save it as an 8-bit PNG.") from error
    if array.ndim != 2:
        raise UserError(f"{path} has {array.ndim} dimensions: a mask holds one class id a pixel, in one channel.")
    if array.size and (array.min() < 0 or array.max() > 255):
        raise UserError(f"{path} holds the value {array.max()}: class ids go from 0 to 254, 255 is no data.")
    return array.astype(np.uint8)


def write_index_png(path: Path, mask: NDArray[np.uint8]) -> None:
    """Write class ids (H, W) as an 8-bit PNG."""
    write_png(path, mask)


def write_png(path: Path, array: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W) or (H, W, 3) beside `path` and move it into place."""
    partial = path.with_name(path.name + ".partial")
    try:
        Image.fromarray(np.ascontiguousarray(array)).save(partial, format="PNG")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
