"""Class activation maps of whole splits, written as float16 files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from sonarseg.cam import extract_cam
from sonarseg.cam_store import write_cam
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.training.config import CamConfig, RunConfig
from sonarseg.training.device import autocast, pick_device
from sonarseg.training.model_file import Model, load_model
from sonarseg.training.record import SUMMARY
from sonarseg.training.tiles import Tiles, load_tiles


def write_cams(
    model: Model,
    tiles: Tiles,
    indices: Sequence[int],
    folder: Path,
    cam: CamConfig,
    progress: Progress = silent,
) -> None:
    """Write `folder/NAME.npy`, float16 (K, H, W) in 0..1 at the size on disk, for some tiles.

    The folder appears whole or not at all.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for done, index in enumerate(indices):
        image = model.normalisation(tiles.images[index][None].to(model.device).float() / 255)[0]
        with autocast(model.device):
            scores = extract_cam(
                model.network,
                image,
                tiles.shown[index],
                scales=cam.scales,
                flips=model.sonar.allowed_flips(),
                background_id=model.background_id,
                device=model.device,
            )
        if scores.shape[1:] != tiles.sizes[index]:
            resized = F.interpolate(
                torch.from_numpy(scores)[None], size=tiles.sizes[index], mode="bilinear", align_corners=False
            )
            scores = np.asarray(resized[0].numpy())
        write_cam(partial / f"{tiles.names[index]}.npy", scores)
        progress("class activation maps", done + 1, len(indices))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def extract_cams(
    run_dir: Path,
    survey: Survey,
    splits: Sequence[str],
    cams_dir: Path,
    device: str = "auto",
    progress: Progress = silent,
) -> None:
    """Write `cams_dir/SPLIT/NAME.npy` with the network of a finished run.

    Splits whose CAMs are there already are left as they are.
    """
    missing = [split for split in splits if not (cams_dir / split).is_dir()]
    if not missing:
        return
    model = load_model(run_dir, pick_device(device))
    config = RunConfig.model_validate_json((run_dir / "config.json").read_text(encoding="utf-8"))
    for split in missing:
        # A tile whose classes nobody knows has no CAM: it cannot be scored either.
        known = [tile for tile in survey.splits[split] if survey.has_labels(tile)]
        tiles = load_tiles(survey, known, model.scaling, model.network_config.tile_scale)
        write_cams(model, tiles, range(len(tiles)), cams_dir / split, config.cam, progress)


def is_finished(run_dir: Path) -> bool:
    """Whether a run ended well."""
    return (run_dir / SUMMARY).is_file()
