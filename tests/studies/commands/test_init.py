"""What `init` writes into a survey."""

import errno
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from sonarseg.errors import UserError
from sonarseg.survey.layout import open_survey
from sonarseg.survey.splits.strips_from_names import write_groups
from studies.commands import survey_lists, tune
from studies.commands.survey_lists import settle_strips
from studies.main import app

LINES, TILES = 8, 3


@pytest.fixture
def survey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight lines of three tiles, with masks, without groups.csv and lists of splits."""
    root = tmp_path / "bay"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("mud\nrock\n")
    rows = ["tile,mud,rock"]
    for line in range(LINES):
        for number in range(TILES):
            tile = f"line{line}-{number:04d}"
            Image.new("L", (8, 6), 40 * number).save(root / "images" / f"{tile}.png")
            Image.new("L", (8, 6), line % 2).save(root / "masks" / f"{tile}.png")
            rows.append(f"{tile},{1 - line % 2},{line % 2}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    return root


def init(*options: str) -> Result:
    result = CliRunner().invoke(app, ["init", "bay", "--background", "none", *options])
    assert result.exit_code in (0, 2), result
    return result


def add_tile(survey: Path) -> None:
    Image.new("L", (8, 6)).save(survey / "images" / "extra.png")
    with (survey / "labels.csv").open("a") as file:
        file.write("extra,1,0\n")


def test_init_writes_the_splits_and_later_tiles_go_to_train(survey: Path) -> None:
    assert "Splits were made: " in init().output
    before = open_survey(survey).splits
    add_tile(survey)
    after = open_survey(survey).splits
    assert after == {**before, "train": (*before["train"], "extra")}
    told = CliRunner().invoke(app, ["check", "bay"]).output
    assert "The tile extra is in no list of " in " ".join(told.split())
    assert "Splits were made" not in init("-w", "second").output
    assert "again; the lists before are in before-N" in init("-w", "third", "--resplit").output
    assert open_survey(survey).added == ()


def test_tune_tells_of_tiles_that_were_added(survey: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise UserError("enough")

    init()
    add_tile(survey)
    monkeypatch.setattr(tune, "_run", stop)
    told = " ".join(CliRunner().invoke(app, ["tune", "all", "bay-study"]).stdout.split())
    assert "note: The tile extra is in no list of " in told


def test_a_survey_without_masks_is_trained_on_whole(survey: Path) -> None:
    shutil.rmtree(survey / "masks")
    assert "all labelled tiles are trained on" in init().output
    assert {split: len(tiles) for split, tiles in open_survey(survey).splits.items()} == {
        "train": LINES * TILES,
        "val": 0,
        "test": 0,
    }


def test_a_workspace_that_exists_leaves_the_survey_as_it_is(survey: Path) -> None:
    init()
    shutil.rmtree(survey / "splits")
    result = init("--resplit", "--groups", "from-names", "--workspace", "bay-study")
    assert (result.exit_code, "not overwritten" in result.stderr) == (2, True)
    assert not (survey / "splits").exists()
    assert not (survey / "groups.csv").exists()


def test_new_splits_get_a_workspace_of_their_own(survey: Path) -> None:
    init()
    before = Path("bay-study/study.toml").read_bytes()
    assert "sonarseg tune all bay-study-2" in init("--resplit").output
    assert Path("bay-study/study.toml").read_bytes() == before


def test_strips_are_taken_from_names_before_the_splits_are_made(survey: Path) -> None:
    init("--groups", "from-names")
    opened = open_survey(survey)
    assert opened.groups["line3-0001"] == "line3"
    homes = {(opened.groups[tile], split) for tile, split in opened.split_of.items()}
    assert len(homes) == LINES


@pytest.mark.parametrize("options", [(), ("--groups", "none")])
def test_without_a_terminal_no_strips_are_taken(survey: Path, options: tuple[str, ...]) -> None:
    output = init(*options).output
    assert not (survey / "groups.csv").exists()
    assert ("--groups from-names takes them as strips" in output) is (options == ())


@pytest.mark.parametrize("agreed", [True, False])
def test_on_a_terminal_the_person_is_asked(survey: Path, agreed: bool) -> None:
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return agreed

    assert settle_strips(open_survey(survey), None, ask) is agreed
    assert (survey / "groups.csv").is_file() is agreed
    assert "24 tiles count along 8 lines (line0-0000 is of line0)" in asked[0]


def test_a_read_only_survey_is_told_and_gone_on_with(survey: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(survey))

    monkeypatch.setattr(survey_lists, "write_splits", refuse)
    monkeypatch.setattr(survey_lists, "write_groups", refuse)
    result = init("--groups", "from-names")
    assert result.exit_code == 0
    assert "is read-only: strips and splits are not written" in result.output
    assert (Path("bay-study") / "study.toml").is_file()


def test_a_survey_with_strips_keeps_them(survey: Path) -> None:
    write_groups(survey, {"line0-0000": "x"})
    assert "taken from the names" not in init("--groups", "from-names").output
