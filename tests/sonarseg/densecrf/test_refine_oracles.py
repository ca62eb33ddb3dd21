"""Refinement against pydensecrf in its documented form and against exact mean field."""

import numpy as np
import pydensecrf.densecrf as dcrf
import pytest
from pydensecrf.utils import unary_from_labels, unary_from_softmax

from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.published import published
from sonarseg.densecrf.refine import refine
from tests.support.crf_oracles import speckled_tile
from tests.support.marginals import probabilities


def documented_pydensecrf(scores, rgb, parameters, sigma_rgb):
    """The example of pydensecrf's README: DenseCRF2D, addPairwiseGaussian, addPairwiseBilateral."""
    classes, height, width = scores.shape
    crf = dcrf.DenseCRF2D(width, height, classes)
    if parameters.unary == "seeds":
        unary = unary_from_labels(scores.argmax(0), classes, parameters.gt_prob, zero_unsure=False)
    else:
        unary = parameters.unary_scale * unary_from_softmax(scores + 1e-5, clip=None)
    crf.setUnaryEnergy(np.ascontiguousarray(unary, dtype=np.float32))
    crf.addPairwiseGaussian(sxy=parameters.sigma_gamma, compat=parameters.w_spatial)
    crf.addPairwiseBilateral(
        sxy=parameters.sigma_alpha, srgb=sigma_rgb, rgbim=rgb, compat=parameters.w_bilateral
    )
    marginals = np.array(crf.inference(parameters.iterations))
    return marginals.argmax(0).reshape(height, width)


@pytest.mark.parametrize("name", ["w-s3Tseg", "IRN", "PSA", "DeepLab"])
def test_rgb_is_exactly_the_documented_call(name):
    image, scores, _ = speckled_tile(60, 45, 3, 1)
    rgb = np.stack([image, 255 - image, image // 2], axis=-1)
    parameters = published(name, 3)
    expected = documented_pydensecrf(scores, rgb, parameters, parameters.sigma_beta)
    np.testing.assert_array_equal(refine(scores, rgb, parameters, engine=Engine("pydensecrf")), expected)
    assert (refine(scores, rgb, parameters) == expected).mean() >= 0.9999


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["w-s3Tseg", "IRN", "PSA", "DeepLab"])
def test_grey_agrees_with_replicated_rgb(name, seed):
    image, scores, _ = speckled_tile(128, 96, 4, seed)
    parameters = published(name, 1)
    rgb = np.ascontiguousarray(np.repeat(image[:, :, None], 3, axis=2))
    expected = documented_pydensecrf(scores, rgb, parameters, parameters.sigma_beta * np.sqrt(3))
    assert (refine(scores, image, parameters) == expected).mean() >= 0.99


def exact_mean_field(scores, image, parameters):
    """Mean field with every pair of pixels summed, from the papers' formulas (1210.5644, section 2).

    Kernel matrices hold i = j, and are normalised as D^-1/2 K D^-1/2 with D their row sums: the
    symmetric normalisation of the authors' code.
    """
    classes, height, width = scores.shape
    pixels = [(r, c) for r in range(height) for c in range(width)]
    if parameters.unary == "seeds":
        wrong = (1 - parameters.gt_prob) / (classes - 1)
        best = scores.argmax(0)
        probability = [
            [parameters.gt_prob if best[p] == k else wrong for p in pixels] for k in range(classes)
        ]
        unary = -np.log(np.array(probability))
    else:
        likelihood = np.array([[float(scores[k][p]) + 1e-5 for p in pixels] for k in range(classes)])
        unary = -parameters.unary_scale * np.log(likelihood)

    position = np.array(pixels, dtype=float)
    grey = np.array([np.atleast_1d(image[p]).astype(float) for p in pixels])
    distance = ((position[:, None] - position[None]) ** 2).sum(-1)
    contrast = ((grey[:, None] - grey[None]) ** 2).sum(-1)
    bilateral = np.exp(-distance / 2 / parameters.sigma_alpha**2 - contrast / 2 / parameters.sigma_beta**2)
    spatial = np.exp(-distance / 2 / parameters.sigma_gamma**2)

    def symmetric(kernel):
        scale = 1 / np.sqrt(kernel.sum(1))
        return scale[:, None] * kernel * scale[None]

    pairwise = parameters.w_bilateral * symmetric(bilateral) + parameters.w_spatial * symmetric(spatial)

    def softmax(energy):
        likelihood = np.exp(-(energy - energy.min(0)))
        return likelihood / likelihood.sum(0)

    marginals = softmax(unary)
    for _ in range(parameters.iterations):
        others = marginals.sum(0) - marginals
        marginals = softmax(unary + others @ pairwise)
    return marginals.reshape(classes, height, width)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "parameters",
    [
        CrfParameters(sigma_alpha=4, sigma_beta=20, w_bilateral=3, w_spatial=1, sigma_gamma=1.5),
        CrfParameters(sigma_alpha=20, sigma_beta=5),
        CrfParameters(sigma_alpha=6, sigma_beta=30, w_bilateral=2, w_spatial=0, unary="soft", iterations=5),
        CrfParameters(sigma_alpha=8, sigma_beta=12, w_bilateral=1, unary="soft", unary_scale=3, iterations=3),
        CrfParameters(w_bilateral=0, w_spatial=4, sigma_gamma=2, unary="soft", iterations=4),
    ],
    ids=["weak", "w-s3Tseg", "bilateral-only", "soft-scaled", "spatial-only"],
)
@pytest.mark.parametrize("shape", [(12, 12), (8, 17)])
def test_agrees_with_exact_mean_field(shape, parameters, seed):
    image, scores, _ = speckled_tile(*shape, 3, seed)
    exact = exact_mean_field(scores, image, parameters)
    refined = refine(scores, image, parameters)
    # Not all labels: where two classes are all but tied, the lattice's approximation decides
    assert (refined == exact.argmax(0)).mean() >= 0.97


def test_probabilities_are_near_the_exact_marginals():
    parameters = CrfParameters(
        sigma_alpha=5, sigma_beta=30, sigma_gamma=2, w_bilateral=1, w_spatial=1, unary="soft", iterations=5
    )
    image, scores, _ = speckled_tile(12, 15, 3, 4)
    marginals = probabilities(scores, image, parameters)
    assert marginals.dtype == np.float32
    assert np.abs(marginals - exact_mean_field(scores, image, parameters)).mean() < 0.02


def test_height_and_width_are_not_mixed_up():
    # Bright left third, dark rest, in a wide tile; scores know the class of one column on either side.
    height, width = 20, 60
    image = np.full((height, width), 30, dtype=np.uint8)
    image[:, :20] = 200
    scores = np.full((2, height, width), 0.3, dtype=np.float32)
    scores[0, :, 5] = scores[1, :, 45] = 0.9
    labels = refine(scores, image, CrfParameters(sigma_alpha=30, sigma_beta=10, unary="soft", w_spatial=0))
    np.testing.assert_array_equal(labels, np.where(np.arange(width) < 20, 0, 1) * np.ones((height, 1)))
    turned = refine(
        np.ascontiguousarray(scores.transpose(0, 2, 1)),
        np.ascontiguousarray(image.T),
        CrfParameters(sigma_alpha=30, sigma_beta=10, unary="soft", w_spatial=0),
    )
    np.testing.assert_array_equal(turned, labels.T)


def test_the_crf_cleans_a_speckled_tile():
    image, scores, truth = speckled_tile(96, 128, 3, 8)
    before = (refine(scores, image, CrfParameters(iterations=0)) != truth).mean()
    parameters = CrfParameters(sigma_alpha=10, sigma_beta=60, w_bilateral=3, w_spatial=3, unary="soft")
    assert (refine(scores, image, parameters) != truth).mean() < before / 5
