"""The orientation tag of EXIF and TIFF: a picture as every viewer shows it."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Element = TypeVar("Element", bound=np.generic)

# Number of the tag, in EXIF and in TIFF alike
TAG = 274
UPRIGHT = 1
# Height and width change places under these.
_SIDEWAYS = (5, 6, 7, 8)


def upright(array: NDArray[Element], orientation: object) -> NDArray[Element]:
    """Turn stored pixels as the orientation tag says.

    Parameters
    ----------
    array : (H, W) or (H, W, C)
    orientation : object
        Value of the tag, 1 to 8; viewers pass over any other value, and so does this.

    Returns
    -------
    The same pixels, (H, W, ...) or (W, H, ...)
    """
    match orientation:
        case 2:
            return array[:, ::-1]
        case 3:
            return array[::-1, ::-1]
        case 4:
            return array[::-1]
        case 5:
            return array.swapaxes(0, 1)
        case 6:
            return np.rot90(array, -1)
        case 7:
            return array[::-1, ::-1].swapaxes(0, 1)
        case 8:
            return np.rot90(array)
        case _:
            return array


def upright_size(height: int, width: int, orientation: object) -> tuple[int, int]:
    """Height and width after `upright`."""
    return (width, height) if orientation in _SIDEWAYS else (height, width)
