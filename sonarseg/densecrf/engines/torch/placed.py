"""Tiles on the device of the torch engine; those of a study stay there from trial to trial."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.densecrf.engines.lattice_cache import KeptLattices
from sonarseg.densecrf.tile import CrfTile

# Places of arrays in the buffer are multiples of this, bytes.
_ALIGNMENT = 16
# Below so many bytes, starting threads takes longer than they save.
_WORTH_THREADS = 2**23
_THREADS = 4
_KINDS = {
    "float16": torch.float16, "float32": torch.float32, "float64": torch.float64,
    "uint8": torch.uint8, "bool": torch.bool,
}  # fmt: skip
_MOST_KEPT = 2 * 2**30


@dataclass(frozen=True, eq=False)
class PlacedTile:
    """A `CrfTile` whose arrays are tensors on a device.

    Attributes
    ----------
    scores : float16 or float32 (k, H, W)
    guide : uint8 (H, W) or (H, W, 3)
    background : int or None
    valid : bool (H, W) or None
    levels : (int, int)
        The lowest and the highest level of the guide.
    truth : uint8 (H, W) or None
        Class ids, if labels are to be counted.
    """

    scores: Tensor
    guide: Tensor
    background: int | None
    valid: Tensor | None
    levels: tuple[int, int]
    truth: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.guide.shape[0], self.guide.shape[1]


@dataclass(frozen=True, eq=False)
class _Arrays:
    """Tensors that are kept together, with the levels of a guide."""

    tensors: list[Any]
    levels: tuple[int, int] = (0, 0)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors if tensor is not None)


_kept: KeptLattices[_Arrays] = KeptLattices(_MOST_KEPT)


def place(tiles: Sequence[CrfTile], device: torch.device) -> list[PlacedTile]:
    """Copy tiles to a device, all in one piece."""
    arrays = _moved([array for tile in tiles for array in (tile.scores, tile.guide, tile.valid)], device)
    return [
        PlacedTile(arrays[3 * i], arrays[3 * i + 1], tile.background, arrays[3 * i + 2], _levels(tile))
        for i, tile in enumerate(tiles)
    ]


def place_named(
    tile: CrfTile, truth: NDArray[np.uint8], names: tuple[Hashable, Hashable] | None, device: torch.device
) -> PlacedTile:
    """Copy a tile and its mask to a device, or find them there.

    Parameters
    ----------
    names : (scores and mask, guide), optional
        Under which they are kept, up to 2 GiB of all; none are kept without.
    """
    if names is None:
        (placed,) = place([tile], device)
        return replace(placed, truth=_moved([truth], device)[0])
    own, guide_name = names
    kept = _kept.get((device, own), lambda: _Arrays(_moved([tile.scores, tile.valid, truth], device)))
    guide = _kept.get((device, own, guide_name), lambda: _Arrays(_moved([tile.guide], device), _levels(tile)))
    scores, valid, there = kept.tensors
    return PlacedTile(scores, guide.tensors[0], tile.background, valid, guide.levels, there)


def forget_tiles() -> None:
    """Free the tiles that are kept, on CUDA for other processes too."""
    _kept.clear()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def _levels(tile: CrfTile) -> tuple[int, int]:
    return int(tile.guide.min()), int(tile.guide.max())


def _moved(arrays: Sequence[NDArray[Any] | None], device: torch.device) -> list[Any]:
    """Copy arrays to a device by way of page-locked memory; the tensors share one buffer."""
    places, size = [], 0
    for array in arrays:
        places.append(size)
        size += 0 if array is None else -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    buffer = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    host = buffer.numpy()

    def fill(start: int, array: NDArray[Any] | None) -> None:
        if array is not None:
            np.copyto(host[start : start + array.nbytes].view(array.dtype).reshape(array.shape), array)

    if size < _WORTH_THREADS:
        for start, array in zip(places, arrays, strict=True):
            fill(start, array)
    else:
        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(fill, places, arrays))
    there = buffer.to(device, non_blocking=True)
    return [
        None
        if array is None
        else there[start : start + array.nbytes].view(_KINDS[array.dtype.name]).reshape(array.shape)
        for start, array in zip(places, arrays, strict=True)
    ]
