"""The torch engine against pydensecrf and the numba engine; on CUDA too, where there is a device."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from crf_oracles import pydensecrf_marginals, speckled_tile
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.densecrf import numba_engine, torch_engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.errors import UserError

CPU = torch.device("cpu")
CUDA = pytest.param(
    torch.device("cuda"),
    marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
)
SOFT = CrfParameters(unary="soft", w_bilateral=3, w_spatial=1, iterations=6)
WIDTHS = [(50, 5, 3), (10, 3, 3), (67, 3, 1), (5, 20, 10), (3, 2, 1)]


def rgb_of(image):
    return np.stack([image, 255 - image, (image // 3 + 40).astype(np.uint8)], axis=-1)


def mixed_tiles():
    """Tiles of different sizes, channels, types and numbers of classes, one with a background."""
    tiles = []
    for seed, (height, width, classes) in enumerate([(30, 41, 3), (24, 24, 5), (30, 41, 2), (24, 24, 4)]):
        image, scores, _ = speckled_tile(height, width, classes, seed)
        tiles.append(CrfTile(scores, image))
    image, scores, _ = speckled_tile(24, 24, 3, 9)
    tiles.append(CrfTile(scores.astype(np.float16), rgb_of(image)))
    tiles.append(CrfTile(scores.astype(np.float16), image, background=1))
    return tiles


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


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("unary", ["soft", "seeds"])
def test_a_mixed_batch_equals_the_numba_engine(unary, device):
    parameters = SOFT.model_copy(update={"unary": unary, "background_score": 0.45})
    tiles = mixed_tiles()
    together = torch_engine.label_history(tiles, parameters, 6, device=device)
    beliefs = torch_engine.marginals(tiles, parameters, device=device)
    for tile, labels, belief in zip(tiles, together, beliefs, strict=True):
        expected = numba_engine.label_history(tile, parameters, 6)
        assert labels.shape == expected.shape == (7, *tile.shape)
        assert (labels == expected).mean() >= 0.9995
        np.testing.assert_allclose(belief, numba_engine.marginals(tile, parameters), atol=1e-3)


def test_a_small_budget_makes_many_batches_of_the_same_labels(monkeypatch):
    tiles = mixed_tiles()
    sizes = []
    whole = torch_engine._mean_field

    def counting(batch, *rest):
        sizes.append(len(batch))
        return whole(batch, *rest)

    monkeypatch.setattr(torch_engine, "_mean_field", counting)
    plenty = torch_engine.label_history(tiles, SOFT, 3, device=CPU)
    assert sorted(sizes) == [1, 2, 3]
    sizes.clear()
    scarce = torch_engine.label_history(tiles, SOFT, 3, device=CPU, memory_budget=1)
    assert sizes == [1] * len(tiles)
    assert all(np.array_equal(a, b) for a, b in zip(plenty, scarce, strict=True))


def test_a_full_device_halves_the_batch(monkeypatch):
    tiles = [CrfTile(scores, image) for image, scores, _ in (speckled_tile(12, 9, 2, s) for s in range(5))]
    expected = torch_engine.label_history(tiles, SOFT, 2, device=CPU)
    whole = torch_engine._mean_field

    def full_above_two(batch, *rest):
        if len(batch) > 2:
            raise torch.cuda.OutOfMemoryError
        return whole(batch, *rest)

    monkeypatch.setattr(torch_engine, "_mean_field", full_above_two)
    found = torch_engine.label_history(tiles, SOFT, 2, device=CPU)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))

    def always_full(batch, *rest):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(torch_engine, "_mean_field", always_full)
    with pytest.raises(UserError, match=r"A tile of 12 x 9 pixels does not fit .* engine = \"numba\""):
        torch_engine.label_history(tiles, SOFT, 2, device=CPU)


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_deterministic_runs_are_equal_bit_for_bit(device):
    tiles = mixed_tiles()
    runs = [torch_engine.marginals(tiles, SOFT, device=device, deterministic=True) for _ in range(2)]
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("dimensions", [3, 5])
def test_the_stated_memory_is_an_upper_bound(dimensions):
    """Measured as the growth of a fresh process, on tiles whose every pixel has its own vertices."""
    program = f"""
import threading, time, numpy as np, torch
from sonarseg.densecrf import torch_engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
torch.set_num_threads(1)
def run(side):
    generator = np.random.default_rng(0)
    guide = generator.integers(0, 256, (side, side) if {dimensions} == 3 else (side, side, 3), dtype=np.uint8)
    tile = CrfTile(generator.random((6, side, side), dtype=np.float32), guide)
    parameters = CrfParameters(sigma_alpha=1, sigma_beta=1, unary="soft", iterations=2)
    torch_engine.marginals([tile], parameters, device=torch.device("cpu"))
def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
run(16)
before, most, running = held(), [0], [True]
def watch():
    while running:
        most[0] = max(most[0], held())
        time.sleep(0.0005)
watcher = threading.Thread(target=watch)
watcher.start()
run(400)
running.clear()
watcher.join()
print(most[0] - before)
"""
    grown = int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    assert 0.2 < grown / torch_engine.bytes_needed(400 * 400, 6, dimensions) <= 1


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
    scores[scores > 0.8] = 1
    parameters = SOFT.model_copy(update=update)
    (found,) = torch_engine.marginals([CrfTile(scores, image)], parameters, device=CPU)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(found, numba_engine.marginals(CrfTile(scores, image), parameters), atol=2e-3)


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
    unary = torch.rand(60, 3, generator=generator) * 4
    moved = unary + constant * torch.rand(60, 1, generator=generator)
    lattice = torch_engine.Lattice(torch.rand(60, 3, generator=generator) * 3)
    found = [torch_engine.mean_field(energy, [(lattice, 2.0)], 4) for energy in (unary, moved)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 9), st.integers(0, 10_000))
def test_zero_weights_give_the_argmax_of_the_unary(classes, seed):
    image, scores, _ = speckled_tile(11, 8, classes, seed)
    parameters = SOFT.model_copy(update={"w_bilateral": 0, "w_spatial": 0})
    (history,) = torch_engine.label_history([CrfTile(scores, image)], parameters, 2, device=CPU)
    assert all(np.array_equal(labels, scores.argmax(0)) for labels in history)
