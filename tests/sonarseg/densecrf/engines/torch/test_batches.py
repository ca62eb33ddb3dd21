"""Batches of the torch engine: tiles of any sizes together, within a stated memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.densecrf.engines.numba import engine as numba_engine
from sonarseg.densecrf.engines.torch import batches
from sonarseg.densecrf.engines.torch import engine as torch_engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.errors import UserError
from tests.support.crf_oracles import rgb_of, speckled_tile

CPU = torch.device("cpu")
CUDA = pytest.param(
    torch.device("cuda"),
    marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
)
SOFT = CrfParameters(unary="soft", w_bilateral=3, w_spatial=1, iterations=6)


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


def test_a_batch_equals_its_tiles_one_by_one():
    tiles = mixed_tiles()
    together = torch_engine.marginals(tiles, SOFT, device=CPU)
    for tile, belief in zip(tiles, together, strict=True):
        (alone,) = torch_engine.marginals([tile], SOFT, device=CPU)
        assert belief.shape == alone.shape == tile.scores.shape
        assert belief.dtype == np.float32 and belief.flags.c_contiguous
        # A spatial lattice of its own, or one for all: the same sums, but for the last bit
        np.testing.assert_allclose(belief, alone, atol=1e-5)


def test_a_small_budget_makes_many_batches_of_the_same_labels(monkeypatch):
    tiles = mixed_tiles()
    run = []
    whole = torch_engine._run

    def watched(batch, *rest):
        run.append(batch)
        return whole(batch, *rest)

    def stated(batch):
        pixels = sum(tile.guide.shape[0] * tile.guide.shape[1] for tile in batch)
        return batches.bytes_needed(
            pixels, max(len(tile.scores) for tile in batch), batch[0].guide.ndim * 2 - 1
        )

    monkeypatch.setattr(torch_engine, "_run", watched)
    plenty = torch_engine.label_history(tiles, SOFT, 3, device=CPU)
    assert [len(batch) for batch in run] == [5, 1]
    for budget, sizes in ((2 * stated(tiles[:1]), [3, 2, 1]), (1, [1] * len(tiles))):
        run.clear()
        scarce = torch_engine.label_history(tiles, SOFT, 3, device=CPU, memory_budget=budget)
        assert [len(batch) for batch in run] == sizes
        assert all(stated(batch) <= budget or len(batch) == 1 for batch in run)
        assert all((a == b).mean() >= 0.9995 for a, b in zip(plenty, scarce, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([2, 3, 40]), st.booleans()),
        max_size=12,
    ),
    st.integers(1, 150_000),
)
def test_batches_hold_every_tile_once_within_the_budget(kinds, budget):
    tiles = [
        CrfTile(np.zeros((k, h, w), np.float16), np.zeros((h, w, 3) if rgb else (h, w), np.uint8))
        for h, w, k, rgb in kinds
    ]
    planned = list(batches.plan(tiles, budget))
    assert sorted(index for batch in planned for index in batch) == list(range(len(tiles)))
    for batch in planned:
        assert len({tiles[index].guide.ndim for index in batch}) == 1
        pixels = sum(kinds[index][0] * kinds[index][1] for index in batch)
        classes, dimensions = max(kinds[index][2] for index in batch), 5 if kinds[batch[0]][3] else 3
        assert len(batch) == 1 or batches.bytes_needed(pixels, classes, dimensions) <= budget


def test_a_full_device_halves_the_batch(monkeypatch):
    tiles = [CrfTile(scores, image) for image, scores, _ in (speckled_tile(12, 9, 2, s) for s in range(5))]
    expected = torch_engine.label_history(tiles, SOFT, 2, device=CPU)
    whole = torch_engine._run

    def full_above_two(batch, *rest):
        if len(batch) > 2:
            raise torch.cuda.OutOfMemoryError
        return whole(batch, *rest)

    monkeypatch.setattr(torch_engine, "_run", full_above_two)
    found = torch_engine.label_history(tiles, SOFT, 2, device=CPU)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))

    def always_full(batch, *rest):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(torch_engine, "_run", always_full)
    with pytest.raises(UserError, match=r"A tile of 12 x 9 pixels does not fit .* engine = \"numba\""):
        torch_engine.label_history(tiles, SOFT, 2, device=CPU)


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_deterministic_runs_are_equal_bit_for_bit(device):
    tiles = mixed_tiles()
    runs = [torch_engine.marginals(tiles, SOFT, device=device, deterministic=True) for _ in range(2)]
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))
    other = torch_engine.marginals(tiles, SOFT, device=device)
    for mine, theirs in zip(runs[0], other, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-3)


@pytest.mark.parametrize("history", [False, True], ids=["marginals", "history"])
@pytest.mark.parametrize("dimensions", [3, 5])
def test_the_stated_memory_is_an_upper_bound(dimensions, history):
    """Growth of a fresh process, on tiles of two sizes whose every pixel has its own vertices."""
    program = f"""
import threading, time, numpy as np, torch
from sonarseg.densecrf.engines.torch import engine as torch_engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
torch.set_num_threads(1)
def run(side):
    generator = np.random.default_rng(0)
    parameters = CrfParameters(sigma_alpha=0.5, sigma_beta=1, sigma_gamma=0.5, unary="soft", iterations=2)
    tiles = []
    for shape in ((side // 2, side), (side - side // 2, side + 1)):
        guide = generator.integers(0, 256, shape if {dimensions} == 3 else (*shape, 3), dtype=np.uint8)
        tiles.append(CrfTile(generator.random((6, *shape), dtype=np.float32), guide))
    if {history}:
        torch_engine.label_history(tiles, parameters, 2, device=torch.device("cpu"))
    else:
        torch_engine.marginals(tiles, parameters, device=torch.device("cpu"))
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
run(320)
running.clear()
watcher.join()
print(most[0] - before)
"""
    # Freed blocks go back at once, so that what the process holds is what is in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", program]
    grown = int(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)
    assert 0.3 < grown / batches.bytes_needed(320 * 320 + 160, 6, dimensions) <= 1
