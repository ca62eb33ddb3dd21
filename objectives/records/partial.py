"""What a trial that a race stopped had scored until then, kept in a user attribute of the trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives.records import attributes as attr
from sonarseg.metrics.confusion import pack_confusions, unpack_confusions


def partial_scores(tiles: Sequence[int], confusions: NDArray[np.int64]) -> dict[str, Any]:
    """Write the confusion matrices (N, K, K) of N tiles, named by their places in the study's list."""
    return {"tiles": list(tiles), "confusions": pack_confusions(confusions)}


def read_partial(
    attributes: Mapping[str, Any], tiles: int, num_classes: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Read what a stopped trial had scored.

    Parameters
    ----------
    attributes : mapping
        User attributes of the trial; without `partial`, as those of older studies are, nothing was scored.
    tiles, num_classes : int
        T and K.

    Returns
    -------
    scored : bool (T,)
    confusions : int64 (T, K, K)
        0 where nothing was scored.
    """
    scored = np.zeros(tiles, dtype=np.bool_)
    confusions = np.zeros((tiles, num_classes, num_classes), dtype=np.int64)
    stored = attributes.get(attr.PARTIAL)
    if stored is not None:
        places = np.array(stored["tiles"], dtype=np.int64)
        scored[places] = True
        confusions[places] = unpack_confusions(stored["confusions"])
    return scored, confusions
