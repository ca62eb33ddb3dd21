import shutil
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
from studies.pipeline import tune_crf  # noqa: E402
from studies.stages import Machinery  # noqa: E402
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


@pytest.fixture(scope="session")
def tuned_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Survey and workspace after the crf study, made once."""
    folder = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as monkeypatch:
        study = tune_crf(make_workspace(folder, monkeypatch), make_machinery("good"))
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    return folder


@pytest.fixture
def tuned(tuned_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace of its own, of which the crf study is done."""
    shutil.copytree(tuned_template, tmp_path, dirs_exist_ok=True)
    _without_network(tmp_path / "survey", monkeypatch)
    return Workspace(tmp_path / "study")


def make_workspace(folder: Path, monkeypatch: pytest.MonkeyPatch, **survey: bool) -> Workspace:
    """A workspace beside a survey, whose CAMs are made without a network."""
    root = write_survey(folder / "survey", **survey)
    _without_network(root, monkeypatch)
    (folder / "study").mkdir()
    (folder / "study" / "study.toml").write_text(STUDY)
    return Workspace(folder / "study")


def _without_network(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FINGERPRINT", survey_fingerprint(open_survey(root)))

    def fake_extract_cams(
        run_dir: Path, opened: Survey, splits: list[str], cams: Path, device: str, progress: Progress
    ) -> None:
        # Drawn again for other splits, they would be others.
        write_cams(opened.root, cams, tuple(split for split in splits if not (cams / split).is_dir()))

    monkeypatch.setattr("sonarseg.training.cams.extract_cams", fake_extract_cams)


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
