"""How well the classifier ranks the tiles by a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def average_precision(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> list[float | None]:
    """Average precision of each class over the tiles.

    Parameters
    ----------
    labels : ndarray, bool (N, K)
        Image-level labels of N tiles.
    scores : ndarray, float (N, K)
        Scores or logits of the classifier.

    Returns
    -------
    list of (float or None)
        One number a class; None where no tile shows the class. Where every tile shows it the
        number is 1 and says nothing.

    Raises
    ------
    ValueError
        Where the shapes differ or a score is NaN.
    """
    if labels.shape != scores.shape or labels.ndim != 2:
        raise ValueError(f"labels are {labels.shape} and scores {scores.shape}, expected two equal (N, K)")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    return [_of_class(labels[:, k], scores[:, k]) for k in range(labels.shape[1])]


def _of_class(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> float | None:
    """Mean, over the tiles that show the class, of the precision among all that score no less."""
    if not labels.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order])
    # Tiles of one score come in together: only the last of them is a threshold.
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    precision = hits[last] / (last + 1)
    gained = np.diff(hits[last], prepend=0)
    return float((precision * gained).sum() / hits[-1])
