"""Picture files before their pixels: which there are, what lies inside, and what cannot be read."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from sonarseg.errors import UserError

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
# As a sentence names them
SUFFIX_WORDS = ".png, .tif, .tiff, .jpg or .jpeg"
# More is no tile, but a whole strip or a damaged header that would fill the memory.
MOST_PIXELS = 2**27

# What tifffile logs comes as an exception too; without a handler it would be printed beside our sentence.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
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
    """Turn what decoders raise into one sentence.

    Raises
    ------
    UserError
        If there is no such file, or it is empty, damaged or no picture.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a picture: rename it or move it away.")
    if not path.is_file():
        raise UserError(f"{path} is missing: put it there or take its tile from the lists.")
    if not path.stat().st_size:
        raise UserError(f"{path} is empty (0 bytes): copy it again.")
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


def holds_tiff(path: Path) -> bool:
    """Whether a file is a TIFF inside, whatever its suffix says."""
    with path.open("rb") as file:
        return file.read(4) in _TIFF_STARTS


def refuse_huge(path: Path, height: int, width: int) -> None:
    """Refuse a picture that would fill the memory, before its pixels are decoded."""
    if height * width > MOST_PIXELS:
        raise UserError(
            f"{path} is {width} x {height} pixels: cut it into tiles of {MOST_PIXELS} pixels at most."
        )


def several(path: Path) -> UserError:
    """Sentence on a file with more than one page or frame: nobody can tell which of them is the tile."""
    return UserError(f"{path} holds several pictures: save each tile as a file of its own.")


def cmyk(path: Path) -> UserError:
    """Sentence on colours made for printing."""
    return UserError(f"{path} is a CMYK picture: save it as grey or RGB.")
