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
    # scikit-learn takes a second to import, and reports import this package
    from sklearn.metrics import average_precision_score

    return [
        float(average_precision_score(labels[:, k], scores[:, k])) if labels[:, k].any() else None
        for k in range(labels.shape[1])
    ]
