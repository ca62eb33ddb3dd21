"""Encoders of timm: EfficientNet-lite0 by its own name, every other one as "timm:NAME"."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sonarseg.errors import UserError

LITE0 = "efficientnet_lite0"
PREFIX = "timm:"
# What the kinds of networks in timm need to take tiles of any size.
_SIZE_SETTINGS: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True},
    {"strict_img_size": False},
    {},
)


def is_timm(encoder: str) -> bool:
    """Whether an encoder's name is one of timm's."""
    return encoder == LITE0 or encoder.startswith(PREFIX)


def timm_name(encoder: str) -> str:
    """Name of an encoder within timm."""
    return "tf_efficientnet_lite0" if encoder == LITE0 else encoder.removeprefix(PREFIX)


def import_timm(encoder: str) -> ModuleType:
    """Import timm, which other encoders do not need.

    Raises
    ------
    UserError
        If it is not installed, or does not know the encoder.
    """
    try:
        import timm
    except ImportError as error:
        raise UserError(
            f'encoder = "{encoder}" needs the package timm, which is not installed: '
            "run pip install timm, or use resnet18."
        ) from error
    name = timm_name(encoder)
    if not timm.is_model(name.partition(".")[0]):
        near = ", ".join(get_close_matches(name, timm.list_models(), 3))
        raise UserError(
            f'encoder = "{encoder}" is unknown: timm {timm.__version__} has no model of this name'
            f"{f' (near it: {near})' if near else ''}; timm.list_models() lists all."
        )
    module: ModuleType = timm
    return module


class TimmEncoder(nn.Module):
    """An encoder of timm that keeps the grid of cells of the project's other encoders.

    Parameters
    ----------
    body : nn.Module
        timm's network with one or more outputs, the last of which is the encoder's.
    stride : int
        Input pixels per cell of the body's last output.
    output_stride : int
        Wanted pixels per cell. If the body cannot be dilated to it, its cells are resized bilinearly.
    patches : bool
        Whether the body cuts a tile into patches without overlap, which must then be whole.
    """

    def __init__(self, body: nn.Module, stride: int, output_stride: int, patches: bool) -> None:
        super().__init__()
        self.body = body
        self.stride = stride
        self.output_stride = output_stride
        self.patches = patches

    def outputs(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> every output of the body, (B, F, h, w), finest first."""
        if self.patches:
            right, bottom = -images.shape[3] % self.stride, -images.shape[2] % self.stride
            images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        found: list[Tensor] = self.body(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F, ceil(H / output_stride), ceil(W / output_stride))."""
        features = self.outputs(images)[-1]
        size = [-(-side // self.output_stride) for side in images.shape[2:]]
        if list(features.shape[2:]) == size:
            return features
        return F.interpolate(features, size=size, mode="bilinear", align_corners=False)


def build_timm_encoder(
    encoder: str, in_channels: int, output_stride: int, stages: int = 4, every_output: bool = False
) -> tuple[TimmEncoder, int]:
    """Make an encoder of timm without its classifier, with random weights.

    Parameters
    ----------
    encoder : str
        "efficientnet_lite0" or "timm:NAME".
    in_channels : int
        1 (grey) or 3 (RGB).
    output_stride : int
        Input pixels per feature cell.
    stages : int
        The features are those of the deepest stage whose natural stride is at most
        8 (2 stages), 16 (3) or 32 (4); what lies behind it is left out.
    every_output : bool
        Whether the body gives finer features as well (`TimmEncoder.outputs`).

    Returns
    -------
    encoder : TimmEncoder
        If timm's padding depends on the size of the tile, it is that of even sizes for all: cell i
        of a network trained so speaks of the pixels from `i * stride` to `(i + 1) * stride`.
    features : int
        Number of channels.

    Raises
    ------
    UserError
        If timm is not installed, does not know the name, or its network gives no features.
    """
    timm = import_timm(encoder)
    natural = _create(timm, encoder, in_channels, {})
    strides = [int(stride) for stride in natural.feature_info.reduction()]
    within = [index for index, stride in enumerate(strides) if stride <= 2 ** (stages + 1)]
    last = within[-1] if within else 0
    wanted = range(last + 1) if every_output else (last,)
    settings: dict[str, Any] = {"out_indices": tuple(wanted)}
    body = _create(
        timm, encoder, in_channels, settings, output_stride if strides[last] > output_stride else None
    )
    _leave_out_what_follows(body)
    _pad_as_trained(body, natural)
    _spare_single_values(body)
    info = body.feature_info
    first = next(module for module in body.modules() if isinstance(module, nn.Conv2d))
    patches = first.kernel_size == first.stride and first.stride != (1, 1)
    return TimmEncoder(body, int(info.reduction()[-1]), output_stride, patches), int(info.channels()[-1])


def _create(
    timm: ModuleType,
    encoder: str,
    in_channels: int,
    settings: dict[str, Any],
    output_stride: int | None = None,
) -> Any:
    """Make timm's network: dilated if it can be, for tiles of any size if that has to be asked for."""
    dilations: list[dict[str, Any]] = [{"output_stride": output_stride}] if output_stride else []
    failure: Exception | None = None
    for dilation in (*dilations, {}):
        for size in _SIZE_SETTINGS:
            try:
                with _quiet():
                    return timm.create_model(
                        timm_name(encoder),
                        pretrained=False,
                        features_only=True,
                        in_chans=in_channels,
                        **{**settings, **dilation, **size},
                    )
            # timm refuses a setting that a network does not have in as many ways as it has networks.
            except Exception as error:  # noqa: BLE001
                failure = error
    raise UserError(
        f'encoder = "{encoder}" gives no features ({failure}): use an encoder of timm that works with '
        "features_only=True, for example timm:resnet18."
    ) from failure


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what timm says of its own affairs from the terminal."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _leave_out_what_follows(body: Any) -> None:
    """Drop the blocks behind the last output, which timm's EfficientNets compute for nothing."""
    blocks = getattr(body, "blocks", None)
    if type(body).__name__ in ("EfficientNetFeatures", "MobileNetV3Features") and blocks is not None:
        body.blocks = blocks[: int(body.feature_info.get_dicts()[-1]["stage"])]


class _EvenlyPadded(nn.Conv2d):
    """A convolution that pads at the top and on the left as at even sizes, for tiles of every size.

    A convolution of TensorFlow pads by the size at hand. Networks were trained at even sizes, and their
    kernels have learned where the pixels of a cell lie then: at other sizes they would look past them.

    Parameters
    ----------
    like : nn.Conv2d
        The convolution whose settings and weights it takes.
    trained_stride : int
        Stride of its training, which may have become dilation.
    """

    def __init__(self, like: nn.Conv2d, trained_stride: int) -> None:
        side, dilation = like.kernel_size[0], like.dilation[0]
        super().__init__(
            like.in_channels,
            like.out_channels,
            side,
            stride=like.stride[0],
            dilation=dilation,
            groups=like.groups,
            bias=like.bias is not None,
        )
        self.weight, self.bias = like.weight, like.bias
        self.before = dilation * (max(side - trained_stride, 0) // 2)

    def forward(self, input: Tensor) -> Tensor:
        """(B, F, H, W) -> (B, G, ceil(H / stride), ceil(W / stride))."""
        reach, stride = self.dilation[0] * (self.kernel_size[0] - 1) + 1, self.stride[0]
        bottom, right = (
            max((-(-side // stride) - 1) * stride + reach - side - self.before, 0) for side in input.shape[2:]
        )
        return super().forward(F.pad(input, (self.before, right, self.before, bottom)))


def _pad_as_trained(body: nn.Module, natural: nn.Module) -> None:
    """Replace convolutions whose padding depends on the tile's size; `natural` has the strides of training.

    Padding stays that of a stride that has become dilation, so that every n-th cell is what the
    strided network computes.
    """
    convolutions = {name: module for name, module in body.named_modules() if isinstance(module, nn.Conv2d)}
    for name, trained in natural.named_modules():
        if type(trained).__name__ != "Conv2dSame" or not isinstance(trained, nn.Conv2d):
            continue
        parent, _, child = name.rpartition(".")
        if name in convolutions:
            padded = _EvenlyPadded(convolutions[name], trained.stride[0])
            setattr(body.get_submodule(parent), child, padded)


def _spare_single_values(body: nn.Module) -> None:
    """Let batch normalisation use its running statistics for a single value, as `BatchNorm` does."""
    for module in body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(_evaluate_single_values)


def _evaluate_single_values(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if module.training and inputs[0].numel() == inputs[0].shape[1]:
        module.training = False
        handle = module.register_forward_hook(_train_again)
        module.__dict__["_single_value_hook"] = handle


def _train_again(module: nn.Module, _inputs: tuple[Tensor, ...], _output: Tensor) -> None:
    module.training = True
    module.__dict__.pop("_single_value_hook").remove()
