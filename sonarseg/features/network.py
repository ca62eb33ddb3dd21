"""The network on features that do not learn: two small heads, so that a run takes seconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sonarseg.features.encoder import FeatureSettings, FrozenEncoder
from sonarseg.features.standardise import Standardisation, to_float16
from sonarseg.network.two_heads import TwoHeadNetwork

# Cells per tile that the classification branch is trained on, drawn at every step
DRAWN_CELLS = 300
_CHANNEL_DROPOUT, _HIDDEN_DROPOUT = 0.1, 0.3


class FrozenNetwork(TwoHeadNetwork):
    """Frozen encoder, classification branch of each cell by itself, decoder that sees the cells around.

    Parameters
    ----------
    settings : FeatureSettings
        Of the encoder.
    num_classes : int
        K, background included.
    hidden : int
        Width of the decoder.
    branch_hidden : int, optional
        Width of the classification branch; by default that of the decoder.

    Attributes
    ----------
    standardise : Standardisation
        To be fitted to the train tiles.

    Raises
    ------
    UserError
        As `FrozenEncoder`.
    """

    def __init__(
        self,
        settings: FeatureSettings,
        num_classes: int,
        hidden: int = 64,
        branch_hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder: FrozenEncoder = FrozenEncoder(settings)
        encoder = self.encoder
        self.standardise = Standardisation(encoder.channels)
        branch = branch_hidden or hidden
        self.class_activation = nn.Sequential(
            *_first_layer(encoder.channels, branch), nn.Conv2d(branch, num_classes, 1)
        )
        self.decoder = ContextDecoder(encoder.channels, hidden, num_classes)

    def encode(self, images: Tensor) -> Tensor:
        """float32 (B, C, H, W) in 0..1 -> features float32 (B, F, rows, columns).

        Rounded to float16 as stored ones are, unless a gradient is wanted: it would be rounded too.
        """
        features = self.encoder(images)
        return self.standardised(features if features.requires_grad else to_float16(features))

    def standardised(self, features: Tensor) -> Tensor:
        """Features float16 (as they are stored) or float32 (B, F, rows, columns) -> float32."""
        standardised: Tensor = self.standardise(features)
        return standardised

    def classify(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> class logits (B, K): the mean of the cells' logits."""
        return self.cell_logits(features).mean(dim=(2, 3))

    def cell_logits(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> class logits of cells (B, K, h, w); in training of drawn ones, (B, K, n, 1)."""
        if self.training and features.shape[2] * features.shape[3] > DRAWN_CELLS:
            cells = features.flatten(2)
            drawn = torch.randperm(cells.shape[2], device="cpu")[:DRAWN_CELLS].to(features.device)
            features = cells[:, :, drawn, None]
        logits: Tensor = self.class_activation(features)
        return logits


class ContextDecoder(nn.Module):
    """Classes of cells from their features and, added to them, what two 3 x 3 convolutions see around.

    Parameters
    ----------
    features : int
        F, channels of the input.
    hidden : int
        Width.
    """

    def __init__(self, features: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.own = nn.Sequential(*_first_layer(features, hidden))
        self.around = nn.Sequential(*_depthwise(hidden, 1), *_depthwise(hidden, 3))
        self.classifier = nn.Conv2d(hidden, num_classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> logits (B, K, h, w)."""
        own = self.own(features)
        logits: Tensor = self.classifier(own + self.around(own))
        return logits


def _first_layer(features: int, hidden: int) -> tuple[nn.Module, ...]:
    return (
        nn.Dropout2d(_CHANNEL_DROPOUT),
        nn.Conv2d(features, hidden, 1),
        nn.ReLU(),
        nn.Dropout(_HIDDEN_DROPOUT),
    )


def _depthwise(channels: int, dilation: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels),
        nn.Conv2d(channels, channels, 1),
        nn.ReLU(),
    )
