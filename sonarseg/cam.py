"""Class activation maps over several scales and flips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.network.model import SegmentationNetwork

FLIP_AXIS = {"horizontal": -1, "vertical": -2}
SMALLEST_SIDE = 16


def extract_cam(
    network: SegmentationNetwork,
    image: Tensor,
    shown: NDArray[np.bool_],
    *,
    scales: Sequence[float] = (1.0, 0.5, 1.5, 2.0),
    flips: Sequence[str] = ("vertical",),
    background_id: int | None = None,
    device: torch.device | str = "cpu",
) -> NDArray[np.float32]:
    """Sum the activation maps of one tile over scales and flips, then normalise a class.

    Each scale is seen unflipped and in each flip; maps are resized bilinearly to the tile, summed,
    cut to the classes shown and divided by (their maximum + 1e-5).

    Parameters
    ----------
    network : SegmentationNetwork
        Put into evaluation mode for the while.
    image : float32 (C, H, W)
        A normalised tile.
    shown : bool (K,)
        Classes the tile may hold.
    scales : sequence of float
    flips : sequence of {"horizontal", "vertical"}
        Those that the sonar geometry allows.
    background_id : int, optional
        Its channel stays 0: no image-level label speaks of it.
    device : torch.device or str

    Returns
    -------
    float32 (K, H, W) in 0..1
    """
    size = (int(image.shape[1]), int(image.shape[2]))
    training = network.training
    network.eval()
    with torch.inference_mode():
        total = sum(
            (_one_scale(network, image.to(device), scale, flips, size) for scale in scales),
            start=torch.zeros((), device=device),
        )
    network.train(training)
    kept = torch.from_numpy(shown).to(device)
    if background_id is not None:
        kept[background_id] = False
    total = total * kept[:, None, None]
    peaks = total.amax(dim=(1, 2), keepdim=True)
    scores: NDArray[np.float32] = (total / (peaks + 1e-5)).cpu().numpy()
    return scores


def _one_scale(
    network: SegmentationNetwork, image: Tensor, scale: float, flips: Sequence[str], size: tuple[int, int]
) -> Tensor:
    """Sum over the flips at one scale, float32 (K, H, W)."""
    scaled_size = [max(SMALLEST_SIDE, round(side * scale)) for side in size]
    scaled = F.interpolate(image[None], size=scaled_size, mode="bilinear", align_corners=False)
    axes = [FLIP_AXIS[name] for name in flips]
    batch = torch.cat([scaled, *(scaled.flip(axis) for axis in axes)])
    maps = network.cam(network.encode(batch)).float()
    upright = [maps[0], *(maps[i + 1].flip(axis) for i, axis in enumerate(axes))]
    resized = F.interpolate(torch.stack(upright), size=size, mode="bilinear", align_corners=False)
    return resized.sum(dim=0)
