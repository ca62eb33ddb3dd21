"""Fill a tile from a few strokes: grey level and texture under the strokes, then the dense CRF."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, uniform_filter

from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import refine
from sonarseg.errors import UserError
from sonarseg.ignore import IGNORE

# What strokes hold at pixels without a stroke
UNSET = -1
# Sizes of the windows, pixels, over which grey level and texture are averaged
_WINDOWS = (5, 11, 21)
# Neighbouring pixels of a stroke say nearly the same: their evidence counts as much less
_TEMPERATURE = 2.0
# Distance, as a share of the tile's longer side, over which a stroke loses much of its say
_REACH = 0.15
# Trust in a stroke: hands slip
_STROKE_SCORE = 0.9
_RIDGE = 0.02
# How finely distances are computed
_STEP = 2


def fill_from_strokes(
    strokes: NDArray[np.int16],
    image: NDArray[np.uint8],
    num_classes: int,
    parameters: CrfParameters,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Fill a tile with the classes of its strokes.

    Parameters
    ----------
    strokes : ndarray, int16 (H, W)
        Class id, 255 for pixels without a class, -1 without a stroke.
    image : ndarray, uint8 (H, W) or (H, W, 3)
        The tile after the survey's scaling.
    num_classes : int
        Classes of the survey.
    parameters : CrfParameters
        Kernels, iterations and guide; the unary is soft, from the strokes.
    valid : ndarray, bool (H, W), optional
        Pixels with data; all by default.

    Returns
    -------
    ndarray, uint8 (H, W)
        Class ids; 255 under strokes of 255, at pixels without data, and everywhere without any stroke.

    Raises
    ------
    UserError
        If strokes and image differ in size, or a stroke has an unknown class.
    """
    if strokes.shape != image.shape[:2]:
        raise UserError(
            f"The strokes are {strokes.shape[1]} x {strokes.shape[0]} pixels, the tile is {image.shape[1]} x "
            f"{image.shape[0]}: load the page again."
        )
    drawn = strokes[(strokes != UNSET) & (strokes != IGNORE)]
    if drawn.size and not 0 <= int(drawn.min()) <= int(drawn.max()) < num_classes:
        raise UserError(f"A stroke has an unknown class: there are {num_classes}.")
    ids = np.unique(drawn)
    filled = np.full(strokes.shape, IGNORE, dtype=np.uint8)
    if not ids.size:
        return filled
    shown = np.zeros(num_classes, dtype=np.bool_)
    shown[ids] = True
    scores = np.zeros((num_classes, *strokes.shape), dtype=np.float32)
    scores[ids] = stroke_scores(strokes, image, ids)
    soft = parameters.model_copy(update={"unary": "soft", "unary_scale": 1.0})
    filled = refine(scores, image, soft, shown=shown, valid=valid)
    filled[strokes == IGNORE] = IGNORE
    return filled


def stroke_scores(
    strokes: NDArray[np.int16], image: NDArray[np.uint8], ids: NDArray[np.int16]
) -> NDArray[np.float32]:
    """Probability of each class in `ids`, float32 (k, H, W), from its strokes' texture and distance."""
    features = _features(image)
    means, samples = [], []
    for class_id in ids:
        under = features[strokes == class_id]
        means.append(under.mean(axis=0))
        samples.append(under - means[-1])
    # The variation within classes, drawn towards that of the tile where strokes are few
    within = np.concatenate(samples)
    own = within.T @ within / max(1, len(within))
    covariance = own + _RIDGE * np.eye(features.shape[-1], dtype=np.float32)
    centres = np.stack(means)
    weights = np.linalg.solve(covariance, centres.T)
    logits = features @ weights - 0.5 * np.sum(centres * weights.T, axis=1)
    logits = np.moveaxis(logits, -1, 0) / _TEMPERATURE
    reach = _REACH * max(strokes.shape)
    logits -= np.stack([_distance(strokes == class_id) for class_id in ids]) / reach
    logits -= logits.max(axis=0)
    scores = np.exp(logits)
    scores /= scores.sum(axis=0)
    for row, class_id in enumerate(ids):
        under = strokes == class_id
        scores[:, under] = (1 - _STROKE_SCORE) / max(1, len(ids) - 1)
        scores[row, under] = _STROKE_SCORE
    return np.asarray(scores, dtype=np.float32)


def _features(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey level and texture around each pixel, float32 (H, W, d), each of mean 0 and deviation 1."""
    grey = image.astype(np.float32) if image.ndim == 2 else image.mean(axis=2, dtype=np.float32)
    # Speckle is multiplicative: on a log scale it varies alike everywhere.
    level = np.log1p(grey)
    across = np.abs(np.diff(level, axis=1, append=level[:, -1:]))
    along = np.abs(np.diff(level, axis=0, append=level[-1:]))
    parts = []
    for window in _WINDOWS:
        mean = uniform_filter(level, window)
        square = uniform_filter(level**2, window)
        parts += [mean, np.sqrt(np.maximum(square - mean**2, 0))]
    for window in _WINDOWS[1:]:
        parts += [uniform_filter(across, window), uniform_filter(along, window)]
    stacked = np.stack(parts, axis=-1)
    deviation = stacked.std(axis=(0, 1))
    standard = (stacked - stacked.mean(axis=(0, 1))) / np.where(deviation > 0, deviation, 1)
    return np.asarray(standard, dtype=np.float32)


def _distance(under: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance of each pixel to the nearest stroke, pixels."""
    height, width = under.shape
    padded = np.pad(under, ((0, -height % _STEP), (0, -width % _STEP)))
    coarse = padded.reshape(len(padded) // _STEP, _STEP, -1, _STEP).any(axis=(1, 3))
    distance = distance_transform_edt(~coarse).astype(np.float32) * _STEP
    fine: NDArray[np.float32] = distance.repeat(_STEP, 0).repeat(_STEP, 1)[:height, :width]
    return fine
