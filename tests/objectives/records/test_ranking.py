from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.records.ranking import (
    LOSSES,
    LossRanking,
    best_loss_run,
    best_of,
    best_trial,
    best_untuned,
    first_choices,
    rank_losses,
)


def _trials(*runs: tuple[str, str, float | None]) -> list[FrozenTrial]:
    """Trials of (loss, setting, value); None is a failed trial."""
    trials = []
    for number, (loss, setting, value) in enumerate(runs):
        trial = create_trial(
            state=TrialState.COMPLETE if value is not None else TrialState.FAIL,
            value=value,
            params={"loss": loss},
            distributions={"loss": CategoricalDistribution(LOSSES)},
            user_attrs={
                "setting": setting,
                "seed": sum(s == setting and v is not None for _, s, v in runs[:number]),
            },
        )
        trial.number = number
        trials.append(trial)
    return trials


def means(ranking: LossRanking) -> dict[str, float]:
    return {loss: row.mean for loss, row in ranking.rows.items()}


def test_nothing_finished() -> None:
    assert rank_losses([]).rows == {}
    assert rank_losses(_trials(("focal", "a", None))).seeds == 0


def test_one_lucky_run_does_not_beat_a_mean() -> None:
    trials = _trials(
        ("cross-entropy", "cross-entropy", 0.70),
        ("focal", "a", 0.90),
        ("focal", "b", 0.60),
        ("lovasz_softmax", "lovasz_softmax", 0.75),
        ("cross-entropy", "cross-entropy", 0.80),
        ("lovasz_softmax", "lovasz_softmax", 0.55),
        ("focal", "a", 0.70),
    )
    comparison = rank_losses(trials)
    # The first runs chose the focal setting, and stand in no mean.
    assert comparison.seeds == 1
    assert means(comparison) == {"cross-entropy": 0.80, "focal": 0.70, "lovasz_softmax": 0.55}
    assert comparison.rows["focal"].all_runs[0].setting == "a"
    assert next(iter(comparison.rows)) == "cross-entropy"


def test_without_a_choice_no_seed_is_left_out() -> None:
    trials = _trials(
        ("cross-entropy", "cross-entropy", 0.70),
        ("lovasz_softmax", "lovasz_softmax", 0.75),
        ("cross-entropy", "cross-entropy", 0.80),
        ("lovasz_softmax", "lovasz_softmax", 0.55),
    )
    comparison = rank_losses(trials)
    assert comparison.seeds == 2
    assert means(comparison) == pytest.approx({"cross-entropy": 0.75, "lovasz_softmax": 0.65})


def test_class_weighted_cross_entropy_never_stands_in_for_focal() -> None:
    trials = _trials(("focal", "weighted", 0.9), ("focal", "gamma 2", 0.6))
    trials[0].user_attrs["name"] = "class-weighted cross-entropy"
    assert means(rank_losses(trials)) == {"class-weighted cross-entropy": 0.9, "focal": 0.6}


def test_more_runs_than_the_others_have_are_not_counted() -> None:
    trials = _trials(
        ("cross-entropy", "cross-entropy", 0.5),
        ("lovasz_softmax", "lovasz_softmax", 0.6),
        ("cross-entropy", "cross-entropy", 0.9),
    )
    assert means(rank_losses(trials)) == {"lovasz_softmax": 0.6, "cross-entropy": 0.5}


def test_the_choice_for_more_seeds_does_not_move_with_the_repetitions() -> None:
    first = [("focal", "a", 0.8), ("focal", "b", 0.7)]
    [before] = first_choices(_trials(*first))
    [after] = first_choices(_trials(*first, ("focal", "a", 0.1)))
    assert [trial.number for trial in before] == [0]
    assert [trial.number for trial in after] == [0, 2]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(LOSSES), st.sampled_from("ab"), st.one_of(st.none(), st.floats(0, 1))),
        max_size=14,
    )
)
def test_equal_numbers_of_runs_for_every_loss(runs: list[tuple[str, str, float | None]]) -> None:
    named = [(loss, f"{loss} {setting}", value) for loss, setting, value in runs]
    comparison = rank_losses(_trials(*named))
    complete = {loss for loss, _, value in named if value is not None}
    assert set(comparison.rows) == complete
    for loss, row in comparison.rows.items():
        chosen = row.all_runs[0]
        first: dict[str, list[float]] = {}
        for name, setting, value in named:
            if name == loss and value is not None:
                first.setdefault(setting, []).append(value)
        assert len(first[chosen.setting]) >= comparison.seeds >= 1
        rivals = [values for values in first.values() if len(values) >= len(first[chosen.setting])]
        assert all(values[0] <= first[chosen.setting][0] for values in rivals)
        # The mean is that of the first runs, or, if these chose a setting, of those after them.
        possible = [
            fmean(first[chosen.setting][start:][: comparison.seeds])
            for start in (0, 1)
            if first[chosen.setting][start:]
        ]
        assert any(row.mean == pytest.approx(mean) for mean in possible)


@pytest.mark.parametrize("losses", [LOSSES, LOSSES[::-1]])
def test_of_losses_with_the_same_mean_the_earlier_trial_wins(losses: tuple[str, ...]) -> None:
    trials = _trials(*((loss, loss, 0.7) for loss in losses))
    assert tuple(rank_losses(trials).rows) == losses
    assert best_loss_run(trials[::-1]) is trials[0]


def test_the_earlier_trial_is_that_of_the_setting_that_is_compared() -> None:
    trials = _trials(("focal", "a", 0.1), ("cross-entropy", "cross-entropy", 0.7), ("focal", "b", 0.7))
    assert next(iter(rank_losses(trials).rows)) == "cross-entropy"


def test_of_equal_trials_the_earlier_one_is_the_best() -> None:
    trials = _trials(("focal", "a", 0.5), ("focal", "b", None), ("focal", "c", 0.7), ("focal", "d", 0.7))
    trials[3].user_attrs["name"] = trials[2].user_attrs["name"] = "named"
    for order in (trials, trials[::-1]):
        assert best_trial(order) is best_of(order) is best_untuned(order) is trials[2]
    assert best_untuned(trials[:2]) is best_trial(trials[1:2]) is best_of([]) is None
