import sys
from pathlib import Path
from typing import Any

import pytest

OBJECTIVES = Path(__file__).parents[1] / "objectives"
sys.path.insert(0, str(OBJECTIVES))

from tiny_survey import write_cams, write_survey  # noqa: E402

from objectives.run_follower import Timing  # noqa: E402
from sonarseg.progress import Progress  # noqa: E402
from sonarseg.survey.fingerprint import survey_fingerprint  # noqa: E402
from sonarseg.survey.layout import Survey, open_survey  # noqa: E402
from studies.pipeline import Machinery  # noqa: E402
from studies.workspace import Workspace  # noqa: E402

STUDY = """\
name = "tiny"
survey = "../survey"
seed = 4

[training]
warmup_epochs = 1
rounds = 2
epochs_per_round = 2

[crf]
trials = 7
guides = ["raw"]
iterations = [0, 3]

[loss]
trials = 6
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return make_workspace(tmp_path, monkeypatch)


def make_workspace(folder: Path, monkeypatch: pytest.MonkeyPatch, **survey: bool) -> Workspace:
    """A workspace beside a survey, whose CAMs are made without a network."""
    root = write_survey(folder / "survey", **survey)
    monkeypatch.setenv("FAKE_FINGERPRINT", survey_fingerprint(open_survey(root)))

    def fake_extract_cams(
        run_dir: Path, opened: Survey, splits: list[str], cams: Path, device: str, progress: Progress
    ) -> None:
        write_cams(opened.root, cams, tuple(splits))

    monkeypatch.setattr("sonarseg.training.cams.extract_cams", fake_extract_cams)
    (folder / "study").mkdir()
    (folder / "study" / "study.toml").write_text(STUDY)
    return Workspace(folder / "study")


def rewrite(workspace: Workspace, old: str, new: str) -> Workspace:
    """The same workspace after a change of its study.toml."""
    path = workspace.root / "study.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return Workspace(workspace.root)


@pytest.fixture
def machinery() -> Machinery:
    return make_machinery("good")


def make_machinery(behaviour: str, **changes: Any) -> Machinery:
    """Runs of the stand-in program, dense CRF in this process."""
    command = (sys.executable, str(OBJECTIVES / "fake_run_program.py"), behaviour)
    return Machinery(**{"jobs": 1, "command": command, "timing": Timing(poll=0.02, grace=0.5), **changes})
