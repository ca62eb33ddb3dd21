"""The dense CRF of many tiles at once in plain torch operations: the engine of CUDA devices.

Tiles of one shape go together; a batch is as large as a stated budget of memory allows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.densecrf.torch_lattice import Filter, Lattice, spatial_lattice
from sonarseg.densecrf.unary import SCORE_FLOOR, background_score
from sonarseg.errors import UserError

Result = TypeVar("Result")
# Share of the free memory of a CUDA device that batches may fill
_SHARE_OF_FREE = 0.8
_CPU_BUDGET = 2 * 2**30
# Energy of a class that a tile does not have: softmax gives it exactly 0.
_ABSENT = 1e30


def label_history(
    tiles: Sequence[CrfTile],
    parameters: CrfParameters,
    iterations: int,
    *,
    device: torch.device,
    memory_budget: int | None = None,
    deterministic: bool = False,
) -> list[NDArray[np.uint8]]:
    """Labels of each tile after 0 to `iterations` mean-field iterations.

    Parameters
    ----------
    tiles : sequence of CrfTile
        Of any sizes and numbers of classes.
    parameters : CrfParameters
        `iterations` is not used.
    iterations : int
        The largest number of iterations.
    device : torch.device
    memory_budget : int, optional
        Bytes on the device; by default 80 % of what is free, on the CPU 2 GiB.
    deterministic : bool
        The same bits every time on CUDA; see `Lattice`.

    Returns
    -------
    list of uint8 (iterations + 1, H, W)
        Rows of `tile.scores`; the lowest of equals.

    Raises
    ------
    UserError
        Where a kernel is too narrow for a tile, or a tile too large for the device.
    """

    def run(batch: Sequence[CrfTile]) -> list[NDArray[np.uint8]]:
        height, width = batch[0].shape
        labels = torch.empty(iterations + 1, len(batch) * height * width, dtype=torch.uint8, device=device)

        def note(iteration: int, marginals: Tensor) -> None:
            labels[iteration] = marginals.argmax(1).to(torch.uint8)

        _mean_field(batch, parameters, iterations, device, deterministic, note)
        found = labels.reshape(iterations + 1, len(batch), height, width).cpu().numpy()
        return [np.ascontiguousarray(found[:, index]) for index in range(len(batch))]

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
        height, width = batch[0].shape
        found = _mean_field(batch, parameters, parameters.iterations, device, deterministic, None)
        shaped = found.reshape(len(batch), height, width, -1).permute(0, 3, 1, 2).contiguous().cpu().numpy()
        return [shaped[index, : len(tile.scores)] for index, tile in enumerate(batch)]

    return _in_batches(tiles, device, memory_budget, run)


def bytes_needed(pixels: int, classes: int, dimensions: int) -> int:
    """Upper bound of the memory for so many pixels in one batch.

    A pixel has d + 1 vertices, in the worst case all its own, and each vertex 2 (d + 1) neighbours of 4
    bytes. Making them packs, sorts and looks up 8-byte keys (24 times their size). An iteration holds three
    copies of the values at the vertices and six at the pixels, float32 a class. What was freed before
    may not be at hand again, so the two are added.
    """
    corners = dimensions + 1
    building = corners * (24 * 8 + 8 * 4)
    running = corners * (4 + 4 + 8 * corners) + 4 * classes * (3 * corners + 6) + 16 * corners
    return pixels * (building + running)


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
    free, _ = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(_SHARE_OF_FREE * (free + held))


def _plan(tiles: Sequence[CrfTile], budget: int) -> Iterator[list[int]]:
    """Batches of tiles of one shape and one number of channels, within the budget where one tile is."""
    alike: dict[tuple[tuple[int, int], int], list[int]] = defaultdict(list)
    for index, tile in enumerate(tiles):
        alike[tile.shape, tile.guide.ndim].append(index)
    for ((height, width), axes), numbers in alike.items():
        classes = max(len(tiles[index].scores) for index in numbers)
        one = bytes_needed(height * width, classes, 3 if axes == 2 else 5)
        size = max(1, budget // one)
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size]


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


def _mean_field(
    tiles: Sequence[CrfTile],
    parameters: CrfParameters,
    iterations: int,
    device: torch.device,
    deterministic: bool,
    note: Callable[[int, Tensor], None] | None,
) -> Tensor:
    """Marginals (tiles * H * W, k) of tiles of one shape; `note` sees those of every iteration."""
    with torch.inference_mode():
        kernels = _kernels(tiles, parameters, device, deterministic)
        energy = torch.cat([_unary(tile, parameters, tiles, device) for tile in tiles])
        return mean_field(energy, kernels, iterations, note)


def mean_field(
    unary: Tensor,
    kernels: Sequence[tuple[Filter, float]],
    iterations: int,
    note: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Mean-field inference with Potts compatibility (arXiv 1210.5644, algorithm 1).

    Parameters
    ----------
    unary : float32 (N, k)
        Unary energies.
    kernels : sequence of (Filter, float)
        Normalised kernels over the N pixels and their weights.
    iterations : int
    note : callable, optional
        Given the number of iterations done, from 0, and the marginals, which are not kept.

    Returns
    -------
    float32 (N, k)
        Marginals after the last iteration.
    """
    marginals = torch.softmax(-unary, dim=1)
    if note is not None:
        note(0, marginals)
    for iteration in range(1, iterations + 1):
        energy = -unary
        for kernel, weight in kernels:
            energy.add_(kernel.filter(marginals), alpha=weight)
        marginals = torch.softmax(energy, dim=1)
        if note is not None:
            note(iteration, marginals)
    return marginals


def _kernels(
    tiles: Sequence[CrfTile], parameters: CrfParameters, device: torch.device, deterministic: bool
) -> list[tuple[Filter, float]]:
    kernels: list[tuple[Filter, float]] = []
    height, width = tiles[0].shape
    if parameters.w_bilateral > 0:
        features, number = _bilateral_features(tiles, parameters, device)
        widths = f"sigma_alpha {parameters.sigma_alpha:g} and sigma_beta {parameters.sigma_beta:g}"
        bilateral = Lattice(features, number, deterministic=deterministic, kernel=widths)
        kernels.append((bilateral, parameters.w_bilateral))
    if parameters.w_spatial > 0:
        spatial = spatial_lattice(height, width, parameters.sigma_gamma, device, deterministic)
        kernels.append((spatial, parameters.w_spatial))
    return kernels


def _bilateral_features(
    tiles: Sequence[CrfTile], parameters: CrfParameters, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Features (N, d) in the order x, y, channels, and the tile number (N,) of each pixel."""
    height, width = tiles[0].shape
    guides = torch.stack([torch.from_numpy(np.array(tile.guide)) for tile in tiles]).to(device)
    channels = guides.reshape(len(tiles), height, width, -1)
    features = torch.empty(len(tiles), height, width, 2 + channels.shape[3], device=device)
    features[..., 0] = torch.arange(width, device=device) / parameters.sigma_alpha
    features[..., 1] = torch.arange(height, device=device)[:, None] / parameters.sigma_alpha
    features[..., 2:] = channels / parameters.sigma_beta
    number = torch.arange(len(tiles), device=device).repeat_interleave(height * width)
    return features.reshape(-1, features.shape[-1]), number


def _unary(
    tile: CrfTile, parameters: CrfParameters, batch: Sequence[CrfTile], device: torch.device
) -> Tensor:
    """Energies (H * W, k) of one tile as in `sonarseg.densecrf.unary`; k is the largest of the batch."""
    count = len(tile.scores)
    scores = torch.from_numpy(np.array(tile.scores)).to(device).reshape(count, -1).float()
    if tile.background is not None:
        scores[tile.background] = background_score(parameters)
    if parameters.unary == "soft":
        energy = -parameters.unary_scale * torch.log(scores + SCORE_FLOOR)
    else:
        wrong = (1 - parameters.gt_prob) / (count - 1)
        energy = torch.full_like(scores, -float(np.log(wrong)))
        seeds = scores.argmax(0, keepdim=True)
        energy.scatter_(0, seeds, -float(np.log(parameters.gt_prob)))
    padded = torch.full((scores.shape[1], max(len(other.scores) for other in batch)), _ABSENT, device=device)
    padded[:, :count] = energy.T
    return padded
