"""Encoders of torchvision and timm, dilated so that their features keep the wanted output stride."""

from __future__ import annotations

from functools import partial

import torchvision
from torch import nn

from sonarseg.errors import UserError
from sonarseg.network.batch_norm import BatchNorm
from sonarseg.network.timm_encoder import LITE0, build_timm_encoder, is_timm

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
ENCODERS = (*RESNETS, "mobilenet_v3_large")
OUTPUT_STRIDES = (8, 16)
# How many of MobileNet's parts see as far as the ResNet stage of the same number: stride 8, 16, 32.
MOBILENET_PARTS = {2: 7, 3: 13, 4: 17}


def build_encoder(name: str, in_channels: int, output_stride: int, stages: int = 4) -> tuple[nn.Module, int]:
    """Make an encoder without its classifier, with random weights.

    Entries of its state dict are named as torchvision names them (for MobileNet without `features.`),
    or as timm does, with `body.` before.

    Parameters
    ----------
    name : str
        One of `ENCODERS`, "efficientnet_lite0", or "timm:NAME" with the name of an encoder of timm.
    in_channels : int
        1 (grey) or 3 (RGB).
    output_stride : int
        8 or 16: input pixels a feature cell.
    stages : int
        2, 3 or 4 (all): fewer see less far, which keeps class activation maps local. Two stages
        have a stride of 8 whatever `output_stride` is.

    Returns
    -------
    encoder : nn.Module
        (B, C, H, W) -> (B, F, ceil(H / stride), ceil(W / stride)). Cell i of torchvision's
        encoders looks at the pixels around `i * stride`.
    features : int
        F.

    Raises
    ------
    UserError
        Where the name, the output stride or the number of stages is unknown.
    """
    if name not in ENCODERS and not is_timm(name):
        raise UserError(
            f'encoder = "{name}" is unknown: use one of {", ".join((*ENCODERS, LITE0))}, or timm:NAME.'
        )
    if output_stride not in OUTPUT_STRIDES:
        raise UserError(f"output_stride = {output_stride} is not offered: use 8 or 16.")
    if stages not in MOBILENET_PARTS:
        raise UserError(f"stages = {stages} is not offered: use 2, 3 or 4.")
    if is_timm(name):
        return build_timm_encoder(name, in_channels, output_stride, stages)
    if name in RESNETS:
        whole = getattr(torchvision.models, name)(weights=None, norm_layer=BatchNorm)
        encoder = nn.Sequential()
        for part in ("conv1", "bn1", "relu", "maxpool", *(f"layer{i + 1}" for i in range(stages))):
            encoder.add_module(part, getattr(whole, part))
    else:
        norm_layer = partial(BatchNorm, eps=0.001, momentum=0.01)
        whole = torchvision.models.mobilenet_v3_large(weights=None, norm_layer=norm_layer)
        encoder = whole.features[: MOBILENET_PARTS[stages]]
    features = [module.num_features for module in encoder.modules() if isinstance(module, BatchNorm)][-1]
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
