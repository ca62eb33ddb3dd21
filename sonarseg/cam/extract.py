"""Class activation maps over several scales and flips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonarseg.network.two_heads import TwoHeadNetwork
from sonarseg.training.config import CamForm

FLIP_AXIS = {"horizontal": -1, "vertical": -2}


def extract_cams(
    network: TwoHeadNetwork,
    images: Tensor,
    shown: Tensor,
    scales: Sequence[float] = (1.0, 0.5, 1.5, 2.0),
    flips: Sequence[str] = ("vertical",),
    background_id: int | None = None,
    form: CamForm = "tile-max",
    maxima: Tensor | None = None,
) -> Tensor:
    """Sum the activation maps of tiles of one size over scales and flips, then bring each class to 0..1.

    Each scale is seen as it is and in each flip, all tiles in one forward pass; the maps are resized
    bilinearly to the tile, summed and cut to the classes shown. By the form they are divided by (their
    maximum in the tile + 1e-5), or by (`maxima` + 1e-5) and clipped at 1; or they are the mean over scales
    and flips of the softmax of the logits over the shown classes.

    Parameters
    ----------
    network : TwoHeadNetwork
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
    form : {"tile-max", "survey-max", "softmax"}
        "softmax" takes the background as one of the classes.
    maxima : float32 (K,), optional
        On the device of `images`, for "survey-max": the largest sum of each class in the survey.

    Returns
    -------
    float32 (B, K, H, W) in 0..1
        On the device of `images`.

    Raises
    ------
    ValueError
        If "survey-max" has no maxima.
    """
    if form == "softmax":
        views = 1 + len(flips)
        probabilities = _among_shown(network, shown.to(images.device).repeat(views, 1))
        with _evaluating(network), torch.inference_mode():
            return _summed(network, probabilities, images, scales, flips) / (len(scales) * views)
    return _relative(summed_cams(network, images, shown, scales, flips, background_id), form, maxima)


def cell_cams(
    network: TwoHeadNetwork,
    features: Tensor,
    size: tuple[int, int],
    shown: Tensor,
    background_id: int | None = None,
    form: CamForm = "tile-max",
    maxima: Tensor | None = None,
) -> Tensor:
    """Activation maps of tiles whose features are known, as they are; see `extract_cams`.

    Parameters
    ----------
    features : float32 (B, F, h, w)
        As the network's heads take them.
    size : (H, W)
        Of the maps.

    Returns
    -------
    float32 (B, K, H, W) in 0..1
    """
    if form == "softmax":
        with _evaluating(network), torch.inference_mode():
            return _enlarged(_among_shown(network, shown.to(features.device))(features), size)
    return _relative(summed_cell_cams(network, features, size, shown, background_id), form, maxima)


def summed_cell_cams(
    network: TwoHeadNetwork,
    features: Tensor,
    size: tuple[int, int],
    shown: Tensor,
    background_id: int | None = None,
) -> Tensor:
    """Activation maps of known features, cut to the classes shown: float32 (B, K, H, W), not negative."""
    with _evaluating(network), torch.inference_mode():
        maps = _enlarged(network.cam(features).float(), size)
        return maps * _kept(shown, background_id).to(maps.device)


def _among_shown(network: TwoHeadNetwork, shown: Tensor) -> Callable[[Tensor], Tensor]:
    """What makes probabilities of features, among the classes of each: shown is bool (B, K)."""

    def probabilities(features: Tensor) -> Tensor:
        logits = network.cell_logits(features).float()
        # A tile that shows nothing scores nothing.
        return torch.where(shown[:, :, None, None], logits, -torch.inf).softmax(dim=1).nan_to_num(0)

    return probabilities


def _relative(total: Tensor, form: CamForm, maxima: Tensor | None) -> Tensor:
    """Maps (B, K, H, W) over their maximum in the tile or in the survey."""
    with torch.inference_mode():
        if form == "tile-max":
            return total / (total.amax(dim=(2, 3), keepdim=True) + 1e-5)
        if maxima is None:
            raise ValueError('the form "survey-max" needs the maxima of the survey')
        return (total / (maxima[:, None, None] + 1e-5)).clamp_max(1)


def _kept(shown: Tensor, background_id: int | None) -> Tensor:
    """Classes of each tile that have a map, bool (B, K, 1, 1)."""
    kept = shown.clone()
    if background_id is not None:
        kept[:, background_id] = False
    return kept[:, :, None, None]


def summed_cams(
    network: TwoHeadNetwork,
    images: Tensor,
    shown: Tensor,
    scales: Sequence[float],
    flips: Sequence[str],
    background_id: int | None = None,
) -> Tensor:
    """Sum the activation maps over scales and flips, cut to the classes shown; parameters as above.

    Returns
    -------
    float32 (B, K, H, W), not negative
    """
    kept = _kept(shown, background_id).to(images.device)
    with _evaluating(network), torch.inference_mode():
        return _summed(network, network.cam, images, scales, flips) * kept


def _summed(
    network: TwoHeadNetwork,
    maps_of: Callable[[Tensor], Tensor],
    images: Tensor,
    scales: Sequence[float],
    flips: Sequence[str],
) -> Tensor:
    """Sum of the maps that `maps_of` makes of features, over scales and flips: float32 (B, K, H, W)."""
    parts = [_one_scale(network, maps_of, images, scale, flips) for scale in scales]
    return torch.stack(parts).sum(dim=0)


def _one_scale(
    network: TwoHeadNetwork,
    maps_of: Callable[[Tensor], Tensor],
    tiles: Tensor,
    scale: float,
    flips: Sequence[str],
) -> Tensor:
    """Sum over the flips at one scale: (B, C, H, W) -> float32 (B, K, H, W)."""
    size = (tiles.shape[2], tiles.shape[3])
    scaled_size = [max(1, round(side * scale)) for side in size]
    # Antialiased, or smaller scales would see speckle in place of backscatter.
    scaled = F.interpolate(tiles, size=scaled_size, mode="bilinear", align_corners=False, antialias=scale < 1)
    axes = [FLIP_AXIS[name] for name in flips]
    views = torch.cat([scaled, *(scaled.flip(axis) for axis in axes)])
    maps = maps_of(network.encode(views)).float()
    upright, *flipped = maps.chunk(1 + len(axes))
    # Resizing is linear and treats both ends of an axis alike: the views are summed before it.
    for axis, part in zip(axes, flipped, strict=True):
        upright = upright + part.flip(axis)
    return _enlarged(upright, size)


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


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
