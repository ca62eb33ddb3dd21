"""Augmentations that leave a sonar picture a sonar picture, drawn and applied a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sonarseg.training.config import SonarGeometry, TrainingConfig

FLIP_AXIS = {"horizontal": -1, "vertical": -2}


@dataclass(frozen=True)
class Augmentation:
    """What is done to each tile of a batch.

    Attributes
    ----------
    flips : dict
        "horizontal" (left to right), "vertical" to bool (B,): the tiles that are flipped.
    gain : float32 (B, 1, 1, 1)
        Factor of a tile.
    speckle : float32 (B, C, H, W) or None
        Factor of a pixel, applied after the flips.
    """

    flips: dict[str, Tensor]
    gain: Tensor
    speckle: Tensor | None

    def of_images(self, images: Tensor) -> Tensor:
        """Augment float32 (B, C, H, W) amplitudes in 0..1."""
        images = self._flipped(images) * self.gain
        if self.speckle is not None:
            images = images * self.speckle
        return images.clamp(0, 1)

    def of_target(self, target: Tensor) -> Tensor:
        """Move class ids (B, H, W) along with the images."""
        return self._flipped(target)

    def _flipped(self, batch: Tensor) -> Tensor:
        for name, chosen in self.flips.items():
            mine = chosen.view(-1, *[1] * (batch.ndim - 1))
            batch = torch.where(mine, batch.flip(FLIP_AXIS[name]), batch)
        return batch


def draw_augmentation(
    shape: torch.Size,
    sonar: SonarGeometry,
    training: TrainingConfig,
    generator: torch.Generator,
) -> Augmentation:
    """Draw flips along the track, gain jitter and speckle, for each tile on its own.

    Flips across the track are left out: they would turn the shadows towards the sonar.

    Parameters
    ----------
    shape : (B, C, H, W)
        Of the images.
    sonar : SonarGeometry
        Says which flips are allowed.
    training : TrainingConfig
        `gain_jitter` (half-width of the factor), `speckle` (standard deviation of the factor),
        `break_shadow_direction` (allow every flip).
    generator : torch.Generator
        Source of randomness; it says on which device the draws are made.
    """
    batch, device = shape[0], generator.device
    names: tuple[str, ...] = (
        ("horizontal", "vertical") if training.break_shadow_direction else sonar.allowed_flips()
    )
    flips = {name: torch.rand(batch, generator=generator, device=device) < 0.5 for name in names}
    draws = torch.rand(batch, 1, 1, 1, generator=generator, device=device)
    gain = 1 + training.gain_jitter * (2 * draws - 1)
    speckle = None
    if training.speckle > 0:
        noise = torch.randn(shape, generator=generator, device=device)
        speckle = (1 + training.speckle * noise).clamp_min(0)
    return Augmentation(flips, gain, speckle)
