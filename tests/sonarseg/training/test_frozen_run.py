"""Runs on the features of a frozen encoder."""

import gc
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from sonarseg.cam.extract_split import cam_batches, extract_cams, stream_cams
from sonarseg.cam.files import read_cam
from sonarseg.errors import UserError
from sonarseg.features.encoder import FrozenEncoder
from sonarseg.network.timm_weights import lite0_state
from sonarseg.prediction import predict_probabilities
from sonarseg.survey.layout import open_survey
from sonarseg.training.checkpoint.files import CHECKPOINT
from sonarseg.training.checkpoint.model import load_model
from sonarseg.training.config import CamConfig, RunConfig
from sonarseg.training.data.feed import feed_of
from sonarseg.training.data.frozen import seen_by
from sonarseg.training.data.loading import load_run_data, new_model
from sonarseg.training.data.tiles import load_tiles
from sonarseg.training.run import run
from sonarseg.training.schedule import plan
from sonarseg.training.trainer import Trainer
from tests.support.run_folders import results, stopped_after, write_run
from tests.support.tiny_survey import write_survey

FROZEN = {
    "encoder": "efficientnet_lite0",
    "weights": "imagenet",
    "encoder_training": "frozen",
    "decoder_channels": 8,
    "cell": 4,
}
TRAINING = {"warmup_epochs": 3, "rounds": 2, "epochs_per_round": 2, "batch_size": 2, "ema_epochs": 1.5}


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_survey(tmp_path_factory.mktemp("frozen") / "survey")


def frozen_config(survey: Path, tiles: Path, **network: object) -> RunConfig:
    return RunConfig.model_validate(
        {
            "survey": str(survey),
            "tiles": str(tiles),
            "network": FROZEN | network,
            "cam": {"loss": "candidate", "form": "softmax", "scales": [1.0]},
            "training": TRAINING | {"restart_each_round": True, "labels_from": "probabilities"},
            "crf": {"iterations": 1},
            "device": "cpu",
        }
    )


@pytest.fixture(scope="module")
def finished(survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run_dir = write_run(folder / "run", frozen_config(survey, folder / "tiles"))
    run(run_dir)
    return run_dir


def test_features_are_computed_once_for_all_runs(survey: Path, finished: Path, tmp_path: Path) -> None:
    said: list[str] = []
    config = frozen_config(survey, finished.parent / "tiles")
    run(write_run(tmp_path / "second", config), lambda what, *_: said.append(what))
    assert "training" in said and "computing features" not in said


def test_the_encoder_of_a_run_is_that_of_its_weights(finished: Path) -> None:
    model = load_model(finished, torch.device("cpu"))
    found = dict(model.network.encoder.named_parameters())["body.body.conv_stem.weight"]
    expected = dict(lite0_state())["conv_stem.weight"]
    assert torch.equal(found, expected)


def test_a_run_that_was_stopped_goes_on_to_the_bit(survey: Path, finished: Path, tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run", frozen_config(survey, tmp_path / "tiles"))
    for epochs in (2, 4):
        stopped_after(run_dir, epochs)
    run(run_dir)
    assert results(run_dir) == results(finished)
    ours, theirs = (torch.load(folder / CHECKPOINT)["network"] for folder in (run_dir, finished))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_features_that_are_stored_nowhere_give_the_same_run(
    survey: Path, finished: Path, tmp_path: Path
) -> None:
    config = frozen_config(survey, tmp_path / "tiles", feature_gb=0)
    run_dir = write_run(tmp_path / "run", config)
    run(run_dir)
    assert not list((tmp_path / "tiles").glob("*features*"))
    assert results(run_dir) == results(finished)


def test_a_new_picture_is_mapped_as_the_run_scored_it(survey: Path, finished: Path) -> None:
    model = load_model(finished, torch.device("cpu"))
    opened = open_survey(survey)
    for tile in opened.splits["val"]:
        kept = np.asarray(Image.open(finished / "masks" / f"{tile}.png"))
        found = predict_probabilities(model, model.scaling.read(opened.image_path(tile))).argmax(axis=0)
        assert (kept == found).mean() > 0.99


def test_cams_of_a_split_are_probabilities_among_the_classes_shown(
    survey: Path, finished: Path, tmp_path: Path
) -> None:
    opened = open_survey(survey)
    extract_cams(finished, opened, ("val",), tmp_path / "cams", "cpu")
    for tile in opened.splits["val"]:
        cam = read_cam(tmp_path / "cams" / "val" / f"{tile}.npy").astype(np.float32)
        assert not cam[~opened.shown(tile)].any()
        np.testing.assert_allclose(cam.sum(axis=0), 1, atol=2e-3)


def test_maps_are_made_of_the_features_that_are_stored(
    survey: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(*_: object) -> None:
        raise AssertionError("the encoder was asked")

    monkeypatch.setattr(FrozenEncoder, "forward", computed)
    extract_cams(finished, open_survey(survey), ("val",), tmp_path / "cams", "cpu")


def test_without_weights_or_at_several_scales_it_is_refused(survey: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match='has learned: write weights = "imagenet"'):
        frozen_config(survey, tmp_path, weights="none")
    config = frozen_config(survey, tmp_path).model_dump()
    with pytest.raises(ValidationError, match=r"whose features are of one scale: write scales = \[1.0\]"):
        RunConfig.model_validate(config | {"cam": {"scales": [1.0, 0.5]}})


def test_steps_whose_cells_are_drawn_are_not_recorded_as_a_cuda_graph(survey: Path, tmp_path: Path) -> None:
    config = frozen_config(survey, tmp_path / "tiles")
    training = config.training.model_copy(update={"cuda_graph": True})
    config = config.model_copy(update={"training": training})
    model, data = new_model(tmp_path, config, load_run_data(tmp_path, config))
    trainer = Trainer(model, data.train, data.labelled, config)
    for epoch in plan(config):
        assert not any(trainer._is_recorded(epoch, batch) for batch in trainer.batches(epoch))


def test_tiles_of_several_sizes_are_never_padded(survey: Path, tmp_path: Path) -> None:
    root = shutil.copytree(survey, tmp_path / "survey")
    for name in ("train1", "train2"):
        grey = np.random.default_rng(0).integers(0, 256, (33, 16), dtype=np.uint8)
        Image.fromarray(grey).save(root / "images" / f"{name}.png")
    config = frozen_config(root, tmp_path / "tiles")
    model, data = new_model(tmp_path, config, load_run_data(tmp_path, config))
    trainer = Trainer(model, data.train, data.labelled, config)
    shapes = data.train.seen.shapes
    for epoch in plan(config):
        batches = trainer.batches(epoch)
        assert all((shapes[batch] == shapes[batch[0]]).all() for batch in batches)
        assert {index for batch in batches for index in batch} == {0, 1, 2, 3}


def test_features_are_let_go_of(survey: Path, tmp_path: Path) -> None:
    config = frozen_config(survey, tmp_path / "tiles")
    _, data = new_model(tmp_path, config, load_run_data(tmp_path, config))
    features = data.train.features
    assert features is not None
    feed_of(features, torch.device("cpu")).assembled([0])
    known = weakref.ref(features)
    del features, data
    gc.collect()
    assert known() is None


def test_maps_of_pictures_are_those_of_their_features(survey: Path, finished: Path) -> None:
    model = load_model(finished, torch.device("cpu"))
    opened = open_survey(survey)
    pictures = load_tiles(opened, opened.splits["val"], model.scaling, 1.0)
    stored = seen_by(model, pictures, finished.parent / "tiles" / "val")
    cam = CamConfig(loss="candidate", form="softmax", scales=(1.0,))
    maps = []
    for tiles in (pictures, stored):
        batches = cam_batches(tiles, range(len(tiles)), model, cam)
        maps.append(dict(stream_cams(model, tiles, batches, cam)))
    for index in range(len(pictures)):
        seen, known = (found[index].astype(np.float32) for found in maps)
        np.testing.assert_allclose(seen, known, atol=5e-3)


def test_a_warm_up_of_another_network_is_refused(survey: Path, finished: Path, tmp_path: Path) -> None:
    config = frozen_config(survey, tmp_path / "tiles", cell=8).model_copy(
        update={"stage": "self-training", "warm_up": str(finished)}
    )
    with pytest.raises(UserError, match=r"network\.cell is 8, but the warm-up .* was trained with 4"):
        run(write_run(tmp_path / "run", config))
