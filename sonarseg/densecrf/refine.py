"""Refinement of class scores by a dense CRF (Krähenbühl and Koltun, arXiv 1210.5644).

Mean-field inference with Gaussian kernels filtered on a permutohedral lattice, symmetric normalisation,
Potts compatibility; `sonarseg.densecrf.engines.base` says which engine computes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonarseg.cam.hard_labels import argmax_labels, with_background
from sonarseg.densecrf.engines.base import DEFAULT_ENGINE, Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile, ScoredTile
from sonarseg.errors import UserError
from sonarseg.survey.guide import guide_image
from sonarseg.survey.lists import MOST_CLASSES
from sonarseg.survey.no_data import without_invalid


def refine(
    scores: NDArray[np.floating],
    image: NDArray[np.uint8],
    parameters: CrfParameters,
    *,
    shown: NDArray[np.bool_] | None = None,
    valid: NDArray[np.bool_] | None = None,
    background_id: int | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> NDArray[np.uint8]:
    """Turn the class scores of a tile into labels that follow its image.

    Parameters
    ----------
    scores : ndarray, float (K, H, W)
        Class scores in [0, 1], as `sonarseg.cam.files.read_cam` gives them.
    image : ndarray, uint8 (H, W) or (H, W, 3)
        The tile after the survey's scaling, before the guide's filter.
    parameters : CrfParameters
        Kernels, unary, background score and guide. With 0 iterations the labels are the argmax
        of the scores.
    shown : ndarray, bool (K,), optional
        Classes the tile may hold; all by default.
    valid : ndarray, bool (H, W), optional
        Pixels with data; all by default. The others have no say in the dense CRF.
    background_id : int or None
        The class that gets the constant `parameters.background_score`.
    engine : Engine
        What computes the dense CRF.

    Returns
    -------
    ndarray, uint8 (H, W)
        Class ids of the full K: one shown class fills the tile, none leaves it 255. Pixels without data
        are 255.

    Raises
    ------
    UserError
        Where an array has another shape or type, there are more than 255 classes, the background is
        none of them, the scores hold NaN, infinite or negative values, or a kernel is too narrow for
        the size of the tile.
    """
    (labels,) = refine_batch([ScoredTile(scores, image, shown, valid)], parameters, background_id, engine)
    return labels


def refine_probabilities(
    tile: ScoredTile,
    parameters: CrfParameters,
    background_id: int | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> NDArray[np.float32]:
    """Mean-field marginals of a tile, float32 (K, H, W); UserError as `refine`, which gives their argmax.

    They sum to 1 over the shown classes and are 0 for the others. With 0 iterations they are the
    probabilities of the unary alone.
    """
    kept = _checked(tile, background_id)
    probabilities = np.zeros(tile.scores.shape, dtype=np.float32)
    if kept.sum() < 2:
        probabilities[kept] = 1
        return probabilities
    guide = guide_image(tile.image, parameters.guide)
    (probabilities[kept],) = engine.marginals(
        [crf_tile(tile.scores, guide, kept, background_id, tile.valid)], parameters
    )
    return probabilities


def refine_batch(
    tiles: Sequence[ScoredTile],
    parameters: CrfParameters,
    background_id: int | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> list[NDArray[np.uint8]]:
    """Labels of several tiles, uint8 (H, W) each, in one call of the engine: see `refine`."""
    labels: list[NDArray[np.uint8] | None] = []
    waiting: list[tuple[int, NDArray[np.bool_], CrfTile]] = []
    for index, tile in enumerate(tiles):
        kept = _checked(tile, background_id)
        if parameters.iterations == 0 or kept.sum() < 2:
            labelled = with_background(tile.scores, background_id, parameters.background_score)
            labels.append(argmax_labels(labelled, kept))
        else:
            guide = guide_image(tile.image, parameters.guide)
            waiting.append((index, kept, crf_tile(tile.scores, guide, kept, background_id, tile.valid)))
            labels.append(None)
    refined = engine.last_labels([tile for _, _, tile in waiting], parameters)
    for (index, kept, _), rows in zip(waiting, refined, strict=True):
        labels[index] = np.flatnonzero(kept).astype(np.uint8)[rows]
    return [
        without_invalid(found, tile.valid)
        for found, tile in zip(labels, tiles, strict=True)
        if found is not None
    ]


def crf_tile(
    scores: NDArray[np.floating],
    guide: NDArray[np.uint8],
    kept: NDArray[np.bool_],
    background_id: int | None,
    valid: NDArray[np.bool_] | None = None,
) -> CrfTile:
    """Cut a tile down to its kept classes.

    Parameters
    ----------
    scores : ndarray, float (K, H, W)
        Class scores.
    guide : ndarray, uint8 (H, W) or (H, W, 3)
        The filtered image.
    kept : ndarray, bool (K,)
        Classes that the tile may hold, two or more.
    background_id : int or None
        The background class.
    valid : bool (H, W) or None
        Pixels with data.
    """
    chosen: NDArray[np.float16] | NDArray[np.float32] = (
        np.ascontiguousarray(scores[kept], dtype=np.float16)
        if scores.dtype == np.float16
        else np.ascontiguousarray(scores[kept], dtype=np.float32)
    )
    background = None
    if background_id is not None and kept[background_id]:
        background = int(kept[:background_id].sum())
    return CrfTile(chosen, guide, background, valid)


def _checked(tile: ScoredTile, background_id: int | None) -> NDArray[np.bool_]:
    """Refuse what cannot be refined; return the shown classes as bool (K,)."""
    scores, image, shown = tile.scores, tile.image, tile.shown
    if scores.ndim != 3 or 0 in scores.shape:
        raise UserError(f"Class scores have shape {scores.shape}, expected (classes, height, width).")
    if len(scores) > MOST_CLASSES:
        raise UserError(
            f"Class scores hold {len(scores)} classes, expected {MOST_CLASSES} at most: "
            "labels are 8-bit ids, and 255 marks pixels without one."
        )
    if background_id is not None and not 0 <= background_id < len(scores):
        raise UserError(
            f"The background class is {background_id}, expected an id from 0 to {len(scores) - 1}: "
            "name one of the classes of the scores."
        )
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise UserError(
            f"The image for the dense CRF is {image.dtype} of shape {image.shape}, expected uint8 of shape "
            "(height, width) or (height, width, 3): apply the survey's scaling first."
        )
    if image.shape[:2] != scores.shape[1:]:
        raise UserError(
            f"The image is {image.shape[0]} x {image.shape[1]} pixels (height x width), "
            f"the class scores are {scores.shape[1]} x {scores.shape[2]}: "
            "make the scores again from this image."
        )
    if not np.isfinite(scores).all() or scores.min() < 0:
        raise UserError(
            "Class scores hold NaN, infinite or negative values where numbers from 0 to 1 were expected: "
            "make them again, and look at the loss of the run if they come out the same."
        )
    if scores.max() > np.finfo(np.float32).max:
        raise UserError(
            f"Class scores reach {scores.max():g}, expected numbers from 0 to 1: "
            "make them again, by a softmax from logits."
        )
    if shown is None:
        return np.ones(len(scores), dtype=np.bool_)
    if shown.shape != (len(scores),):
        raise UserError(f"Shown classes have shape {shown.shape}, expected ({len(scores)},), one a class.")
    return shown.astype(np.bool_)
