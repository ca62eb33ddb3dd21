"""A packed model, used in another folder without survey and database."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.checkpoint.files import save_checkpoint
from sonarseg.training.checkpoint.model import Model, build_network
from sonarseg.training.config import NetworkConfig, RunConfig, SonarGeometry
from sonarseg.training.data.tiles import Normalisation
from studies.main import app
from studies.workspace import Workspace


def write_run(run_dir: Path) -> None:
    network = NetworkConfig(encoder="resnet18", stages=2, decoder_channels=8)
    model = Model(
        build_network(network, 1, 2),
        ("mud", "rock"),
        None,
        GreyScaling(),
        Normalisation((0.5,), (0.2,)),
        network,
        SonarGeometry(),
        torch.device("cpu"),
    )
    run_dir.mkdir(parents=True)
    (run_dir / "config.json").write_text(RunConfig(survey="../../survey").model_dump_json())
    state = {"model": model.description(), "network": model.network.state_dict()}
    save_checkpoint(run_dir / "checkpoint.pt", state)


def sonarseg(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def packed(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The unpacked file, in a folder where nothing else is; survey and workspace are gone."""
    write_run(workspace.runs_dir / "loss-0004")
    workspace.report_path.write_text("<html>")
    monkeypatch.chdir(tmp_path)
    sonarseg("pack", "study", "--run", "loss-0004", "-o", "new/folder/model.zip")
    elsewhere = tmp_path / "elsewhere"
    with zipfile.ZipFile("new/folder/model.zip") as archive:
        archive.extractall(elsewhere)
    (workspace.survey_path / "images").rename(elsewhere / "tiles")
    for folder in (workspace.survey_path, workspace.root):
        shutil.rmtree(folder)
    monkeypatch.chdir(elsewhere)
    return elsewhere / "study-model"


def test_the_unpacked_model_makes_maps(packed: Path) -> None:
    held = sorted(path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file())
    assert held == [
        *("README.txt", "model.json", "report.html"),
        *("runs/loss-0004/checkpoint.pt", "runs/loss-0004/config.json", "study.toml"),
    ]
    assert "11 tiles mapped" in sonarseg("predict", "study-model", "--images", "tiles", "-o", "out")
    mask = np.asarray(Image.open("out/masks/train0.png"))
    assert mask.shape == (20, 24)
    assert "2 tiles mapped" in sonarseg(
        *("predict", "study-model", "--images", "tiles/val0.png", "tiles/val1.png", "-o", "two")
    )


def test_without_tiles_the_unpacked_model_asks_for_them(packed: Path) -> None:
    result = CliRunner().invoke(app, ["predict", "study-model"])
    assert result.exit_code == 2
    assert "name your tiles with --images" in result.stderr


def test_a_file_that_is_there_is_not_overwritten(packed: Path) -> None:
    Path("mine.zip").write_text("mine")
    result = CliRunner().invoke(app, ["pack", "study-model", "-o", "mine.zip"])
    assert result.exit_code == 2
    assert "mine.zip exists and is not overwritten" in result.stderr
    assert Path("mine.zip").read_text() == "mine"


def test_the_file_itself_is_no_workspace(packed: Path) -> None:
    shutil.copy(packed.parents[1] / "new/folder/model.zip", "model.zip")
    result = CliRunner().invoke(app, ["predict", "model.zip", "--images", "tiles"])
    assert result.exit_code == 2
    assert "is a packed file: unpack it" in result.stderr
