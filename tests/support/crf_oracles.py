"""What the dense CRF engines are tested against: pydensecrf by its own calls, and sums over all pairs."""

from pathlib import Path

import numpy as np
import pytest
from pydensecrf.densecrf import DenseCRF

from sonarseg.densecrf.features import bilateral_features, spatial_features
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.survey.layout import open_survey


def speckled_tile(height, width, classes, seed):
    """Regions of different backscatter under four-look speckle, and blurred, noisy scores of them."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    centres = generator.random((classes, 2)) * [height, width]
    distance = [(rows - r) ** 2 + (columns - c) ** 2 for r, c in centres]
    truth = np.argmin(distance, axis=0)
    levels = np.linspace(40, 170, classes)
    image = levels[truth] * np.sqrt(generator.gamma(4, 0.25, truth.shape))
    scores = 0.4 * (truth == np.arange(classes)[:, None, None]) + 0.6 * generator.random(
        (classes, height, width)
    )
    return np.clip(image, 0, 255).astype(np.uint8), scores.astype(np.float32), truth


def rgb_of(image):
    """Make three different channels of one."""
    return np.stack([image, 255 - image, (image // 3 + 40).astype(np.uint8)], axis=-1)


def real_tiles():
    """Names, scores and grey images of some real tiles; the scores are a noisy guess of the true classes."""
    root = Path(__file__).parents[3] / "shared" / "data"
    if not root.is_dir():
        pytest.skip("the real sonar surveys are not on this machine")
    generator = np.random.default_rng(0)
    for name in ("sss-mallorca", "sss-reservoir"):
        survey = open_survey(root / name).with_masks_of("val")
        for tile in [tile for tile in survey.splits["val"] if survey.has_mask(tile)][:40:10]:
            image = survey.read_image(tile)
            grey = np.ascontiguousarray(image if image.ndim == 2 else image[..., 0]).astype(np.uint8)
            truth = survey.read_mask(tile)
            scores = 0.3 * (truth == np.arange(survey.num_classes)[:, None, None])
            yield (scores + 0.7 * generator.random(scores.shape)).astype(np.float32), grey


def soft_unary(scores, parameters):
    """Energies (k, N) by the formula of the parameters."""
    return np.ascontiguousarray(
        -parameters.unary_scale * np.log(scores.reshape(len(scores), -1) + np.float32(1e-5)), dtype=np.float32
    )


def pydensecrf_marginals(scores, guide, parameters):
    """Marginals (k, H, W) of pydensecrf, called as its documentation says."""
    crf = DenseCRF(guide.shape[0] * guide.shape[1], len(scores))
    crf.setUnaryEnergy(soft_unary(scores, parameters))
    crf.addPairwiseEnergy(
        spatial_features(*guide.shape[:2], parameters.sigma_gamma), compat=parameters.w_spatial
    )
    features = bilateral_features(guide, parameters.sigma_alpha, parameters.sigma_beta)
    crf.addPairwiseEnergy(features, compat=parameters.w_bilateral)
    return np.array(crf.inference(parameters.iterations)).reshape(scores.shape)


def exact_kernel(features):
    """exp(-|f_i - f_j|^2 / 2) of all pairs, normalised as D^-1/2 K D^-1/2; features (d, N)."""
    points = features.T.astype(float)
    kernel = np.exp(-((points[:, None] - points[None]) ** 2).sum(-1) / 2)
    scale = 1 / np.sqrt(kernel.sum(1))
    return scale[:, None] * kernel * scale[None]


def exact_marginals(scores, guide, parameters: CrfParameters):
    """Mean field (arXiv 1210.5644, algorithm 1) with every pair of pixels summed, float64 (k, N)."""
    bilateral = exact_kernel(bilateral_features(guide, parameters.sigma_alpha, parameters.sigma_beta))
    spatial = exact_kernel(spatial_features(*guide.shape[:2], parameters.sigma_gamma))
    pairwise = parameters.w_bilateral * bilateral + parameters.w_spatial * spatial
    unary = soft_unary(scores, parameters).astype(float)

    def softmax(energy):
        likelihood = np.exp(energy - energy.max(0))
        return likelihood / likelihood.sum(0)

    marginals = softmax(-unary)
    for _ in range(parameters.iterations):
        marginals = softmax(-unary + marginals @ pairwise)
    return marginals
