"""Refine many tiles with one setting, by the threads, processes or batches that the engine gains from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sonarseg.densecrf.engines.base import DEFAULT_ENGINE, Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import refine_batch
from sonarseg.densecrf.tile import ScoredTile
from sonarseg.processes.pool import in_order

Result = TypeVar("Result")
# Tiles in memory at once where the device takes batches
_BATCH = 64


def refine_tiles(
    tiles: Sequence[str],
    load: Callable[[str], ScoredTile],
    use: Callable[[str, NDArray[np.uint8]], Result],
    parameters: CrfParameters,
    *,
    engine: Engine = DEFAULT_ENGINE,
    background_id: int | None = None,
    jobs: int = 1,
) -> Iterator[Result]:
    """Load, refine and use every tile; results come in the order of the tiles.

    Parameters
    ----------
    tiles : sequence of str
        Names, given to `load` and `use`.
    load : callable
        Reads a tile. Like `use` it runs in worker processes under pydensecrf, and in threads else.
    use : callable
        Given the name and the labels, uint8 (H, W).
    parameters : CrfParameters
        Dense CRF setting.
    engine : Engine
        What computes the dense CRF.
    background_id : int or None
        The class that gets the constant `parameters.background_score`.
    jobs : int
        Threads or processes.
    """

    def one(names: Sequence[str]) -> list[Result]:
        loaded = [load(name) for name in names]
        labels = refine_batch(loaded, parameters, background_id, engine)
        return [use(name, found) for name, found in zip(names, labels, strict=True)]

    size = _BATCH if engine.name == "torch" else 1
    batches = [tiles[start : start + size] for start in range(0, len(tiles), size)]
    # One batch at a time on a device: two would not fit its memory.
    workers = 1 if engine.name == "torch" else jobs
    for results in in_order(one, batches, workers, processes=not engine.threads):
        yield from results
