"""What a run holds in memory does not grow with the pixels of its survey."""

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.many_tiles import list_tiles
from sonarseg.survey.pixel_store import PixelStore
from sonarseg.training.data.feed import PictureFeed
from sonarseg.training.run import run

# A tile's name, path and labels are small beside its pixels.
SIZE, FEW, MANY = 128, 40, 240


@pytest.fixture(scope="module", autouse=True)
def imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The first run imports what is imported late."""
    run(list_tiles(tmp_path_factory.mktemp("first"), FEW, SIZE))


@pytest.fixture(autouse=True)
def traced(imported: None) -> Iterator[None]:
    """Count what Python and NumPy hold; mapped files do not count."""
    tracemalloc.start(1)
    yield
    tracemalloc.stop()


def in_tensors() -> int:
    """Bytes of all tensors there are, but for those in mapped files or in arrays, which are counted there."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage()
        for tensor in gc.get_objects()
        if issubclass(type(tensor), torch.Tensor) and tensor.device.type == "cpu"
    }
    return sum(storage.nbytes() for storage in storages.values() if storage.resizable())


def most_held(run_dir: Path) -> int:
    """Bytes in tensors after the last epoch, and those that Python held at most."""
    most = 0
    tracemalloc.reset_peak()

    def look(what: str, done: int, total: int, note: str = "") -> None:
        nonlocal most
        # The last epoch is told of while nothing else is done.
        if what == "training" and done == total:
            most = in_tensors()

    run(run_dir, look)
    return most + tracemalloc.get_traced_memory()[1]


def bytes_a_tile(folder: Path) -> float:
    few, many = (most_held(list_tiles(folder / str(count), count, SIZE)) for count in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def test_a_tile_more_costs_its_name_path_and_labels_alone(tmp_path: Path) -> None:
    assert bytes_a_tile(tmp_path) < SIZE * SIZE / 2


def test_tiles_that_are_held_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: here every store is copied into memory, as it must not be."""
    original = PictureFeed.__init__

    def hold(held: PictureFeed, store: PixelStore, *arguments: Any, **options: Any) -> None:
        original(held, store, *arguments, **options)
        held.copy = torch.from_numpy(store.pixels).clone()  # type: ignore[attr-defined]

    monkeypatch.setattr(PictureFeed, "__init__", hold)
    assert bytes_a_tile(tmp_path) > SIZE * SIZE / 2
