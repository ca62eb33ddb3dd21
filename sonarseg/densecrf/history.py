"""Confusion matrices of a tile after every mean-field iteration, from one run of the engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.engines.numba.counting import count_history
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile


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

    Returns
    -------
    list of int64 (iterations + 1, K, K)
        Rows truth, columns labels.
    """
    histories = engine.label_histories(tiles, parameters, iterations)
    return [
        count_history(history.reshape(len(history), -1), truth.reshape(-1), ids, num_classes)
        for history, truth, ids in zip(histories, truths, kept, strict=True)
    ]
