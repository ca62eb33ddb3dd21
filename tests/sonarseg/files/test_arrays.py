"""Arrays read by several threads at once."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sonarseg.files.arrays import load_array


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_many_threads_read_many_files(tmp_path, mmap_mode):
    """Threads are switched as often as possible."""
    paths = []
    for index in range(20):
        paths.append(tmp_path / f"{index}.npy")
        np.save(paths[-1], np.full((3, index + 1, 4), index, np.float16))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda path: load_array(path, mmap_mode), paths * 200))
    finally:
        sys.setswitchinterval(before)
    assert all((array == index % 20).all() for index, array in enumerate(found))
    assert found[7].shape == (3, 8, 4)


def test_pickles_are_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_array(tmp_path / "objects.npy")
