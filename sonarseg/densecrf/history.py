"""Confusion matrices of a tile after every mean-field iteration, from one run of the engine."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from sonarseg.densecrf.engines.base import Engine
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
    names: Sequence[tuple[Hashable, Hashable]] | None = None,
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
    names : sequence of (scores and mask, guide), optional
        What a tile's arrays are called: a device keeps them from call to call; see `Engine.keeping_tiles`.

    Returns
    -------
    list of int64 (iterations + 1, K, K)
        Rows truth, columns labels.
    """
    return engine.confusions(tiles, truths, kept, parameters, iterations, num_classes, names)
