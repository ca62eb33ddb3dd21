"""The dense CRF of many tiles at once in plain torch operations: the engine of CUDA devices.

A batch holds tiles of any sizes and is as large as a stated budget of memory allows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.densecrf.engines.torch.batches import in_batches
from sonarseg.densecrf.engines.torch.counting import Counter
from sonarseg.densecrf.engines.torch.fused_choice import takes_fused
from sonarseg.densecrf.engines.torch.lattice import Filter, Lattice, spatial_lattice
from sonarseg.densecrf.engines.torch.mean_field import mean_field, unary_energy
from sonarseg.densecrf.engines.torch.placed import PlacedTile, place, place_named
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.training.device import numbered

if TYPE_CHECKING:
    from sonarseg.densecrf.engines.torch.fused import FusedField


def label_history(
    tiles: Sequence[CrfTile],
    parameters: CrfParameters,
    iterations: int,
    *,
    device: torch.device,
    memory_budget: int | None = None,
    deterministic: bool = False,
    fused: bool | None = None,
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
    fused : bool, optional
        Run the Triton kernels, which are deterministic, in place of torch operations; None for what
        `fused_choice` finds. On the CPU they run under TRITON_INTERPRET=1 alone, for tests.

    Raises
    ------
    UserError
        Where a kernel is too narrow for a tile, or a tile too large for the device.
    """
    return _labels(tiles, parameters, iterations, iterations + 1, device, memory_budget, deterministic, fused)


def last_labels(
    tiles: Sequence[CrfTile],
    parameters: CrfParameters,
    *,
    device: torch.device,
    memory_budget: int | None = None,
    deterministic: bool = False,
    fused: bool | None = None,
) -> list[NDArray[np.uint8]]:
    """Labels, uint8 (H, W) a tile, after `parameters.iterations`: the last of `label_history`."""
    iterations = parameters.iterations
    found = _labels(tiles, parameters, iterations, 1, device, memory_budget, deterministic, fused)
    return [rows[0] for rows in found]


def _labels(
    tiles: Sequence[CrfTile],
    parameters: CrfParameters,
    iterations: int,
    rows: int,
    device: torch.device,
    memory_budget: int | None,
    deterministic: bool,
    fused: bool | None,
) -> list[NDArray[np.uint8]]:
    """Labels after the last iterations, uint8 (rows, H, W) a tile."""
    fuses = takes_fused(fused, device)

    def run(numbers: list[int]) -> list[NDArray[np.uint8]]:
        batch = place([tiles[index] for index in numbers], device)
        if fuses:
            with _current(device):
                return _by_tile(_fused_field(batch, parameters).run(iterations, rows)[0], batch)
        labels = np.empty((rows, sum(_pixels(batch))), dtype=np.uint8)

        def take(row: int, found: Tensor) -> None:
            labels[row] = found.cpu().numpy()

        _run(batch, parameters, iterations, device, deterministic, False, rows, take)
        parts = np.split(labels, np.cumsum(_pixels(batch))[:-1], axis=1)
        return [
            np.ascontiguousarray(part).reshape(-1, *tile.shape)
            for part, tile in zip(parts, batch, strict=True)
        ]

    return in_batches(tiles, device, memory_budget, run, rows if fuses else None)


def confusions(
    tiles: Sequence[CrfTile],
    truths: Sequence[NDArray[np.uint8]],
    kept: Sequence[NDArray[np.uint8]],
    parameters: CrfParameters,
    iterations: int,
    num_classes: int,
    *,
    names: Sequence[tuple[Hashable, Hashable]] | None = None,
    device: torch.device,
    memory_budget: int | None = None,
    deterministic: bool = False,
    fused: bool | None = None,
) -> list[NDArray[np.int64]]:
    """Count labels on the device after 0 to `iterations` iterations: int64 (iterations + 1, K, K) per tile.

    Parameters
    ----------
    truths, kept, num_classes
        As `sonarseg.densecrf.history.confusion_histories` takes them.
    names : sequence of (scores and mask, guide), optional
        What a tile's arrays are called: they stay on the device for the next call, up to a number of bytes.
    """
    fuses, rows = takes_fused(fused, device), iterations + 1

    def run(numbers: list[int]) -> list[NDArray[np.int64]]:
        called = [None if names is None else names[index] for index in numbers]
        with torch.inference_mode():
            batch = [
                place_named(tiles[index], truths[index], name, device)
                for index, name in zip(numbers, called, strict=True)
            ]
            counter = Counter(batch, [kept[index] for index in numbers], num_classes, rows)
            if fuses:
                with _current(device):
                    field = _fused_field(batch, parameters)
                    counter.add_fused(field.run(iterations, rows)[0], field.table)
            else:
                _run(batch, parameters, iterations, device, deterministic, False, rows, counter.add)
            return counter.found()

    return in_batches(tiles, device, memory_budget, run, rows if fuses else None)


def marginals(
    tiles: Sequence[CrfTile],
    parameters: CrfParameters,
    *,
    device: torch.device,
    memory_budget: int | None = None,
    deterministic: bool = False,
    fused: bool | None = None,
) -> list[NDArray[np.float32]]:
    """Class probabilities, float32 (k, H, W) a tile, after `parameters.iterations`; see `label_history`."""
    fuses = takes_fused(fused, device)

    def run(numbers: list[int]) -> list[NDArray[np.float32]]:
        batch = place([tiles[index] for index in numbers], device)
        found = _run(batch, parameters, parameters.iterations, device, deterministic, fuses).cpu().numpy()
        parts = np.split(found, np.cumsum(_pixels(batch))[:-1])
        return [
            np.ascontiguousarray(part[:, : len(tile.scores)].T).reshape(tile.scores.shape)
            for part, tile in zip(parts, batch, strict=True)
        ]

    return in_batches(tiles, device, memory_budget, run, 1 if fuses else None)


def _pixels(tiles: Sequence[PlacedTile]) -> list[int]:
    return [tile.shape[0] * tile.shape[1] for tile in tiles]


def _fused_field(tiles: Sequence[PlacedTile], parameters: CrfParameters) -> FusedField:
    """Lattices and unaries for the fused kernels, whose modules need Triton."""
    from sonarseg.densecrf.engines.torch.fused import FusedField

    return FusedField(tiles, parameters)


def _by_tile(labels: Tensor, tiles: Sequence[PlacedTile]) -> list[NDArray[np.uint8]]:
    """Labels (rows, N) on a device as arrays (rows, H, W) on the host, put in order on the device."""
    sizes = _pixels(tiles)
    if len(set(sizes)) == 1:
        flat = labels.reshape(len(labels), len(sizes), -1).transpose(0, 1).reshape(-1)
    else:
        flat = torch.cat([part.reshape(-1) for part in torch.split(labels, sizes, dim=1)])
    parts = np.split(flat.cpu().numpy(), len(labels) * np.cumsum(sizes)[:-1])
    return [part.reshape(-1, *tile.shape) for part, tile in zip(parts, tiles, strict=True)]


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device."""
    return torch.cuda.device(numbered(device)) if device.type == "cuda" else nullcontext()


def _run(
    tiles: Sequence[PlacedTile],
    parameters: CrfParameters,
    iterations: int,
    device: torch.device,
    deterministic: bool,
    fuses: bool,
    rows: int = 1,
    take: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Marginals (N, k or more) of the N pixels of all tiles, one tile after the other; k is the most classes.

    `take` is given the labels, uint8 (N,), after the last `rows` of 0 to `iterations` iterations of torch
    operations; the fused kernels keep them all.
    """
    if fuses:
        with _current(device):
            return _fused_field(tiles, parameters).run(iterations, 1)[1]
    classes = max(len(tile.scores) for tile in tiles)

    def note(iteration: int, marginals: Tensor) -> None:
        row = iteration - (iterations + 1 - rows)
        if row >= 0 and take is not None:
            # Taken at once: the memory on the device is that of one iteration.
            take(row, marginals.argmax(1).to(torch.uint8))

    with torch.inference_mode():
        kernels = _kernels(tiles, parameters, device, deterministic)
        energy = torch.empty(sum(_pixels(tiles)), classes, device=device)
        for tile, part in zip(tiles, torch.split(energy, _pixels(tiles)), strict=True):
            part.copy_(unary_energy(tile.scores, parameters, tile.background, classes))
            if tile.valid is not None:
                part[~tile.valid.reshape(-1), : len(tile.scores)] = 0
        return mean_field(energy, kernels, iterations, note)


def _kernels(
    tiles: Sequence[PlacedTile], parameters: CrfParameters, device: torch.device, deterministic: bool
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


def _spatial(tiles: Sequence[PlacedTile], sigma: float, device: torch.device, deterministic: bool) -> Filter:
    if len({tile.shape for tile in tiles}) == 1:
        return spatial_lattice(*tiles[0].shape, sigma, device, deterministic)
    positions, number = _positions(tiles, sigma, device)
    return Lattice(positions, number, deterministic=deterministic, kernel=f"sigma_gamma {sigma:g}")


def _bilateral_features(
    tiles: Sequence[PlacedTile], parameters: CrfParameters, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Features (N, d) in the order x, y, channels, and the tile number (N,) of each pixel."""
    positions, number = _positions(tiles, parameters.sigma_alpha, device)
    guides = torch.cat(
        [tile.guide.reshape(pixels, -1) for tile, pixels in zip(tiles, _pixels(tiles), strict=True)]
    )
    channels = guides / _divisor(parameters.sigma_beta, device)
    return torch.cat([positions, channels], dim=1), number


def _positions(tiles: Sequence[PlacedTile], sigma: float, device: torch.device) -> tuple[Tensor, Tensor]:
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
