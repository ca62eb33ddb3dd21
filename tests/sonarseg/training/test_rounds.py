"""Rounds: what each is worth is kept, and a run is the beginning of one with more rounds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sonarseg.files.run_metrics import read_metrics
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.iou import survey_scores
from sonarseg.training.checkpoint.files import CHECKPOINT
from sonarseg.training.config import RunConfig
from sonarseg.training.data.loading import load_run_data, new_model
from sonarseg.training.round_scores import branch_confusions
from sonarseg.training.run import run
from tests.support.run_folders import stopped_after, write_run


def changed(config: RunConfig, training: dict[str, object], **fields: object) -> RunConfig:
    return RunConfig.model_validate(
        config.model_dump() | fields | {"training": config.training.model_dump() | training}
    )


def lines(run_dir: Path) -> list[dict[str, object]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(run_dir)]


def test_the_summary_holds_the_score_of_every_round(tmp_path: Path, tiny_config: RunConfig) -> None:
    run_dir = write_run(tmp_path / "run", changed(tiny_config, {"epochs_per_round": 2}))
    summary = run(run_dir)
    assert [entry["round"] for entry in summary["rounds"]] == [0, 1, 2]
    by_epoch = {line["epoch"]: line for line in read_metrics(run_dir)}
    for entry, epoch in zip(summary["rounds"][1:], (4, 6), strict=True):
        assert entry["metrics"]["miou"] == by_epoch[epoch]["miou"]
        found = survey_scores(unpack_confusions(entry["confusions"]), ("mud", "rock", "weed"))
        assert found == entry["metrics"]
    assert summary["rounds"][2]["confusions"] == summary["confusions"]
    branch = unpack_confusions(summary["rounds"][0]["confusions"])
    np.testing.assert_array_equal(branch.sum(axis=2), unpack_confusions(summary["confusions"]).sum(axis=2))


def test_round_0_is_the_branch_of_the_warm_up_in_every_run_that_starts_from_it(
    tmp_path: Path, tiny_config: RunConfig
) -> None:
    warm_up = write_run(tmp_path / "warm-up", changed(tiny_config, {"warmup_epochs": 8}, stage="warm-up"))
    (first,) = run(warm_up)["rounds"]
    # Trained on bright, grey and dark tiles, it knows most of them without their labels.
    assert first["metrics"]["miou"] > 0.3
    later = {"stage": "self-training", "warm_up": "../warm-up"}
    second = run(write_run(tmp_path / "second", changed(tiny_config, {}, **later)))
    assert [entry["round"] for entry in second["rounds"]] == [0, 1, 2]
    assert second["rounds"][0] == first


def test_the_branch_says_background_where_no_class_is_more_likely_than_not(
    tmp_path: Path, tiny_config: RunConfig
) -> None:
    config = changed(tiny_config, {}, background="rock")
    data = load_run_data(tmp_path, config)
    model, _ = new_model(tmp_path, config, data)
    weight = model.network.class_activation.weight
    # Features come out of a ReLU: a class whose weights are all negative is nowhere likely.
    with torch.no_grad():
        weight.copy_(-weight.abs())
        weight[1] *= 1000
    said = branch_confusions(model, data, 2).sum(axis=(0, 1))
    assert said[1] == said.sum()
    with torch.no_grad():
        weight[2].abs_()
    said = branch_confusions(model, data, 2).sum(axis=(0, 1))
    assert said[2] > 0
    assert said[0] == 0


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ema_epochs": 1.5},
        {"labels_from": "probabilities"},
        {"ema_epochs": 1.5, "labels_from": "probabilities"},
    ],
)
def test_a_run_is_to_the_bit_the_beginning_of_one_with_more_rounds(
    tmp_path: Path, tiny_config: RunConfig, settings: dict[str, object], seed: int
) -> None:
    settings = settings | {"restart_each_round": True, "epochs_per_round": 2}
    short, long = (
        write_run(tmp_path / str(rounds), changed(tiny_config, settings | {"rounds": rounds}, seed=seed))
        for rounds in (2, 3)
    )
    summary = run(short)
    epochs = len(lines(short))
    stopped_after(long, epochs)
    ours, theirs = (torch.load(folder / CHECKPOINT) for folder in (short, long))
    assert all(torch.equal(ours["network"][name], theirs["network"][name]) for name in ours["network"])
    longer = run(long)
    assert lines(long)[:epochs] == lines(short)
    assert longer["rounds"][:3] == summary["rounds"]
    assert len(longer["rounds"]) == 4
