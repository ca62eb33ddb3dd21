"""The dense CRF of many tiles at once in plain torch operations: the engine of CUDA devices.

A batch holds tiles of any sizes and is as large as a stated budget of memory allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.densecrf.engines.torch.lattice import Filter, Lattice, spatial_lattice
from sonarseg.densecrf.engines.torch.mean_field import mean_field, unary_energy
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.errors import UserError
from sonarseg.training.device import available_bytes

Result = TypeVar("Result")
# Share of the free memory of a CUDA device that batches may fill
_SHARE_OF_FREE = 0.8
_CPU_BUDGET = 2 * 2**30


def label_history(
    tiles: Sequence[CrfTile],
    parameters: CrfParameters,
    iterations: int,
    *,
    device: torch.device,
    memory_budget: int | None = None,
    deterministic: bool = False,
) -> list[NDArray[np.uint8]]:
    """Labels uint8 (iterations + 1, H, W) of each tile after each of 0 to `iterations` iterations.

    They are rows of `tile.scores`, the lowest of equals. The tiles may have any sizes and numbers of classes.

    Parameters
    ----------
    memory_budget : int, optional
        Bytes in use on the device, see `bytes_needed`; by default 80 % of what is free, on the CPU 2 GiB.
        A tile that needs more goes alone.
    deterministic : bool
        The same bits every time on CUDA; see `Lattice`.

    Raises
    ------
    UserError
        Where a kernel is too narrow for a tile, or a tile too large for the device.
    """
    return _labels(tiles, parameters, iterations, iterations + 1, device, memory_budget, deterministic)


def last_labels(
    tiles: Sequence[CrfTile],
    parameters: CrfParameters,
    *,
    device: torch.device,
    memory_budget: int | None = None,
    deterministic: bool = False,
) -> list[NDArray[np.uint8]]:
    """Labels, uint8 (H, W) a tile, after `parameters.iterations`: the last of `label_history`."""
    found = _labels(tiles, parameters, parameters.iterations, 1, device, memory_budget, deterministic)
    return [rows[0] for rows in found]


def _labels(
    tiles: Sequence[CrfTile],
    parameters: CrfParameters,
    iterations: int,
    rows: int,
    device: torch.device,
    memory_budget: int | None,
    deterministic: bool,
) -> list[NDArray[np.uint8]]:
    """Labels after the last iterations, uint8 (rows, H, W) a tile."""

    def run(batch: Sequence[CrfTile]) -> list[NDArray[np.uint8]]:
        labels = np.empty((rows, sum(_pixels(batch))), dtype=np.uint8)

        def note(iteration: int, marginals: Tensor) -> None:
            place = iteration - (iterations + 1 - rows)
            if place < 0:
                return
            # To the host at once: the memory on the device is that of one iteration.
            labels[place] = marginals.argmax(1).to(torch.uint8).cpu().numpy()

        _run(batch, parameters, iterations, device, deterministic, note)
        parts = np.split(labels, np.cumsum(_pixels(batch))[:-1], axis=1)
        return [
            np.ascontiguousarray(part).reshape(-1, *tile.shape)
            for part, tile in zip(parts, batch, strict=True)
        ]

    return _in_batches(tiles, device, memory_budget, run)


def marginals(
    tiles: Sequence[CrfTile],
    parameters: CrfParameters,
    *,
    device: torch.device,
    memory_budget: int | None = None,
    deterministic: bool = False,
) -> list[NDArray[np.float32]]:
    """Class probabilities, float32 (k, H, W) a tile, after `parameters.iterations`; see `label_history`."""

    def run(batch: Sequence[CrfTile]) -> list[NDArray[np.float32]]:
        found = _run(batch, parameters, parameters.iterations, device, deterministic).cpu().numpy()
        parts = np.split(found, np.cumsum(_pixels(batch))[:-1])
        return [
            np.ascontiguousarray(part[:, : len(tile.scores)].T).reshape(tile.scores.shape)
            for part, tile in zip(parts, batch, strict=True)
        ]

    return _in_batches(tiles, device, memory_budget, run)


def bytes_needed(pixels: int, classes: int, dimensions: int) -> int:
    """Upper bound of the memory in use on the device for so many pixels in one batch, bytes.

    A pixel has d + 1 vertices in a lattice, in the worst case all its own. Kept of each: number, weight,
    the same sorted, start of its entries, and 2 (d + 1) neighbours, of 4 bytes each, for the bilateral
    lattice and a spatial one of 2 dimensions. Making them takes ten numbers of 8 bytes a vertex at most
    (sorting has two buffers, then come the steps to the neighbours) and ten a pixel. An iteration holds
    the values at the vertices twice, those at the pixels four times, float32 a class, and six numbers of
    4 bytes a vertex within `embedding_bag`. What making freed may not be at hand again, so the two are
    added. Of the CPU's memory, malloc may hold more than is in use: freed blocks that lie between others.

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
    return pixels * (kept + making + running)


def _pixels(tiles: Sequence[CrfTile]) -> list[int]:
    return [tile.shape[0] * tile.shape[1] for tile in tiles]


def _in_batches(
    tiles: Sequence[CrfTile],
    device: torch.device,
    memory_budget: int | None,
    run: Callable[[Sequence[CrfTile]], list[Result]],
) -> list[Result]:
    budget = _free_memory(device) if memory_budget is None else memory_budget
    results: dict[int, Result] = {}
    for numbers in _plan(tiles, budget):
        for part in _halved_until_it_fits(numbers, tiles, run):
            results.update(part)
    return [results[index] for index in range(len(tiles))]


def _free_memory(device: torch.device) -> int:
    if device.type != "cuda":
        return _CPU_BUDGET
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(_SHARE_OF_FREE * (available_bytes(device) + held))


def _plan(tiles: Sequence[CrfTile], budget: int) -> Iterator[list[int]]:
    """Batches of tiles of one number of channels, like beside like, within the budget where one tile is."""

    def likeness(index: int) -> tuple[int, tuple[int, int], int]:
        return tiles[index].guide.ndim, tiles[index].shape, len(tiles[index].scores)

    batch: list[int] = []
    pixels = classes = 0
    for index in sorted(range(len(tiles)), key=likeness):
        axes, (height, width), count = likeness(index)
        pixels, classes = pixels + height * width, max(classes, count)
        other_channels = bool(batch) and tiles[batch[0]].guide.ndim != axes
        if batch and (other_channels or bytes_needed(pixels, classes, 3 if axes == 2 else 5) > budget):
            yield batch
            batch, pixels, classes = [], height * width, count
        batch.append(index)
    if batch:
        yield batch


def _halved_until_it_fits(
    numbers: list[int], tiles: Sequence[CrfTile], run: Callable[[Sequence[CrfTile]], list[Result]]
) -> Iterator[dict[int, Result]]:
    try:
        yield dict(zip(numbers, run([tiles[index] for index in numbers]), strict=True))
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


def _run(
    tiles: Sequence[CrfTile],
    parameters: CrfParameters,
    iterations: int,
    device: torch.device,
    deterministic: bool,
    on_iteration: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Marginals (N, k) of the N pixels of all tiles, one tile after the other; k is the most classes."""
    classes = max(len(tile.scores) for tile in tiles)
    with torch.inference_mode():
        kernels = _kernels(tiles, parameters, device, deterministic)
        energy = torch.empty(sum(_pixels(tiles)), classes, device=device)
        for tile, part in zip(tiles, torch.split(energy, _pixels(tiles)), strict=True):
            scores = torch.from_numpy(np.array(tile.scores)).to(device)
            part.copy_(unary_energy(scores, parameters, tile.background, classes))
            if tile.valid is not None:
                part[torch.from_numpy(~tile.valid.ravel()).to(device), : len(tile.scores)] = 0
        return mean_field(energy, kernels, iterations, on_iteration)


def _kernels(
    tiles: Sequence[CrfTile], parameters: CrfParameters, device: torch.device, deterministic: bool
) -> list[tuple[Filter, float]]:
    """The normalised kernels of weights above 0, with their weights."""
    kernels: list[tuple[Filter, float]] = []
    if parameters.w_bilateral > 0:
        features, number = _bilateral_features(tiles, parameters, device)
        widths = f"sigma_alpha {parameters.sigma_alpha:g} and sigma_beta {parameters.sigma_beta:g}"
        bilateral = Lattice(features, number, deterministic=deterministic, kernel=widths)
        kernels.append((bilateral, parameters.w_bilateral))
    if parameters.w_spatial > 0:
        kernels.append((_spatial(tiles, parameters.sigma_gamma, device, deterministic), parameters.w_spatial))
    return kernels


def _spatial(tiles: Sequence[CrfTile], sigma: float, device: torch.device, deterministic: bool) -> Filter:
    if len({tile.shape for tile in tiles}) == 1:
        return spatial_lattice(*tiles[0].shape, sigma, device, deterministic)
    positions, number = _positions(tiles, sigma, device)
    return Lattice(positions, number, deterministic=deterministic, kernel=f"sigma_gamma {sigma:g}")


def _bilateral_features(
    tiles: Sequence[CrfTile], parameters: CrfParameters, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Features (N, d) in the order x, y, channels, and the tile number (N,) of each pixel."""
    positions, number = _positions(tiles, parameters.sigma_alpha, device)
    guides = np.concatenate(
        [tile.guide.reshape(pixels, -1) for tile, pixels in zip(tiles, _pixels(tiles), strict=True)]
    )
    channels = torch.from_numpy(guides).to(device) / _divisor(parameters.sigma_beta, device)
    return torch.cat([positions, channels], dim=1), number


def _positions(tiles: Sequence[CrfTile], sigma: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Columns and rows over `sigma` pixels, (N, 2), and the tile number (N,) of each pixel."""
    pixels = torch.tensor(_pixels(tiles), device=device)
    widths = torch.tensor([tile.shape[1] for tile in tiles], device=device)
    number = torch.arange(len(tiles), device=device).repeat_interleave(pixels)
    place = torch.arange(len(number), device=device) - (pixels.cumsum(0) - pixels)[number]
    width = widths[number]
    columns_and_rows = torch.stack([place % width, place.div(width, rounding_mode="floor")], dim=1)
    return columns_and_rows / _divisor(sigma, device), number


def _divisor(sigma: float, device: torch.device) -> Tensor:
    """`sigma` on the device: by a plain number, CUDA would multiply with its rounded inverse."""
    return torch.tensor(sigma, dtype=torch.float32, device=device)
