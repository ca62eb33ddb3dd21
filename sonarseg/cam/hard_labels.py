"""Hard labels from class scores: the constant background score and the argmax over shown classes.

Numpy only. They are the CAM's own prediction, and the hard seeds of the dense CRF's unary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonarseg.ignore import IGNORE

# ISIM's constant (arXiv 2211.12455, code of M. Bircanoglu): class scores above it are foreground
DEFAULT_BACKGROUND_SCORE = 0.3


def with_background(
    scores: NDArray[np.floating], background_id: int | None, background_score: float | None
) -> NDArray[np.float32]:
    """Give the background class a constant score.

    No image-level label speaks of the background, so its CAM says nothing: the class wins
    wherever no other class reaches the constant.

    Parameters
    ----------
    scores : ndarray, float (K, H, W)
        Class scores in [0, 1].
    background_id : int or None
        The background class; None where the survey has none.
    background_score : float or None
        The constant in [0, 1]; None means `DEFAULT_BACKGROUND_SCORE`.

    Returns
    -------
    ndarray, float32 (K, H, W)
        A copy, unchanged where `background_id` is None.
    """
    result = np.array(scores, dtype=np.float32, order="C")
    if background_id is not None:
        result[background_id] = DEFAULT_BACKGROUND_SCORE if background_score is None else background_score
    return result


def argmax_labels(scores: NDArray[np.floating], shown: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Give each pixel the shown class of the highest score.

    Parameters
    ----------
    scores : ndarray, float (K, H, W)
        Class scores.
    shown : ndarray, bool (K,)
        Classes the tile may hold.

    Returns
    -------
    ndarray, uint8 (H, W)
        Class ids of the full K; a tie goes to the lower id; 255 everywhere where no class is shown.
    """
    classes = np.flatnonzero(shown)
    if classes.size == 0:
        return np.full(scores.shape[1:], IGNORE, dtype=np.uint8)
    labels: NDArray[np.uint8] = classes.astype(np.uint8)[np.argmax(scores[classes], axis=0)]
    return labels
