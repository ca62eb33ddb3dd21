"""Class activation maps over several scales and flips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonarseg.network.model import SegmentationNetwork

FLIP_AXIS = {"horizontal": -1, "vertical": -2}


def extract_cams(
    network: SegmentationNetwork,
    images: Tensor,
    shown: Tensor,
    scales: Sequence[float] = (1.0, 0.5, 1.5, 2.0),
    flips: Sequence[str] = ("vertical",),
    background_id: int | None = None,
) -> Tensor:
    """Sum the activation maps of tiles of one size over scales and flips, then normalise each class.

    Each scale is seen as it is and in each flip, all tiles in one forward pass; the maps are resized
    bilinearly to the tile and summed, cut to the classes shown and divided by (their maximum + 1e-5).

    Parameters
    ----------
    network : SegmentationNetwork
        On the device of `images`. Put into evaluation mode for the while.
    images : float32 (B, C, H, W)
        Normalised tiles.
    shown : bool (B, K)
        Classes each may hold.
    scales : sequence of float
        Factors of the tile's sides.
    flips : sequence of {"horizontal", "vertical"}
        Those that the sonar geometry allows: left to right, top to bottom.
    background_id : int, optional
        Its channel stays 0: no image-level label speaks of it.

    Returns
    -------
    float32 (B, K, H, W) in 0..1
        On the device of `images`.
    """
    kept = shown.clone()
    if background_id is not None:
        kept[:, background_id] = False
    with _evaluating(network), torch.inference_mode():
        total = torch.stack([_one_scale(network, images, scale, flips) for scale in scales]).sum(dim=0)
        total = total * kept.to(images.device)[:, :, None, None]
        return total / (total.amax(dim=(2, 3), keepdim=True) + 1e-5)


def _one_scale(network: SegmentationNetwork, tiles: Tensor, scale: float, flips: Sequence[str]) -> Tensor:
    """Sum over the flips at one scale: (B, C, H, W) -> float32 (B, K, H, W)."""
    size = (tiles.shape[2], tiles.shape[3])
    scaled_size = [max(1, round(side * scale)) for side in size]
    # Antialiased, or smaller scales would see speckle in place of backscatter.
    scaled = F.interpolate(tiles, size=scaled_size, mode="bilinear", align_corners=False, antialias=scale < 1)
    axes = [FLIP_AXIS[name] for name in flips]
    views = torch.cat([scaled, *(scaled.flip(axis) for axis in axes)])
    maps = network.cam(network.encode(views)).float()
    upright, *flipped = maps.chunk(1 + len(axes))
    # Resizing is linear and treats both ends of an axis alike: the views are summed before it.
    for axis, part in zip(axes, flipped, strict=True):
        upright = upright + part.flip(axis)
    return F.interpolate(upright, size=size, mode="bilinear", align_corners=False)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode for the while, then give each module its own mode back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
