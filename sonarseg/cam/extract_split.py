"""Class activation maps of whole splits, written as float16 files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.cam.extract import extract_cams as activation_maps
from sonarseg.cam.files import write_cam
from sonarseg.files.whole import whole_folder
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.training.checkpoint.model import Model, load_model
from sonarseg.training.config import CamConfig
from sonarseg.training.data.feed import feed_of, stream
from sonarseg.training.data.tiles import Tiles, batches_by_size, load_tiles
from sonarseg.training.device import autocast, free_memory, pick_device
from sonarseg.training.failures import is_out_of_memory
from sonarseg.training.freed_memory import keep_freed_memory
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
    model: Model, tiles: Tiles, batches: Sequence[Sequence[int]], cam: CamConfig
) -> Iterator[tuple[int, NDArray[np.float16]]]:
    """Extract the activation maps of tiles batch by batch; halved where memory runs out.

    Parameters
    ----------
    batches : sequence of sequence of int
        From `cam_batches`.
    cam : CamConfig
        Scales.

    Yields
    ------
    index, float16 (K, H, W) in 0..1 at the size on disk, 0 at pixels without data
    """
    if model.device.type == "cpu":
        keep_freed_memory()
    shown = torch.from_numpy(tiles.shown)

    def maps_of(pictures: Tensor, shown: Tensor, size: tuple[int, int]) -> Tensor:
        with autocast(model.device):
            scores = activation_maps(
                model.network,
                model.normalisation(pictures.float() / 255),
                shown,
                cam.scales,
                model.sonar.allowed_flips(),
                model.background_id,
            )
        if tuple(scores.shape[2:]) != size:
            scores = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        return scores.to(torch.float16)

    most: int | None = None
    # The maps of a batch leave the device while it makes those of the next.
    leaving: deque[tuple[Sequence[int], _Leaving]] = deque()
    for batch, (pictures,) in zip(
        batches, stream([feed_of(tiles.pictures, model.device)], batches), strict=True
    ):
        done = 0
        while done < len(batch):
            part = slice(done, len(batch) if most is None else done + most)
            try:
                maps = maps_of(pictures[part], shown[batch[part]], tiles.disk_size(batch[0]))
            except (RuntimeError, MemoryError) as error:
                tried = len(batch[part])
                if tried == 1 or not is_out_of_memory(error):
                    raise
                # What did not fit is not tried again.
                most = tried // 2
            else:
                leaving.append((batch[part], _Leaving(maps)))
                done += len(maps)
                del maps
                if len(leaving) > 1:
                    yield from _come(tiles, *leaving.popleft())
                continue
            # Only now: the traceback of the error keeps its tensors alive.
            free_memory(model.device)
    while leaving:
        yield from _come(tiles, *leaving.popleft())


class _Leaving:
    """A tensor on its way to host memory, for which nobody waits until it is asked for."""

    def __init__(self, tensor: Tensor) -> None:
        self._host = tensor
        self._arrived: torch.cuda.Event | None = None
        if tensor.is_cuda:
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record()

    def numpy(self) -> NDArray[np.float16]:
        """Wait until it has come."""
        if self._arrived is not None:
            self._arrived.synchronize()
        content: NDArray[np.float16] = self._host.numpy()
        return content


def _come(tiles: Tiles, batch: Sequence[int], maps: _Leaving) -> Iterator[tuple[int, NDArray[np.float16]]]:
    for index, scores in zip(batch, maps.numpy(), strict=True):
        yield index, _over_data(scores, tiles.read_valid(index))


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
) -> None:
    """Write `folder/NAME.npy`, float16 (K, H, W) in 0..1 at the size on disk, for some tiles.

    The folder appears whole or not at all.
    """
    batches = cam_batches(tiles, indices, model, cam)
    with whole_folder(folder) as partial:
        for done, (index, scores) in enumerate(stream_cams(model, tiles, batches, cam)):
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
    for split in missing:
        # A tile whose classes nobody knows has no CAM: it cannot be scored either.
        known = [tile for tile in survey.splits[split] if survey.has_labels(tile)]
        tiles = load_tiles(
            survey,
            known,
            model.scaling,
            model.network_config.tile_scale,
            store=config.path(run_dir, config.tiles) / split,
            progress=progress,
        )
        write_cams(model, tiles, range(len(tiles)), cams_dir / split, config.cam, progress)
