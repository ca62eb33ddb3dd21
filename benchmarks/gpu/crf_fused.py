"""The fused kernels of the dense CRF on the device: labels, milliseconds by parts, memory, kept tiles."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from densecrf import WIDTHS, ours, pydensecrf_grey, with_widths
from numpy.typing import NDArray

from gpu.check import Check
from gpu.crf import USUAL, tiles_of
from gpu.kernels import say_kernels
from sonarseg.densecrf.engines.torch import engine as torch_engine
from sonarseg.densecrf.engines.torch.batches import fused_bytes_needed
from sonarseg.densecrf.engines.torch.placed import forget_tiles, place
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile

_CLASSES = 6
# pydensecrf is timed on so many tiles for each of the widths.
_TIMED = 2


def _refined(
    check: Check, tiles: list[CrfTile], parameters: CrfParameters = USUAL, *, fused: bool = True
) -> list[NDArray[np.uint8]]:
    device, count = torch.device(check.device), parameters.iterations
    return torch_engine.label_history(
        tiles, parameters, count, device=device, deterministic=True, fused=fused
    )


def labels(check: Check) -> None:
    """Labels equal numba's for all widths and for tiles of several sizes; two calls give the same bits."""
    if not check.cuda:
        return
    tiles = tiles_of(check)
    one, two = (_refined(check, tiles) for _ in range(2))
    same = all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    check.say(f"fused dense CRF: two calls are bit-identical: {same}")
    ragged = [
        CrfTile(
            tile.scores[: 2 + i % 5, : 200 - 9 * i, : 100 + 7 * i], tile.guide[: 200 - 9 * i, : 100 + 7 * i]
        )
        for i, tile in enumerate(tiles[:12])
    ]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for name, batch, settings in (
            ("8 widths", tiles, [with_widths(widths) for widths in WIDTHS]),
            ("tiles of several sizes", ragged, [USUAL]),
        ):
            worst = 1.0
            for parameters in settings:
                expected = pool.map(partial(ours, parameters=parameters), batch)
                found = _refined(check, batch, parameters)
                worst = min(worst, *((a == b).mean() for a, b in zip(found, expected, strict=True)))
            check.row(
                f"fused dense CRF, labels equal to numba's, worst tile, {name}",
                100 * worst, None, "% of the pixels",
            )  # fmt: skip


def times(check: Check) -> None:
    """Milliseconds from scores on the host to labels on the host beside one core of pydensecrf, by widths."""
    if not check.cuda:
        return
    tiles, side = tiles_of(check), check.sizes.crf_side
    case = f"fused dense CRF, {len(tiles)} tiles of {side} x {side} x 6, transfers included"
    for widths in WIDTHS:
        parameters = with_widths(widths)
        part = tiles[:_TIMED]
        peer = check.milliseconds(lambda p=parameters, t=part: [pydensecrf_grey(tile, p) for tile in t], 0.2)
        peer *= len(tiles) / len(part)
        mine = check.milliseconds(lambda p=parameters: _refined(check, tiles, p), 1.0)
        name = "{}, sigmas {:g}, {:g}, {:g}, beside 1 core of pydensecrf".format(case, *widths)
        check.row(name, mine, peer, "ms", larger_is_better=False)
    plain = check.milliseconds(lambda: _refined(check, tiles, fused=False), 1.0)
    check.row("dense CRF, the same in torch operations with bounded bags", plain, None, "ms")


def parts(check: Check) -> None:
    """Milliseconds of each part, and which kernels take them."""
    if not check.cuda:
        return
    from sonarseg.densecrf.engines.torch.fused import FusedField

    tiles, device = tiles_of(check), torch.device(check.device)
    placed = place(tiles, device)
    for widths in ((20, 5, 3), (10, 3, 3), (120, 40, 6)):
        parameters = with_widths(widths)
        field = FusedField(placed, parameters)
        found, _ = field.run(10, 11)
        works: tuple[tuple[str, Callable[[], object]], ...] = (
            ("tiles to the device", lambda: place(tiles, device)),
            ("lattices and unaries", lambda p=parameters: FusedField(placed, p)),
            ("ten iterations", lambda f=field: f.run(10, 11)),
            ("labels to the host", lambda labels=found: labels.cpu()),
        )
        for name, work in works:
            taken = check.milliseconds(work, 0.5)
            check.row("fused dense CRF, sigmas {:g}, {:g}, {:g}: {}".format(*widths, name), taken, None, "ms")
        for lattice in (field.bilateral, field.spatial):
            assert lattice is not None
            many = int(lattice.how_many)
            check.say(f"{len(lattice.pixels)} entries, {lattice.size} vertices, {many} of several segments")
    field = FusedField(placed, USUAL)
    say_kernels(check, "fused dense CRF, lattices and unaries", lambda: FusedField(placed, USUAL), 14)
    say_kernels(check, "fused dense CRF, ten iterations", lambda: field.run(10, 11), 6)


def trials(check: Check) -> None:
    """Milliseconds of ten iterations counted on the device for tiles that are kept there."""
    if not check.cuda:
        return
    tiles, device = tiles_of(check), torch.device(check.device)
    generator = np.random.default_rng(0)
    truths = [generator.integers(0, _CLASSES, tile.shape).astype(np.uint8) for tile in tiles]
    kept = [np.arange(_CLASSES, dtype=np.uint8)] * len(tiles)

    def counted(fused: bool, named: bool, size: int) -> list[NDArray[np.int64]]:
        counts = []
        for first in range(0, len(tiles), size):
            part = slice(first, first + size)
            names = [(index, "raw") for index in range(len(tiles))][part] if named else None
            counts += torch_engine.confusions(
                tiles[part], truths[part], kept[part], USUAL, 10, _CLASSES,
                names=names, device=device, deterministic=True, fused=fused,
            )  # fmt: skip
        return counts

    for fused, named, size in ((True, True, 40), (True, True, 16), (True, False, 40), (False, True, 16)):
        how = f"{'fused' if fused else 'torch'}, {'kept' if named else 'copied'}, batches of {size}"
        taken = check.milliseconds(lambda f=fused, n=named, s=size: counted(f, n, s), 1.0)
        check.row(f"dense CRF, confusions of {len(tiles)} tiles, {how}", taken, None, "ms")
    pairs = zip(counted(True, True, 40), counted(False, False, 16), strict=True)
    moved = sum(int(np.abs(a - b).sum()) // 2 for a, b in pairs)
    check.say(f"fused dense CRF: pixels counted otherwise than by torch operations: {moved}")
    forget_tiles()


def memory(check: Check) -> None:
    """Bytes in use at most, if every pixel has its own vertices, beside those that are stated."""
    if not check.cuda:
        return
    side, grey = check.sizes.crf_side, tiles_of(check)[:16]
    rgb = [CrfTile(tile.scores, np.repeat(tile.guide[..., None], 3, axis=2)) for tile in grey]
    for features, tiles in ((3, grey), (5, rgb)):
        for sigmas in ((0.6, 1.0, 0.6), (20, 5, 3)):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            _refined(check, tiles, with_widths(sigmas))
            used = torch.cuda.max_memory_allocated() - before
            stated = fused_bytes_needed(len(tiles) * side * side, _CLASSES, features, 11)
            check.say(
                f"fused dense CRF, {features} features, sigmas {sigmas}: {used / 2**20:.0f} MiB used, "
                f"{stated / 2**20:.0f} MiB stated"
            )
    torch.cuda.empty_cache()


PARTS = (labels, times, parts, trials, memory) if find_spec("triton") else ()
