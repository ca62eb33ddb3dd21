"""The DeepLabv3 decoder (Chen et al., arXiv 1706.05587)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonarseg.network.batch_norm import BatchNorm

# Dilation rates of the source, by output stride: the same reach in pixels.
RATES = {16: (6, 12, 18), 8: (12, 24, 36)}


def _block(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=False),
        BatchNorm(outputs),
        nn.ReLU(inplace=True),
    )


class ImagePooling(nn.Module):
    """The image-level branch of atrous spatial pyramid pooling.

    It has a bias and no batch normalisation: there is one value a tile and channel, so that a batch
    of one has no variance at all, and in a batch of two each channel would become plus and minus one
    whatever the tiles show.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> (B, D, h, w), constant over a tile."""
        pooled = F.relu(self.project(features.mean(dim=(2, 3), keepdim=True)))
        return pooled.expand(-1, -1, features.shape[2], features.shape[3])


class DeepLabDecoder(nn.Module):
    """Atrous spatial pyramid pooling, a 3 x 3 convolution and a pixel classifier.

    Parameters
    ----------
    features : int
        Channels of the encoder's output.
    channels : int
        Width of the decoder.
    output_stride : int
        8 or 16; sets the dilation rates.
    """

    def __init__(self, features: int, channels: int, num_classes: int, output_stride: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_block(features, channels, 1)])
        self.branches.extend(_block(features, channels, 3, rate) for rate in RATES[output_stride])
        self.branches.append(ImagePooling(features, channels))
        self.project = nn.Sequential(_block(len(self.branches) * channels, channels, 1), nn.Dropout(0.1))
        self.refine = _block(channels, channels, 3)
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> logits (B, K, h, w)."""
        *local, pooled = (branch(features) for branch in self.branches)
        if local[0].is_contiguous(memory_format=torch.channels_last):
            # Or the joined tensor would not lie channels last, and be copied in the next convolution.
            pooled = pooled.contiguous(memory_format=torch.channels_last)
        joined = torch.cat([*local, pooled], dim=1)
        logits: Tensor = self.classifier(self.refine(self.project(joined)))
        return logits
