import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sonarseg.cam.files import read_cam, write_cam
from sonarseg.errors import UserError


@given(scores=arrays(np.float32, array_shapes(min_dims=3, max_dims=3), elements=st.floats(0, 1, width=32)))
@settings(deadline=None, max_examples=25)
def test_scores_come_back_to_half_precision(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("cams") / "tile.npy"
    write_cam(path, scores)
    read = read_cam(path)
    assert read.dtype == np.float32 and read.shape == scores.shape
    assert np.allclose(read, scores, rtol=2**-11, atol=2**-25)
    assert read.max() <= 1


def test_files_hold_two_bytes_a_score_and_nothing_is_left_beside(tmp_path):
    path = tmp_path / "strip.07.npy"
    write_cam(path, np.zeros((4, 50, 60), dtype=np.float32))
    assert path.stat().st_size == pytest.approx(2 * 4 * 50 * 60, abs=256)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_read_may_be_written_to(tmp_path):
    write_cam(tmp_path / "tile.npy", np.zeros((1, 2, 2)))
    read_cam(tmp_path / "tile.npy")[0] = 1


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "tile.npy"
    write_cam(path, np.ones((1, 2, 2)))

    def fail(*_args):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(OSError, match="No space"):
        write_cam(path, np.zeros((1, 2, 2)))
    assert read_cam(path).min() == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"tile\.npy is missing"):
        read_cam(tmp_path / "tile.npy")


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        npy(np.zeros((2, 5, 5), dtype=np.float16))[:-7],
        npy(np.array([{}])),
        npy(np.zeros((5, 5), dtype=np.float16)),
        npy(np.zeros((2, 5, 5), dtype=np.int64)),
    ],
    ids=["empty", "junk", "cut short", "objects", "two-dimensional", "integers"],
)
def test_a_broken_file_is_one_sentence(tmp_path, content):
    path = tmp_path / "tile.npy"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"tile\.npy (is not a CAM file|does not hold)"):
        read_cam(path)
