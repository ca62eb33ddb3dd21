"""Class activation maps of whole splits, written as float16 files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.cam.extract import cell_cams, summed_cams, summed_cell_cams
from sonarseg.cam.extract import extract_cams as activation_maps
from sonarseg.cam.files import read_maxima, write_cam, write_maxima
from sonarseg.cam.stream import stream_maps
from sonarseg.features.network import FrozenNetwork
from sonarseg.files.whole import whole_folder
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.training.checkpoint.model import Model, load_model
from sonarseg.training.config import CamConfig
from sonarseg.training.data.frozen import seen_by
from sonarseg.training.data.tiles import Tiles, batches_by_size, load_tiles
from sonarseg.training.device import autocast, pick_device
from sonarseg.training.run_folder.config import read_config

# Keeps the scores of a class that shows nowhere at 0, as in `sonarseg.cam.extract`
SCORE_ROUNDING = 1e-5
# Pixels of all views of the largest scale that go through the network at once
_PIXELS_AT_ONCE = {"cpu": 2**19, "cuda": 2**23}


def cam_batches(tiles: Tiles, indices: Sequence[int], model: Model, cam: CamConfig) -> list[list[int]]:
    """Group tiles of one size for `extract_cams`: as many as keep the device busy and fit its memory."""
    views = 1 + len(model.sonar.allowed_flips())
    area = max((int(tiles.pictures.shapes[i, 1:].prod()) for i in indices), default=1)
    largest = area * max(cam.scales) ** 2 * views
    size = max(1, int(_PIXELS_AT_ONCE[model.device.type] / largest))
    return list(batches_by_size(tiles, indices, size))


def stream_cams(
    model: Model,
    tiles: Tiles,
    batches: Sequence[Sequence[int]],
    cam: CamConfig,
    maxima: NDArray[np.float32] | None = None,
) -> Iterator[tuple[int, NDArray[np.float16]]]:
    """Extract the activation maps of tiles batch by batch; halved where memory runs out.

    Parameters
    ----------
    batches : sequence of sequence of int
        From `cam_batches`.
    cam : CamConfig
        Loss of the branch, form and scales.
    maxima : float32 (K,), optional
        From `class_maxima`, for the form "survey-max".

    Yields
    ------
    index, float16 (K, H, W) in 0..1 at the size on disk, 0 at pixels without data
    """
    shown = torch.from_numpy(tiles.shown)
    largest = None if maxima is None else torch.from_numpy(maxima).to(model.device)

    background_id = cam.constant_background(model.background_id)

    def maps_of(seen: Tensor, part: Sequence[int]) -> Tensor:
        size, kept = tiles.disk_size(part[0]), shown[part]
        with autocast(model.device):
            if tiles.features is not None:
                features = model.encode(seen)
                return cell_cams(model.network, features, size, kept, background_id, cam.form, largest).to(
                    torch.float16
                )
            scores = activation_maps(
                model.network,
                model.normalisation(seen.float() / 255),
                kept,
                cam.scales,
                _flips(model),
                background_id,
                cam.form,
                largest,
            )
        return _resized(scores, size).to(torch.float16)

    over_data = _over_data if cam.form == "tile-max" else _zero_without_data
    for index, scores in stream_maps(model.device, tiles, batches, maps_of):
        yield index, over_data(scores, tiles.read_valid(index))


def class_maxima(
    model: Model, tiles: Tiles, cam: CamConfig, progress: Progress = silent
) -> NDArray[np.float32] | None:
    """Largest value of each class in the summed maps of the train tiles, float32 (K,).

    Returns
    -------
    float32 (K,) or None
        None if the form of the maps needs none.
    """
    if cam.form != "survey-max":
        return None
    shown = torch.from_numpy(tiles.shown)

    background_id = cam.constant_background(model.background_id)

    def maps_of(seen: Tensor, part: Sequence[int]) -> Tensor:
        size, kept = tiles.disk_size(part[0]), shown[part]
        with autocast(model.device):
            if tiles.features is not None:
                return summed_cell_cams(model.network, model.encode(seen), size, kept, background_id)
            sums = summed_cams(
                model.network,
                model.normalisation(seen.float() / 255),
                kept,
                cam.scales,
                _flips(model),
                background_id,
            )
        return _resized(sums, size)

    maxima = np.zeros(tiles.shown.shape[1], dtype=np.float32)
    batches = cam_batches(tiles, range(len(tiles)), model, cam)
    for done, (index, sums) in enumerate(stream_maps(model.device, tiles, batches, maps_of)):
        kept = _zero_without_data(sums, tiles.read_valid(index))
        maxima = np.maximum(maxima, kept.max(axis=(1, 2)))
        progress("largest class activations", done + 1, len(tiles))
    return maxima


def _flips(model: Model) -> tuple[str, ...]:
    """Flips that maps are summed over: none for a frozen encoder, whose features are of tiles as they are."""
    return () if isinstance(model.network, FrozenNetwork) else model.sonar.allowed_flips()


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def _zero_without_data(maps: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Maps (K, H, W), 0 at pixels without data."""
    return maps if valid is None else np.where(valid, maps, maps.dtype.type(0))


def _over_data(scores: NDArray[np.float16], valid: NDArray[np.bool_] | None) -> NDArray[np.float16]:
    """Scores (K, H, W) of pixels with data, the highest of each class 1 again; 0 elsewhere."""
    if valid is None:
        return scores
    kept = np.where(valid, scores.astype(np.float32), 0)
    highest = kept.max(axis=(1, 2), keepdims=True)
    relative: NDArray[np.float16] = (kept / (highest + SCORE_ROUNDING)).astype(np.float16)
    return relative


def write_cams(
    model: Model,
    tiles: Tiles,
    indices: Sequence[int],
    folder: Path,
    cam: CamConfig,
    progress: Progress = silent,
    maxima: NDArray[np.float32] | None = None,
) -> None:
    """Write `folder/NAME.npy`, float16 (K, H, W) in 0..1 at the size on disk, for some tiles.

    The folder appears whole or not at all.
    """
    batches = cam_batches(tiles, indices, model, cam)
    with whole_folder(folder) as partial:
        for done, (index, scores) in enumerate(stream_cams(model, tiles, batches, cam, maxima)):
            write_cam(partial / f"{tiles.names[index]}.npy", scores)
            progress("class activation maps", done + 1, len(indices))


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
    progress("loading the warm-up's network", 0, 0, "")
    model = load_model(run_dir, pick_device(device))
    config = read_config(run_dir)

    def load(split: str) -> Tiles:
        # A tile whose classes nobody knows has no CAM: it cannot be scored either.
        known = [tile for tile in survey.splits[split] if survey.has_labels(tile)]
        store = config.path(run_dir, config.tiles) / split
        scale = model.network_config.tile_scale
        tiles = load_tiles(survey, known, model.scaling, scale, store=store, progress=progress)
        return seen_by(model, tiles, store, progress)

    maxima = read_maxima(cams_dir)
    if maxima is None:
        maxima = class_maxima(model, load("train"), config.cam, progress)
        if maxima is not None:
            write_maxima(cams_dir, maxima)
    for split in missing:
        tiles = load(split)
        write_cams(model, tiles, range(len(tiles)), cams_dir / split, config.cam, progress, maxima)
