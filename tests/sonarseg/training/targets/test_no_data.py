"""Pixels without data teach nothing: 255 in the targets of every supervision and in predicted masks."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from sonarseg.cam.extract_split import cam_batches, stream_cams
from sonarseg.cam.files import write_cam
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.evaluation import evaluate_crf
from sonarseg.survey.layout import Survey, open_survey
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.checkpoint.model import Model, build_network
from sonarseg.training.config import RunConfig
from sonarseg.training.data.tiles import load_masks, load_tiles
from sonarseg.training.targets.pseudo_labels import make_pseudo_labels
from sonarseg.training.targets.rounds import RoundTargets

SIZE = (24, 32)
VALID = np.ones(SIZE, bool)
VALID[:, :5] = False


@pytest.fixture
def survey(tmp_path: Path, tiny_survey: Path) -> Survey:
    """The tiny survey; its first five columns have no data."""
    root = shutil.copytree(tiny_survey, tmp_path / "survey")
    for path in (root / "images").iterdir():
        grey = np.asarray(Image.open(path))
        Image.fromarray(np.dstack([grey, VALID.astype(np.uint8) * 255])).save(path)
    return open_survey(root)


def test_the_network_sees_0_at_pixels_without_data(survey: Survey) -> None:
    tiles = load_tiles(survey, survey.splits["train"], GreyScaling(), 1.0)
    for index in range(len(tiles)):
        assert not tiles.image(index)[~VALID].any()


def model_of(survey: Survey, config: RunConfig) -> Model:
    torch.manual_seed(0)
    tiles = load_tiles(survey, survey.splits["train"], GreyScaling(), 1.0)
    return Model(
        build_network(config.network, 1, 3).eval(),
        survey.classes,
        None,
        GreyScaling(),
        tiles.normalisation(),
        config.network,
        config.sonar,
        torch.device("cpu"),
    )


def test_cams_are_relative_to_the_highest_score_of_pixels_with_data(
    survey: Survey, tiny_config: RunConfig
) -> None:
    model = model_of(survey, tiny_config)
    tiles = load_tiles(survey, survey.splits["train"], GreyScaling(), 1.0)
    blind = replace(tiles, files=())
    several = np.flatnonzero(tiles.multiclass).tolist()
    batches = cam_batches(tiles, several, model, tiny_config.cam)
    found = dict(stream_cams(model, tiles, batches, tiny_config.cam))
    before = dict(stream_cams(model, blind, batches, tiny_config.cam))
    for index, scores in found.items():
        assert not scores[:, ~VALID].any()
        highest = before[index][:, VALID].max(axis=1, keepdims=True).astype(np.float32)
        expected = before[index][:, VALID] / np.maximum(highest, 1e-6)
        np.testing.assert_allclose(scores[:, VALID], expected, atol=2e-3)
    assert any(before[index][:, ~VALID].any() for index in found)


@pytest.mark.parametrize("supervision", get_args(RunConfig.model_fields["supervision"].annotation))
def test_targets_leave_out_pixels_without_data(
    tmp_path: Path, survey: Survey, tiny_config: RunConfig, supervision: str
) -> None:
    config = tiny_config.model_copy(update={"supervision": supervision})
    opened = survey.with_masks_of("train")
    tiles = load_tiles(opened, survey.splits["train"], GreyScaling(), 1.0)
    model = model_of(survey, config)
    (tmp_path / "run").mkdir()
    targets = RoundTargets(tmp_path / "run", config, opened, model, tiles).of_round(1, lambda *_: None)
    labelled = 0
    for index in range(len(tiles)):
        assert (targets[index][0][~VALID] == 255).all()
        labelled += int((targets[index][0][VALID] != 255).sum())
    assert labelled


@pytest.mark.parametrize("iterations", [0, 2])
def test_pseudo_labels_of_cam_files_leave_out_pixels_without_data(
    tmp_path: Path, survey: Survey, iterations: int
) -> None:
    tiles = survey.splits["train"][:2]
    for tile in tiles:
        write_cam(tmp_path / f"{tile}.npy", np.random.default_rng(0).random((3, *SIZE), dtype=np.float32))
    settings = CrfParameters(iterations=iterations)
    make_pseudo_labels(survey, tiles, tmp_path, tmp_path / "labels", settings, GreyScaling())
    for tile in tiles:
        labels = np.asarray(Image.open(tmp_path / "labels" / f"{tile}.png"))
        assert ((labels == 255) == ~VALID).all()


def test_pixels_without_data_are_not_scored(tmp_path: Path, survey: Survey) -> None:
    tiles = survey.splits["val"]
    (tmp_path / "cams" / "val").mkdir(parents=True)
    for tile in tiles:
        scores = np.random.default_rng(0).random((3, *SIZE), dtype=np.float32)
        write_cam(tmp_path / "cams" / "val" / f"{tile}.npy", scores)
    found = evaluate_crf(survey, "val", tmp_path / "cams", CrfParameters(iterations=1), GreyScaling())
    assert (found.confusions.sum(axis=(1, 2)) == VALID.sum()).all()
    masks = load_masks(survey, tiles, tmp_path / "masks")
    for index in range(len(tiles)):
        assert ((masks[index][0] == 255) == ~VALID).all()
