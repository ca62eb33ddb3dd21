"""Features of the tiles of a survey, kept on disk for all runs that ask for the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.features.extract import FeatureExtractor
from sonarseg.features.store import TileFeatures, size_in_bytes, stored_features
from sonarseg.progress import Progress, silent
from sonarseg.survey.pixel_store import PixelStore, Source

GIGABYTE = 1e9


def features_of(
    names: tuple[str, ...],
    pictures: PixelStore,
    files: tuple[Path, ...],
    extractor: FeatureExtractor,
    store: Path,
    *,
    prepared: dict[str, object],
    feature_gb: float = 4.0,
    progress: Progress = silent,
) -> TileFeatures:
    """Give the features of tiles, computed once.

    Parameters
    ----------
    names : tuple of str
        Of the tiles.
    pictures : PixelStore
        The tiles as the network sees them.
    files : tuple of Path
        The picture file of each tile.
    extractor : FeatureExtractor
        What computes them.
    store : Path
        Where they are kept: the folder is called like this and a hash of the tiles and of the extractor.
    prepared : dict
        How pictures were made of files (JSON).
    feature_gb : float
        Gigabytes (10^9 bytes) that the store may take on disk. The features of more tiles are computed
        whenever they are needed; 0 stores none.
    progress : Progress
        Called for each tile.

    Raises
    ------
    UserError
        If a picture file is missing.
    """
    shapes = [extractor.shape((int(height), int(width))) for _, height, width in pictures.shapes]

    def compute(index: int) -> NDArray[np.float16]:
        return extractor(pictures[index])

    if size_in_bytes(shapes) > feature_gb * GIGABYTE:
        return TileFeatures(np.array(shapes, dtype=np.int64).reshape(-1, 3), None, compute)
    identity = {"device": extractor.device.type, **extractor.identity()}
    named = "\n".join([*names, json.dumps(identity, sort_keys=True)])
    folder = store.with_name(f"{store.name}-{hashlib.sha256(named.encode()).hexdigest()[:12]}")
    source = Source(files, {**prepared, **identity})
    return stored_features(folder, source, shapes, compute, progress)
