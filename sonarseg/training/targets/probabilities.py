"""Class probabilities of the network as scores for the pseudo-labels of later rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.cam.stream import stream_maps
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.data.tiles import Tiles, batches_by_size
from sonarseg.training.device import autocast


def stream_probabilities(
    model: Model, tiles: Tiles, indices: Sequence[int], batch_size: int
) -> Iterator[tuple[int, NDArray[np.float16]]]:
    """Predict the probabilities of tiles, cut to the classes that each shows.

    Parameters
    ----------
    model : Model
        In evaluation mode.
    tiles : Tiles
        The tiles.
    indices : sequence of int
        Tiles that show a class or more.
    batch_size : int
        Tiles a batch at most.

    Yields
    ------
    index, float16 (K, H, W) at the size on disk
        They sum to 1 over the classes shown and are 0 for the others; a background that shows is one of them.
    """
    shown = torch.from_numpy(tiles.shown)

    def maps_of(seen: Tensor, part: Sequence[int]) -> Tensor:
        with torch.inference_mode(), autocast(model.device):
            features = model.encode(seen)
            logits = model.network.decode(features, tiles.disk_size(part[0]))
        kept = shown[part].to(model.device)[:, :, None, None]
        return logits.float().masked_fill(~kept, -torch.inf).softmax(dim=1).to(torch.float16)

    return stream_maps(model.device, tiles, list(batches_by_size(tiles, indices, batch_size)), maps_of)
