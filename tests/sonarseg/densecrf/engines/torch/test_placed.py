"""Tiles that stay on the device from trial to trial, and labels counted there."""

import numpy as np
import pytest
import torch

from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.engines.torch import placed
from sonarseg.densecrf.history import confusion_histories
from sonarseg.densecrf.parameters import CrfParameters
from tests.support.fused_crf import SEEDS, SOFT, counted, tile

TILES = [tile(13, 11, 4, 0), tile(9, 16, 6, 1, background=2), tile(13, 11, 2, 2)]
TORCH = Engine("torch", "cpu")


def counts(engine, parameters, names=None):
    """Confusion matrices of the tiles."""
    truths, kept = counted(TILES)
    return confusion_histories(TILES, truths, kept, parameters, 3, 6, engine, names)


@pytest.mark.parametrize("parameters", [SOFT, SEEDS], ids=["soft", "seeds"])
def test_trials_count_the_same_under_torch_and_numba_bit_for_bit(parameters):
    names = [(index, parameters.guide) for index in range(len(TILES))]
    with TORCH.keeping_tiles():
        for widths in ((20.0, 5.0, 3.0), (5.0, 9.0, 1.0)):
            keys = ("sigma_alpha", "sigma_beta", "sigma_gamma")
            setting = parameters.model_copy(update=dict(zip(keys, widths, strict=True)))
            for mine, theirs in zip(
                counts(TORCH, setting, names), counts(Engine("numba"), setting), strict=True
            ):
                assert mine.dtype == theirs.dtype == np.int64
                np.testing.assert_array_equal(mine, theirs)


def test_named_tiles_are_copied_once_and_freed_at_the_end(monkeypatch):
    copied = []
    moved = placed._moved
    monkeypatch.setattr(placed, "_moved", lambda arrays, device: copied.append(1) or moved(arrays, device))
    names = [(index, "raw") for index in range(len(TILES))]
    with TORCH.keeping_tiles():
        counts(TORCH, SOFT, names)
        assert len(copied) == 2 * len(TILES)
        counts(TORCH, SOFT, names)
        assert len(copied) == 2 * len(TILES)
        # Another guide of the same scores: only the guides are new.
        counts(TORCH, SOFT, [(index, "lee") for index in range(len(TILES))])
        assert len(copied) == 3 * len(TILES)
        assert placed._kept.nbytes > 0
    assert placed._kept.nbytes == 0


def test_kept_tiles_stay_within_their_bytes(monkeypatch):
    monkeypatch.setattr(placed._kept, "most_bytes", 3000)
    with TORCH.keeping_tiles():
        found = counts(TORCH, SOFT, [(index, "raw") for index in range(len(TILES))])
        assert placed._kept.nbytes <= 3000
    for mine, theirs in zip(found, counts(Engine("numba"), SOFT), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_arrays_arrive_as_they_left():
    generator = np.random.default_rng(0)
    arrays = [
        generator.random((3, 5, 7)).astype(np.float16),
        None,
        generator.random((2, 3, 1)).astype(np.float32),
        generator.integers(0, 255, (5, 7), dtype=np.uint8)[::-1],
        generator.random((5, 7)) > 0.5,
    ]
    for before, after in zip(arrays, placed._moved(arrays, torch.device("cpu")), strict=True):
        assert (before is None) == (after is None)
        if before is not None:
            np.testing.assert_array_equal(after.numpy(), before)


def test_the_default_background_score_is_that_of_the_other_engines():
    parameters = CrfParameters(unary="soft")
    for mine, theirs in zip(counts(TORCH, parameters), counts(Engine("numba"), parameters), strict=True):
        np.testing.assert_array_equal(mine, theirs)
