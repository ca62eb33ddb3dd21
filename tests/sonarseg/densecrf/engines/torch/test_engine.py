"""The torch engine against pydensecrf and the numba engine; on CUDA too, where there is a device."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.densecrf import unary
from sonarseg.densecrf.engines.numba import engine as numba_engine
from sonarseg.densecrf.engines.torch import engine as torch_engine
from sonarseg.densecrf.engines.torch import mean_field as torch_mean_field
from sonarseg.densecrf.engines.torch.lattice import Lattice
from sonarseg.densecrf.engines.torch.mean_field import mean_field
from sonarseg.densecrf.engines.torch.placed import place
from sonarseg.densecrf.features import bilateral_features
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.errors import UserError
from tests.support.crf_oracles import pydensecrf_marginals, real_tiles, rgb_of, speckled_tile
from tests.support.simulated_cuda import simulated_cuda

CPU = torch.device("cpu")
CUDA = pytest.param(
    torch.device("cuda"),
    marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
)
SOFT = CrfParameters(unary="soft", w_bilateral=3, w_spatial=1, iterations=6)
WIDTHS = [(50, 5, 3), (10, 3, 3), (67, 3, 1), (5, 20, 10), (3, 2, 1), (1, 1.5, 0.6)]


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_pydensecrf(channels, widths, deterministic, device):
    image, scores, _ = speckled_tile(96, 80, 6, 1)
    guide = image if channels == 1 else rgb_of(image)
    names = ("sigma_alpha", "sigma_beta", "sigma_gamma")
    parameters = SOFT.model_copy(update=dict(zip(names, widths, strict=True)))
    expected = pydensecrf_marginals(scores, guide, parameters)
    (found,) = torch_engine.marginals(
        [CrfTile(scores, guide)], parameters, device=device, deterministic=deterministic
    )
    assert np.abs(found - expected).max() <= 1e-3
    assert (found.argmax(0) == expected.argmax(0)).mean() >= 0.9999


@pytest.mark.real_data
@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_real_tiles_equal_pydensecrf(device):
    for scores, grey in real_tiles():
        for guide in (grey, np.repeat(grey[:, :, None], 3, axis=2)):
            expected = pydensecrf_marginals(scores, guide, SOFT)
            (found,) = torch_engine.marginals([CrfTile(scores, guide)], SOFT, device=device)
            assert np.abs(found - expected).max() <= 1e-3
            assert (found.argmax(0) == expected.argmax(0)).mean() >= 0.9999


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("shape", [(1, 4000), (4000, 1)])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(
    "update",
    [
        {"sigma_alpha": 0.5, "sigma_beta": 0.5, "sigma_gamma": 0.5},
        {"sigma_alpha": 500, "sigma_beta": 500, "sigma_gamma": 500},
        {"w_bilateral": 100, "w_spatial": 100},
    ],
    ids=str,
)
def test_extremes_equal_pydensecrf(update, classes, shape, device):
    image, scores, _ = speckled_tile(*shape, classes, 2)
    parameters = SOFT.model_copy(update=update)
    (found,) = torch_engine.marginals([CrfTile(scores, image)], parameters, device=device)
    assert np.isfinite(found).all()
    expected = pydensecrf_marginals(scores, image, parameters)
    assert (found.argmax(0) == expected.argmax(0)).mean() >= 0.9999


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_a_large_tile_equals_the_numba_engine(device):
    size = 2048 if device.type == "cuda" else 1024
    image, scores, _ = speckled_tile(size, size, 2, 0)
    parameters = SOFT.model_copy(update={"sigma_alpha": 40, "sigma_beta": 60, "iterations": 1})
    tile = CrfTile(scores, image)
    (labels,) = torch_engine.last_labels([tile], parameters, device=device)
    assert (labels == numba_engine.last_labels(tile, parameters)).mean() >= 0.9999


EXTREMES = [
    {"sigma_alpha": 0.5, "sigma_beta": 0.5, "sigma_gamma": 0.5},
    {"sigma_alpha": 500, "sigma_beta": 500, "sigma_gamma": 500},
    {"w_bilateral": 100, "w_spatial": 100},
    {"w_bilateral": 0, "w_spatial": 0},
]


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (9, 14)])
@pytest.mark.parametrize("classes", [2, 40])
@pytest.mark.parametrize("update", EXTREMES, ids=str)
def test_extremes_stay_finite_and_equal_the_numba_engine(update, classes, shape):
    image, scores, _ = speckled_tile(*shape, classes, 2)
    # Saturated: certain classes, several at once in a pixel, and impossible ones
    scores[scores > 0.8], scores[scores < 0.2] = 1, 0
    parameters = SOFT.model_copy(update=update)
    (found,) = torch_engine.marginals([CrfTile(scores, image)], parameters, device=CPU)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(found, numba_engine.marginals(CrfTile(scores, image), parameters), atol=2e-3)


@pytest.mark.parametrize("unary_form", ["soft", "seeds"])
@pytest.mark.parametrize("grey", [0, 255])
def test_a_constant_image_and_tied_scores_equal_the_numba_engine(grey, unary_form):
    tile = CrfTile(np.full((3, 20, 31), 0.25, dtype=np.float16), np.full((20, 31), grey, dtype=np.uint8))
    parameters = SOFT.model_copy(update={"unary": unary_form})
    (found,) = torch_engine.label_history([tile], parameters, 0, device=CPU)
    assert (found == 0).all()
    (belief,) = torch_engine.marginals([tile], parameters, device=CPU)
    np.testing.assert_allclose(belief, numba_engine.marginals(tile, parameters), atol=1e-4)


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("background", [None, 2])
@pytest.mark.parametrize("form", ["soft", "seeds"])
def test_unary_equals_that_of_the_other_engines(form, background, kind, device):
    _, scores, _ = speckled_tile(14, 11, 4, 3)
    # Coarse steps make ties, whose seed is the lowest class.
    scores = (np.round(scores * 4) / 4).astype(kind)
    parameters = SOFT.model_copy(update={"unary": form, "unary_scale": 2.5, "background_score": 0.5})
    expected = unary.unary_energy(scores, parameters, background)
    before = torch.from_numpy(scores.copy()).to(device)
    found = torch_mean_field.unary_energy(before, parameters, background, 6)
    np.testing.assert_allclose(found[:, :4].cpu().T, expected, rtol=1e-5, atol=1e-6)
    assert (torch.softmax(-found, 1)[:, 4:] == 0).all()
    np.testing.assert_array_equal(before.cpu(), scores)


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_those_of_the_other_engines_bit_for_bit(channels, device):
    tiles = []
    for height, width in ((30, 41), (24, 24), (1, 7)):
        image, scores, _ = speckled_tile(height, width, 2, 0)
        tiles.append(CrfTile(scores, image if channels == 1 else rgb_of(image)))
    parameters = SOFT.model_copy(update={"sigma_alpha": 3.3, "sigma_beta": 7.1})
    features, number = torch_engine._bilateral_features(place(tiles, device), parameters, device)
    for index, tile in enumerate(tiles):
        expected = bilateral_features(tile.guide, 3.3, 7.1)
        np.testing.assert_array_equal(features[number == index].cpu().T, expected)


def test_widths_beyond_the_keys_are_refused():
    image, scores, _ = speckled_tile(20, 30, 2, 0)
    with pytest.raises(UserError, match="cannot resolve sigma_gamma 1e-06 on a tile"):
        torch_engine.marginals(
            [CrfTile(scores, image)], SOFT.model_copy(update={"sigma_gamma": 1e-6}), device=CPU
        )


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 10_000))
def test_renaming_classes_renames_labels(order, seed):
    image, scores, _ = speckled_tile(13, 17, 4, seed)
    (plain,) = torch_engine.marginals([CrfTile(scores, image)], SOFT, device=CPU)
    (renamed,) = torch_engine.marginals([CrfTile(scores[list(order)], image)], SOFT, device=CPU)
    np.testing.assert_allclose(renamed, plain[list(order)], atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.floats(-30, 30), st.integers(0, 10_000))
def test_a_constant_added_to_a_pixels_unary_changes_nothing(constant, seed):
    generator = torch.Generator().manual_seed(seed)
    energies = torch.rand(60, 3, generator=generator) * 4
    moved = energies + constant * torch.rand(60, 1, generator=generator)
    lattice = Lattice(torch.rand(60, 3, generator=generator) * 3)
    found = [mean_field(energy, [(lattice, 2.0)], 4) for energy in (energies, moved)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_the_caller_sees_every_iteration():
    energies = torch.rand(30, 3, generator=torch.Generator().manual_seed(0))
    kernels = [(Lattice(torch.rand(30, 2, generator=torch.Generator().manual_seed(1))), 2.0)]
    seen = {}
    last = mean_field(energies, kernels, 3, lambda t, marginals: seen.update({t: marginals.clone()}))
    assert list(seen) == [0, 1, 2, 3]
    assert torch.equal(seen[3], last)
    for t, marginals in seen.items():
        assert torch.equal(marginals, mean_field(energies, kernels, t))


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 20), st.integers(0, 10_000))
def test_zero_weights_give_the_argmax_of_the_unary(classes, seed):
    image, scores, _ = speckled_tile(11, 8, classes, seed)
    parameters = SOFT.model_copy(update={"w_bilateral": 0, "w_spatial": 0})
    (history,) = torch_engine.label_history([CrfTile(scores, image)], parameters, 2, device=CPU)
    assert all(np.array_equal(labels, scores.argmax(0)) for labels in history)


def test_a_device_without_a_number_is_taken(monkeypatch):
    """A batch is planned by the free memory of the device, which torch tells by its number alone."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    image, scores, _ = speckled_tile(12, 11, 3, 0)
    tile = CrfTile(scores, image)
    expected = torch_engine.last_labels([tile], SOFT, device=CPU)
    with simulated_cuda(1):
        found = torch_engine.last_labels([tile], SOFT, device=torch.device("cuda"), fused=False)
    np.testing.assert_array_equal(found[0], expected[0])
