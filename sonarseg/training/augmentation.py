"""Augmentations that leave a sonar picture a sonar picture."""

from __future__ import annotations

import torch
from torch import Tensor

from sonarseg.training.config import SonarGeometry, TrainingConfig

FLIP_AXIS = {"horizontal": -1, "vertical": -2}


def augment(
    images: Tensor,
    target: Tensor | None,
    sonar: SonarGeometry,
    training: TrainingConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor | None]:
    """Flip along the track, jitter the gain and add speckle, each tile on its own.

    Flips across the track are left out: they would turn the shadows towards the sonar.

    Parameters
    ----------
    images : float32 (B, C, H, W)
        Amplitudes in 0..1, before normalisation.
    target : int64 (B, H, W) or None
        Pseudo-labels, flipped along.
    sonar : SonarGeometry
        Says which flips are allowed.
    training : TrainingConfig
        `gain_jitter` (half-width of the factor), `speckle` (standard deviation of the factor),
        `break_shadow_direction` (allow every flip).
    generator : torch.Generator
        Source of randomness, on the CPU.

    Returns
    -------
    images, target
        New tensors of the same shapes.
    """
    batch = len(images)
    flips = ("horizontal", "vertical") if training.break_shadow_direction else sonar.allowed_flips()
    for name in flips:
        chosen = (torch.rand(batch, generator=generator) < 0.5).to(images.device)
        axis = FLIP_AXIS[name]
        images = torch.where(chosen[:, None, None, None], images.flip(axis), images)
        if target is not None:
            target = torch.where(chosen[:, None, None], target.flip(axis), target)
    gain = 1 + training.gain_jitter * (2 * torch.rand(batch, 1, 1, 1, generator=generator) - 1)
    images = images * gain.to(images.device)
    if training.speckle > 0:
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        images = images * (1 + training.speckle * noise).clamp_min(0)
    return images.clamp(0, 1), target
