"""Features of many tiles in one memory-mapped file: computed once, or on the fly if there are too many."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonarseg.files.arrays import load_array
from sonarseg.files.whole import whole_folder
from sonarseg.progress import Progress, silent
from sonarseg.survey.pixel_store import DESCRIPTION, SHAPES, Source, locked_store

ROWS = "rows.bin"
FORMAT = 1
WHAT = "computing features"


@dataclass(frozen=True, eq=False)
class TileFeatures:
    """Features of tiles of any sizes, a sequence of float16 (rows, columns, F).

    Attributes
    ----------
    shapes : int64 (N, 3)
        Rows, columns and channels of each tile.
    rows : float16 (cells, F), optional
        Cells of all tiles one after the other, mapped from a file; None if they are computed on the fly.
    compute : callable
        Gives the features of tile `index`.
    """

    shapes: NDArray[np.int64]
    rows: NDArray[np.float16] | None
    compute: Callable[[int], NDArray[np.float16]]

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> NDArray[np.float16]:
        """Features of tile `index`; without a copy if they are stored."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self.rows is None:
            return self.compute(index)
        return self.rows[self.starts[index] : self.starts[index + 1]].reshape(self.shapes[index])

    def __iter__(self) -> Iterator[NDArray[np.float16]]:
        return (self[index] for index in range(len(self)))

    @property
    def common_shape(self) -> tuple[int, int, int] | None:
        """Rows, columns and channels that all tiles have, or None if they differ."""
        if not len(self) or (self.shapes != self.shapes[0]).any():
            return None
        rows, columns, channels = (int(side) for side in self.shapes[0])
        return rows, columns, channels

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where the cells of each tile begin in `rows`, and the end: (N + 1,)."""
        return np.concatenate([[0], np.cumsum(self.shapes[:, 0] * self.shapes[:, 1])]).astype(np.int64)


def stored_features(
    folder: Path,
    source: Source,
    shapes: Sequence[tuple[int, int, int]],
    compute: Callable[[int], NDArray[np.float16]],
    progress: Progress = silent,
) -> TileFeatures:
    """Open the store in `folder`, or make it first if it is missing or was made from something else.

    Two processes may ask at once: one makes it, the other waits. A store appears whole or not at all.

    Parameters
    ----------
    folder : Path
        The store.
    source : Source
        What it is made from.
    shapes : sequence of (rows, columns, F)
        Of each tile's features.
    compute : callable
        Gives the features of tile `index`, from 0.
    progress : Progress
        Called for each tile.
    """
    table = np.array(shapes, dtype=np.int64).reshape(-1, 3)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked_store(folder):
        if not _is_whole(folder, table) or not source.made(folder, FORMAT):
            # Described first: a file that changes meanwhile makes the store again next time.
            description = source.description(FORMAT)
            _write(folder, table, compute, description, progress)
        return TileFeatures(table, _mapped(folder, table), compute)


def size_in_bytes(shapes: Sequence[tuple[int, int, int]]) -> int:
    """Bytes that a store takes on disk."""
    return 2 * sum(rows * columns * channels for rows, columns, channels in shapes)


def _write(
    folder: Path,
    table: NDArray[np.int64],
    compute: Callable[[int], NDArray[np.float16]],
    description: dict[str, Any],
    progress: Progress,
) -> None:
    with whole_folder(folder) as partial:
        with (partial / ROWS).open("wb") as file:
            for index in range(len(table)):
                file.write(np.ascontiguousarray(compute(index)).data)
                progress(WHAT, index + 1, len(table))
            file.flush()
            os.fsync(file.fileno())
        np.save(partial / SHAPES, table)
        (partial / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")


def _is_whole(folder: Path, table: NDArray[np.int64]) -> bool:
    try:
        stored, size = load_array(folder / SHAPES), (folder / ROWS).stat().st_size
    except (FileNotFoundError, ValueError, EOFError):
        return False
    return np.array_equal(stored, table) and size == 2 * int(table.prod(axis=1).sum())


def _mapped(folder: Path, table: NDArray[np.int64]) -> NDArray[np.float16]:
    channels = int(table[0, 2]) if len(table) else 0
    if not len(table):
        return np.zeros((0, channels), np.float16)
    # Copy on write: torch warns of arrays that cannot be written to. Nobody writes.
    return np.asarray(np.memmap(folder / ROWS, dtype=np.float16, mode="c")).reshape(-1, channels)
