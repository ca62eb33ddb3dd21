"""The commands `sonarseg import ...` on the terminal."""

from pathlib import Path

import numpy as np
import pytest

from sonarseg.survey.pictures import write_png
from studies.commands import imports
from studies.commands.terminal import console
from tests.support.command_line import done_here, sonarseg_here
from tests.support.drawn_files import write_labelme
from tests.support.tiny_survey import CLASSES, SIZE, write_survey

TABLE = "file;mud;rock\nt1.png;x;\nt2.png;x;x\nt9.png;x;\n"


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for tile in ("t1", "t2", "t3"):
        write_png(tmp_path / "images" / f"{tile}.png", np.zeros((4, 4), dtype=np.uint8))
    (tmp_path / "table.csv").write_text(TABLE)
    return tmp_path


def test_a_table_is_shown_before_it_is_written(survey: Path) -> None:
    outcome = sonarseg_here("import", "labels", "table.csv", ".", cwd=survey)
    assert outcome.code == 2
    assert "--yes writes labels.csv" in outcome.out
    assert not (survey / "labels.csv").exists()
    assert not (survey / "classes.txt").exists()
    out = done_here("import", "labels", "table.csv", ".", "--yes", cwd=survey)
    for words in ("semicolons", "mud", "1 without labels (t3)", "1 rows that name no picture", "(t9.png)"):
        assert words in out, words
    assert (survey / "labels.csv").read_text() == "tile,mud,rock\nt1,1,0\nt2,1,1\n"
    assert (survey / "classes.txt").read_text() == "mud\nrock\n"


@pytest.mark.parametrize("answer", [True, False])
def test_the_person_is_asked_once(survey: Path, monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    asked: list[str] = []

    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

    def ask(question: str) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr(imports, "sys", type("Sys", (), {"stdin": Terminal}))
    monkeypatch.setattr(console, "ask", ask)
    done_here("import", "labels", "table.csv", ".", cwd=survey)
    assert asked == ["Write labels.csv?"]
    assert (survey / "labels.csv").exists() is answer


def test_many_problems_fill_one_screen_and_a_file(survey: Path) -> None:
    rows = "".join(f"t1.png;{value};0\n" for value in range(50))
    (survey / "table.csv").write_text(f"file;mud;rock\nt3;1;0\n{rows}")
    outcome = sonarseg_here("import", "labels", "table.csv", ".", "--yes", cwd=survey)
    assert outcome.code == 2
    lines = outcome.err.strip().splitlines()
    assert len(lines) == imports.MOST_LINES + 1
    assert imports.PROBLEMS_FILE in lines[-1]
    assert len((survey / imports.PROBLEMS_FILE).read_text().splitlines()) == 49
    assert not (survey / "labels.csv").exists()


def test_labels_from_the_masks_of_the_survey(tmp_path: Path) -> None:
    survey = write_survey(tmp_path / "survey")
    before = sorted((survey / "labels.csv").read_text().split())
    (survey / "labels.csv").unlink()
    done_here("import", "labels", survey / "masks", survey, cwd=tmp_path)
    assert sorted((survey / "labels.csv").read_text().split()) == before
    assert (
        "not overwritten"
        in sonarseg_here("import", "labels", survey / "masks", survey, cwd=tmp_path).sentence()
    )
    (survey / "labels.csv").unlink()
    done_here("import", "masks", survey, cwd=tmp_path)
    assert sorted((survey / "labels.csv").read_text().split()) == before


def test_masks_of_a_program_need_all_three_names(tmp_path: Path) -> None:
    outcome = sonarseg_here("import", "masks", "drawn", "survey", cwd=tmp_path)
    assert outcome.code == 2 and "--from" in outcome.err and "Traceback" not in outcome.err


def test_masks_of_drawing_programs_by_the_command(tmp_path: Path) -> None:
    survey = write_survey(tmp_path / "survey", val_masks=False)
    out = done_here("export", "tiles", survey, "out", "--split", "val", cwd=tmp_path)
    assert "5 tiles in out" in out
    drawn = {
        path.stem: np.ones(SIZE, dtype=np.uint8)
        for path in sorted((tmp_path / "out" / "images").iterdir())[:3]
    }
    write_labelme(tmp_path / "drawn", drawn, CLASSES)
    out = done_here("import", "masks", "--from", "labelme", "drawn", survey, cwd=tmp_path)
    assert "rock" in out
    assert f"3 masks: {survey / 'masks'}" in out
    refused = sonarseg_here("import", "masks", "--from", "labelme", "drawn", survey, cwd=tmp_path)
    assert refused.code == 2
    assert refused.err.count("exists and is not overwritten") == 3


def test_export_without_a_name_is_that_of_results(tmp_path: Path) -> None:
    for words in (("export",), ("export", "--to", "csv"), ("export", "results")):
        assert "sonarseg init SURVEY" in sonarseg_here(*words, cwd=tmp_path).sentence(), words
    assert "tiles" in done_here("export", "--help", cwd=tmp_path)
