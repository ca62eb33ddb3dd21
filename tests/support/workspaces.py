"""Workspaces of a tiny survey, whose CAMs and runs are made without a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from objectives.run_monitor import Timing
from sonarseg.progress import Progress
from sonarseg.survey.layout import Survey, open_survey
from studies.stages.run_settings import RunSettings
from studies.workspace import Workspace
from tests.support import fake_run_program
from tests.support.tiny_survey import write_cams, write_survey

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


def make_workspace(folder: Path, monkeypatch: pytest.MonkeyPatch, **survey: bool) -> Workspace:
    """A workspace beside a survey, whose CAMs are made without a network."""
    root = write_survey(folder / "survey", **survey)
    without_network(root, monkeypatch)
    (folder / "study").mkdir()
    (folder / "study" / "study.toml").write_text(STUDY)
    return Workspace(folder / "study")


def without_network(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FINGERPRINT", open_survey(root).fingerprint)

    def fake_extract_cams(
        run_dir: Path, opened: Survey, splits: list[str], cams: Path, device: str, progress: Progress
    ) -> None:
        # Drawn again for other splits, they would be others.
        write_cams(opened.root, cams, tuple(split for split in splits if not (cams / split).is_dir()))

    monkeypatch.setattr("sonarseg.cam.extract_split.extract_cams", fake_extract_cams)


def rewrite(workspace: Workspace, old: str, new: str) -> Workspace:
    """The same workspace after a change of its study.toml."""
    path = workspace.root / "study.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return Workspace(workspace.root)


def make_run_settings(behaviour: str, **changes: Any) -> RunSettings:
    """Runs of the stand-in program, dense CRF in this process."""
    command = (sys.executable, fake_run_program.__file__, behaviour)
    return RunSettings(**{"jobs": 1, "command": command, "timing": Timing(poll=0.02, grace=0.5), **changes})
