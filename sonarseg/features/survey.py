"""Features of the splits of a survey."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.features.extract import FeatureExtractor, FeatureSettings
from sonarseg.features.store import TileFeatures, size_in_bytes, stored_features
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.survey.pixel_store import Source
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.data.tiles import load_tiles

GIGABYTE = 1e9


class Features:
    """Features of a survey's tiles, made once for each split and shared by all who ask.

    Parameters
    ----------
    folder : Path
        Where the stores are kept.
    settings : FeatureSettings
        What is computed.
    scaling : GreyScaling
        The survey-wide scaling to 0..255.
    tile_scale : float
        Size that the network sees over size on disk.
    feature_gb : float
        Gigabytes (10^9 bytes) that the store of one split may take on disk. The features of a larger
        split are computed on the fly; 0 stores none.
    tiles : Path, optional
        Where decoded tiles are kept, as `RunConfig.tiles`; in memory without it.
    device : torch.device, optional
        The CPU by default.
    threads : int, optional
        Threads of the CPU; as many as torch takes by default.

    Raises
    ------
    UserError
        If encoder or weights cannot be had, or `feature_gb` is negative.
    """

    def __init__(
        self,
        folder: Path,
        settings: FeatureSettings,
        scaling: GreyScaling,
        *,
        tile_scale: float = 1.0,
        feature_gb: float = 4.0,
        tiles: Path | None = None,
        device: torch.device | None = None,
        threads: int | None = None,
        progress: Progress = silent,
    ) -> None:
        if feature_gb < 0:
            raise UserError(f"feature_gb = {feature_gb} is wrong: expected 0 or more.")
        self.folder = folder
        self.scaling = scaling
        self.tile_scale = tile_scale
        self.feature_gb = feature_gb
        self.tiles = tiles
        self.progress = progress
        self.extractor = FeatureExtractor(settings, device, threads)
        self._identity = self.extractor.identity()

    def of(self, survey: Survey, split: str) -> TileFeatures:
        """Give the features of a split, tiles in the order of `survey.splits[split]`.

        Raises
        ------
        UserError
            If a tile is missing or cannot be read.
        """
        names = survey.splits[split]
        tiles = load_tiles(
            survey,
            names,
            self.scaling,
            self.tile_scale,
            store=None if self.tiles is None else self.tiles / split,
            labels=False,
            progress=self.progress,
        )
        shapes = [self.extractor.shape((int(h), int(w))) for _, h, w in tiles.pictures.shapes]

        def compute(index: int) -> NDArray[np.float16]:
            return self.extractor(tiles.pictures[index])

        if size_in_bytes(shapes) > self.feature_gb * GIGABYTE:
            return TileFeatures(np.array(shapes, dtype=np.int64).reshape(-1, 3), None, compute)
        settings = {
            "tile_scale": self.tile_scale,
            "scaling": self.scaling.model_dump(),
            "device": self.extractor.device.type,
            **self._identity,
        }
        source = Source(tiles.files, settings)
        return stored_features(self._store(split, names), source, shapes, compute, self.progress)

    def _store(self, split: str, names: tuple[str, ...]) -> Path:
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        return self.folder / f"{split}-{digest[:12]}"
