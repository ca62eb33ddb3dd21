"""Confusion matrices of one tile after every mean-field iteration, counted in compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np

from sonarseg.ignore import IGNORE
from sonarseg.numba_cache import compiled


def compile_counting() -> None:
    """Compile, or load from the cache, the counting; masks may be mapped files, which are read-only."""
    history, truth, ids = np.zeros((1, 4), np.uint8), np.zeros(4, np.uint8), np.zeros(2, np.uint8)
    count_history(history, truth, ids, 2)
    truth.setflags(write=False)
    count_history(history, truth, ids, 2)


@compiled()
def count_history(history: Any, truth: Any, ids: Any, num_classes: int) -> Any:
    """Confusion matrices after every iteration: int64 (iterations + 1, K, K), rows truth, columns labels.

    Parameters
    ----------
    history : uint8 (iterations + 1, P)
        Rows of the scores.
    truth : uint8 (P,)
        Class ids; 255 is left out.
    ids : uint8 (k,)
        Class ids of the rows.
    num_classes : int
        K.
    """
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
