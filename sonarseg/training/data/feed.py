"""Batches of stored pictures and features on the device, which is never left waiting for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from sonarseg.features.store import TileFeatures
from sonarseg.survey.pixel_store import PixelStore
from sonarseg.training.device import available_bytes

# A store is held on a CUDA device if it takes no more than this share of the memory left to this process.
RESIDENT_SHARE = 0.25
# Batches assembled ahead where it is not
AHEAD = 3


class Feed(Protocol):
    """Gives what a store holds by number, batched; `feed_of` makes it.

    Attributes
    ----------
    device : torch.device
        Where the batches are wanted.
    resident : bool
        Whether the whole store is held there.
    """

    device: torch.device
    resident: bool

    def assembled(self, indices: Sequence[int], multiple: int = 1) -> Tensor:
        """Batch entries where they are held.

        If sizes differ in the store, height and width are rounded up to a multiple of `multiple`.
        """


class PictureFeed:
    """Pictures as uint8 (B, C, H, W).

    On a CUDA device the whole store is held there, as uint8, where it fits `RESIDENT_SHARE` of the
    memory that this process may still take. Else the pages of the mapped file are read when they are needed.

    Parameters
    ----------
    device : torch.device
        Where the batches are wanted.
    fill : int, optional
        Value of what is added where sizes differ; without it the edge is repeated.
    """

    def __init__(self, store: PixelStore, device: torch.device, fill: int | None = None) -> None:
        self.device = device
        self._fill = fill
        self._shapes, self._starts = store.shapes, store.starts
        self._common = store.common_shape
        pixels = torch.from_numpy(store.pixels)
        self.resident = (
            device.type == "cuda" and store.pixels.nbytes <= available_bytes(device) * RESIDENT_SHARE
        )
        self._pixels = pixels.to(device) if self.resident else pixels

    def assembled(self, indices: Sequence[int], multiple: int = 1) -> Tensor:
        """Batch pictures where they are held: uint8 (B, C, H, W)."""
        if self._common is not None:
            chosen = torch.tensor(indices)
            if self.resident:
                chosen = chosen.pin_memory().to(self.device, non_blocking=True)
            return self._pixels.view(-1, *self._common).index_select(0, chosen)
        return self._padded(indices, multiple)

    def _padded(self, indices: Sequence[int], multiple: int) -> Tensor:
        shapes = self._shapes[indices]
        channels, *sides = shapes.max(axis=0).tolist()
        height, width = (-(-side // multiple) * multiple for side in sides)
        device = self._pixels.device
        batch = torch.empty((len(shapes), channels, height, width), dtype=torch.uint8, device=device)
        for place, index in enumerate(indices):
            start, end = self._starts[index : index + 2].tolist()
            picture = self._pixels[start:end].view(shapes[place].tolist())
            _place(batch[place], picture, self._fill)
        return batch


class FeatureFeed:
    """Features as float16 (B, F, h, w), channels last in memory; of smaller tiles the edge is repeated.

    On a CUDA device they are held as pictures are. What is stored nowhere is computed at every call.

    Parameters
    ----------
    device : torch.device
        Where the batches are wanted.
    """

    def __init__(self, features: TileFeatures, device: torch.device) -> None:
        self.device = device
        # A copy: the store itself would never be let go of, as the feed hangs on it.
        self._features = replace(features)
        rows = features.rows
        self.resident = (
            rows is not None
            and device.type == "cuda"
            and rows.nbytes <= available_bytes(device) * RESIDENT_SHARE
            and features.common_shape is not None
        )
        self._rows = torch.from_numpy(rows).to(device) if rows is not None and self.resident else None

    def assembled(self, indices: Sequence[int], multiple: int = 1) -> Tensor:
        """Batch features where they are held, sides rounded up as those of pictures are."""
        if self._rows is not None and self._features.common_shape is not None:
            chosen = torch.tensor(indices).pin_memory().to(self.device, non_blocking=True)
            tiles = self._rows.view(-1, *self._features.common_shape).index_select(0, chosen)
            return tiles.permute(0, 3, 1, 2)
        *sides, channels = self._features.shapes[indices].max(axis=0).tolist()
        rows, columns = (-(-side // multiple) * multiple for side in sides)
        batch = torch.empty((len(indices), rows, columns, channels), dtype=torch.float16)
        for place, index in enumerate(indices):
            tile = torch.from_numpy(self._features[index]).permute(2, 0, 1)
            _place(batch[place].permute(2, 0, 1), tile, None)
        return batch.permute(0, 3, 1, 2)


_feeds: WeakKeyDictionary[PixelStore | TileFeatures, dict[tuple[torch.device, int | None], Feed]] = (
    WeakKeyDictionary()
)


def feed_of(store: PixelStore | TileFeatures, device: torch.device, fill: int | None = None) -> Feed:
    """Make the feed of a store, once for as long as the store is in use: it may lie on the device."""
    feeds = _feeds.setdefault(store, {})
    key = (device, fill)
    if key not in feeds:
        if isinstance(store, TileFeatures):
            feeds[key] = FeatureFeed(store, device)
        else:
            feeds[key] = PictureFeed(store, device, fill)
    return feeds[key]


def _place(room: Tensor, picture: Tensor, fill: int | None) -> None:
    """Put (C, h, w) into the upper left of (C, H, W)."""
    height, width = picture.shape[1:]
    if fill is not None:
        room.fill_(fill)
    room[:, :height, :width] = picture
    if fill is None:
        room[:, height:, :width] = picture[:, -1:]
        room[:, :, width:] = room[:, :, width - 1 : width]


def stream(
    feeds: Sequence[Feed], batches: Sequence[Sequence[int]], multiple: int = 1
) -> Iterator[list[Tensor]]:
    """Give each batch from every feed, on the feeds' device; `multiple` as `Feed.assembled` takes it.

    Where a store is not held on the CUDA device, a thread copies the next `AHEAD` batches to pinned
    memory meanwhile, from where they reach the device without anybody waiting.
    """
    if all(feed.resident or feed.device.type != "cuda" for feed in feeds):
        for batch in batches:
            yield [feed.assembled(batch, multiple) for feed in feeds]
        return

    def prepare(batch: Sequence[int]) -> list[Tensor]:
        parts = [feed.assembled(batch, multiple) for feed in feeds]
        return [part if part.is_cuda else part.pin_memory() for part in parts]

    with ThreadPoolExecutor(1) as thread:
        ready: deque[Future[list[Tensor]]] = deque()
        for batch in batches:
            ready.append(thread.submit(prepare, batch))
            if len(ready) > AHEAD:
                yield _on_device(ready.popleft().result(), feeds[0].device)
        while ready:
            yield _on_device(ready.popleft().result(), feeds[0].device)


def _on_device(parts: list[Tensor], device: torch.device) -> list[Tensor]:
    return [part.to(device, non_blocking=True) for part in parts]
