"""The size at which the decoder is trained."""

from __future__ import annotations

from sonarseg.features.cells import grid
from sonarseg.training.config import NetworkConfig
from sonarseg.training.data.tiles import scaled_size


def target_size(disk_size: tuple[int, int], network: NetworkConfig) -> tuple[int, int]:
    """Rows and columns of the targets of a tile of `disk_size` = (H, W).

    A frozen encoder's decoder learns the class at the centre of each cell, any other that of each pixel
    as the network sees the tile.
    """
    seen = scaled_size(disk_size, network.tile_scale)
    return grid(seen, network.cell) if network.frozen else seen
