"""Whatever a person gets wrong ends in one sentence and exit code 2."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.command_line import done_here, shrink, sonarseg, sonarseg_here


@pytest.fixture(scope="module")
def fresh(survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The survey and a workspace `ws` in which nothing has run; copy before changing."""
    folder = tmp_path_factory.mktemp("fresh")
    shutil.copytree(survey, folder / "survey")
    done_here("init", "survey", "-w", "ws", "--background", "none", cwd=folder)
    shrink(folder / "ws" / "study.toml")
    return folder


@pytest.fixture
def folder(fresh: Path, tmp_path: Path) -> Path:
    """A copy of `fresh` to break."""
    return shutil.copytree(fresh, tmp_path, dirs_exist_ok=True)


def edit(folder: Path, old: str, new: str) -> int:
    """Change study.toml; return the line of the change."""
    path = folder / "ws" / "study.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("batch_size", "batch_sise", "training.batch_sise is not a field"),
        ('encoder = "resnet18"', 'encoder = "vgg"', 'network.encoder = "vgg" is wrong'),
    ],
)
def test_a_wrong_field_is_named_with_its_line(folder: Path, old: str, new: str, says: str) -> None:
    line = edit(folder, old, new)
    sentence = sonarseg("tune", "all", cwd=folder).sentence()
    assert f"study.toml, line {line}: " in sentence
    assert says in sentence
    assert not (folder / "ws" / "study.db").exists()


def test_toml_that_cannot_be_read(folder: Path) -> None:
    edit(folder, "[network]", "[network")
    assert "is not valid TOML" in sonarseg_here("status", cwd=folder).sentence()


def test_a_missing_survey(folder: Path) -> None:
    assert "nowhere" in sonarseg_here("init", "nowhere", cwd=folder).sentence()
    shutil.rmtree(folder / "survey")
    assert "study.toml, line 7: there is no folder" in sonarseg_here("tune", "all", cwd=folder).sentence()


def test_a_device_that_is_not_there(folder: Path) -> None:
    edit(folder, 'device = "cpu"', 'device = "abacus"')
    sentence = sonarseg_here("tune", "all", cwd=folder).sentence()
    assert 'study.toml, line 10: [device] "abacus" is not a device' in sentence


def test_a_study_is_not_overwritten(folder: Path) -> None:
    text = (folder / "ws" / "study.toml").read_text()
    assert "not overwritten" in sonarseg_here("init", "survey", "-w", "ws", cwd=folder).sentence()
    assert (folder / "ws" / "study.toml").read_text() == text


def test_a_file_in_place_of_the_workspace(folder: Path) -> None:
    (folder / "file").write_text("")
    assert "file" in sonarseg_here("init", "survey", "-w", "file", cwd=folder).sentence()
    assert "file" in sonarseg_here("init", "survey", "-w", "file/ws", cwd=folder).sentence()


def test_a_simulation_keeps_what_is_there(folder: Path) -> None:
    assert "not empty" in sonarseg_here("simulate", "survey", cwd=folder).sentence()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root, tile: (root / "images" / f"{tile}.png").unlink(), "has no picture in images"),
        (lambda root, tile: (root / "images" / f"{tile}.png").write_bytes(b"no picture"), "cannot be read"),
        (lambda root, tile: (root / "classes.txt").write_text("mud\n"), "classes.txt"),
        (lambda root, tile: (root / "labels.csv").unlink(), "label"),
    ],
)
def test_a_damaged_survey_is_refused_by_check_and_init(
    survey: Path, tmp_path: Path, damage: Callable[[Path, str], object], says: str
) -> None:
    shutil.copytree(survey, tmp_path / "survey")
    tile = (survey / "splits" / "train.txt").read_text().split()[0]
    damage(tmp_path / "survey", tile)
    assert says in sonarseg_here("init", "survey", cwd=tmp_path).sentence()
    checked = sonarseg_here("check", "survey", cwd=tmp_path)
    assert checked.code == 2
    assert says in checked.out + checked.err
    assert "Traceback" not in checked.err


def test_a_whole_survey_is_described(survey: Path) -> None:
    shown = done_here("check", survey, cwd=survey)
    assert "No problem found" in shown
    assert re.search(r"train\D+15", shown)


@pytest.fixture
def small_disk(fresh: Path, tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB, room for a database and a checkpoint or two, that holds the workspace `ws`."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small tmpfs is not permitted here ({mounted.stderr.strip()})")
    try:
        shutil.copytree(fresh / "ws", disk / "ws")
        text = (disk / "ws" / "study.toml").read_text()
        (disk / "ws" / "study.toml").write_text(text.replace('"../survey"', f'"{fresh / "survey"}"'))
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path, leave: int = 0) -> None:
    """Write until nothing more fits, but for some bytes."""
    (disk / "room").write_bytes(bytes(leave))
    file = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space"):
        while True:
            os.write(file, bytes(4096))
    os.close(file)
    (disk / "room").unlink()


def test_a_disk_that_fills_up_during_training(small_disk: Path) -> None:
    # Room for the database and the decoded tiles, not for a checkpoint
    fill(small_disk, leave=2 << 20)
    sentence = sonarseg("tune", "all", "ws", cwd=small_disk).sentence()
    assert "No space left" in sentence
    log = (small_disk / "ws" / "runs" / "warm-up" / "log.txt").read_text()
    assert "begins" in log, "the disk was full before training"
    assert not list((small_disk / "ws").rglob("*.partial"))


def test_a_full_disk(fresh: Path, small_disk: Path) -> None:
    fill(small_disk)
    for command in (["tune", "all", "ws"], ["init", fresh / "survey", "-w", "new"]):
        sentence = sonarseg_here(*command, cwd=small_disk).sentence()
        assert re.search("space|full", sentence), sentence


def test_a_workspace_that_cannot_be_written_to(fresh: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for command in (["tune", "all", "ws"], ["init", fresh / "survey", "-w", "new"]):
        assert "Read-only file system" in sonarseg_here(*command, cwd=small_disk).sentence()
