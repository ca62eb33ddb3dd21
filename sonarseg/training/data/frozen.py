"""Tiles as a network with a frozen encoder takes them: by their features, which are computed once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sonarseg.features.extract import FeatureExtractor
from sonarseg.features.network import FrozenNetwork
from sonarseg.features.survey import features_of
from sonarseg.progress import Progress, silent
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.data.tiles import Tiles


def seen_by(model: Model, tiles: Tiles, store: Path, progress: Progress = silent) -> Tiles:
    """Give tiles the features of the model's frozen encoder; other networks take them as they are.

    Parameters
    ----------
    model : Model
        Its encoder has its weights.
    tiles : Tiles
        Read with the model's scaling and tile scale.
    store : Path
        Features are kept in a folder that is called like this and a hash.
    progress : Progress
        Called for each tile.
    """
    network = model.network
    if not isinstance(network, FrozenNetwork) or not len(tiles):
        return tiles
    features = features_of(
        tiles.names,
        tiles.pictures,
        tiles.files,
        FeatureExtractor(network.encoder, model.device),
        store.with_name(f"{store.name}-features"),
        prepared={"tile_scale": model.network_config.tile_scale, "scaling": model.scaling.model_dump()},
        feature_gb=model.network_config.feature_gb,
        progress=progress,
    )
    return replace(tiles, features=features)
