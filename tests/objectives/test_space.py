import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FixedTrial, TrialState
from pydantic import ValidationError

from objectives.records.ranking import LOSSES
from objectives.space import (
    NAMED_LOSSES,
    CrfRanges,
    crf_params,
    named_crf_settings,
    setting_text,
    suggest_crf,
    suggest_loss,
)
from sonarseg.densecrf.published import PUBLISHED


def _random_trial(seed: int) -> tuple[optuna.Study, optuna.Trial]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return study, study.ask()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), has_background=st.booleans())
def test_crf_trial_holds_only_the_parameters_that_matter(seed: int, has_background: bool) -> None:
    _, trial = _random_trial(seed)
    parameters = suggest_crf(trial, CrfRanges(), has_background)
    assert ("unary_scale" in trial.params) == (parameters.unary == "soft")
    assert ("gt_prob" in trial.params) == (parameters.unary == "seeds")
    assert ("background_score" in trial.params) == has_background
    assert crf_params(parameters, has_background) == trial.params


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_loss_trial_has_gamma_and_alpha_under_focal_only(seed: int) -> None:
    _, trial = _random_trial(seed)
    loss = suggest_loss(trial)
    expected = {"loss", "gamma", "alpha"} if loss.name == "focal" else {"loss"}
    assert set(trial.params) == expected
    assert trial.params["loss"] == loss.name
    if loss.name == "focal":
        assert 0 <= loss.gamma <= 5
        assert 0 <= loss.alpha <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("has_background", [False, True])
@pytest.mark.parametrize("name", PUBLISHED)
def test_default_ranges_hold_the_published_settings(name: str, channels: int, has_background: bool) -> None:
    params = named_crf_settings(channels, has_background)[name]  # type: ignore[arg-type]
    trial = FixedTrial(params)
    suggest_crf(trial, CrfRanges(), has_background)
    for parameter, distribution in trial.distributions.items():
        assert distribution._contains(distribution.to_internal_repr(params[parameter])), parameter
    assert set(trial.distributions) == set(params)


def test_published_settings_on_grey_and_rgb() -> None:
    grey, rgb = named_crf_settings(1, False), named_crf_settings(3, False)
    assert list(grey) == ["no CRF", "w-s3Tseg", "IRN", "PSA", "DeepLab"]
    assert grey["no CRF"]["iterations"] == 0
    assert grey["w-s3Tseg"]["sigma_beta"] == rgb["w-s3Tseg"]["sigma_beta"] == 5
    assert rgb["PSA"]["sigma_beta"] == 13
    assert grey["PSA"]["sigma_beta"] == pytest.approx(7.5056, abs=1e-4)
    assert named_crf_settings(1, True)["IRN"]["background_score"] == 0.3


def test_ranges_reach_hardly_any_crf() -> None:
    ranges = CrfRanges()
    assert ranges.iterations[0] == 0
    assert max(ranges.w_bilateral[0], ranges.w_spatial[0]) <= 0.01


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sigma_alpha", [9, 3]),
        ("sigma_alpha", [0, 3]),
        ("iterations", [-1, 4]),
        ("iterations", [1.5, 4]),
        ("gt_prob", [0.4, 0.9]),
        ("gt_prob", [0.6, 1.0]),
        ("guides", ["median"]),
        ("guides", []),
        ("sigma_delta", [1, 2]),
    ],
)
def test_wrong_ranges_are_refused(field: str, value: list[float]) -> None:
    with pytest.raises(ValidationError):
        CrfRanges.model_validate({field: value})


def test_named_losses_can_be_suggested_and_have_settings_of_their_own() -> None:
    texts = {name: setting_text(suggest_loss(FixedTrial(params))) for name, params in NAMED_LOSSES.items()}
    assert texts == {
        "cross-entropy": "cross-entropy",
        "class-weighted cross-entropy": "focal gamma=0 alpha=1",
        "focal gamma 2": "focal gamma=2 alpha=0",
        "Lovász-Softmax": "lovasz_softmax",
    }


def test_tpe_learns_in_the_conditional_space() -> None:
    """TPE beats random search on a space whose best corner lies under one condition."""

    def objective(trial: optuna.Trial) -> float:
        loss = suggest_loss(trial)
        return 1 - abs(loss.gamma - 1) / 5 - loss.alpha / 2 if loss.name == "focal" else 0.0

    from objectives.samplers import make_sampler

    study = optuna.create_study(
        direction="maximize", sampler=make_sampler("tpe", seed=3, moved_on=0, budget=30)
    )
    for params in NAMED_LOSSES.values():
        study.enqueue_trial(params)
    study.optimize(objective, n_trials=30)
    later = [t.params["loss"] for t in study.get_trials(states=(TrialState.COMPLETE,))[10:]]
    assert later.count("focal") > len(later) * 0.6
    assert set(LOSSES) >= set(later)
    assert study.best_value > 0.85
