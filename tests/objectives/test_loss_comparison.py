from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.loss_comparison import compare_losses, first_choices
from objectives.search_space import LOSSES


def _trials(*runs: tuple[str, str, float | None]) -> list[FrozenTrial]:
    """Trials of (loss, setting, value); None is a failed trial."""
    trials = []
    for number, (loss, setting, value) in enumerate(runs):
        trial = create_trial(
            state=TrialState.COMPLETE if value is not None else TrialState.FAIL,
            value=value,
            params={"loss": loss},
            distributions={"loss": CategoricalDistribution(LOSSES)},
            user_attrs={"setting": setting},
        )
        trial.number = number
        trials.append(trial)
    return trials


def test_nothing_finished() -> None:
    assert compare_losses([]).best == {}
    assert compare_losses(_trials(("focal", "a", None))).seeds == 0


def test_one_lucky_run_does_not_beat_a_mean() -> None:
    trials = _trials(
        ("cross-entropy", "cross-entropy", 0.70),
        ("focal", "a", 0.60),
        ("focal", "b", 0.90),
        ("lovasz_softmax", "lovasz_softmax", 0.75),
        ("cross-entropy", "cross-entropy", 0.80),
        ("lovasz_softmax", "lovasz_softmax", 0.55),
        ("focal", "a", 0.70),
    )
    comparison = compare_losses(trials)
    assert comparison.seeds == 2
    assert comparison.means() == pytest.approx({"cross-entropy": 0.75, "focal": 0.65, "lovasz_softmax": 0.65})
    assert comparison.best["focal"].setting == "a"
    assert next(iter(comparison.best)) == "cross-entropy"


def test_more_runs_than_the_others_have_are_not_counted() -> None:
    trials = _trials(
        ("cross-entropy", "cross-entropy", 0.5),
        ("lovasz_softmax", "lovasz_softmax", 0.6),
        ("cross-entropy", "cross-entropy", 0.9),
    )
    assert compare_losses(trials).means() == {"lovasz_softmax": 0.6, "cross-entropy": 0.5}


def test_the_choice_for_more_seeds_does_not_move_with_the_repetitions() -> None:
    first = [("focal", "a", 0.8), ("focal", "b", 0.7)]
    before = first_choices(_trials(*first))
    after = first_choices(_trials(*first, ("focal", "a", 0.1)))
    assert before["focal"].setting == after["focal"].setting == "a"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(LOSSES), st.sampled_from("ab"), st.one_of(st.none(), st.floats(0, 1))),
        max_size=14,
    )
)
def test_equal_numbers_of_runs_for_every_loss(runs: list[tuple[str, str, float | None]]) -> None:
    named = [(loss, f"{loss} {setting}", value) for loss, setting, value in runs]
    comparison = compare_losses(_trials(*named))
    complete = {loss for loss, _, value in named if value is not None}
    assert set(comparison.best) == complete
    for loss, chosen in comparison.best.items():
        values = [v for _, setting, v in named if setting == chosen.setting and v is not None]
        assert len(values) >= comparison.seeds >= 1
        assert chosen.mean(comparison.seeds) == pytest.approx(fmean(values[: comparison.seeds]))
        for other in {s for name, s, v in named if name == loss and v is not None}:
            rivals = [v for _, s, v in named if s == other and v is not None]
            if len(rivals) >= comparison.seeds:
                assert fmean(rivals[: comparison.seeds]) <= chosen.mean(comparison.seeds) + 1e-12
