"""Unary energies: what the class scores say of each pixel before its neighbours are heard."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonarseg.cam.hard_labels import DEFAULT_BACKGROUND_SCORE
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.numba_cache import compiled

# Keeps the energy of a score of 0 finite; the value of PSA's and the paper's code
SCORE_FLOOR = 1e-5


def background_score(parameters: CrfParameters) -> float:
    """Look up the constant score of the background class."""
    score = parameters.background_score
    return DEFAULT_BACKGROUND_SCORE if score is None else score


def unary_energy(
    scores: NDArray[np.float16] | NDArray[np.float32],
    parameters: CrfParameters,
    background: int | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Energy of each shown class in each pixel, -log of its probability up to a constant.

    Parameters
    ----------
    scores : ndarray, float16 or float32 (k, H, W)
        Scores of the k >= 2 shown classes, not negative.
    parameters : CrfParameters
        `unary`, with `unary_scale` or `gt_prob`, is used, and `background_score`.
    background : int or None
        The row that has the constant background score in place of what it holds.
    valid : bool (H, W) or None
        Pixels with data; the energy of the others is 0 for every class.

    Returns
    -------
    ndarray, float32 (k, H * W), C order
        Rows of pixels, the last axis of the image fastest.
    """
    energy = _energy(scores, parameters, background)
    if valid is not None:
        energy[:, ~valid.ravel()] = 0
    return energy


def _energy(
    scores: NDArray[np.float16] | NDArray[np.float32], parameters: CrfParameters, background: int | None
) -> NDArray[np.float32]:
    count = len(scores)
    if parameters.unary == "seeds":
        right, wrong = -math.log(parameters.gt_prob), -math.log((1 - parameters.gt_prob) / (count - 1))
        constant = np.float32(background_score(parameters))
        row = -1 if background is None else background
        hard_seeds: NDArray[np.float32] = _hard_seed_energy(
            _single(scores), row, constant, np.float32(right), np.float32(wrong)
        )
        return hard_seeds
    if scores.dtype == np.float16:
        energy = np.take(_of_half()[1], _bits(scores))
    else:
        energy = -np.log(scores.reshape(count, -1).astype(np.float32) + np.float32(SCORE_FLOOR))
    if background is not None:
        energy[background] = -math.log(background_score(parameters) + SCORE_FLOOR)
    energy *= np.float32(parameters.unary_scale)
    return energy


def _bits(scores: NDArray[np.floating]) -> NDArray[np.uint16]:
    return np.ascontiguousarray(scores).view(np.uint16).reshape(len(scores), -1)


def _single(scores: NDArray[np.float16] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores as float32 (k, N); looking float16 up is several times as fast as converting it."""
    if scores.dtype == np.float16:
        return np.take(_of_half()[0], _bits(scores))
    return np.ascontiguousarray(scores, dtype=np.float32).reshape(len(scores), -1)


@compiled()
def _hard_seed_energy(scores: Any, background: int, constant: Any, right: Any, wrong: Any) -> Any:
    """Energy `right` for the class of the highest score, the lowest of equals, `wrong` for the others."""
    classes, pixels = scores.shape
    energy = np.empty((classes, pixels), np.float32)
    for n in range(pixels):
        best, highest = 0, np.float32(-1)
        for c in range(classes):
            energy[c, n] = wrong
            score = constant if c == background else scores[c, n]
            if score > highest:
                best, highest = c, score
        energy[best, n] = right
    return energy


@cache
def _of_half() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values and energies of all float16 scores, by their bits; 0 for those that are no scores."""
    values = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    values[~np.isfinite(values) | (values < 0)] = 0
    return values, -np.log(values + np.float32(SCORE_FLOOR))
