"""Classes that a labelling has swapped: what it calls one is another, consistently."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sonarseg.metrics.iou import Confusions, multiclass_tiles

# A swapped class overlaps this much or less with its own name, and the renamed classes this much more.
_NEAR_ZERO = 0.1
_MUCH = 0.15


def swapped_classes(confusions: Confusions) -> dict[int, int]:
    """Find classes that are near zero under their own name while another naming scores much higher.

    Parameters
    ----------
    confusions : int (T, K, K)
        Of tiles. Those with one class in the truth do not count: among the classes shown nothing else can be
        predicted there.

    Returns
    -------
    dict
        True class to the class that it is called; empty if nothing is swapped.
    """
    total = confusions[multiclass_tiles(confusions)].sum(axis=0)
    present = np.flatnonzero(total.sum(axis=1))
    overlap = _overlaps(total)[np.ix_(present, present)]
    truth, called = linear_sum_assignment(overlap, maximize=True)
    moved = [(t, c) for t, c in zip(truth, called, strict=True) if t != c and overlap[t, t] <= _NEAR_ZERO]
    gain = sum(overlap[t, c] - overlap[t, t] for t, c in moved)
    if len(moved) < 2 or gain / len(moved) < _MUCH:
        return {}
    return {int(present[t]): int(present[c]) for t, c in moved}


def _overlaps(total: NDArray[np.integer]) -> NDArray[np.float64]:
    """IoU (K, K) of each true class with each predicted one."""
    union = total.sum(axis=1)[:, None] + total.sum(axis=0)[None, :] - total
    return np.asarray(total / np.maximum(1, union), dtype=np.float64)
