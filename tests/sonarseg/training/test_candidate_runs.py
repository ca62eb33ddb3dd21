"""Runs whose classes compete: trained, resumed, validated, and refused a warm-up of another loss."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sonarseg.cam.extract_split import extract_cams
from sonarseg.cam.files import read_cam, read_maxima
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.errors import UserError
from sonarseg.evaluation import evaluate_crf, evaluate_run
from sonarseg.survey.layout import open_survey
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.branch_loss import BinaryLoss, CandidateLoss, branch_loss
from sonarseg.training.checkpoint.files import CHECKPOINT
from sonarseg.training.checkpoint.model import load_model
from sonarseg.training.config import CamConfig, RunConfig
from sonarseg.training.run import run
from sonarseg.training.schedule import Epoch, branch_progress
from sonarseg.training.targets.pseudo_labels import make_pseudo_labels, read_pseudo_label
from tests.support.run_folders import results, stopped_after, write_run

SOFTMAX = CamConfig(loss="candidate", form="softmax", scales=(1.0,))
SURVEY_MAX = CamConfig(form="survey-max", scales=(1.0,))
CPU = torch.device("cpu")


def with_cam(config: RunConfig, cam: CamConfig, **fields: object) -> RunConfig:
    return config.model_copy(update={"cam": cam, **fields})


@pytest.mark.parametrize(("cam", "background"), [(SOFTMAX, "mud"), (SURVEY_MAX, None)])
def test_a_resumed_run_is_the_undisturbed_one(
    tmp_path: Path, tiny_config: RunConfig, cam: CamConfig, background: str | None
) -> None:
    config = with_cam(tiny_config, cam, background=background)
    undisturbed, resumed = (write_run(tmp_path / name, config) for name in ("undisturbed", "resumed"))
    run(undisturbed)
    stopped_after(resumed, 1)
    stopped_after(resumed, 3)
    run(resumed)
    assert results(resumed) == results(undisturbed)
    one, other = (torch.load(folder / CHECKPOINT)["network"] for folder in (undisturbed, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    model = load_model(resumed, CPU)
    assert model.cam == cam
    assert (model.network.class_activation.bias is not None) == (cam.loss == "candidate")
    survey = open_survey(Path(config.survey), background)
    assert len(evaluate_run(resumed, survey, "val", device="cpu").tiles) == 4


def test_the_branch_learns_from_candidates_alone(tmp_path: Path, tiny_config: RunConfig) -> None:
    training = tiny_config.training.model_copy(update={"warmup_epochs": 8})
    config = with_cam(tiny_config, SOFTMAX, stage="warm-up", training=training)
    summary = run(write_run(tmp_path / "run", config))
    lines = results(tmp_path / "run")[0]
    assert lines[-1]["val_loss_classification"] < lines[0]["val_loss_classification"]
    assert np.mean(list(summary["average_precision"].values())) > 0.6


@pytest.mark.parametrize(("before", "now"), [(SOFTMAX, CamConfig()), (CamConfig(), SOFTMAX)])
def test_a_warm_up_of_another_loss_is_refused(
    tmp_path: Path, tiny_config: RunConfig, before: CamConfig, now: CamConfig
) -> None:
    run(write_run(tmp_path / "warm-up", with_cam(tiny_config, before, stage="warm-up")))
    config = with_cam(tiny_config, now, stage="self-training", warm_up="../warm-up")
    with pytest.raises(UserError, match=rf'cam\.loss is "{now.loss}", but .* trained with "{before.loss}"'):
        run(write_run(tmp_path / "run", config))


def test_progress_is_that_of_the_warm_up_which_later_epochs_have_behind_them() -> None:
    assert branch_progress(Epoch(1, "warm-up", 0, (0, 4)), 0, 10) == 0
    assert branch_progress(Epoch(3, "warm-up", 0, (2, 4)), 5, 10) == 0.625
    assert branch_progress(Epoch(5, "self-training", 1, (0, 2)), 0, 10) == 1


def test_each_loss_has_its_own_logits_and_probabilities() -> None:
    shown = np.array([[True, False], [True, True]])
    labelled = torch.tensor([False, True])
    assert isinstance(branch_loss(CamConfig(), labelled, shown, 0), BinaryLoss)
    competing = branch_loss(CamConfig(loss="candidate"), labelled, shown, 0)
    assert isinstance(competing, CandidateLoss)
    assert competing.top_shares == (0.3, 0.15)
    torch.testing.assert_close(competing.log_shares, torch.log(torch.tensor([0.98, 0.5])))
    logits = torch.zeros((1, 2, 20))
    logits[:, 1, :3] = 50
    # The best three of the twenty cells are sure of class 1; the best six of class 0 are at even odds.
    torch.testing.assert_close(competing.probabilities(logits), torch.tensor([[0.5, 1.0]]))


@pytest.mark.parametrize("constant", ["presence_weight", "top_share", "object_top_share", "temperature"])
def test_the_constants_of_the_candidate_loss_are_settings(constant: str) -> None:
    shown, labelled = np.array([[True, True, False]]), torch.tensor([False, True, True])
    logits = torch.randn((1, 3, 20), generator=torch.Generator().manual_seed(0))
    losses = [
        branch_loss(CamConfig.model_validate({"loss": "candidate"} | chosen), labelled, shown, 0).loss(
            logits, torch.from_numpy(shown), 1.0
        )
        for chosen in ({}, {constant: 0.6})
    ]
    assert not torch.isclose(*losses)


def test_the_maxima_of_train_are_found_once_and_serve_every_split(
    tmp_path: Path, tiny_config: RunConfig
) -> None:
    config = with_cam(tiny_config, SURVEY_MAX, stage="warm-up")
    run(write_run(tmp_path / "run", config))
    survey = open_survey(Path(config.survey))
    cams, said = tmp_path / "cams", []
    for split in ("train", "val"):
        extract_cams(tmp_path / "run", survey, [split], cams, "cpu", lambda *told: said.append(told[0]))
    assert said.count("largest class activations") == len(survey.splits["train"])
    maxima = read_maxima(cams)
    assert maxima is not None
    highest = np.max([read_cam(path).max(axis=(1, 2)) for path in (cams / "train").glob("*.npy")], axis=0)
    np.testing.assert_allclose(highest, maxima > 0, atol=2e-3)
    assert all(read_cam(path).max() <= 1 for path in (cams / "val").glob("*.npy"))


@pytest.mark.parametrize("iterations", [0, 1])
def test_a_background_that_competes_has_no_constant_score(
    tmp_path: Path, tiny_survey: Path, iterations: int
) -> None:
    """Under the candidate loss labels do not depend on `background_score`; under the binary one they do."""
    survey = open_survey(tiny_survey, background="mud")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (tmp_path / "cams" / split).mkdir(parents=True)
        for tile in survey.splits[split]:
            np.save(tmp_path / "cams" / split / f"{tile}.npy", rng.random((3, 24, 32)).astype(np.float16))
    for cam, same in ((SOFTMAX, True), (CamConfig(), False)):
        scored, labelled = [], []
        for score in (0.05, 0.9):
            parameters = CrfParameters(iterations=iterations, unary="soft", background_score=score)
            evaluation = evaluate_crf(survey, "val", tmp_path / "cams", parameters, GreyScaling(), cam=cam)
            scored.append(evaluation.confusions)
            folder = tmp_path / f"{cam.loss}-{score}"
            make_pseudo_labels(
                survey,
                survey.splits["train"],
                tmp_path / "cams" / "train",
                folder,
                parameters,
                GreyScaling(),
                scored_background=cam.scores_background,
            )
            labelled.append([read_pseudo_label(folder, tile) for tile in survey.splits["train"]])
        assert np.array_equal(*scored) == same
        assert np.array_equal(*labelled) == same
