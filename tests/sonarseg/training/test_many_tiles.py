"""What a run holds in memory does not grow with the pixels of its survey."""

import tracemalloc
from pathlib import Path

import pytest

from benchmarks.many_tiles import SIZE, list_tiles
from sonarseg.training.run import run

FEW, MANY = 40, 340


@pytest.fixture(autouse=True)
def untraced():
    yield
    tracemalloc.stop()


def peak(run_dir: Path) -> int:
    """Bytes that Python and NumPy held at most during a run; mapped files do not count."""
    tracemalloc.start(1)
    run(run_dir)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_a_tile_more_costs_its_name_path_and_labels_alone(tmp_path: Path) -> None:
    # The first run imports what is imported late.
    run(list_tiles(tmp_path / "first", FEW))
    few, many = (peak(list_tiles(tmp_path / str(count), count)) for count in (FEW, MANY))
    a_tile = (many - few) / (MANY - FEW)
    assert a_tile < SIZE * SIZE / 2, f"{a_tile:.0f} bytes for a tile of {SIZE * SIZE} pixels"
