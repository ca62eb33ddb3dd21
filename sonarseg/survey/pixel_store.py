"""Many pictures in one memory-mapped file: decoded once, read ever after without a decoder.

A store is a folder of `pixels.bin` (all pictures one after the other), `shapes.npy`,
`histogram.npy`, and `store.json` (what it was made from). It appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.files.arrays import load_array
from sonarseg.files.whole import whole_folder, write_atomically
from sonarseg.progress import Progress, silent

PIXELS, SHAPES, HISTOGRAM, DESCRIPTION = "pixels.bin", "shapes.npy", "histogram.npy", "store.json"
# Raised whenever the same files give other pixels than before.
FORMAT = 2


class StoredPicture(NamedTuple):
    """A picture as it is kept, and the size of the file it came from."""

    pixels: NDArray[np.uint8]
    disk_size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class PixelStore:
    """Pictures of any sizes, in memory or mapped from a file.

    Attributes
    ----------
    pixels : uint8 (bytes,)
        All pictures, each (C, h, w) in C order.
    shapes : int64 (N, 3)
        Channels, height and width of each.
    disk_sizes : int64 (N, 2)
        Height and width of the files that they came from.
    histogram : int64 (C, 256)
        How often each value occurs, a channel.
    content : str
        Hash of the files that a stored store was made from; empty for others.
    """

    pixels: NDArray[np.uint8]
    shapes: NDArray[np.int64]
    disk_sizes: NDArray[np.int64]
    histogram: NDArray[np.int64]
    content: str = ""

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Picture `index`, (C, h, w), without a copy."""
        return self.pixels[self.starts[index] : self.starts[index + 1]].reshape(self.shapes[index])

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each picture begins in `pixels`, and the end: (N + 1,)."""
        return np.concatenate([[0], np.cumsum(self.shapes.prod(axis=1))]).astype(np.int64)

    @property
    def common_shape(self) -> tuple[int, int, int] | None:
        """The shape that all pictures have, or None where they differ."""
        if not len(self) or (self.shapes != self.shapes[0]).any():
            return None
        channels, height, width = (int(side) for side in self.shapes[0])
        return channels, height, width


@dataclass(frozen=True)
class Source:
    """What a store is made from, so that it is made again when that has changed, and only then.

    Attributes
    ----------
    files : sequence of Path
        Every file that decides a picture.
    settings : dict
        What else decides the pixels (JSON).
    """

    files: Sequence[Path]
    settings: dict[str, Any]

    def times(self) -> str:
        """Hash of what changes with a file, cheap to compare.

        Archives keep the times of files, but one that takes another's name has a time of change of its own.
        """
        digest = hashlib.sha256()
        for path in self.files:
            status = _existing(path).stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode())
        return digest.hexdigest()

    def content(self) -> str:
        """Hash of the files' content: the same for a survey that was copied or touched."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(hashlib.sha256(_existing(path).read_bytes()).digest())
        return digest.hexdigest()

    def description(self, format: int) -> dict[str, Any]:
        """What a store notes of its source and of its own format."""
        return {
            "format": format,
            "settings": self.settings,
            "times": self.times(),
            "content": self.content(),
        }

    def made(self, folder: Path, format: int) -> bool:
        """Whether a whole store was made from this; files merely touched are noted as such."""
        try:
            described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return False
        if described.get("format") != format or described.get("settings") != self.settings:
            return False
        times = self.times()
        if described["times"] == times:
            return True
        if described["content"] != self.content():
            return False
        write_atomically(folder / DESCRIPTION, json.dumps({**described, "times": times}))
        return True


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path} is missing: put it there or take its tile from the lists.")
    return path


def packed(pictures: Iterable[StoredPicture]) -> PixelStore:
    """Keep pictures in memory."""
    held = list(pictures)
    table = np.array([_row(picture) for picture in held], dtype=np.int64).reshape(-1, 5)
    flat = [picture.pixels.ravel() for picture in held]
    histogram = sum((_histogram(picture.pixels) for picture in held), _no_counts())
    return _from_table(np.concatenate(flat) if flat else np.zeros(0, np.uint8), table, histogram)


def stored(
    folder: Path,
    source: Source,
    count: int,
    read: Callable[[int], StoredPicture],
    what: str = "reading tiles",
    progress: Progress = silent,
) -> PixelStore:
    """Open the store in `folder`, or make it first where it is missing or was made from something else.

    Two processes may ask at once: one makes it, the other waits.

    Parameters
    ----------
    folder : Path
        The store.
    source : Source
        What it is made from.
    count : int
        Number of pictures.
    read : callable
        Gives picture `index`, from 0.
    what : str
        The work, as the progress bar calls it.
    progress : Progress
        Called a picture.

    Raises
    ------
    UserError
        Where a file is missing or cannot be read.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked_store(folder):
        if not _is_made_from(folder, source, count):
            # Described first: a file changed meanwhile makes the store again next time.
            description = source.description(FORMAT)
            pictures = _told(read, count, what, progress)
            write_store(folder, pictures, count, description)
        return open_store(folder)


def write_store(
    folder: Path, pictures: Iterable[StoredPicture], count: int, description: dict[str, Any]
) -> None:
    """Write a store of `count` pictures, one in memory at a time."""
    table = np.zeros((count, 5), dtype=np.int64)
    histogram = _no_counts()
    with whole_folder(folder) as partial:
        with (partial / PIXELS).open("wb") as file:
            for index, picture in enumerate(pictures):
                table[index] = _row(picture)
                histogram = histogram + _histogram(picture.pixels)
                file.write(np.ascontiguousarray(picture.pixels).data)
            file.flush()
            os.fsync(file.fileno())
        np.save(partial / SHAPES, table)
        np.save(partial / HISTOGRAM, histogram)
        (partial / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")


def open_store(folder: Path) -> PixelStore:
    """Map the store in `folder`; its pages are read when touched, and dropped when memory is short."""
    path = folder / PIXELS
    # Copy on write: torch warns of arrays that cannot be written to. Nobody writes.
    pixels = np.memmap(path, dtype=np.uint8, mode="c") if path.stat().st_size else np.zeros(0, np.uint8)
    described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    return _from_table(
        np.asarray(pixels),
        load_array(folder / SHAPES),
        load_array(folder / HISTOGRAM),
        described.get("content", ""),
    )


def _row(picture: StoredPicture) -> tuple[int, ...]:
    """Channels, height and width; height and width on disk."""
    return (*picture.pixels.shape, *picture.disk_size)


def _from_table(
    pixels: NDArray[np.uint8], table: NDArray[np.int64], histogram: NDArray[np.int64], content: str = ""
) -> PixelStore:
    return PixelStore(pixels, table[:, :3].copy(), table[:, 3:].copy(), histogram, content)


def _no_counts() -> NDArray[np.int64]:
    return np.zeros((1, 256), dtype=np.int64)


def _histogram(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.stack([np.bincount(channel.ravel(), minlength=256) for channel in pixels])


@contextmanager
def locked_store(folder: Path) -> Iterator[None]:
    """Wait until no other process makes the store in `folder`, and keep others out of it meanwhile."""
    with folder.with_name(f".{folder.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _told(
    read: Callable[[int], StoredPicture], count: int, what: str, progress: Progress
) -> Iterator[StoredPicture]:
    for index in range(count):
        yield read(index)
        progress(what, index + 1, count)


def _is_made_from(folder: Path, source: Source, count: int) -> bool:
    """Whether the store is whole and holds what `source` says."""
    try:
        table = load_array(folder / SHAPES)
        size = (folder / PIXELS).stat().st_size
    except (FileNotFoundError, ValueError, EOFError):
        return False
    whole = len(table) == count and size == int(table[:, :3].prod(axis=1).sum())
    return whole and source.made(folder, FORMAT)
