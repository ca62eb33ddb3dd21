"""The dense CRF on the device: labels beside both other engines, times beside pydensecrf's, memory."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from densecrf import WIDTHS, ours, pydensecrf_grey, speckled_tile, with_widths
from numpy.typing import NDArray

from gpu.check import Check
from gpu.kernels import say_kernels
from sonarseg.densecrf.engines.torch import engine as torch_engine
from sonarseg.densecrf.engines.torch.batches import bytes_needed
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile

USUAL = with_widths((20, 5, 3))
# pydensecrf's labels are compared on so many tiles.
_COMPARED = 4


@cache
def _tiles(count: int, side: int) -> list[CrfTile]:
    return [speckled_tile(side, 6, seed) for seed in range(count)]


def tiles_of(check: Check) -> list[CrfTile]:
    """Tiles of six classes."""
    return _tiles(check.sizes.crf_tiles, check.sizes.crf_side)


def refined(
    check: Check, tiles: list[CrfTile], parameters: CrfParameters = USUAL, *, deterministic: bool = True
) -> list[NDArray[np.uint8]]:
    """Labels after every iteration by the torch engine, on the host; deterministic as studies call it."""
    return torch_engine.label_history(
        tiles,
        parameters,
        parameters.iterations,
        device=torch.device(check.device),
        deterministic=deterministic,
    )


def labels(check: Check) -> None:
    """Labels equal those of the other engines and, from call to call, themselves, for all widths."""
    tiles = tiles_of(check)
    first, again = refined(check, tiles), refined(check, tiles)
    same = all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    check.say(f"dense CRF: two calls are bit-identical: {same}")
    peer = [pydensecrf_grey(tile, USUAL) for tile in tiles[:_COMPARED]]
    equal = np.mean([(a[-1].ravel() == b).mean() for a, b in zip(first, peer, strict=False)])
    check.row("dense CRF, labels equal to pydensecrf's", 100 * float(equal), None, "% of the pixels")
    worst = 1.0
    for widths in WIDTHS:
        parameters = with_widths(widths)
        found = refined(check, tiles, parameters)
        pairs = zip(found, (ours(tile, parameters) for tile in tiles[:_COMPARED]), strict=False)
        worst = min(worst, *((a == b).mean() for a, b in pairs))
    check.row(
        "dense CRF, labels equal to numba's, worst tile of 8 widths", 100 * worst, None, "% of the pixels"
    )


def times(check: Check) -> None:
    """Milliseconds for all tiles, from scores on the host to labels on the host."""
    tiles, side = tiles_of(check), check.sizes.crf_side
    case = f"dense CRF, {len(tiles)} tiles of {side} x {side} x 6, all transfers included"
    pydensecrf_grey(tiles[0], USUAL)
    started = time.perf_counter()
    for tile in tiles:
        pydensecrf_grey(tile, USUAL)
    peer = 1e3 * (time.perf_counter() - started)
    for deterministic, how in ((True, ""), (False, ", summed in any order")):
        mine = check.milliseconds(lambda fixed=deterministic: refined(check, tiles, deterministic=fixed))
        check.row(f"{case}{how}, beside 1 core of pydensecrf", mine, peer, "ms", larger_is_better=False)
    device = torch.device(check.device)
    last = check.milliseconds(
        lambda: torch_engine.last_labels(tiles, USUAL, device=device, deterministic=True)
    )
    check.row(f"{case}, labels after the last iteration only", last, None, "ms")
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        many = check.milliseconds(lambda: list(pool.map(lambda tile: ours(tile, USUAL), tiles)))
    check.row(f"dense CRF, the same tiles by numba on all cores ({cores})", many, None, "ms")


def widths(check: Check) -> None:
    """Milliseconds for all tiles over a spread of widths, and in batches of fewer tiles."""
    tiles = tiles_of(check)
    for each in WIDTHS:
        parameters = with_widths(each)
        taken = check.milliseconds(lambda p=parameters: refined(check, tiles, p), 1.0)
        check.row(
            "dense CRF, sigma_alpha {:g}, sigma_beta {:g}, sigma_gamma {:g}".format(*each), taken, None, "ms"
        )
    for size in (1, 16):
        part = tiles[:size]
        taken = check.milliseconds(lambda part=part: refined(check, part), 1.0) / len(part)
        check.row(f"dense CRF, a tile of a batch of {size}", taken, None, "ms")


def memory(check: Check) -> None:
    """Bytes in use at most, where every pixel has its own vertices, beside those that the engine states."""
    if not check.cuda:
        return
    narrow, side = with_widths((0.6, 1.0, 0.6)), check.sizes.crf_side
    grey = tiles_of(check)[:16]
    rgb = [CrfTile(tile.scores, np.repeat(tile.guide[..., None], 3, axis=2)) for tile in grey]
    for features, tiles in ((3, grey), (5, rgb)):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        refined(check, tiles, narrow)
        used = torch.cuda.max_memory_allocated() - before
        stated = bytes_needed(len(tiles) * side * side, 6, features)
        check.say(
            f"dense CRF, {features} features: {used / 2**20:.0f} MiB used, {stated / 2**20:.0f} MiB stated"
        )
    torch.cuda.empty_cache()


def kernels(check: Check) -> None:
    """The kernels at usual and at the widest widths."""
    if check.cuda:
        tiles = tiles_of(check)
        say_kernels(check, "dense CRF", lambda: refined(check, tiles), 12)
        wide = with_widths((120, 40, 6))
        say_kernels(check, "dense CRF at the widest widths", lambda: refined(check, tiles, wide), 4)


PARTS = (times, labels, kernels, widths, memory)
