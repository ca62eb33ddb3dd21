"""Scores of a survey from the confusion matrices of its tiles.

Every function takes int (T, K, K), rows truth and columns prediction, and gives None where
nothing was there to be scored. The three mIoU differ in how tiles and absent classes are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Confusions = NDArray[np.integer]
Metric = Callable[[Confusions], float | None]

# The term that the baseline's code adds above and below the fraction
PAPER_EPSILON = 1e-6


class SurveyScores(TypedDict):
    """All scores of a survey; None where undefined."""

    miou: float | None
    miou_multiclass: float | None
    miou_paper: float | None
    fwiou: float | None
    pixel_accuracy: float | None
    iou: dict[str, float | None]


def _intersection_and_union(
    confusions: Confusions,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of intersection and union of each class over the last two axes."""
    intersection = np.diagonal(confusions, axis1=-2, axis2=-1).astype(np.int64)
    union = confusions.sum(axis=-1) + confusions.sum(axis=-2) - intersection
    return intersection, union


def class_iou(confusions: Confusions) -> list[float | None]:
    """IoU of each class over all tiles; None for a class in neither truth nor prediction."""
    intersection, union = _intersection_and_union(confusions.sum(axis=0))
    return [float(i / u) if u else None for i, u in zip(intersection, union, strict=True)]


def miou(confusions: Confusions) -> float | None:
    """Mean IoU of the survey's confusion over the classes present in truth or prediction."""
    present = [value for value in class_iou(confusions) if value is not None]
    return float(np.mean(present)) if present else None


def multiclass_tiles(confusions: Confusions) -> NDArray[np.bool_]:
    """Tiles with two or more classes in the truth, background counted: bool (T,)."""
    return np.asarray((confusions.sum(axis=-1) > 0).sum(axis=-1) >= 2)


def miou_multiclass(confusions: Confusions) -> float | None:
    """`miou` over the tiles with two or more classes in the truth."""
    return miou(confusions[multiclass_tiles(confusions)])


def miou_paper(confusions: Confusions) -> float | None:
    """Mean IoU as the baseline counts it, tiles and all K classes, of (i + 1e-6) / (u + 1e-6).

    A class in neither truth nor prediction of a tile scores 1, which lifts the number: a wholly
    wrong tile of one class scores 0.5 at K = 4. For comparison with the paper only. Tiles without
    a valid pixel are left out.
    """
    scored = confusions[confusions.sum(axis=(1, 2)) > 0]
    if not len(scored):
        return None
    intersection, union = _intersection_and_union(scored)
    return float(np.mean((intersection + PAPER_EPSILON) / (union + PAPER_EPSILON)))


def fwiou(confusions: Confusions) -> float | None:
    """IoU of the classes weighted by their share of the true pixels (frequency-weighted IoU)."""
    total = confusions.sum(axis=0)
    pixels = total.sum(axis=1)
    if not pixels.sum():
        return None
    intersection, union = _intersection_and_union(total)
    shown = pixels > 0
    return float((pixels[shown] * intersection[shown] / union[shown]).sum() / pixels.sum())


def pixel_accuracy(confusions: Confusions) -> float | None:
    """Share of the valid pixels that are right."""
    total = confusions.sum(axis=0)
    pixels = total.sum()
    return float(np.trace(total) / pixels) if pixels else None


METRICS: dict[str, Metric] = {
    "miou": miou,
    "miou_multiclass": miou_multiclass,
    "miou_paper": miou_paper,
    "fwiou": fwiou,
    "pixel_accuracy": pixel_accuracy,
}


def survey_scores(confusions: Confusions, classes: Sequence[str]) -> SurveyScores:
    """Compute every score of a survey.

    Parameters
    ----------
    confusions : ndarray, int (T, K, K)
        One matrix a tile.
    classes : sequence of str
        The K class names.

    Raises
    ------
    ValueError
        Where the number of names is not K.
    """
    if confusions.ndim != 3 or confusions.shape[1:] != (len(classes), len(classes)):
        raise ValueError(
            f"confusions have shape {confusions.shape}, expected (T, {len(classes)}, {len(classes)})"
        )
    return SurveyScores(
        miou=miou(confusions),
        miou_multiclass=miou_multiclass(confusions),
        miou_paper=miou_paper(confusions),
        fwiou=fwiou(confusions),
        pixel_accuracy=pixel_accuracy(confusions),
        iou=dict(zip(classes, class_iou(confusions), strict=True)),
    )
