"""Files and folders that appear whole or not at all."""

from pathlib import Path

import pytest

from sonarseg.files.whole import whole_file, whole_folder


def test_a_folder_takes_the_place_of_the_one_before_it(tmp_path: Path) -> None:
    folder = tmp_path / "cams"
    for name in ("old", "new"):
        with whole_folder(folder) as partial:
            (partial / name).touch()
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_after_an_error_nothing_is_left_and_what_was_there_stays(whole, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()

    def write_in_vain() -> None:
        with whole(place) as partial:
            (partial / "part" if partial.is_dir() else partial).touch()
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_in_vain()
    assert list(tmp_path.iterdir()) == [place]
