"""Where `predict` writes, and which pictures it takes."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.prediction import find_pictures
from sonarseg.survey.scaling import GreyScaling
from studies.commands.options.several_images import repeat_option
from studies.commands.predict import predict
from studies.commands.results.maps_folder import claim, describe_maps
from studies.workspace import Workspace


class Scaled(NamedTuple):
    """All of a model that a look at headers needs."""

    scaling: GreyScaling


@pytest.mark.parametrize("kind", ["16 bits", "CMYK", "cannot be read"])
def test_maps_stay_if_a_picture_does_not_fit_the_model(
    tmp_path: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    maps, tiles = tmp_path / "maps", tmp_path / "tiles"
    claim(maps, describe_maps(run_dir, ["a"]), overwrite=False)
    write_maps(maps, ("a",))
    tiles.mkdir()
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(tiles / "a.png")
    path = tiles / "b.jpg"
    if kind == "CMYK":
        Image.fromarray(np.zeros((2, 3, 4), np.uint8), "CMYK").save(path)
    elif kind == "16 bits":
        Image.fromarray(np.full((2, 3), 999, np.uint16)).save(path, format="PNG")
    else:
        path.write_bytes(b"no picture")
    monkeypatch.setattr("studies.commands.predict.find_workspace", lambda _: Workspace(tmp_path))
    monkeypatch.setattr("studies.commands.terminal.phases.note_in", lambda *_: None)
    monkeypatch.setattr("studies.commands.options.targets.run_target", lambda *_: run_dir)
    monkeypatch.setattr("sonarseg.training.checkpoint.model.load_model", lambda *_: Scaled(GreyScaling()))
    with pytest.raises(UserError, match=f"b.jpg .*{kind}"):
        predict(None, images=[tiles], output=maps, overwrite=True, device="cpu")
    assert (maps / "masks" / "a.png").is_file()
    with pytest.raises(UserError, match=kind):
        predict(None, images=[tiles], output=tmp_path / "new", device="cpu")
    assert not (tmp_path / "new").exists()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs" / "loss-0001")


def make_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"weights")
    return folder


def write_maps(folder: Path, tiles: tuple[str, ...]) -> None:
    (folder / "masks").mkdir(exist_ok=True)
    for tile in tiles:
        (folder / "masks" / f"{tile}.png").write_bytes(b"")
    (folder / "areas.csv").write_text("tile\n")


def test_the_same_maps_may_be_written_again(tmp_path: Path, run_dir: Path) -> None:
    for _ in range(2):
        claim(tmp_path / "maps", describe_maps(run_dir, ["a", "b"]), overwrite=False)
        write_maps(tmp_path / "maps", ("a", "b"))


@pytest.mark.parametrize("other", ["run", "tiles", "training"])
def test_another_result_is_refused_and_stays(tmp_path: Path, run_dir: Path, other: str) -> None:
    folder = tmp_path / "maps"
    claim(folder, describe_maps(run_dir, ["a"]), overwrite=False)
    write_maps(folder, ("a",))
    if other == "training":
        (run_dir / "checkpoint.pt").write_bytes(b"other weights")
    second = make_run(tmp_path / "runs" / "loss-0002") if other == "run" else run_dir
    maps = describe_maps(second, ["b"] if other == "tiles" else ["a"])
    before = (folder / "maps.json").read_text()
    with pytest.raises(UserError, match="--output, or add --overwrite"):
        claim(folder, maps, overwrite=False)
    assert (folder / "maps.json").read_text() == before
    assert (folder / "masks" / "a.png").is_file()
    (folder / "mine.txt").write_text("kept")
    claim(folder, maps, overwrite=True)
    assert {path.name for path in folder.iterdir()} == {"maps.json", "mine.txt"}


def test_other_files_are_not_maps(tmp_path: Path, run_dir: Path) -> None:
    folder = tmp_path / "drawn"
    (folder / "masks").mkdir(parents=True)
    (folder / "masks" / "a.png").write_bytes(b"drawn by hand")
    maps = describe_maps(run_dir, ["b"])
    with pytest.raises(UserError, match="holds other files"):
        claim(folder, maps, overwrite=False)
    claim(folder, maps, overwrite=True)
    assert (folder / "masks" / "a.png").read_bytes() == b"drawn by hand"


@pytest.mark.parametrize("name", ["classes.txt", "study.toml"])
def test_maps_never_go_into_a_survey_or_a_workspace(tmp_path: Path, run_dir: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(UserError, match="name another folder for the maps"):
        claim(tmp_path, describe_maps(run_dir, ["a"]), overwrite=True)


def test_pictures_of_files_and_folders(tmp_path: Path) -> None:
    for name in ("one/a.png", "one/b.tif", "two/c.PNG", "two/notes.txt", "two/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    one, two = tmp_path / "one", tmp_path / "two"
    assert set(find_pictures(one, two / "c.PNG", one / "a.png")) == {"a", "b", "c"}
    with pytest.raises(UserError, match="would get maps of one name"):
        find_pictures(one, two)
    with pytest.raises(UserError, match=r"notes\.txt is no \.png"):
        find_pictures(two / "notes.txt")
    with pytest.raises(UserError, match="There is no file or folder"):
        find_pictures(tmp_path / "three")


def test_the_option_takes_several_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.toml").write_text("")
    assert repeat_option(["--images", "a.png", "dir", "-o", "out"]) == [
        *("--images", "a.png", "--images", "dir"),
        *("-o", "out"),
    ]
    assert repeat_option(["--images", "a.png", "study"]) == ["--images", "a.png", "study"]
    assert repeat_option(["study", "--run", "best"]) == ["study", "--run", "best"]
