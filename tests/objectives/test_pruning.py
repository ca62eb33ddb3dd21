import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.pruning import SameLossMedianPruner
from objectives.records.ranking import LOSSES

LOSS: dict[str, BaseDistribution] = {"loss": CategoricalDistribution(LOSSES)}


def _study(*finished: tuple[str, list[float]]) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    for loss, curve in finished:
        study.add_trial(
            create_trial(
                value=curve[-1],
                params={"loss": loss},
                distributions=LOSS,
                intermediate_values=dict(enumerate(curve, start=1)),
            )
        )
    return study


def _running(loss: str, curve: list[float], **attrs: bool) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING,
        params={"loss": loss},
        distributions=LOSS,
        intermediate_values=dict(enumerate(curve, start=1)),
        user_attrs=attrs,
    )


GOOD = [0.5, 0.6, 0.7, 0.8]
STUDY = _study(("focal", GOOD), ("focal", GOOD), ("lovasz_softmax", [0.1, 0.1, 0.1, 0.1]))


@pytest.mark.parametrize(
    ("trial", "expected"),
    [
        (_running("focal", [0.1, 0.1, 0.1]), True),
        (_running("focal", [0.1, 0.1, 0.71]), False),
        (_running("focal", [0.9, 0.9, 0.1]), True),
        (_running("focal", [0.1, 0.1]), False),
        (_running("focal", []), False),
        (_running("focal", [0.1, 0.1, 0.7]), False),
        (_running("lovasz_softmax", [0.0, 0.0, 0.0]), False),
        (_running("cross-entropy", [0.0, 0.0, 0.0]), False),
        (_running("focal", [0.1, 0.1, 0.1], enqueued=True), False),
        (_running("focal", [0.1, 0.1, 0.1], repetition=True), False),
        (_running("focal", [0.1, 0.1, 0.1], repetition=False), True),
        (_running("focal", [0.1] * 5), False),
    ],
    ids=[
        "below",
        "above",
        "only this epoch counts",
        "first round",
        "nothing reported",
        "equal",
        "one finished run is too few",
        "no run of this loss",
        "enqueued",
        "repetition",
        "first run of a setting",
        "epoch that no other reached",
    ],
)
def test_fair_pruning(trial: FrozenTrial, expected: bool) -> None:
    assert SameLossMedianPruner(first_step=3).prune(STUDY, trial) is expected


def test_pruned_and_failed_trials_do_not_count() -> None:
    study = _study(("focal", GOOD))
    for state in (TrialState.PRUNED, TrialState.FAIL):
        study.add_trial(
            create_trial(
                state=state,
                params={"loss": "focal"},
                distributions=LOSS,
                intermediate_values={1: 0.9, 2: 0.9, 3: 0.9},
            )
        )
    trial = _running("focal", [0.1, 0.1, 0.1])
    assert not SameLossMedianPruner(first_step=3).prune(study, trial)
    assert SameLossMedianPruner(first_step=3, n_startup=1).prune(study, trial)
