"""The few steps of a dry run take no memory for the tiles that they do not draw."""

import dataclasses
import resource
from pathlib import Path

import numpy as np
import pytest

from sonarseg.survey.pixel_store import PixelStore
from sonarseg.training import probe
from sonarseg.training.config import NetworkConfig, RunConfig
from sonarseg.training.data.loading import load_run_data, new_model
from sonarseg.training.data.tiles import Tiles
from sonarseg.training.schedule import SELF_TRAINING
from sonarseg.training.trainer import Trainer

MANY, SIDE = 200_000, 512


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc, to see what is in memory")
def test_targets_take_memory_for_the_drawn_tiles_alone() -> None:
    shapes = np.full((MANY, 3), [3, SIDE, SIDE])
    pictures = PixelStore(np.zeros(0, np.uint8), shapes, shapes[:, 1:], np.zeros((3, 256), np.int64))
    shown = np.tile([False, True, True], (MANY, 1))
    before = resident()
    targets = probe._targets(Tiles((), pictures, shown, shown[:, 0]), NetworkConfig(), {7, MANY - 1})
    assert resident() - before < 2**26 < MANY * SIDE**2
    for index in (7, MANY - 1):
        assert targets[index].shape == (1, SIDE, SIDE)
        assert np.unique(targets[index]).tolist() == [1, 2]


@pytest.mark.parametrize("batch_size", [4, 16])
def test_every_tile_that_the_steps_draw_has_a_target(
    tmp_path: Path, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    training = tiny_config.training.model_copy(update={"batch_size": batch_size})
    config = tiny_config.model_copy(update={"training": training})
    data = load_run_data(tmp_path, config)
    # Class 0 is what a tile without a target would have.
    data = dataclasses.replace(
        data, train=dataclasses.replace(data.train, shown=np.tile([False, True, True], (len(data.train), 1)))
    )
    seen: list[set[int]] = []
    augmented = Trainer._augmented

    def spy(self, parts, generator):
        seen.append(set(parts[1].unique().tolist()))
        return augmented(self, parts, generator)

    monkeypatch.setattr(Trainer, "_augmented", spy)
    model, _ = new_model(tmp_path, config, data)
    probe.train_steps(model, config, data, SELF_TRAINING, lambda logits, _: logits.mean(), None)
    assert seen == [{1, 2}] * (probe.STEPS + 1)
