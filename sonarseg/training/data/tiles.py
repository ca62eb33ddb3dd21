"""The tiles of a run: decoded and scaled once into a store, and what is known of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.features.store import TileFeatures
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.survey.no_data import read_valid
from sonarseg.survey.pixel_store import PixelStore, Source, StoredPicture, packed, stored
from sonarseg.survey.scaling import GreyScaling


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of the train tiles' grey levels, a channel, in 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise float32 (B, C, H, W) amplitudes in 0..1."""
        return (images - _a_channel(self.mean, images.device)) / _a_channel(self.std, images.device)


# By the number of channels: for networks that normalise by themselves
UNCHANGED = {channels: Normalisation((0.0,) * channels, (1.0,) * channels) for channels in (1, 3)}


@lru_cache(maxsize=16)
def _a_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Values as (1, C, 1, 1), copied to a device once: it is waited for at every copy."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device).view(1, -1, 1, 1)


@dataclass(frozen=True)
class Tiles:
    """Tiles as the network sees them, with the classes that each may hold.

    Attributes
    ----------
    pictures : PixelStore
        Scaled to 0..255 and by `tile_scale`.
    shown : bool (N, K)
        Classes that each tile may hold, background included.
    multiclass : bool (N,)
        Tiles that may hold two or more classes, background counted.
    files : tuple of Path
        Picture file of each tile; empty if all pixels have data.
    features : TileFeatures, optional
        Of a frozen encoder, which the network then takes in place of the pictures.
    """

    names: tuple[str, ...]
    pictures: PixelStore
    shown: NDArray[np.bool_]
    multiclass: NDArray[np.bool_]
    files: tuple[Path, ...] = ()
    features: TileFeatures | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def seen(self) -> PixelStore | TileFeatures:
        """What the network takes."""
        return self.pictures if self.features is None else self.features

    def disk_size(self, index: int) -> tuple[int, int]:
        """Height and width of a tile on disk."""
        height, width = self.pictures.disk_sizes[index].tolist()
        return height, width

    def read_valid(self, index: int) -> NDArray[np.bool_] | None:
        """Read which pixels of a tile on disk have data, bool (H, W); None if all have."""
        return read_valid(self.files[index]) if self.files else None

    def image(self, index: int) -> NDArray[np.uint8]:
        """A tile as the dense CRF takes it, uint8 (H, W) or (H, W, 3), at the network's scale."""
        picture = self.pictures[index]
        return picture[0] if len(picture) == 1 else np.moveaxis(picture, 0, -1)

    def normalisation(self) -> Normalisation:
        """Mean and standard deviation over all pixels."""
        counts = self.pictures.histogram.astype(np.float64)
        levels = np.arange(256) / 255
        total = counts.sum(axis=1)
        mean = counts @ levels / total
        variance = counts @ levels**2 / total - mean**2
        std = np.sqrt(variance.clip(0)).clip(1e-3)
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
    store: Path | None = None,
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
    store : Path, optional
        Where the decoded tiles are kept for the next time, memory-mapped: the folder is called like
        this and a hash of `names`. Without it they are held in memory.
    labels : bool
        Whether image-level labels are needed; without them every class may be shown.
    progress : Progress
        Called a tile.
    """

    def read(index: int) -> StoredPicture:
        image = scaling.read(survey.image_path(names[index]))
        return StoredPicture(to_tensor(image, tile_scale).numpy(), (image.shape[0], image.shape[1]))

    if store is None:
        pictures = packed(map(read, range(len(names))))
    else:
        source = Source(
            [survey.image_path(name) for name in names], {"tile_scale": tile_scale, **scaling.model_dump()}
        )
        pictures = stored(_folder(store, names), source, len(names), read, progress=progress)
    shown = np.ones((len(names), survey.num_classes), dtype=bool)
    multiclass = np.zeros(len(names), dtype=bool)
    if labels:
        for index, name in enumerate(names):
            shown[index] = survey.shown(name)
        multiclass = shown.sum(axis=1) >= 2
    files = tuple(survey.image_path(name) for name in names)
    return Tiles(tuple(names), pictures, shown, multiclass, files)


def load_masks(survey: Survey, names: Sequence[str], store: Path, progress: Progress = silent) -> PixelStore:
    """Read the masks of tiles, whose split must be opened, once: uint8 (1, H, W) at the size on disk."""

    def read(index: int) -> StoredPicture:
        mask = survey.read_mask(names[index])
        return StoredPicture(mask[None], (mask.shape[0], mask.shape[1]))

    # The pictures as well: a mask must have the size of its tile.
    files = [file for name in names for file in (survey.mask_path(name), survey.image_path(name))]
    source = Source(files, {"classes": survey.num_classes})
    return stored(_folder(store, names), source, len(names), read, "reading masks", progress)


def _folder(store: Path, names: Sequence[str]) -> Path:
    """A store of its own for each list of tiles: val with masks is not all of val."""
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return store.with_name(f"{store.name}-{digest[:12]}")


def batches_by_size(tiles: Tiles, indices: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Tile indices in batches of one size on disk, hence one network size, so that nothing is padded."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for index in indices:
        by_size.setdefault(tiles.disk_size(index), []).append(index)
    for same in by_size.values():
        for start in range(0, len(same), batch_size):
            yield same[start : start + batch_size]
