"""The floor that every model has to beat: what a guess scores that does not look at the picture."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sonarseg.metrics.iou import METRICS, Confusions


def constant_confusions(truth: NDArray[np.integer], guess: int) -> NDArray[np.int64]:
    """Confusion matrices of a guess of one class everywhere.

    Parameters
    ----------
    truth : ndarray, int (T, K)
        True pixels of each tile and class.
    guess : int
        Id of the class that is guessed, 0..K-1.

    Returns
    -------
    ndarray, int64 (T, K, K)
        Rows truth, columns prediction.
    """
    confusions = np.zeros((*truth.shape, truth.shape[-1]), dtype=np.int64)
    confusions[:, :, guess] = truth
    return confusions


def best_constant_guess(confusions: Confusions, metric: str) -> tuple[int, NDArray[np.int64]]:
    """Find the class that reaches the highest score if it is guessed everywhere on the same tiles.

    Parameters
    ----------
    confusions : ndarray, int (T, K, K)
        Of any prediction of the tiles: only the truth is read, the rows.
    metric : str
        A key of `sonarseg.metrics.iou.METRICS`.

    Returns
    -------
    tuple of int and ndarray, int64 (T, K, K)
        Id of the class, the lowest of equals, and the confusion matrices of its guess.

    Raises
    ------
    ValueError
        If the metric is unknown.
    """
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}, expected one of {', '.join(METRICS)}")
    truth = confusions.sum(axis=-1)
    guesses = [constant_confusions(truth, k) for k in range(confusions.shape[-1])]
    scores = [METRICS[metric](guess) for guess in guesses]
    best = max(range(len(guesses)), key=lambda k: -math.inf if (s := scores[k]) is None else s)
    return best, guesses[best]


def random_guess(confusions: Confusions) -> NDArray[np.int64]:
    """Confusion matrices to expect of a random guess that names each class as often as a prediction does.

    A prediction that has nothing to do with the truth scores like this, and, where classes are about
    equally frequent, higher than any constant guess.

    Parameters
    ----------
    confusions : ndarray, int (T, K, K)
        Of the prediction.

    Returns
    -------
    ndarray, int64 (T, K, K)
        Of the same truth; fractions of pixels count for the class that is named most often.
    """
    truth = confusions.sum(axis=-1)
    named = confusions.sum(axis=(0, 1))
    shares = named / max(1, named.sum())
    expected: NDArray[np.int64] = np.floor(truth[:, :, None] * shares).astype(np.int64)
    expected[:, :, named.argmax()] += truth - expected.sum(axis=-1)
    return expected
