"""Which classes the masks of a split let anybody score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonarseg.ignore import IGNORE
from sonarseg.survey.layout import Survey


def mask_pixels(survey: Survey, tile: str) -> NDArray[np.int64]:
    """Pixels of each class in a tile's mask, int64 (K,); those without data count nowhere."""
    counts = np.bincount(survey.read_mask(tile).ravel(), minlength=IGNORE + 1)
    return np.asarray(counts[: survey.num_classes], dtype=np.int64)


def unscored_classes(survey: Survey, split: str, pixels: NDArray[np.integer]) -> tuple[str, ...]:
    """Classes that the labels of a split show and its masks never hold: no score tells of them.

    Parameters
    ----------
    pixels : int (K,)
        Pixels of each class in the masks of the split.

    Returns
    -------
    tuple of str
        In the order of the ids; none if no pixel has data, since nothing is scored then.
    """
    if not pixels.any():
        return ()
    labelled = np.zeros(survey.num_classes, dtype=np.bool_)
    for tile in survey.splits[split]:
        if tile in survey.labels:
            labelled |= survey.labels[tile]
    return tuple(survey.classes[index] for index in np.flatnonzero(labelled & (pixels == 0)))


def not_scored(names: tuple[str, ...] | list[str], split: str = "val") -> str:
    """Say which classes are not scored and why, without a full stop."""
    listed = ", ".join(f'"{name}"' for name in names)
    return f"not scored: {listed}: the labels of {split} show it, no mask of {split} holds it"
