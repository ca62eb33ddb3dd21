"""Marginals of a tile, called as `refine` is."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import refine_probabilities
from sonarseg.densecrf.tile import ScoredTile


def probabilities(
    scores: NDArray[np.floating],
    image: NDArray[np.uint8],
    parameters: CrfParameters,
    *,
    shown: NDArray[np.bool_] | None = None,
    valid: NDArray[np.bool_] | None = None,
    **options: Any,
) -> NDArray[np.float32]:
    """Marginals float32 (K, H, W); `options` are the background and the engine."""
    return refine_probabilities(ScoredTile(scores, image, shown, valid), parameters, **options)
