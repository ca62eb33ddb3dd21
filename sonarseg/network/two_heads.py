"""An encoder with two heads, classes of a tile and classes of its pixels: what all networks are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TwoHeadNetwork(nn.Module, ABC):
    """Encoder, classification branch and decoder; subclasses make the three.

    Takes tiles of any size down to 1 x 1, and batches of one also in training.

    Attributes
    ----------
    encoder : nn.Module
        (B, C, H, W) -> features (B, F, h, w).
    class_activation : nn.Module
        (B, F, h, w) -> class logits of each cell (B, K, h, w).
    decoder : nn.Module
        (B, F, h, w) -> pixel logits (B, K, h, w).
    """

    encoder: nn.Module
    class_activation: nn.Module
    decoder: nn.Module

    def encode(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> features (B, F, h, w)."""
        features: Tensor = self.encoder(images)
        return features

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> class logits of the tiles (B, K)."""

    @abstractmethod
    def cell_logits(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> class logits of each cell (B, K, h, w)."""

    def cam(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> class activation maps (B, K, h, w): ReLU of the logits of the cells."""
        return F.relu(self.class_activation(features))

    def decode(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, F, h, w) -> pixel logits (B, K, H, W) for `size` = (H, W), float32 or better."""
        logits: Tensor = self.decoder(features)
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.interpolate(precise, size=size, mode="bilinear", align_corners=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> class logits (B, K) and pixel logits (B, K, H, W)."""
        features = self.encode(images)
        return self.classify(features), self.decode(features, (images.shape[2], images.shape[3]))

    def parameter_groups(
        self, learning_rate: float, head_factor: float = 10, weight_decay: float = 1e-2
    ) -> list[dict[str, Any]]:
        """Group the parameters that learn for an optimiser: the encoder's, then those of the heads.

        Parameters
        ----------
        learning_rate : float
            Of the encoder.
        head_factor : float
            How many times as fast the heads learn, which no pretraining has seen.

        Returns
        -------
        list of dict
            With keys "params", "lr" and "weight_decay"; no group is empty.
        """
        heads = [*self.class_activation.parameters(), *self.decoder.parameters()]
        encoder = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
        groups = [(encoder, learning_rate), (heads, learning_rate * head_factor)]
        return [
            {"params": params, "lr": rate, "weight_decay": weight_decay} for params, rate in groups if params
        ]
