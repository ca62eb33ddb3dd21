"""Maps of many tiles: made batch by batch on the device, while those before leave it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.training.data.feed import feed_of, stream
from sonarseg.training.data.tiles import Tiles
from sonarseg.training.device import free_memory
from sonarseg.training.failures import is_out_of_memory
from sonarseg.training.freed_memory import keep_freed_memory


def stream_maps(
    device: torch.device,
    tiles: Tiles,
    batches: Sequence[Sequence[int]],
    maps_of: Callable[[Tensor, Sequence[int]], Tensor],
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Make the maps of tiles batch by batch; batches are halved if memory runs out.

    Parameters
    ----------
    device : torch.device
        Where what the network takes goes.
    tiles : Tiles
        The tiles as the network takes them: pictures, or features of a frozen encoder.
    batches : sequence of sequence of int
        Tiles of one size each.
    maps_of : callable
        (uint8 pictures (B, C, h, w) or float16 features (B, F, h, w), their indices) -> maps (B, ...).

    Yields
    ------
    index, maps of the tile as an ndarray
    """
    if device.type == "cpu":
        keep_freed_memory()
    most: int | None = None
    # The maps of a batch leave the device while it makes those of the next.
    leaving: deque[tuple[Sequence[int], _Leaving]] = deque()
    for batch, (seen,) in zip(batches, stream([feed_of(tiles.seen, device)], batches), strict=True):
        done = 0
        while done < len(batch):
            part = slice(done, len(batch) if most is None else done + most)
            try:
                maps = maps_of(seen[part], batch[part])
            except (RuntimeError, MemoryError) as error:
                tried = len(batch[part])
                if tried == 1 or not is_out_of_memory(error):
                    raise
                # What did not fit is not tried again.
                most = tried // 2
            else:
                leaving.append((batch[part], _Leaving(maps)))
                done += len(maps)
                del maps
                if len(leaving) > 1:
                    yield from _come(*leaving.popleft())
                continue
            # Only now: the traceback of the error keeps its tensors alive.
            free_memory(device)
    while leaving:
        yield from _come(*leaving.popleft())


class _Leaving:
    """A tensor on its way to host memory, for which nobody waits until it is asked for."""

    def __init__(self, tensor: Tensor) -> None:
        self._host = tensor
        self._arrived: torch.cuda.Event | None = None
        if tensor.is_cuda:
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            # Of the tensor's own device, which need not be the current one of this thread
            self._arrived.record(torch.cuda.current_stream(tensor.device))

    def numpy(self) -> NDArray[Any]:
        """Wait until it has come."""
        if self._arrived is not None:
            self._arrived.synchronize()
        content: NDArray[Any] = self._host.numpy()
        return content


def _come(batch: Sequence[int], maps: _Leaving) -> Iterator[tuple[int, NDArray[Any]]]:
    yield from zip(batch, maps.numpy(), strict=True)
