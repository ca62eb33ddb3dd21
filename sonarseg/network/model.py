"""The network that is trained from end to end: a dilated encoder with a DeepLabv3 decoder."""

from __future__ import annotations

from torch import Tensor, nn

from sonarseg.network.decoder import DeepLabDecoder
from sonarseg.network.encoder import build_encoder
from sonarseg.network.two_heads import TwoHeadNetwork

# Of single values: leaving out whole channels lost .10 and .01 of mIoU on sss-reservoir, two seeds.
_INPUT_DROPOUT = 0.1


class SegmentationNetwork(TwoHeadNetwork):
    """Dilated encoder, linear classification branch and DeepLabv3 decoder.

    Parameters
    ----------
    encoder : str
        One of `sonarseg.network.encoder.ENCODERS`, "efficientnet_lite0" or "timm:NAME".
    in_channels : int
        1 or 3.
    num_classes : int
        K, background included.
    output_stride : int
        8 or 16: pixels a feature cell.
    decoder_channels : int
        Width of the decoder.
    stages : int
        2, 3 or 4 (all) stages of the encoder; two have a stride of 8 in any case.
    competing : bool
        Whether the classes of the classification branch compete for cells: it then has a bias, and
        a dropout of its inputs.

    Raises
    ------
    UserError
        Where the encoder, the output stride or the number of stages is unknown.
    """

    def __init__(
        self,
        encoder: str,
        in_channels: int,
        num_classes: int,
        output_stride: int = 16,
        decoder_channels: int = 256,
        stages: int = 4,
        competing: bool = False,
    ) -> None:
        super().__init__()
        if stages == 2:
            output_stride = 8
        self.encoder, features = build_encoder(encoder, in_channels, output_stride, stages)
        self.class_activation = nn.Conv2d(features, num_classes, 1, bias=competing)
        self.input_dropout = nn.Dropout(_INPUT_DROPOUT if competing else 0.0)
        self.decoder = DeepLabDecoder(features, decoder_channels, num_classes, output_stride)

    def classify(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> class logits (B, K): global average pooling, then a 1 x 1 convolution.

        The convolution is linear, so that before the ReLU a map's mean over cells is the class logit:
        without a bias, the map says exactly what each cell adds to it.
        """
        logits: Tensor = self.class_activation(features.mean(dim=(2, 3), keepdim=True))
        return logits.flatten(1)

    def cell_logits(self, features: Tensor) -> Tensor:
        """(B, F, h, w) -> class logits of each cell (B, K, h, w); dropout of the inputs in training."""
        logits: Tensor = self.class_activation(self.input_dropout(features))
        return logits
