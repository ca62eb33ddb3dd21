"""Batches of tiles of the torch engine: as large as a stated budget of memory allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from sonarseg.densecrf.tile import CrfTile
from sonarseg.errors import UserError
from sonarseg.training.device import available_bytes

Result = TypeVar("Result")
# Share of the free memory of a CUDA device that batches may fill
_SHARE_OF_FREE = 0.8
_CPU_BUDGET = 2 * 2**30


def bytes_needed(pixels: int, classes: int, dimensions: int) -> int:
    """Upper bound of the memory in use on the device for so many pixels in one batch, bytes.

    A pixel has d + 1 vertices in a lattice, in the worst case all its own. Kept of each: number, weight,
    the same sorted, start of its entries, and 2 (d + 1) neighbours, of 4 bytes each, for the bilateral
    lattice and a spatial one of 2 dimensions. Making them takes ten numbers of 8 bytes a vertex at most
    (sorting has two buffers, then come the steps to the neighbours) and ten a pixel. An iteration holds
    the values at the vertices twice, those at the pixels four times, float32 a class, and six numbers of
    4 bytes a vertex within `embedding_bag`. What making freed may not be at hand again, so the two are
    added, and the tiles. Of the CPU's memory, malloc may hold more than is in use: freed blocks that lie
    between others.

    Parameters
    ----------
    pixels : int
        Of all tiles of the batch.
    classes : int
        The most of any of its tiles.
    dimensions : int
        Of the bilateral features: 3 or 5.
    """
    corners = dimensions + 1
    kept = sum(4 * own * (5 + 2 * own) for own in (corners, 3))
    making = 8 * (10 * corners + 10)
    running = 4 * classes * (2 * corners + 4) + 4 * 6 * corners
    return pixels * (kept + making + running + _tile(classes))


def fused_bytes_needed(pixels: int, classes: int, dimensions: int, rows: int) -> int:
    """Upper bound as `bytes_needed`, of the fused kernels, which keep `rows` rows of labels twice.

    Of each of the d + 1 vertices of a pixel 34 bytes are kept and 2 (d + 1) neighbours of 4 bytes; 60 more
    are in use while it is numbered. An iteration holds the values at the vertices twice, those of segments,
    at most a quarter as many, and unary and marginals at the pixels, float32, of a power of two of classes.
    """
    corners, width = dimensions + 1, max(4, 1 << (classes - 1).bit_length())
    kept = sum(own * (34 + 8 * own) for own in (corners, 3))
    running = 4 * width * (9 * (corners + 3) // 4 + 2) + 2 * rows
    return pixels * (kept + 60 * corners + running + 2 * _tile(classes))


def _tile(classes: int) -> int:
    """Bytes a pixel of scores, guide and pixels with data."""
    return 4 * classes + 4


def in_batches(
    tiles: Sequence[CrfTile],
    device: torch.device,
    memory_budget: int | None,
    run: Callable[[list[int]], list[Result]],
    fused_rows: int | None = None,
) -> list[Result]:
    """Run batches of tiles, given as their numbers, within the memory; the results in the order of the tiles.

    Parameters
    ----------
    memory_budget : int, optional
        Bytes; by default 80 % of what is free, on the CPU 2 GiB. A tile that needs more goes alone.
    run : callable
        Gives a result for each number.
    fused_rows : int, optional
        Rows of labels that the fused kernels keep; None if torch operations run.

    Raises
    ------
    UserError
        If a tile is too large for the device.
    """
    budget = _free_memory(device) if memory_budget is None else memory_budget
    results: dict[int, Result] = {}
    for numbers in plan(tiles, budget, fused_rows):
        for part in _halved_until_it_fits(numbers, tiles, run):
            results.update(part)
    return [results[index] for index in range(len(tiles))]


def _free_memory(device: torch.device) -> int:
    if device.type != "cuda":
        return _CPU_BUDGET
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(_SHARE_OF_FREE * (available_bytes(device) + held))


def plan(tiles: Sequence[CrfTile], budget: int, fused_rows: int | None = None) -> Iterator[list[int]]:
    """Batches of tiles of one number of channels, like beside like, within the budget where one tile is."""

    def likeness(index: int) -> tuple[int, tuple[int, int], int]:
        return tiles[index].guide.ndim, tiles[index].shape, len(tiles[index].scores)

    batch: list[int] = []
    pixels = classes = 0
    for index in sorted(range(len(tiles)), key=likeness):
        axes, (height, width), count = likeness(index)
        pixels, classes = pixels + height * width, max(classes, count)
        other_channels = bool(batch) and tiles[batch[0]].guide.ndim != axes
        dimensions = 3 if axes == 2 else 5
        if fused_rows is None:
            needed = bytes_needed(pixels, classes, dimensions)
        else:
            needed = fused_bytes_needed(pixels, classes, dimensions, fused_rows)
        if batch and (other_channels or needed > budget):
            yield batch
            batch, pixels, classes = [], height * width, count
        batch.append(index)
    if batch:
        yield batch


def _halved_until_it_fits(
    numbers: list[int], tiles: Sequence[CrfTile], run: Callable[[list[int]], list[Result]]
) -> Iterator[dict[int, Result]]:
    try:
        yield dict(zip(numbers, run(numbers), strict=True))
        return
    except torch.cuda.OutOfMemoryError as error:
        if len(numbers) == 1:
            height, width = tiles[numbers[0]].shape
            raise UserError(
                f"A tile of {height} x {width} pixels does not fit the memory of the CUDA device: "
                'use engine = "numba", or free the device.'
            ) from error
    torch.cuda.empty_cache()
    half = len(numbers) // 2
    yield from _halved_until_it_fits(numbers[:half], tiles, run)
    yield from _halved_until_it_fits(numbers[half:], tiles, run)
