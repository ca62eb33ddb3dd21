"""The numba engine against pydensecrf, against sums over all pairs, and at the edges."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.densecrf.engines import pydensecrf as pydensecrf_engine
from sonarseg.densecrf.engines.lattice_cache import KeptLattices
from sonarseg.densecrf.engines.numba import engine as numba_engine
from sonarseg.densecrf.engines.numba.engine import label_history, marginals
from sonarseg.densecrf.engines.numba.lattice import build_lattice, spatial_lattice
from sonarseg.densecrf.engines.numba.mean_field import lanes_for, mean_field
from sonarseg.densecrf.features import bilateral_features, spatial_features
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.errors import UserError
from tests.support.crf_oracles import (
    exact_kernel,
    exact_marginals,
    pydensecrf_marginals,
    real_tiles,
    soft_unary,
    speckled_tile,
)

SOFT = CrfParameters(unary="soft", w_bilateral=3, w_spatial=1)
WIDTHS = [(50, 5, 3), (80, 13, 3), (20, 5, 3), (10, 3, 3), (67, 3, 1), (5, 20, 10), (3, 2, 1)]


def rgb_of(image):
    generator = np.random.default_rng(5)
    other = np.clip(image * 0.5 + generator.integers(0, 90, image.shape), 0, 255).astype(np.uint8)
    return np.stack([image, other, 255 - image // 2], axis=-1)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_pydensecrf(channels, widths):
    image, scores, _ = speckled_tile(96, 80, 6, 1)
    guide = image if channels == 1 else rgb_of(image)
    parameters = SOFT.model_copy(
        update=dict(zip(("sigma_alpha", "sigma_beta", "sigma_gamma"), widths, strict=True))
    )
    expected = pydensecrf_marginals(scores, guide, parameters)
    found = marginals(CrfTile(scores, guide), parameters)
    assert np.abs(found - expected).max() <= 1e-3
    assert (found.argmax(0) == expected.argmax(0)).mean() >= 0.9999


@pytest.mark.parametrize("classes", [2, 3, 4, 5, 8, 9, 16, 17, 33, 40])
def test_any_number_of_classes_equals_pydensecrf(classes):
    image, scores, _ = speckled_tile(40, 33, classes, classes)
    tile = CrfTile(scores, image)
    expected = pydensecrf_marginals(scores, image, SOFT)
    np.testing.assert_allclose(marginals(tile, SOFT), expected, atol=1e-4)
    history = label_history(tile, SOFT, SOFT.iterations)
    assert (history[-1] == expected.argmax(0)).mean() >= 0.9999


@pytest.mark.parametrize("unary", ["soft", "seeds"])
@pytest.mark.parametrize("background", [None, 1])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_every_iteration_equals_the_reference(unary, background, kind):
    image, scores, _ = speckled_tile(64, 72, 4, 3)
    parameters = SOFT.model_copy(update={"unary": unary, "background_score": 0.4})
    tile = CrfTile(scores.astype(kind), image, background)
    found = label_history(tile, parameters, 8)
    expected = pydensecrf_engine.label_history(tile, parameters, 8)
    assert found.shape == (9, 64, 72)
    assert (found == expected).mean() >= 0.9999
    last = parameters.model_copy(update={"iterations": 8})
    assert np.array_equal(found[8], marginals(tile, last).argmax(0))


@pytest.mark.parametrize(
    "widths", [(4, 20, 1.5), (8, 12, 3), (6, 30, 2), (20, 5, 3), (3, 10, 1), (10, 60, 3)], ids=str
)
def test_grey_is_as_near_to_the_exact_mean_field_as_pydensecrf_with_rgb(widths):
    sigma_alpha, sigma_beta, sigma_gamma = widths
    grey = SOFT.model_copy(
        update={"sigma_alpha": sigma_alpha, "sigma_beta": sigma_beta, "sigma_gamma": sigma_gamma}
    )
    # The same exact kernel: three equal channels triple the squared distance.
    wide = grey.model_copy(update={"sigma_beta": sigma_beta * np.sqrt(3)})
    errors, agreements = [], []
    for seed in range(8):
        image, scores, _ = speckled_tile(20, 18, 3, seed)
        exact = exact_marginals(scores, image, grey)
        ours = marginals(CrfTile(scores, image), grey).reshape(3, -1)
        theirs = pydensecrf_marginals(scores, np.repeat(image[:, :, None], 3, axis=2), wide).reshape(3, -1)
        errors.append([np.abs(found - exact).mean() for found in (ours, theirs)])
        agreements.append([(found.argmax(0) == exact.argmax(0)).mean() for found in (ours, theirs)])
    assert np.mean(errors, axis=0)[0] <= np.mean(errors, axis=0)[1]
    assert np.mean(agreements, axis=0)[0] >= np.mean(agreements, axis=0)[1] - 0.001


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_the_filter_is_near_the_exact_kernel_and_symmetric(dimensions):
    image, _, _ = speckled_tile(16, 14, 2, 0)
    features = {
        2: lambda: spatial_features(16, 14, 2.0),
        3: lambda: bilateral_features(image, 4, 25),
        5: lambda: bilateral_features(rgb_of(image), 4, 60),
    }[dimensions]()
    filtered = dense_filter(build_lattice(features))
    exact = exact_kernel(features)
    # Blurring along the axes in turn is symmetric but where vertices are missing.
    asymmetry = np.abs(filtered - filtered.T).sum() / filtered.sum()
    assert asymmetry <= {2: 0.02, 3: 0.06, 5: 0.1}[dimensions]
    np.testing.assert_allclose(filtered.sum(1).mean(), exact.sum(1).mean(), rtol=0.05)
    assert np.corrcoef(filtered.ravel(), exact.ravel())[0, 1] > 0.97


def dense_filter(lattice):
    """The normalised kernel matrix that a lattice stands for: each pixel splat, blurred and sliced."""
    pixels, corners = lattice.vertices.shape
    values = np.zeros((len(lattice.neighbours) + 1, pixels))
    np.add.at(values, (lattice.vertices, np.arange(pixels)[:, None]), lattice.weights)
    for axis in range(corners):
        near = values[lattice.neighbours[:, axis]].sum(1)
        values = np.vstack([values[:-1] + 0.5 * near, np.zeros(pixels)])
    sliced = (values[lattice.vertices] * lattice.weights[:, :, None]).sum(1)
    return sliced * lattice.slice_factor


def test_normalisation_is_symmetric():
    """The weights hold 1 / sqrt(row sum): undone on both sides, they leave a kernel with these row sums."""
    image, _, _ = speckled_tile(16, 14, 2, 0)
    lattice = build_lattice(bilateral_features(image, 4, 25))
    norm = lattice.weights.sum(1).astype(float)  # barycentric weights add up to 1
    kernel = dense_filter(lattice) / norm[:, None] / norm[None]
    np.testing.assert_allclose(kernel.sum(1), 1 / norm**2, rtol=1e-4)


@pytest.mark.real_data
def test_real_tiles_equal_pydensecrf():
    """Grey and RGB features on real sonar, scores of a noisy guess of the true classes."""
    for scores, grey in real_tiles():
        for guide in (grey, np.repeat(grey[:, :, None], 3, axis=2)):
            expected = pydensecrf_marginals(scores, guide, SOFT)
            found = marginals(CrfTile(scores, guide), SOFT)
            assert np.abs(found - expected).max() <= 1e-3
            assert (found.argmax(0) == expected.argmax(0)).mean() >= 0.9999


EXTREMES = [
    {"sigma_alpha": 0.5, "sigma_beta": 0.5, "sigma_gamma": 0.5},
    {"sigma_alpha": 500, "sigma_beta": 500, "sigma_gamma": 500},
    {"w_bilateral": 100, "w_spatial": 100},
    {"w_bilateral": 0, "w_spatial": 100},
    {"w_bilateral": 100, "w_spatial": 0},
    {"w_bilateral": 0, "w_spatial": 0},
]


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (3, 17)])
@pytest.mark.parametrize("classes", [1, 2, 40])
@pytest.mark.parametrize("update", EXTREMES, ids=str)
def test_extremes_stay_finite_and_equal_the_reference(update, classes, shape):
    image, scores, _ = speckled_tile(*shape, classes, 2)
    parameters = SOFT.model_copy(update=update)
    found = marginals(CrfTile(scores, image), parameters)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    expected = pydensecrf_engine.marginals(CrfTile(scores, image), parameters)
    assert (found.argmax(0) == expected.argmax(0)).mean() >= 0.9999


@pytest.mark.parametrize("update", EXTREMES, ids=str)
def test_a_constant_image_and_saturated_scores(update):
    scores = np.zeros((3, 30, 40), np.float32)
    scores[0, :, :25], scores[2, :, 25:] = 1, 1
    image = np.full((30, 40), 90, np.uint8)
    parameters = SOFT.model_copy(update={**update, "unary_scale": 20})
    found = marginals(CrfTile(scores, image), parameters)
    assert np.isfinite(found).all()
    expected = pydensecrf_engine.marginals(CrfTile(scores, image), parameters)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_large_tile():
    image, scores, truth = speckled_tile(2048, 2048, 3, 0)
    parameters = CrfParameters(sigma_alpha=40, sigma_beta=60, w_bilateral=3, unary="soft", iterations=3)
    history = label_history(CrfTile(scores, image), parameters, 3)
    assert (history[3] == truth).mean() > (history[0] == truth).mean() + 0.05
    expected = pydensecrf_engine.last_labels(CrfTile(scores, image), parameters)
    assert (history[3] == expected).mean() >= 0.9999
    part = (slice(None), slice(0, 512), slice(0, 512))
    alone = label_history(CrfTile(np.ascontiguousarray(scores[part]), image[part[1:]].copy()), parameters, 3)
    # Away from the cut edges nothing depends on the rest of the tile.
    assert (alone[3, :256, :256] == history[3, :256, :256]).mean() > 0.999


def test_keys_beyond_62_bits_are_refused_in_one_sentence():
    image, scores, _ = speckled_tile(20, 30, 2, 0)
    narrow = SOFT.model_copy(update={"sigma_beta": 1e-6})
    with pytest.raises(UserError, match="cannot resolve sigma_alpha 20 and sigma_beta 1e-06 on a tile"):
        marginals(CrfTile(scores, image), narrow)


def test_hash_and_place_number_the_vertices_alike(monkeypatch):
    from sonarseg.densecrf.engines.numba import lattice as numba_lattice

    image, _, _ = speckled_tile(50, 60, 3, 0)
    features = bilateral_features(image, 8, 10)
    placed = build_lattice(features)
    monkeypatch.setattr(numba_lattice, "_PLACES_A_PIXEL", 0)
    hashed = build_lattice(features)
    for field in ("vertices", "weights", "neighbours"):
        np.testing.assert_array_equal(getattr(placed, field), getattr(hashed, field))


def test_the_spatial_lattice_is_made_once_a_shape_and_width():
    first = spatial_lattice(31, 37, 2.5)
    assert spatial_lattice(31, 37, 2.5) is first
    assert spatial_lattice(37, 31, 2.5) is not first


def test_spatial_lattices_are_kept_up_to_a_number_of_bytes(monkeypatch):
    from sonarseg.densecrf.engines.numba import lattice as numba_lattice

    one = spatial_lattice(30, 41, 2.0).nbytes
    monkeypatch.setattr(numba_lattice, "_spatial", KeptLattices(3 * one))
    first = spatial_lattice(30, 41, 2.0)
    for sigma in (2.01, 2.02):
        assert spatial_lattice(30, 41, sigma) is spatial_lattice(30, 41, sigma)
    assert numba_lattice._spatial.nbytes <= 3 * one
    for sigma in (2.03, 2.04, 2.05):
        spatial_lattice(30, 41, sigma)
    assert spatial_lattice(30, 41, 2.0) is not first
    numba_lattice._spatial.most_bytes = 0
    assert spatial_lattice(30, 41, 3.0).nbytes > 0
    assert numba_lattice._spatial.nbytes == 0


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(5)), st.integers(0, 10_000))
def test_renaming_classes_renames_labels(order, seed):
    image, scores, _ = speckled_tile(17, 23, 5, seed)
    plain = marginals(CrfTile(scores, image), SOFT)
    renamed = marginals(CrfTile(scores[list(order)], image), SOFT)
    np.testing.assert_allclose(renamed, plain[list(order)], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.floats(-50, 50), st.integers(0, 10_000))
def test_a_constant_added_to_a_pixels_unary_changes_nothing(constant, seed):
    image, scores, _ = speckled_tile(13, 19, 3, seed)
    unary = soft_unary(scores, SOFT)
    moved = unary + np.float32(constant) * (np.arange(unary.shape[1]) % 3)
    found = [run(image, energy) for energy in (unary, np.ascontiguousarray(moved, dtype=np.float32))]
    np.testing.assert_allclose(found[0], found[1], atol=2e-4)


def run(image, unary, weights=(3.0, 1.0)):
    kernels = (
        (build_lattice(bilateral_features(image, 20, 5)), weights[0]),
        (spatial_lattice(*image.shape, 3.0), weights[1]),
    )
    found = np.empty((unary.shape[1], lanes_for(len(unary))), np.float32)
    mean_field(unary, kernels, 5, marginals=found)
    return found[:, : len(unary)]


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10_000))
def test_zero_weights_give_the_argmax_of_the_unary(classes, seed):
    image, scores, _ = speckled_tile(11, 14, classes, seed)
    parameters = SOFT.model_copy(update={"w_bilateral": 0, "w_spatial": 0})
    history = label_history(CrfTile(scores, image), parameters, 2)
    assert all(np.array_equal(labels, scores.argmax(0)) for labels in history)


def test_threads_do_not_disturb_each_other():
    from concurrent.futures import ThreadPoolExecutor

    tiles = [CrfTile(scores, image) for image, scores, _ in (speckled_tile(48, 50, 4, s) for s in range(12))]
    alone = [label_history(tile, SOFT, 4) for tile in tiles]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda tile: label_history(tile, SOFT, 4), tiles))
    assert all(np.array_equal(a, b) for a, b in itertools.zip_longest(alone, together))


def test_compiling_covers_the_usual_numbers_of_classes():
    numba_engine.compile_engine()
    from sonarseg.densecrf.engines.numba.mean_field import _run

    before = len(_run.signatures)
    for classes in range(2, 17):
        image, scores, _ = speckled_tile(9, 9, classes, 0)
        label_history(CrfTile(scores, image), SOFT, 1)
    assert len(_run.signatures) == before
