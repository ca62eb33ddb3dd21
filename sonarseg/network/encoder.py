"""torchvision encoders, dilated so that their features keep the wanted output stride."""

from __future__ import annotations

from functools import partial

import torchvision
from torch import nn

from sonarseg.errors import UserError
from sonarseg.network.batch_norm import BatchNorm

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
ENCODERS = (*RESNETS, "mobilenet_v3_large")
OUTPUT_STRIDES = (8, 16)


def build_encoder(name: str, in_channels: int, output_stride: int) -> tuple[nn.Sequential, int]:
    """Make an encoder without its classifier, with random weights.

    Entries of its state dict are named as torchvision names them (for MobileNet without `features.`).

    Parameters
    ----------
    name : str
        One of `ENCODERS`.
    in_channels : int
        1 (grey) or 3 (RGB).
    output_stride : int
        8 or 16: input pixels a feature cell.

    Returns
    -------
    encoder : nn.Sequential
        (B, C, H, W) -> (B, F, ceil(H / stride), ceil(W / stride)). Cell i looks at the pixels
        around `i * stride`.
    features : int
        F.

    Raises
    ------
    UserError
        Where the name or the output stride is unknown.
    """
    if name not in ENCODERS:
        raise UserError(f'encoder = "{name}" is unknown: use one of {", ".join(ENCODERS)}.')
    if output_stride not in OUTPUT_STRIDES:
        raise UserError(f"output_stride = {output_stride} is not offered: use 8 or 16.")
    if name in RESNETS:
        whole = getattr(torchvision.models, name)(weights=None, norm_layer=BatchNorm)
        encoder = nn.Sequential()
        for part in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            encoder.add_module(part, getattr(whole, part))
        features = int(whole.fc.in_features)
    else:
        norm_layer = partial(BatchNorm, eps=0.001, momentum=0.01)
        whole = torchvision.models.mobilenet_v3_large(weights=None, norm_layer=norm_layer)
        encoder = whole.features
        features = int(whole.classifier[0].in_features)
    _replace_strides(encoder, output_stride)
    _set_channels(encoder, in_channels)
    return encoder, features


def _replace_strides(encoder: nn.Sequential, output_stride: int) -> None:
    """Turn the strides past `output_stride` into dilation of all that follows.

    At every second cell the result is what the strided encoder computes (but for global pooling inside
    MobileNet), so that pretrained weights stay right. torchvision's own switch does this
    for Bottleneck blocks only.
    """
    stride, dilation = 1, 1
    for module in encoder.modules():
        if isinstance(module, nn.MaxPool2d):
            stride *= 2
        if not isinstance(module, nn.Conv2d):
            continue
        if module.kernel_size == (1, 1):
            if dilation > 1:  # the shortcut of a block whose stride was just replaced
                module.stride = (1, 1)
            continue
        module.dilation = (dilation, dilation)
        module.padding = (dilation * (module.kernel_size[0] // 2),) * 2
        if module.stride != (1, 1):
            if stride < output_stride:
                stride *= 2
            else:
                module.stride = (1, 1)
                dilation *= 2


def _set_channels(encoder: nn.Sequential, in_channels: int) -> None:
    """Replace the first convolution where the input is not RGB."""
    name, first = next((n, m) for n, m in encoder.named_modules() if isinstance(m, nn.Conv2d))
    if first.in_channels == in_channels:
        return
    replacement = nn.Conv2d(
        in_channels,
        first.out_channels,
        kernel_size=(first.kernel_size[0], first.kernel_size[1]),
        stride=(first.stride[0], first.stride[1]),
        padding=first.kernel_size[0] // 2,
        bias=False,
    )
    nn.init.kaiming_normal_(replacement.weight, mode="fan_out", nonlinearity="relu")
    parent, _, child = name.rpartition(".")
    setattr(encoder.get_submodule(parent), child, replacement)
