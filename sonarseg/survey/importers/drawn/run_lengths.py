"""Run-length encodings of pixels: CVAT's, COCO's two, and Label Studio's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.survey.formats.found import MOST_PIXELS

_LAST_CHANNEL = 3
_CHANNELS = 4


def pixels_of_runs(
    runs: Sequence[int], height: int, width: int, place: str, *, by_columns: bool = False
) -> NDArray[np.bool_]:
    """Pixels of runs that are in turn outside and inside, the first outside; bool (H, W).

    Parameters
    ----------
    by_columns : bool
        Runs go down the columns (COCO); else along the rows (CVAT).

    Raises
    ------
    UserError
        If a run is negative, or they do not have as many pixels as the area.
    """
    _refuse_size(height, width, place)
    if any(not 0 <= run <= MOST_PIXELS for run in runs):
        raise UserError(f"{place}: a run of its pixels is negative or too long: export it again.")
    lengths = np.array(runs, dtype=np.int64)
    total = int(lengths.sum())
    # The last run, of pixels outside, may be left out.
    if total > height * width or (total < height * width and lengths.size % 2):
        raise UserError(
            f"{place}: its runs have {total} pixels, expected {height * width} ({width} x {height}): "
            "export it again."
        )
    flat = np.zeros(height * width, dtype=bool)
    flat[:total] = np.repeat(np.arange(lengths.size) % 2 == 1, lengths)
    return flat.reshape(width, height).T if by_columns else flat.reshape(height, width)


def coco_runs(text: str, place: str) -> list[int]:
    """Runs in COCO's compressed text.

    Characters hold 6 bits from "0" on: 5 of a number, lowest first, and one that says whether more follow;
    the highest bit of the last 5 is the sign. From the fourth on, numbers are differences to the one two
    places before.

    Raises
    ------
    UserError
        If the text is no such encoding.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64:
            raise UserError(
                f"{place}: its runs hold {character!r}, which COCO's text cannot: export it again."
            )
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise UserError(f"{place}: its runs end in the middle of a number: export it again.")
    return runs


def brush_pixels(packed: Sequence[int], height: int, width: int, place: str) -> NDArray[np.bool_]:
    """Pixels of a Label Studio brush, bool (H, W): where the last of its four channels is not 0.

    The bytes hold, bit after bit: the number of values (32 bits), bits of a value less 1 (5), four sizes of
    a count less 1 (4 each); then blocks of a bit that says whether one value is repeated, 2 bits that choose
    the size of the count, the count less 1, and that value or so many values.

    Raises
    ------
    UserError
        If they are no such encoding, or of another size.
    """
    _refuse_size(height, width, place)
    try:
        bits = np.unpackbits(np.array(packed, dtype=np.uint8))
    except (OverflowError, TypeError, ValueError) as error:
        raise UserError(f'{place}: its "rle" is no list of bytes ({error}): export it again.') from error
    reader = _Bits(bits, place)
    total, value_bits = reader.number(32), reader.number(5) + 1
    sizes = [reader.number(4) + 1 for _ in range(4)]
    if total != height * width * _CHANNELS:
        raise UserError(
            f"{place}: the brush has {total} values, expected {height * width * _CHANNELS} "
            f"({width} x {height} pixels, 4 channels): export it again."
        )
    values = np.zeros(total, dtype=np.uint32)
    done = 0
    while done < total:
        repeated = reader.number(1)
        end = min(total, done + 1 + reader.number(sizes[reader.number(2)]))
        values[done:end] = reader.number(value_bits) if repeated else reader.numbers(end - done, value_bits)
        done = end
    inside: NDArray[np.bool_] = values.reshape(height, width, _CHANNELS)[..., _LAST_CHANNEL] != 0
    return inside


def _refuse_size(height: int, width: int, place: str) -> None:
    """Refuse a size that no tile has, before memory is taken for it."""
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise UserError(f"{place} is {width} x {height} pixels, expected the size of a tile.")


class _Bits:
    """Reads numbers of some bits each, highest bit first."""

    def __init__(self, bits: NDArray[np.uint8], place: str) -> None:
        self._bits, self._at, self._place = bits, 0, place

    def number(self, size: int) -> int:
        return int(self.numbers(1, size)[0])

    def numbers(self, count: int, size: int) -> NDArray[np.int64]:
        part = self._bits[self._at : self._at + count * size]
        if part.size < count * size:
            raise UserError(f"{self._place}: its brush ends too early: export it again.")
        self._at += count * size
        weights = np.int64(1) << np.arange(size - 1, -1, -1, dtype=np.int64)
        numbers: NDArray[np.int64] = part.reshape(count, size).astype(np.int64) @ weights
        return numbers
