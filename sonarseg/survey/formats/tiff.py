"""TIFF files of one picture, with all that their tags say of the pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.survey.formats.found import cmyk, refuse_huge, several
from sonarseg.survey.formats.lossy import refuse_lossy_tiff
from sonarseg.survey.formats.orientation import TAG, upright, upright_size

# Smaller copies of the picture, and masks of its pixels (tag NewSubfileType): pages that are no pictures
_REDUCED_OR_MASK = 1 | 4
_BYTE = 8
_COLOURS = tifffile.PHOTOMETRIC
_PLAIN_COLOURS = (_COLOURS.MINISWHITE, _COLOURS.MINISBLACK, _COLOURS.RGB, _COLOURS.PALETTE)
# Their decoders turn YCbCr into RGB.
_DECODED_TO_RGB = (
    tifffile.COMPRESSION.OJPEG,
    tifffile.COMPRESSION.JPEG,
    tifffile.COMPRESSION.WEBP,
)


@contextmanager
def only_page(path: Path) -> Iterator[tifffile.TiffPage]:
    """Open the one page of a TIFF that is a picture; reduced copies and masks are passed over.

    Raises
    ------
    UserError
        If there are several.
    """
    with tifffile.TiffFile(path) as file:
        # A file of one page is that page, whatever its tag says.
        pages = [page for page in file.pages if is_picture(page)] or list(file.pages)
        # ImageJ keeps a stack under one page.
        if len(pages) != 1 or file.series[0].size > pages[0].size:
            raise several(path)
        page = pages[0].keyframe
        assert page is not None, "a page is its own key frame, or has one"
        yield page


def is_picture(page: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    """Whether a page is neither a reduced copy nor a mask; a frame repeats the picture before it."""
    return isinstance(page, tifffile.TiffFrame) or not int(page.subfiletype) & _REDUCED_OR_MASK


def tiff_size(path: Path) -> tuple[int, int]:
    """Height and width of a TIFF as it is shown, from its tags."""
    with only_page(path) as page:
        return upright_size(int(page.imagelength), int(page.imagewidth), page.tags.valueof(TAG))


def tiff_bits(path: Path) -> int:
    """Bits of the grey levels of a TIFF, from its tags: 8, 16, or 32 for floating point.

    Raises
    ------
    UserError
        If its colours are not grey, RGB or of a palette.
    """
    with only_page(path) as page:
        _refuse_other_colours(path, page)
        kind = np.dtype(page.dtype or np.uint8)
        if page.photometric == _COLOURS.PALETTE or kind in (np.bool_, np.uint8):
            return 8
        return 32 if kind.kind == "f" else 16


def read_tiff(path: Path) -> NDArray[np.generic]:
    """Read a TIFF as a picture: colours of a palette looked up, few bits stretched, white-is-zero inverted.

    Returns
    -------
    (H, W) or (H, W, C), of the file's own type, with 8 bits at least

    Raises
    ------
    UserError
        If its colours are not grey, RGB or of a palette.
    """
    with only_page(path) as page:
        _refuse_other_colours(path, page)
        array = _pixels(path, page)
        if page.photometric == _COLOURS.PALETTE and page.colormap is not None:
            indices = array if array.ndim == 2 else array[..., 0]
            return np.moveaxis(_palette(page.colormap)[:, indices.astype(np.intp)], 0, -1)
        array = _stretched(array, int(page.bitspersample))
        if page.photometric == _COLOURS.MINISWHITE:
            invert = np.negative if array.dtype.kind == "f" else np.invert
            return np.asarray(invert(array))
        return array


def read_tiff_ids(path: Path) -> NDArray[np.generic]:
    """Read a TIFF as a mask: stored numbers as they are, (H, W) or (H, W, C).

    Raises
    ------
    UserError
        If they were compressed with loss.
    """
    with only_page(path) as page:
        refuse_lossy_tiff(path, page)
        return _pixels(path, page)


def _refuse_other_colours(path: Path, page: tifffile.TiffPage) -> None:
    if page.photometric == _COLOURS.SEPARATED:
        raise cmyk(path)
    decoded = page.photometric == _COLOURS.YCBCR and page.compression in _DECODED_TO_RGB
    if page.photometric not in _PLAIN_COLOURS and not decoded:
        name = getattr(page.photometric, "name", page.photometric)
        raise UserError(f"{path} has the colours {name}: save it as grey or RGB.")


def _pixels(path: Path, page: tifffile.TiffPage) -> NDArray[np.generic]:
    refuse_huge(path, page.imagelength, page.imagewidth)
    array = np.asarray(page.asarray())
    if page.axes == "SYX":
        array = np.moveaxis(array, 0, -1)
    elif page.axes not in ("YX", "YXS"):
        raise UserError(f"{path} has the axes {page.axes}: expected one grey or RGB picture.")
    return upright(array, page.tags.valueof(TAG))


def _palette(colours: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Colours of a palette, (3, N): entries of 16 bits, or of 8 as some programs write them."""
    shift = 8 if colours.size and int(colours.max()) > 255 else 0
    return np.asarray(colours >> shift, dtype=np.uint8)


def _stretched(array: NDArray[np.generic], bits: int) -> NDArray[np.generic]:
    """Fewer than 8 bits over the whole of 0..255, as in PNG."""
    if array.dtype != bool and (array.dtype != np.uint8 or bits >= _BYTE):
        return array
    most = 2**bits - 1
    stretched = (array.astype(np.uint16) * 255 + most // 2) // most
    return np.asarray(stretched, dtype=np.uint8)
