"""The tiles of a run in memory: read once, scaled once, batched with padding where sizes differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.survey.scaling import GreyScaling

IGNORE = 255


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of the train tiles' grey levels, a channel, in 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise float32 (B, C, H, W) amplitudes in 0..1."""
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        return (images - mean) / std


@dataclass(frozen=True)
class Tiles:
    """Tiles as the network sees them, with the classes that each may hold.

    Attributes
    ----------
    names : tuple of str
    images : list of uint8 (C, h, w) tensors
        Scaled to 0..255 and by `tile_scale`.
    sizes : list of (int, int)
        Height and width on disk.
    shown : bool (N, K)
        Classes that each tile may hold, background included.
    multiclass : bool (N,)
        Tiles that may hold two or more classes, background counted.
    """

    names: tuple[str, ...]
    images: list[Tensor]
    sizes: list[tuple[int, int]]
    shown: NDArray[np.bool_]
    multiclass: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.names)

    def normalisation(self) -> Normalisation:
        """Mean and standard deviation over all pixels."""
        count = 0
        total = torch.zeros(self.images[0].shape[0], dtype=torch.float64)
        squares = torch.zeros_like(total)
        for image in self.images:
            values = image.to(torch.float64) / 255
            count += values[0].numel()
            total = total + values.sum(dim=(1, 2))
            squares = squares + values.square().sum(dim=(1, 2))
        mean = total / count
        std = (squares / count - mean.square()).clamp_min(0).sqrt().clamp_min(1e-3)
        return Normalisation(tuple(mean.tolist()), tuple(std.tolist()))


def scaled_size(size: tuple[int, int], tile_scale: float) -> tuple[int, int]:
    """Height and width that the network sees of a tile of `size`."""
    return max(1, round(size[0] * tile_scale)), max(1, round(size[1] * tile_scale))


def to_tensor(image: NDArray[np.uint8], tile_scale: float) -> Tensor:
    """Turn uint8 (H, W) or (H, W, 3) into a uint8 (C, h, w) tensor of the network's scale."""
    channels_first = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    tensor = torch.from_numpy(np.array(channels_first, order="C"))
    size = scaled_size((tensor.shape[1], tensor.shape[2]), tile_scale)
    if size == tuple(tensor.shape[1:]):
        return tensor
    smaller = F.interpolate(
        tensor[None].float(), size=size, mode="bilinear", align_corners=False, antialias=True
    )
    return smaller[0].round().clamp(0, 255).to(torch.uint8)


def load_tiles(
    survey: Survey,
    names: Sequence[str],
    scaling: GreyScaling,
    tile_scale: float,
    *,
    labels: bool = True,
    progress: Progress = silent,
) -> Tiles:
    """Read tiles once.

    Parameters
    ----------
    survey : Survey
        Where the tiles lie.
    names : sequence of str
        Tiles to read.
    scaling : GreyScaling
        The survey-wide scaling to 0..255.
    tile_scale : float
        Size that the network sees over size on disk.
    labels : bool
        Whether image-level labels are needed; without them every class may be shown.
    progress : Progress
        Called a tile.
    """
    images: list[Tensor] = []
    sizes: list[tuple[int, int]] = []
    shown = np.ones((len(names), survey.num_classes), dtype=bool)
    multiclass = np.zeros(len(names), dtype=bool)
    for index, name in enumerate(names):
        image = scaling.apply(survey.read_image(name))
        sizes.append((image.shape[0], image.shape[1]))
        images.append(to_tensor(image, tile_scale))
        if labels:
            shown[index] = survey.shown(name)
            multiclass[index] = survey.multiclass(name)
        progress("reading tiles", index + 1, len(names))
    return Tiles(tuple(names), images, sizes, shown, multiclass)


def stack(images: Sequence[Tensor]) -> Tensor:
    """Batch uint8 (C, h, w) images; smaller ones are repeated at the right and lower edge.

    Returns
    -------
    float32 (B, C, H, W) in 0..1
    """
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    padded = [
        F.pad(image[None].float(), (0, width - image.shape[2], 0, height - image.shape[1]), mode="replicate")[
            0
        ]
        for image in images
    ]
    return torch.stack(padded) / 255


def stack_targets(targets: Sequence[Tensor]) -> Tensor:
    """Batch int (h, w) targets into int64 (B, H, W); what is added counts as without data."""
    height = max(target.shape[0] for target in targets)
    width = max(target.shape[1] for target in targets)
    padded = [
        F.pad(target.long(), (0, width - target.shape[1], 0, height - target.shape[0]), value=IGNORE)
        for target in targets
    ]
    return torch.stack(padded)


def batches_by_size(tiles: Tiles, batch_size: int) -> Iterator[list[int]]:
    """Tile indices in batches of one network size each, so that nothing is padded."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for index, image in enumerate(tiles.images):
        by_size.setdefault((image.shape[1], image.shape[2]), []).append(index)
    for indices in by_size.values():
        for start in range(0, len(indices), batch_size):
            yield indices[start : start + batch_size]
