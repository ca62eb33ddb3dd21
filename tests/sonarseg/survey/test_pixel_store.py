"""The store of decoded tiles: the pixels of the files, made once, made anew only where they changed."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.errors import UserError
from sonarseg.survey.pixel_store import Source, StoredPicture, open_store, packed, stored, write_store


def pictures(shapes: list[tuple[int, int]], channels: int = 1, seed: int = 0) -> list[StoredPicture]:
    rng = np.random.default_rng(seed)
    return [
        StoredPicture(rng.integers(0, 256, (channels, *shape), dtype=np.uint8), (2 * shape[0], 2 * shape[1]))
        for shape in shapes
    ]


@given(
    shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=6),
    channels=st.sampled_from([1, 3]),
)
@settings(deadline=None, max_examples=30)
def test_a_store_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[int, int]], channels: int
) -> None:
    wanted = pictures(shapes, channels)
    folder = tmp_path_factory.mktemp("store") / "tiles"
    write_store(folder, iter(wanted), len(wanted), {})
    for store in (open_store(folder), packed(wanted)):
        assert len(store) == len(wanted)
        for index, picture in enumerate(wanted):
            np.testing.assert_array_equal(store[index], picture.pixels)
            assert tuple(store.disk_sizes[index]) == picture.disk_size
        if wanted:
            values = np.concatenate([picture.pixels.reshape(channels, -1) for picture in wanted], axis=1)
            expected = [[int((channel == value).sum()) for value in range(256)] for channel in values]
            np.testing.assert_array_equal(store.histogram, expected)
    assert [path.name for path in folder.parent.iterdir()] == ["tiles"]


class Reading:
    """Files of one byte value each, and how often they were read."""

    def __init__(self, folder: Path) -> None:
        self.files = [folder / f"{name}.bin" for name in "abc"]
        self.count = 0
        for number, path in enumerate(self.files):
            path.write_bytes(bytes([number]))

    def __call__(self, index: int) -> StoredPicture:
        self.count += 1
        return StoredPicture(np.full((1, 2, 2), self.files[index].read_bytes()[0], np.uint8), (2, 2))

    def values(self, store_dir: Path, **settings: object) -> list[int]:
        store = stored(store_dir, Source(self.files, settings), 3, self)
        return [int(store[index][0, 0, 0]) for index in range(3)]


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    return Reading(tmp_path)


def test_it_is_made_once(tmp_path: Path, reading: Reading) -> None:
    assert reading.values(tmp_path / "store") == [0, 1, 2]
    assert reading.values(tmp_path / "store") == [0, 1, 2]
    assert reading.count == 3


def test_a_changed_file_or_setting_makes_it_again(tmp_path: Path, reading: Reading) -> None:
    reading.values(tmp_path / "store")
    reading.files[1].write_bytes(bytes([77]))
    os.utime(reading.files[1], (1, 1))
    assert reading.values(tmp_path / "store") == [0, 77, 2]
    assert reading.values(tmp_path / "store", scale=2) == [0, 77, 2]
    assert reading.count == 9


def test_files_that_were_only_touched_or_copied_do_not(tmp_path: Path, reading: Reading) -> None:
    reading.values(tmp_path / "store")
    for path in reading.files:
        os.utime(path, (5, 5))
    assert reading.values(tmp_path / "store") == [0, 1, 2]
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in reading.files:
        shutil.copy(path, moved)
    reading.files = [moved / path.name for path in reading.files]
    assert reading.values(tmp_path / "store") == [0, 1, 2]
    assert reading.count == 3


@pytest.mark.parametrize("broken", ["pixels.bin", "shapes.npy", "store.json"])
def test_a_damaged_store_is_made_again(tmp_path: Path, reading: Reading, broken: str) -> None:
    reading.values(tmp_path / "store")
    path = tmp_path / "store" / broken
    path.write_bytes(path.read_bytes()[:-1])
    assert reading.values(tmp_path / "store") == [0, 1, 2]
    assert reading.count == 6


def test_an_interrupted_store_is_not_there(tmp_path: Path, reading: Reading) -> None:
    def stop(what: str, done: int, total: int, note: str = "") -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path / "store", Source(reading.files, {}), 3, reading, progress=stop)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert reading.values(tmp_path / "store") == [0, 1, 2]


def test_a_missing_file_is_one_sentence(tmp_path: Path, reading: Reading) -> None:
    reading.files[2].unlink()
    with pytest.raises(UserError, match=r"c\.bin is missing"):
        reading.values(tmp_path / "store")
