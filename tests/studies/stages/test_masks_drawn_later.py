"""Masks that are drawn after a start without any."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonarseg.errors import UserError
from studies.pipeline import tune_all, tune_crf
from studies.stages.open_studies import open_studies
from studies.stages.run_settings import RunSettings
from studies.storage.open import load_studies
from studies.workspace import Workspace
from tests.support.workspaces import make_workspace


@pytest.fixture
def unmasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return make_workspace(tmp_path, monkeypatch, val_masks=False)


def draw_masks(workspace: Workspace) -> None:
    for tile in (f"val{i}" for i in range(5)):
        grey = np.asarray(Image.open(workspace.survey_path / "images" / f"{tile}.png"))
        mask = Image.fromarray((grey > 120).astype(np.uint8))
        mask.save(workspace.survey_path / "masks" / f"{tile}.png")


def starts(workspace: Workspace, run: str) -> int:
    return len((workspace.runs_dir / run / "starts.txt").read_text().split())


def test_before_any_run_the_studies_are_tuned(unmasked: Workspace) -> None:
    _, studies = open_studies(unmasked)
    assert all("untuned" in study.user_attrs for study in studies.values())
    draw_masks(unmasked)
    open_studies(Workspace(unmasked.root))
    for study in load_studies(unmasked.database).values():
        assert "untuned" not in study.user_attrs
        assert study.user_attrs["tiles"] == [f"val{i}" for i in range(5)]
        assert study.user_attrs["survey"]["fingerprint"] == Workspace(unmasked.root).survey().fingerprint


@pytest.mark.parametrize("after", ["warm-up", "final"])
def test_the_warm_up_is_kept(unmasked: Workspace, run_settings: RunSettings, after: str) -> None:
    (tune_crf if after == "warm-up" else tune_all)(unmasked, run_settings)
    draw_masks(unmasked)
    study = tune_crf(Workspace(unmasked.root), run_settings)
    assert starts(unmasked, "warm-up") == 1
    assert len(study.trials) >= 7
    assert study.best_value > 0


def test_another_change_of_the_survey_is_still_refused(unmasked: Workspace) -> None:
    open_studies(unmasked)
    draw_masks(unmasked)
    Image.new("L", (24, 20), 3).save(unmasked.survey_path / "images" / "train1.png")
    with pytest.raises(UserError, match=r"the survey .* changed"):
        open_studies(Workspace(unmasked.root))
