"""Runs whose encoder learns for some epochs between the warm-up and the rounds."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from sonarseg.cam.extract_split import extract_cams
from sonarseg.features.cells import grid
from sonarseg.features.network import FrozenNetwork
from sonarseg.files.run_metrics import read_metrics
from sonarseg.losses.build import Loss
from sonarseg.losses.cross_entropy import cross_entropy
from sonarseg.prediction import predict_probabilities
from sonarseg.progress import silent
from sonarseg.survey.layout import open_survey
from sonarseg.training import largest_batch
from sonarseg.training.checkpoint.files import CHECKPOINT
from sonarseg.training.checkpoint.model import Model, load_model
from sonarseg.training.config import RunConfig
from sonarseg.training.data.loading import RunData, load_run_data, new_model
from sonarseg.training.data.stages import TUNED
from sonarseg.training.dry_run import dry_run
from sonarseg.training.run import run
from sonarseg.training.run_folder.summary import config_hash
from sonarseg.training.schedule import FINE_TUNE, SELF_TRAINING, Epoch, plan
from sonarseg.training.targets.rounds import RoundTargets
from sonarseg.training.trainer import Trainer
from tests.support.run_folders import results, stopped_after, write_run
from tests.support.simulated_cuda import simulated_cuda
from tests.support.tiny_survey import write_survey

TUNED_LITE0 = {
    "encoder": "efficientnet_lite0",
    "weights": "imagenet",
    "encoder_training": "fine-tune",
    "decoder_channels": 8,
    "cell": 4,
}
TRAINING = {
    "warmup_epochs": 2,
    "fine_tune_epochs": 2,
    "fine_tune_rate": 2e-4,
    "rounds": 2,
    "epochs_per_round": 1,
    "batch_size": 2,
    "ema_epochs": 1.5,
    "restart_each_round": True,
    "labels_from": "probabilities",
}
STAGES = ["warm-up"] * 2 + ["fine-tune"] * 2 + ["self-training"] * 2


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_survey(tmp_path_factory.mktemp("tuned") / "survey")


def tuned_config(
    survey: Path, tiles: Path | str, training: dict[str, object], **sections: object
) -> RunConfig:
    return RunConfig.model_validate(
        {
            "survey": str(survey),
            "tiles": str(tiles),
            "network": TUNED_LITE0,
            "cam": {"loss": "candidate", "form": "softmax", "scales": [1.0]},
            "training": TRAINING | training,
            "crf": {"iterations": 1},
            "device": "cpu",
        }
        | sections
    )


@pytest.fixture(scope="module")
def finished(survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run_dir = write_run(folder / "run", tuned_config(survey, folder / "tiles", {}))
    run(run_dir)
    return run_dir


@pytest.fixture(scope="module")
def warm_up(survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    run_dir = write_run(folder / "warm-up", tuned_config(survey, "../tiles", {}, stage="warm-up"))
    run(run_dir)
    return run_dir


def encoder_of(run_dir: Path) -> dict[str, torch.Tensor]:
    weights = torch.load(run_dir / CHECKPOINT)["network"]
    return {name: weights[name] for name in weights if name.startswith("encoder.")}


def statistics_of(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: weights[name] for name in weights if "running" in name}


def test_each_line_names_its_stage_and_the_rate_of_its_encoder(finished: Path) -> None:
    lines = read_metrics(finished)
    assert [line["stage"] for line in lines] == STAGES
    assert [line["round"] for line in lines] == [0, 0, 0, 0, 1, 2]
    assert all(line["loss_segmentation"] is None for line in lines[:4])
    rates = [line["learning_rate"] for line in lines]
    assert max(rates[2:4]) < 2e-4 < min(rates[0], rates[4])
    assert "epoch 3/6 (fine-tune, round 0)" in (finished / "log.txt").read_text()


def test_the_encoder_learns_in_its_stage_alone(finished: Path, survey: Path, tmp_path: Path) -> None:
    config = tuned_config(survey, finished.parent / "tiles", {})
    given = new_model(tmp_path, config, load_run_data(tmp_path, config))[0].network.encoder.state_dict()
    run_dir = write_run(tmp_path / "run", config)
    found = []
    for epochs in (2, 4, 5):
        stopped_after(run_dir, epochs)
        found.append(encoder_of(run_dir))
    before, tuned, later = found
    same = {name for name in tuned if torch.equal(tuned[name], before[name])}
    assert all(torch.equal(before[f"encoder.{name}"], given[name]) for name in given)
    assert len(same) < len(tuned)
    assert set(statistics_of(tuned)) <= same
    assert all(torch.equal(later[name], tuned[name]) for name in tuned)


@pytest.mark.parametrize("stops", [(1, 3, 5), (2,), (4,)], ids=["within stages", "before", "after"])
def test_a_run_that_was_stopped_goes_on_to_the_bit(
    stops: tuple[int, ...], survey: Path, finished: Path, tmp_path: Path
) -> None:
    run_dir = write_run(tmp_path / "run", tuned_config(survey, tmp_path / "tiles", {}))
    for epochs in stops:
        stopped_after(run_dir, epochs)
    run(run_dir)
    assert results(run_dir) == results(finished)
    ours, theirs = (torch.load(folder / CHECKPOINT)["network"] for folder in (run_dir, finished))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_without_an_average_a_run_goes_on_to_the_bit_as_well(survey: Path, tmp_path: Path) -> None:
    config = tuned_config(survey, tmp_path / "tiles", {"ema_epochs": 0, "warmup_epochs": 0})
    whole, stopped = (write_run(tmp_path / name, config) for name in ("whole", "stopped"))
    run(whole)
    for epochs in (1, 2):
        stopped_after(stopped, epochs)
    run(stopped)
    assert results(stopped) == results(whole)


def test_the_rounds_are_trained_on_features_of_the_tuned_encoder(
    survey: Path, finished: Path, tmp_path: Path
) -> None:
    config = tuned_config(survey, finished.parent / "tiles", {})
    run_dir = write_run(tmp_path / "run", config)
    stopped_after(run_dir, 5)
    kept = sorted(path.name.split("-features")[0] for path in (run_dir / TUNED).glob("[tv]*-features-*"))
    assert kept == ["train", "val"]
    assert not (finished / TUNED).exists()
    # What the network says of a picture is what it said of the features that were kept.
    model = load_model(finished, torch.device("cpu"))
    opened = open_survey(survey)
    for tile in opened.splits["val"]:
        mask = np.asarray(Image.open(finished / "masks" / f"{tile}.png"))
        found = predict_probabilities(model, model.scaling.read(opened.image_path(tile))).argmax(axis=0)
        assert (mask == found).mean() > 0.99


def test_trials_start_from_the_tuned_network_and_share_its_features(
    survey: Path, warm_up: Path, tmp_path: Path
) -> None:
    assert [line["stage"] for line in read_metrics(warm_up)] == STAGES[:4]
    opened = open_survey(survey)
    extract_cams(warm_up, opened, ("train", "val"), tmp_path / "cams", "cpu")
    said: list[str] = []
    config = tuned_config(survey, "../tiles", {}, stage="self-training", warm_up="../warm-up")
    trial = write_run(warm_up.parent / "trial", config)
    run(trial, lambda what, *_: said.append(what))
    assert "training" in said and "computing features" not in said
    assert [line["stage"] for line in read_metrics(trial)] == STAGES[4:]
    ours, theirs = encoder_of(trial), encoder_of(warm_up)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not (trial / TUNED).exists()


def test_a_warm_up_run_is_the_beginning_of_a_full_one(finished: Path, warm_up: Path) -> None:
    lines, longer = read_metrics(warm_up), read_metrics(finished)
    assert lines[-1]["loss_classification"] == longer[3]["loss_classification"]
    ours, theirs = encoder_of(warm_up), encoder_of(finished)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_masks_teach_the_decoder_while_the_encoder_learns(survey: Path, tmp_path: Path) -> None:
    config = tuned_config(survey, tmp_path / "tiles", {"rounds": 1}, supervision="masks")
    run_dir = write_run(tmp_path / "run", config)
    stopped_after(run_dir, 3)
    before, line = torch.load(run_dir / CHECKPOINT)["network"], read_metrics(run_dir)[-1]
    run(run_dir)
    assert line["loss_segmentation"] > 0 and 0 <= line["miou"] <= 1
    fresh = new_model(tmp_path, config, load_run_data(tmp_path, config))[0].network.state_dict()
    name = "decoder.classifier.weight"
    assert not torch.equal(before[name], fresh[name])


def test_the_stage_takes_pictures_and_all_terms_of_the_loss(survey: Path, tmp_path: Path) -> None:
    config = tuned_config(survey, tmp_path / "tiles", {})
    data = load_run_data(tmp_path, config)
    model, _ = new_model(tmp_path, config, data)
    trainer = Trainer(model, data.train, data.labelled, config, FINE_TUNE)
    seen: list[tuple[torch.dtype, float]] = []
    losses = trainer._losses

    def spy(pictures, target, shown, loss, progress):
        seen.append((pictures.dtype, progress))
        return losses(pictures, target, shown, loss, progress)

    trainer._losses = spy  # type: ignore[method-assign]
    trainer.train_epoch(Epoch(1, FINE_TUNE, 0, (0, 1)), None, None)
    assert set(seen) == {(torch.float32, 1.0)}
    factors = {group["lr"] for group in trainer.optimiser.param_groups}
    assert max(factors) == pytest.approx(5 * min(factors))
    trainer.restart(SELF_TRAINING)
    network = model.network
    assert isinstance(network, FrozenNetwork)
    assert all(p.grad is None and not p.requires_grad for p in network.encoder.parameters())


def test_on_cuda_pictures_are_padded_as_the_cells_of_their_masks_are(
    survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles of two sizes, of which the larger shows in no multiple of what other pictures are padded to."""
    other = shutil.copytree(survey, tmp_path / "survey")
    for tile in open_survey(other).splits["train"][::2]:
        for folder in ("images", "masks"):
            path = other / folder / f"{tile}.png"
            Image.fromarray(np.asarray(Image.open(path))[:-4, :-8]).save(path)
    sizes: list[tuple[tuple[int, int], tuple[int, int]]] = []

    def spy(self: Trainer, loss: Loss, progress: float, *inputs: torch.Tensor) -> None:
        seen, target = (tuple(part.shape[2:]) for part in inputs[:2])
        sizes.append((grid(seen, 4), target))
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_take_step", spy)
    sections = {"supervision": "masks", "device": "cuda"}
    config = tuned_config(other, tmp_path / "tiles", {"ema_epochs": 0}, **sections)
    with simulated_cuda(), pytest.raises(KeyboardInterrupt):
        data = load_run_data(tmp_path, config)
        model, _ = new_model(tmp_path, config, data)
        targets = RoundTargets(tmp_path, config, data.survey, model, data.train).of_round(1, silent)
        trainer = Trainer(model, data.train, data.labelled, config, FINE_TUNE)
        trainer.train_epoch(Epoch(1, FINE_TUNE, 0, (0, 1)), targets, cross_entropy)
    assert [seen for seen, _ in sizes] == [target for _, target in sizes] != []


def test_the_largest_batch_fits_the_stage_as_well(
    survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[str, bool]] = []

    def spy(model: Model, config: RunConfig, data: RunData, stage: str, loss: Loss | None) -> None:
        tried.append((stage, data.train.features is None))

    monkeypatch.setattr(largest_batch, "train_steps", spy)
    sections = {"device": "cuda"}
    config = tuned_config(survey, tmp_path / "tiles", {"batch_size": "auto"}, **sections)
    with simulated_cuda():
        data = load_run_data(tmp_path, config)
        monkeypatch.setattr(largest_batch, "LARGEST", largest_batch.SMALLEST)
        largest_batch.largest_batch(tmp_path, config, data)
    assert tried == [("fine-tune", True), ("self-training", False)]


def test_the_forecast_counts_its_epochs_and_new_features(survey: Path, tmp_path: Path) -> None:
    forecast = dry_run(tuned_config(survey, "../tiles", {}), tmp_path / "run", tmp_path)
    assert forecast.epochs == {"warm-up": 2, "fine-tune": 2, "self-training": 2}
    assert forecast.epoch_seconds["fine-tune"] > 0 and forecast.feature_seconds > 0


def test_its_settings_count_where_they_say_something(survey: Path, tmp_path: Path) -> None:
    config = tuned_config(survey, tmp_path, {})
    other = tuned_config(survey, tmp_path, {"fine_tune_rate": 1e-4})
    assert config_hash(config) != config_hash(other)
    frozen = tuned_config(survey, tmp_path, {}, network=TUNED_LITE0 | {"encoder_training": "frozen"})
    assert FINE_TUNE not in {epoch.stage for epoch in plan(frozen)}
    with pytest.raises(ValidationError, match='encoder_training = "fine-tune" needs an encoder that has'):
        tuned_config(survey, tmp_path, {}, network=TUNED_LITE0 | {"weights": "none"})
