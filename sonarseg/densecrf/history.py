"""Confusion matrices of a tile after every mean-field iteration, from one run of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonarseg.densecrf.engine import Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.ignore import IGNORE
from sonarseg.numba_cache import compiled


def confusion_histories(
    tiles: Sequence[CrfTile],
    truths: Sequence[NDArray[np.uint8]],
    kept: Sequence[NDArray[np.uint8]],
    parameters: CrfParameters,
    iterations: int,
    num_classes: int,
    engine: Engine,
) -> list[NDArray[np.int64]]:
    """Count what each number of iterations from 0 on makes of every tile.

    Parameters
    ----------
    tiles : sequence of CrfTile
    truths : sequence of uint8 (H, W)
        Class ids; 255 is left out.
    kept : sequence of uint8 (k,)
        Class ids of the rows of each tile's scores.
    parameters : CrfParameters
        `iterations` is not used.
    iterations : int
        The largest number of iterations.
    num_classes : int
        K.
    engine : Engine

    Returns
    -------
    list of int64 (iterations + 1, K, K)
        Rows truth, columns labels.
    """
    histories = engine.label_histories(tiles, parameters, iterations)
    return [
        _count(history.reshape(len(history), -1), truth.reshape(-1), ids, num_classes)
        for history, truth, ids in zip(histories, truths, kept, strict=True)
    ]


def compile_counting() -> None:
    """Compile, or load from the cache, the counting; masks may be mapped files, which are read-only."""
    history, truth, ids = np.zeros((1, 4), np.uint8), np.zeros(4, np.uint8), np.zeros(2, np.uint8)
    _count(history, truth, ids, 2)
    truth.setflags(write=False)
    _count(history, truth, ids, 2)


@compiled()
def _count(history: Any, truth: Any, ids: Any, num_classes: int) -> Any:
    counts = np.zeros((len(history), num_classes, num_classes), np.int64)
    for n in range(np.uint64(len(truth))):
        if truth[n] != IGNORE:
            counts[0, truth[n], ids[history[0, n]]] += 1
    # An iteration changes few labels: count those alone.
    for row in range(1, len(history)):
        counts[row] = counts[row - 1]
        for n in range(np.uint64(len(truth))):
            before, after = history[row - 1, n], history[row, n]
            if before != after and truth[n] != IGNORE:
                counts[row, truth[n], ids[before]] -= 1
                counts[row, truth[n], ids[after]] += 1
    return counts
