"""torchvision encoders, dilated so that their features keep the asked-for output stride."""

from __future__ import annotations

import torchvision
from torch import nn

from sonarseg.errors import UserError

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
ENCODERS = (*RESNETS, "mobilenet_v3_large")


def build_encoder(name: str, in_channels: int, output_stride: int) -> tuple[nn.Sequential, int]:
    """Make an encoder without its classifier.

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
        (B, C, H, W) -> (B, F, ceil(H / stride), ceil(W / stride)).
    features : int
        F.

    Raises
    ------
    UserError
        Where the name is unknown.
    """
    if name not in ENCODERS:
        raise UserError(f'encoder = "{name}" is unknown: use one of {", ".join(ENCODERS)}.')
    if name in RESNETS:
        whole = getattr(torchvision.models, name)(weights=None)
        encoder = nn.Sequential()
        for part in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            encoder.add_module(part, getattr(whole, part))
        features = int(whole.fc.in_features)
    else:
        encoder = torchvision.models.mobilenet_v3_large(weights=None).features
        features = 960
    _dilate(encoder, output_stride)
    _set_channels(encoder, in_channels)
    return encoder, features


def _dilate(encoder: nn.Sequential, output_stride: int) -> None:
    """Turn strides past the output stride into dilation, keeping each kernel's field of view."""
    stride, dilation = 1, 1
    for stage in encoder:
        stage_dilation = dilation
        for module in stage.modules():
            if isinstance(module, nn.MaxPool2d):
                stride *= 2
            if not isinstance(module, nn.Conv2d) or _is_shortcut(module, stage):
                continue
            strided = module.stride == (2, 2)
            if strided and stride >= output_stride:
                module.stride = (1, 1)
                _set_dilation(module, dilation)
                dilation *= 2
            elif strided:
                stride *= 2
            else:
                _set_dilation(module, dilation)
        if dilation != stage_dilation:
            for module in stage.modules():
                if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
                    module.stride = (1, 1)


def _is_shortcut(module: nn.Conv2d, stage: nn.Module) -> bool:
    return any(
        module is child
        for name, child in stage.named_modules()
        if "downsample" in name
    )


def _set_dilation(module: nn.Conv2d, dilation: int) -> None:
    if module.kernel_size[0] > 1 and dilation > 1:
        module.dilation = (dilation, dilation)
        module.padding = (dilation * (module.kernel_size[0] // 2),) * 2


def _set_channels(encoder: nn.Sequential, in_channels: int) -> None:
    name, first = next((n, m) for n, m in encoder.named_modules() if isinstance(m, nn.Conv2d))
    if first.in_channels == in_channels:
        return
    replacement = nn.Conv2d(
        in_channels,
        first.out_channels,
        kernel_size=first.kernel_size,  # type: ignore[arg-type]
        stride=first.stride,  # type: ignore[arg-type]
        padding=first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    parent, _, child = name.rpartition(".")
    setattr(encoder.get_submodule(parent), child, replacement)
