"""Unary energies: what the class scores say of each pixel before its neighbours are heard."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.seeds import DEFAULT_BACKGROUND_SCORE

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

    Returns
    -------
    ndarray, float32 (k, H * W), C order
        Rows of pixels, the last axis of the image fastest.
    """
    count = len(scores)
    if parameters.unary == "seeds":
        seeds = np.argmax(_with_constant(scores, background, background_score(parameters)), axis=0)
        energy = np.full((count, seeds.size), -math.log((1 - parameters.gt_prob) / (count - 1)), np.float32)
        energy[seeds.reshape(-1), np.arange(seeds.size)] = -math.log(parameters.gt_prob)
        return energy
    if scores.dtype == np.float16:
        energy = np.take(_energy_of_half(), np.ascontiguousarray(scores).view(np.uint16).reshape(count, -1))
    else:
        energy = -np.log(scores.reshape(count, -1).astype(np.float32) + np.float32(SCORE_FLOOR))
    if background is not None:
        energy[background] = -math.log(background_score(parameters) + SCORE_FLOOR)
    energy *= np.float32(parameters.unary_scale)
    return energy


def _with_constant(
    scores: NDArray[np.float16] | NDArray[np.float32], row: int | None, value: float
) -> NDArray[np.float16] | NDArray[np.float32]:
    if row is None:
        return scores
    changed = scores.astype(np.float32)
    changed[row] = value
    return changed


@cache
def _energy_of_half() -> NDArray[np.float32]:
    """Energies of all float16 scores, by their bits; those that are no scores are left at 0."""
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    energy = np.zeros(2**16, np.float32)
    scores = np.isfinite(halves) & (halves >= 0)
    energy[scores] = -np.log(halves[scores] + np.float32(SCORE_FLOOR))
    return energy
