import json
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from objectives.loss import LossObjective
from objectives.outcome import TrialFailed
from objectives.pruning import SameLossMedianPruner
from objectives.records.ranking import LOSSES
from objectives.run_monitor import Timing
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.training.config import RunConfig, TrainingConfig
from sonarseg.training.run_folder.record import is_finished, read_summary
from tests.support import fake_run_program

PROGRAM = Path(fake_run_program.__file__)
BASE = RunConfig(
    survey="../survey", stage="self-training", training=TrainingConfig(rounds=2, epochs_per_round=2)
)


def _objective(runs: Path, behaviour: str = "good", seed: int = 0) -> LossObjective:
    return LossObjective(
        BASE,
        runs / "runs",
        "miou_multiclass",
        seed=seed,
        command=(sys.executable, str(PROGRAM), behaviour),
        timing=Timing(poll=0.02, grace=0.5),
    )


def _study() -> optuna.Study:
    return optuna.create_study(direction="maximize", pruner=SameLossMedianPruner(first_step=3))


def test_a_trial_is_a_run_of_its_own(tmp_path: Path) -> None:
    study = _study()
    study.enqueue_trial({"loss": "focal", "gamma": 2.0, "alpha": 0.5}, user_attrs={"name": "mine"})
    study.optimize(_objective(tmp_path, seed=5), n_trials=1)
    (trial,) = study.trials
    config = RunConfig.model_validate_json((tmp_path / trial.user_attrs["run"] / "config.json").read_text())
    assert (config.loss.name, config.loss.gamma, config.loss.alpha, config.seed) == ("focal", 2.0, 0.5, 5)
    assert trial.value == pytest.approx(0.6 - 0.04 - 0.005 + 0.005)
    assert sorted(trial.intermediate_values) == [1, 2, 3, 4]
    assert trial.user_attrs["run"] == "runs/loss-0000"
    assert trial.user_attrs["setting"] == "focal gamma=2 alpha=0.5"
    assert {"metrics", "confusions", "seconds", "frequencies"} <= set(trial.user_attrs)
    assert unpack_confusions(trial.user_attrs["confusions_shown"]).tolist() == [[[9, 1], [1, 5]]]


def test_the_value_is_the_last_epochs_not_the_best(tmp_path: Path) -> None:
    study = _study()
    study.enqueue_trial({"loss": "cross-entropy"})
    study.optimize(_objective(tmp_path, "falls"), n_trials=1)
    assert study.trials[0].value == 0.3
    assert max(study.trials[0].intermediate_values.values()) == 0.9


def test_a_repeated_setting_gets_a_new_seed(tmp_path: Path) -> None:
    study = _study()
    for loss in ("cross-entropy", "lovasz_softmax", "cross-entropy", "cross-entropy"):
        study.enqueue_trial({"loss": loss})
    study.optimize(_objective(tmp_path, seed=7), n_trials=4)
    seeds = [(t.params["loss"], t.user_attrs["seed"], t.user_attrs["repetition"]) for t in study.trials]
    assert seeds == [
        ("cross-entropy", 7, False),
        ("lovasz_softmax", 7, False),
        ("cross-entropy", 8, True),
        ("cross-entropy", 9, True),
    ]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("nan", "loss_segmentation became nan in epoch 2"), ("killed", "signal 9"), ("fail", "out of memory")],
)
def test_a_failed_run_is_a_failed_trial(tmp_path: Path, behaviour: str, reason: str) -> None:
    study = _study()
    with pytest.raises(TrialFailed, match=reason):
        _objective(tmp_path, behaviour)(study.ask())


def test_a_hopeless_run_is_ended_before_its_last_epoch(tmp_path: Path) -> None:
    study = _study()
    study.enqueue_trial({"loss": "focal", "gamma": 0.0, "alpha": 0.0})
    study.enqueue_trial({"loss": "focal", "gamma": 0.1, "alpha": 0.0})
    study.optimize(_objective(tmp_path), n_trials=2)
    study.enqueue_trial({"loss": "focal", "gamma": 5.0, "alpha": 0.0})
    objective = LossObjective(
        BASE.model_copy(update={"training": TrainingConfig(rounds=2, epochs_per_round=2)}),
        tmp_path / "runs",
        "miou_multiclass",
        command=(sys.executable, str(PROGRAM), "waits"),
        timing=Timing(poll=0.02, grace=0.5),
    )
    study.optimize(objective, n_trials=1)
    trial = study.trials[-1]
    assert trial.state == TrialState.PRUNED
    assert max(trial.intermediate_values) == 3
    run_dir = tmp_path / trial.user_attrs["run"]
    assert not is_finished(run_dir)
    summary = read_summary(run_dir)
    assert (summary["stopped"], summary["epochs"]) == ("pruned", 3)
    assert "below the median of finished runs of the same loss" in summary["reason"]


def test_an_old_folder_of_the_same_name_is_not_mixed_in(tmp_path: Path) -> None:
    old = tmp_path / "runs" / "loss-0000"
    old.mkdir(parents=True)
    line = {"epoch": 1, "loss_segmentation": 0, "miou_multiclass": 0.99}
    (old / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    study = _study()
    study.enqueue_trial({"loss": "cross-entropy"})
    study.optimize(_objective(tmp_path), n_trials=1)
    assert study.trials[0].intermediate_values[1] < 0.6


def test_a_trial_taken_up_again_goes_on_in_its_folder_with_its_seed(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "loss-0042"
    folder.mkdir(parents=True)
    config = BASE.model_copy(update={"seed": 3})
    (folder / "config.json").write_text(config.model_dump_json())
    line = {"epoch": 1, "loss_segmentation": 1.0, "loss_classification": 1.0, "miou_multiclass": 0.11}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    study = _study()
    study.enqueue_trial(
        {"loss": "cross-entropy"}, user_attrs={"seed": 3, "run": "runs/loss-0042", "retry_of": 1}
    )
    study.optimize(_objective(tmp_path), n_trials=1)
    assert study.trials[0].intermediate_values[1] == 0.11
    assert study.trials[0].value == pytest.approx(0.503)
    assert study.trials[0].user_attrs["run"] == "runs/loss-0042"


def test_trials_chosen_one_after_the_other_never_share_a_seed(tmp_path: Path) -> None:
    """However late their runs begin, and whoever holds a gap in the numbers."""
    study = _study()
    for _ in range(3):
        study.enqueue_trial({"loss": "cross-entropy"})
    objective = _objective(tmp_path, seed=7)
    trials = [study.ask() for _ in range(3)]
    for trial in reversed(trials):
        objective.choose(study, trial)
    assert [trial.user_attrs["seed"] for trial in trials] == [9, 8, 7]
    assert objective(trials[1]) == pytest.approx(0.508)
    assert trials[1].user_attrs["seed"] == 8


def test_a_seed_that_a_retried_trial_holds_is_not_given_again(tmp_path: Path) -> None:
    study = _study()
    study.enqueue_trial({"loss": "cross-entropy"}, user_attrs={"seed": 8, "retry_of": 5})
    study.enqueue_trial({"loss": "cross-entropy"})
    study.enqueue_trial({"loss": "cross-entropy"})
    objective = _objective(tmp_path, seed=7)
    for _ in range(3):
        objective.choose(study, study.ask())
    assert [trial.user_attrs["seed"] for trial in study.trials] == [8, 7, 9]


@pytest.mark.parametrize("interruptions", [1, 2])
def test_epochs_before_an_interruption_are_not_judged_again(tmp_path: Path, interruptions: int) -> None:
    study = _study()
    first = study.ask({"loss": optuna.distributions.CategoricalDistribution(LOSSES)})
    for epoch in (1, 2, 3):
        first.report(0.1, epoch)
    study.tell(first, state=TrialState.FAIL)
    if interruptions == 2:
        # It died before it had told of any epoch.
        study.enqueue_trial({"loss": "cross-entropy"}, user_attrs={"retry_of": 0})
        study.tell(study.ask(), state=TrialState.FAIL)
    study.enqueue_trial({"loss": "cross-entropy"}, user_attrs={"retry_of": interruptions - 1})
    judged: list[int | None] = []

    class Judge(SameLossMedianPruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            judged.append(trial.last_step)
            return False

    study.pruner = Judge(first_step=1)
    base = BASE.model_copy(update={"training": TrainingConfig(rounds=2, epochs_per_round=3)})
    objective = replace(_objective(tmp_path), base=base)
    study.optimize(objective, n_trials=1)
    assert sorted(study.trials[-1].intermediate_values) == [1, 2, 3, 4, 5, 6]
    assert judged == [4, 5]
