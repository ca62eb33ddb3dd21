"""A tiny survey on disk and the configuration of a tiny run."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonarseg.training.config import RunConfig
from sonarseg.training.run import run
from tests.support.run_folders import Whole, write_run

CLASSES = ("mud", "rock", "weed")
SPLITS = {"train": 10, "val": 4, "test": 2}


@pytest.fixture(scope="session")
def tiny_survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen 24 x 32 tiles of three grey levels; odd tiles show two classes side by side."""
    root = tmp_path_factory.mktemp("survey")
    rng = np.random.default_rng(0)
    for folder in ("images", "masks", "splits"):
        (root / folder).mkdir()
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    rows = ["tile," + ",".join(CLASSES)]
    number = 0
    for split, count in SPLITS.items():
        names = []
        for _ in range(count):
            name = f"t{number:02d}"
            mask = np.full((24, 32), number % 3, dtype=np.uint8)
            if number % 2:
                mask[:, 16:] = (number + 1) % 3
            grey = np.array([50, 120, 200])[mask] * rng.gamma(8, 1 / 8, mask.shape)
            Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{name}.png")
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")
            shown = [str(int((mask == k).any())) for k in range(3)]
            rows.append(name + "," + ",".join(shown))
            names.append(name)
            number += 1
        (root / "splits" / f"{split}.txt").write_text("\n".join(names) + "\n")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def tiny_config(tiny_survey: Path) -> RunConfig:
    """Two warm-up epochs and two rounds of one epoch with the smallest network."""
    return RunConfig.model_validate(
        {
            "survey": str(tiny_survey),
            "network": {"decoder_channels": 8, "stages": 2, "tile_scale": 1.0},
            "cam": {"scales": [1.0, 0.5]},
            "training": {"warmup_epochs": 2, "rounds": 2, "epochs_per_round": 1, "batch_size": 4},
            "crf": {"iterations": 2},
            "device": "cpu",
        }
    )


@pytest.fixture(scope="session")
def whole(tiny_survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A run of 12 epochs that nothing disturbs, and its configuration."""
    config = RunConfig.model_validate(
        {
            "survey": str(tiny_survey),
            "network": {"decoder_channels": 8, "stages": 2, "tile_scale": 0.5},
            "cam": {"scales": [1.0]},
            "training": {"warmup_epochs": 4, "rounds": 2, "epochs_per_round": 4, "batch_size": 4},
            "crf": {"iterations": 1},
            "device": "cpu",
        }
    )
    run_dir = write_run(tmp_path_factory.mktemp("whole") / "run", config)
    run(run_dir)
    return config, run_dir
