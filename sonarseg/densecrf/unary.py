"""Unary energies: what the class scores say of each pixel before its neighbours are heard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydensecrf.utils import unary_from_labels

from sonarseg.densecrf.parameters import CrfParameters

# Keeps the energy of a score of 0 finite; the value of PSA's and the paper's code
SCORE_FLOOR = 1e-5


def unary_energy(scores: NDArray[np.float32], parameters: CrfParameters) -> NDArray[np.float32]:
    """Energy of each shown class in each pixel, -log of its probability up to a constant.

    Parameters
    ----------
    scores : ndarray, float32 (k, H, W)
        Scores of the k >= 2 shown classes, not negative.
    parameters : CrfParameters
        `unary`, with `unary_scale` or `gt_prob`, is used.

    Returns
    -------
    ndarray, float32 (k, H * W), C order
        Rows of pixels, the last axis of the image fastest.
    """
    count = len(scores)
    if parameters.unary == "seeds":
        # Every pixel is a seed: without zero_unsure=False class 0 would mean "could be anything".
        seeds = np.argmax(scores, axis=0)
        energy = unary_from_labels(seeds, count, parameters.gt_prob, zero_unsure=False)
    else:
        energy = -parameters.unary_scale * np.log(scores.reshape(count, -1) + SCORE_FLOOR)
    return np.ascontiguousarray(energy, dtype=np.float32)
