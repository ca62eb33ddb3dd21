"""The dense CRF by pydensecrf: the reference, for those who must have its labels bit for bit.

It holds the interpreter's lock, so it gains from processes, not from threads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydensecrf.densecrf import DenseCRF

from sonarseg.densecrf.features import bilateral_features, refuse_wrapping_keys, spatial_features
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.densecrf.unary import unary_energy


def label_history(tile: CrfTile, parameters: CrfParameters, iterations: int) -> NDArray[np.uint8]:
    """Labels uint8 (iterations + 1, H, W) after each of 0 to `iterations` iterations; the lowest of equals.

    They are rows of `tile.scores`. UserError if a kernel is too narrow for the size of the tile.
    """
    crf = _crf(tile, parameters)
    labels = np.empty((iterations + 1, tile.shape[0] * tile.shape[1]), dtype=np.uint8)
    marginals, scratch, filtered = crf.startInference()
    labels[0] = np.argmax(np.asarray(marginals), axis=0)
    for iteration in range(1, iterations + 1):
        crf.stepInference(marginals, scratch, filtered)
        labels[iteration] = np.argmax(np.asarray(marginals), axis=0)
    return labels.reshape(iterations + 1, *tile.shape)


def last_labels(tile: CrfTile, parameters: CrfParameters) -> NDArray[np.uint8]:
    """Labels uint8 (H, W) after `parameters.iterations`; the last of `label_history`, without the others."""
    labels: NDArray[np.uint8] = marginals(tile, parameters).argmax(0).astype(np.uint8)
    return labels


def marginals(tile: CrfTile, parameters: CrfParameters) -> NDArray[np.float32]:
    """Class probabilities float32 (k, H, W) after `parameters.iterations`; UserError as `label_history`."""
    crf = _crf(tile, parameters)
    found = np.asarray(crf.inference(parameters.iterations), dtype=np.float32)
    return found.reshape(len(tile.scores), *tile.shape)


def _crf(tile: CrfTile, parameters: CrfParameters) -> DenseCRF:
    height, width = tile.shape
    crf = DenseCRF(height * width, len(tile.scores))
    crf.setUnaryEnergy(unary_energy(tile.scores, parameters, tile.background, tile.valid))
    if parameters.w_spatial > 0:
        features = spatial_features(height, width, parameters.sigma_gamma)
        refuse_wrapping_keys(features, f"sigma_gamma {parameters.sigma_gamma:g}")
        crf.addPairwiseEnergy(features, compat=parameters.w_spatial)
    if parameters.w_bilateral > 0:
        features = bilateral_features(tile.guide, parameters.sigma_alpha, parameters.sigma_beta)
        widths = f"sigma_alpha {parameters.sigma_alpha:g} and sigma_beta {parameters.sigma_beta:g}"
        refuse_wrapping_keys(features, widths)
        crf.addPairwiseEnergy(features, compat=parameters.w_bilateral)
    return crf
