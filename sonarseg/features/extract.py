"""Features of single tiles of any size, as they are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sonarseg.features.cells import grid
from sonarseg.features.encoder import FrozenEncoder
from sonarseg.features.standardise import to_float16

# Raised whenever the same tile and settings give other features than before.
VERSION = 2


class FeatureExtractor:
    """Computes features tile by tile; the same tile gives the same bits on a CPU.

    Parameters
    ----------
    encoder : FrozenEncoder
        With its weights; moved to the device.
    device : torch.device, optional
        Where they are computed; the CPU by default.
    threads : int, optional
        Threads of the CPU; as many as torch takes by default.
    """

    def __init__(
        self, encoder: FrozenEncoder, device: torch.device | None = None, threads: int | None = None
    ) -> None:
        self.device = device or torch.device("cpu")
        self.encoder = encoder.to(self.device)
        self.threads = threads

    @property
    def channels(self) -> int:
        """F, of the features."""
        return self.encoder.channels

    def shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Rows, columns and channels of the features of a tile of `size` = (H, W)."""
        return (*grid(size, self.encoder.settings.cell), self.channels)

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Compute the features of a tile, (C, H, W) with one or three channels: (rows, columns, F)."""
        # One tile at a time: the other tiles of a batch could change its last bits.
        with torch.inference_mode(), self._bounded_threads():
            tile = torch.from_numpy(np.array(picture))[None].to(self.device).float() / 255
            whole = to_float16(self.encoder(tile))[0].permute(1, 2, 0)
            return whole.cpu().contiguous().numpy()

    def identity(self) -> dict[str, Any]:
        """What the features depend on besides the tile: settings, and the weights themselves."""
        digest = hashlib.sha256()
        for name, value in sorted(self.encoder.body.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        settings = self.encoder.settings
        described = {**asdict(settings), "blocks": list(settings.blocks)}
        return {"version": VERSION, **described, "weights_sha256": digest.hexdigest()}

    @contextmanager
    def _bounded_threads(self) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)
