"""Refinement of class scores by a dense CRF (Krähenbühl and Koltun, arXiv 1210.5644).

The engine is pydensecrf: mean-field inference with Gaussian kernels filtered on a permutohedral lattice,
symmetric normalisation, Potts compatibility. The function keeps no state, so it can be called in
worker processes; pydensecrf holds the interpreter lock, so threads gain nothing.
"""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray
from pydensecrf.densecrf import DenseCRF

from sonarseg.densecrf.kernels import bilateral_features, refuse_wrapping_keys, spatial_features
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.unary import unary_energy
from sonarseg.errors import UserError
from sonarseg.seeds import argmax_labels, with_background
from sonarseg.survey.guide import guide_image


@overload
def refine(
    scores: NDArray[np.floating],
    image: NDArray[np.uint8],
    parameters: CrfParameters,
    *,
    shown: NDArray[np.bool_] | None = None,
    background_id: int | None = None,
    return_probabilities: Literal[False] = False,
) -> NDArray[np.uint8]: ...
@overload
def refine(
    scores: NDArray[np.floating],
    image: NDArray[np.uint8],
    parameters: CrfParameters,
    *,
    shown: NDArray[np.bool_] | None = None,
    background_id: int | None = None,
    return_probabilities: Literal[True],
) -> NDArray[np.float32]: ...


def refine(
    scores: NDArray[np.floating],
    image: NDArray[np.uint8],
    parameters: CrfParameters,
    *,
    shown: NDArray[np.bool_] | None = None,
    background_id: int | None = None,
    return_probabilities: bool = False,
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Turn the class scores of a tile into labels that follow its image.

    Parameters
    ----------
    scores : ndarray, float (K, H, W)
        Class scores in [0, 1], as `sonarseg.cam_store.read_cam` gives them.
    image : ndarray, uint8 (H, W) or (H, W, 3)
        The tile after the survey's scaling, before the guide's filter.
    parameters : CrfParameters
        Kernels, unary, background score and guide. With 0 iterations the labels are the argmax
        of the scores.
    shown : ndarray, bool (K,), optional
        Classes the tile may hold; all by default.
    background_id : int or None
        The class that gets the constant `parameters.background_score`.
    return_probabilities : bool
        Return the mean-field marginals in place of their argmax.

    Returns
    -------
    ndarray, uint8 (H, W)
        Class ids of the full K: one shown class fills the tile, none leaves it 255.
    or ndarray, float32 (K, H, W)
        Marginals: they sum to 1 over the shown classes and are 0 for the others. With 0 iterations
        they are the probabilities of the unary alone.

    Raises
    ------
    UserError
        Where an array has another shape or type, the scores hold NaN, infinite or negative
        values, or a kernel is too narrow for the size of the tile.
    """
    kept = _checked(scores, image, shown)
    labelled = with_background(scores, background_id, parameters.background_score)
    if kept.sum() < 2:
        probabilities = np.zeros_like(labelled)
        probabilities[kept] = 1
    elif parameters.iterations == 0 and not return_probabilities:
        return argmax_labels(labelled, kept)
    else:
        probabilities = _mean_field(labelled, image, parameters, kept)
    return probabilities if return_probabilities else argmax_labels(probabilities, kept)


def _mean_field(
    scores: NDArray[np.float32],
    image: NDArray[np.uint8],
    parameters: CrfParameters,
    kept: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Marginals (K, H, W) over two or more kept classes; 0 for the others."""
    height, width = image.shape[:2]
    count = int(kept.sum())
    crf = DenseCRF(height * width, count)
    crf.setUnaryEnergy(unary_energy(scores[kept], parameters))
    if parameters.w_spatial > 0:
        features = spatial_features(height, width, parameters.sigma_gamma)
        refuse_wrapping_keys(features, f"sigma_gamma {parameters.sigma_gamma:g}")
        crf.addPairwiseEnergy(features, compat=parameters.w_spatial)
    if parameters.w_bilateral > 0:
        guide = guide_image(image, parameters.guide)
        features = bilateral_features(guide, parameters.sigma_alpha, parameters.sigma_beta)
        widths = f"sigma_alpha {parameters.sigma_alpha:g} and sigma_beta {parameters.sigma_beta:g}"
        refuse_wrapping_keys(features, widths)
        crf.addPairwiseEnergy(features, compat=parameters.w_bilateral)
    probabilities = np.zeros_like(scores)
    marginals = np.asarray(crf.inference(parameters.iterations), dtype=np.float32)
    probabilities[kept] = marginals.reshape(count, height, width)
    return probabilities


def _checked(
    scores: NDArray[np.floating], image: NDArray[np.uint8], shown: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Refuse what cannot be refined; return the shown classes as bool (K,)."""
    if scores.ndim != 3 or 0 in scores.shape:
        raise UserError(f"Class scores have shape {scores.shape}, expected (classes, height, width).")
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
    if shown is None:
        return np.ones(len(scores), dtype=np.bool_)
    if shown.shape != (len(scores),):
        raise UserError(f"Shown classes have shape {shown.shape}, expected ({len(scores)},), one a class.")
    return shown.astype(np.bool_)
