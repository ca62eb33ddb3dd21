"""Which pixels of a picture have data: the no-data tag, NaN, alpha channels and mask pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.ignore import IGNORE
from sonarseg.survey.formats.found import holds_tiff, readable
from sonarseg.survey.formats.orientation import TAG, upright
from sonarseg.survey.formats.raster import orientation_of, png_kind
from sonarseg.survey.formats.tiff import is_picture

# GDAL keeps the value of pixels without data as ASCII text in this tag.
GDAL_NODATA = 42113
# Bits of the tag NewSubfileType
_REDUCED, _MASK = 1, 4
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
# GDAL takes floating-point numbers this near to the tag's value for it: the text is often rounded.
_NEAR = 20 * float(np.finfo(np.float32).eps)
_DEEP = 16
_PNG_ALPHA = (4, 6)
_PILLOW_ALPHA = ("LA", "RGBA")

Valid = NDArray[np.bool_]


def read_valid(path: Path) -> Valid | None:
    """Read which pixels of a picture have data.

    Without data are: in TIFF, pixels that hold the value of GDAL's no-data tag in all channels, and those
    that an internal mask leaves out; numbers that are not finite; in any file, pixels of alpha 0.

    Returns
    -------
    bool (H, W), or None if all pixels have data

    Raises
    ------
    UserError
        If the file cannot be read, or its no-data tag holds no number.
    """
    with readable(path):
        if holds_tiff(path):
            with tifffile.TiffFile(path) as file:
                page = _picture_page(file)
                parts = list(_tiff_parts(path, file, page))
                orientation = page.tags.valueof(TAG)
        else:
            with Image.open(path) as picture:
                parts = list(_raster_parts(path, picture))
                orientation = orientation_of(path, picture) if parts else None
    valid = np.logical_and.reduce(parts) if parts else None
    return None if valid is None or valid.all() else upright(valid, orientation)


def filled(image: NDArray[np.uint8], valid: Valid | None) -> NDArray[np.uint8]:
    """A scaled picture (H, W) or (H, W, 3) with 0 at pixels without data."""
    if valid is None:
        return image
    return np.where(valid if image.ndim == 2 else valid[..., None], image, np.uint8(0))


def without_invalid(labels: NDArray[np.uint8], valid: Valid | None) -> NDArray[np.uint8]:
    """Class ids (H, W) with 255 at pixels without data; the same array if all have data."""
    return labels if valid is None else np.where(valid, labels, np.uint8(IGNORE))


def _picture_page(file: tifffile.TiffFile) -> tifffile.TiffPage:
    pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage)]
    return next((page for page in pages if is_picture(page)), pages[0])


def _tiff_parts(path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage) -> Iterator[Valid]:
    """What the tags, the channels and the mask pages say of each pixel, bool (H, W) each."""
    for mask in file.pages:
        if not isinstance(mask, tifffile.TiffPage) or mask.offset == page.offset:
            continue
        kind = int(mask.subfiletype)
        if kind & _MASK and not kind & _REDUCED:
            yield np.asarray(mask.asarray()) != 0
    fill = _fill_value(path, page)
    alphas = [number for number, kind in enumerate(page.extrasamples) if kind in _ALPHA]
    floating = page.dtype is not None and page.dtype.kind == "f"
    if fill is None and not alphas and not floating:
        return
    array = _channels_last(page)
    colours = array.shape[2] - len(page.extrasamples)
    for number in alphas:
        yield array[..., colours + number] != 0
    if fill is not None:
        yield np.asarray((~_equal(array[..., :colours], fill)).any(axis=2))
    if floating:
        yield np.asarray(np.isfinite(array[..., :colours].astype(np.float32)).all(axis=2))


def _channels_last(page: tifffile.TiffPage) -> NDArray[np.generic]:
    """Stored numbers of a page, (H, W, C)."""
    array = np.asarray(page.asarray())
    if array.ndim == 2:
        return array[..., None]
    return np.moveaxis(array, 0, -1) if page.axes == "SYX" else array


def _fill_value(path: Path, page: tifffile.TiffPage) -> float | None:
    value = page.tags.valueof(GDAL_NODATA)
    text = (value.decode("latin-1") if isinstance(value, bytes) else str(value or "")).strip(" \0")
    if value is None or not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise UserError(
            f"{path} has the no-data tag (42113) {text!r}, expected a number: correct it or take it away."
        ) from error


def _equal(array: NDArray[np.generic], fill: float) -> Valid:
    """Which numbers are the fill value; one that the type cannot hold is nowhere."""
    if array.dtype.kind == "f":
        if not np.isfinite(fill):
            # These are no data whatever the tag says; the distance to them is infinite for every number.
            return np.zeros(array.shape, dtype=np.bool_)
        with np.errstate(invalid="ignore", over="ignore"):
            numbers = array.astype(np.float64)
            near: Valid = np.abs(numbers - fill) <= _NEAR * abs(fill)
        return near
    if not np.isfinite(fill) or fill != int(fill):
        return np.zeros(array.shape, dtype=np.bool_)
    equal: Valid = array == int(fill)
    return equal


def _raster_parts(path: Path, picture: Image.Image) -> Iterator[Valid]:
    """What the alpha channel or the transparent colour of a picture says, bool (H, W)."""
    depth, kind = png_kind(path)
    key = picture.info.get("transparency")
    if picture.mode in _PILLOW_ALPHA or kind in _PNG_ALPHA:
        # Pillow would cut an alpha of 16 bits to 8, and the least values to 0.
        array = imagecodecs.png_decode(path.read_bytes()) if depth == _DEEP else np.asarray(picture)
        yield array[..., -1] != 0
    elif key is not None and picture.mode == "P":
        yield np.asarray(picture.convert("RGBA"))[..., -1] != 0
    elif key is not None and depth:
        yield ~_is_key(path, picture, depth, key)


def _is_key(path: Path, picture: Image.Image, depth: int, key: int | tuple[int, ...]) -> Valid:
    """Which pixels of a grey or RGB PNG have its transparent colour."""
    if depth == _DEEP and picture.mode == "RGB":
        # Pillow would cut the colours to 8 bits; this decoder makes an alpha channel of the key.
        return np.asarray(imagecodecs.png_decode(path.read_bytes())[..., -1] == 0)
    array = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
    if picture.mode == "RGB":
        return np.asarray((array == np.array(key)).all(axis=2))
    # The key is as stored; Pillow stretches few bits over 0..255.
    stretch = 255 // (2**depth - 1) if picture.mode == "L" and depth < 8 else 1
    return np.asarray(array.astype(np.int64) == int(np.asarray(key).ravel()[0]) * stretch)
