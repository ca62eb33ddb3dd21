import shutil
from pathlib import Path

import pytest

from studies.pipeline import tune_crf
from studies.stages.run_settings import RunSettings
from studies.workspace import Workspace
from tests.support.workspaces import make_run_settings, make_workspace, without_network


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return make_workspace(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def tuned_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Survey and workspace after the crf study, made once."""
    folder = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as monkeypatch:
        study = tune_crf(make_workspace(folder, monkeypatch), make_run_settings("good"))
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    return folder


@pytest.fixture
def tuned(tuned_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace of its own, of which the crf study is done."""
    shutil.copytree(tuned_template, tmp_path, dirs_exist_ok=True)
    without_network(tmp_path / "survey", monkeypatch)
    return Workspace(tmp_path / "study")


@pytest.fixture
def run_settings() -> RunSettings:
    return make_run_settings("good")
