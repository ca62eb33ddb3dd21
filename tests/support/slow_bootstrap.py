"""The studentised bootstrap as a plain loop over confusion matrices: the oracle of the fast one."""

import math
from collections.abc import Sequence

import numpy as np

from sonarseg.metrics.iou import METRICS


def strips_of(groups: Sequence[str | None]) -> list[list[int]]:
    """Tiles of each strip; a tile without one by itself."""
    members: dict[object, list[int]] = {}
    for tile, group in enumerate(groups):
        members.setdefault(("tile", tile) if group is None else group, []).append(tile)
    return list(members.values())


def difference(a: np.ndarray, b: np.ndarray, metric: str, strips: Sequence[Sequence[int]]) -> float:
    """Mean over runs of the difference, of the tiles of some strips (a strip may come twice)."""
    tiles = [tile for strip in strips for tile in strip]
    found = []
    for one, other in zip(a, b, strict=True):
        first, second = METRICS[metric](one[tiles]), METRICS[metric](other[tiles])
        found.append(math.nan if first is None or second is None else first - second)
    return float(np.mean(found))


def jackknife_error(a: np.ndarray, b: np.ndarray, metric: str, strips: Sequence[Sequence[int]]) -> float:
    """Standard error from leaving out each strip in turn."""
    number = len(strips)
    without = [difference(a, b, metric, [*strips[:i], *strips[i + 1 :]]) for i in range(number)]
    return math.sqrt((number - 1) / number * float(((without - np.mean(without)) ** 2).sum()))


def studentised_interval(
    a: np.ndarray, b: np.ndarray, metric: str, groups: Sequence[str | None], times: np.ndarray
) -> tuple[float, float, float]:
    """Difference and interval from given resamples: `times` (B, G) tells how often each strip is drawn."""
    strips = strips_of(groups)
    value = difference(a, b, metric, strips)
    found = []
    for row in times.astype(int):
        drawn = [strip for strip, number in zip(strips, row, strict=True) for _ in range(number)]
        error = jackknife_error(a, b, metric, drawn)
        if error > 1e-12:
            found.append((difference(a, b, metric, drawn) - value) / error)
    low, high = np.nanquantile(found, [0.025, 0.975])
    error = jackknife_error(a, b, metric, strips)
    return value, value - high * error, value - low * error
