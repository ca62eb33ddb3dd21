"""What a trial was enqueued with is looked at before it is used."""

import math
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from objectives.enqueued import suggested
from objectives.outcome import SettingRefused
from objectives.space import CrfRanges, named_crf_settings, suggest_crf, suggest_loss

RANGES = CrfRanges()


def _crf(trial: optuna.trial.BaseTrial) -> Any:
    return suggest_crf(trial, RANGES, has_background=False)


def _asked(params: dict[str, Any], **user_attrs: Any) -> optuna.Trial:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(params, user_attrs=user_attrs)
    return study.ask()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"unary": "hard"}, "unary = 'hard' was enqueued: expected one of seeds, soft."),
        ({"sigma_alpha": 1e6}, "sigma_alpha = 1e+06 was enqueued: expected a number from 2 to 150."),
        ({"sigma_alpha": -1}, "expected a number from 2 to 150."),
        ({"sigma_beta": "wide"}, "sigma_beta = 'wide' was enqueued: expected a number from 1 to 60."),
        ({"sigma_beta": math.nan}, "sigma_beta = nan was enqueued"),
        ({"sigma_beta": 10**400}, "was enqueued: expected a number from 1 to 60."),
        ({"iterations": -(10**400)}, "was enqueued: expected a whole number from 0 to 10."),
        ({"s" * 5000: 1}, f"{'s' * 60} was enqueued, but is no parameter of such a trial"),
        ({"sigma_beta": [1, 2]}, "sigma_beta = [1, 2] was enqueued"),
        ({"w_spatial": None}, "w_spatial = None was enqueued"),
        ({"w_spatial": True}, "w_spatial = True was enqueued"),
        ({"iterations": 2.5}, "iterations = 2.5 was enqueued: expected a whole number from 0 to 10."),
        ({"guide": 1}, "guide = 1 was enqueued: expected one of raw, median."),
        ({"sigma_delta": 3.0}, "sigma_delta was enqueued, but is no parameter of such a trial"),
        ({"unary": "soft", "gt_prob": 0.7}, "gt_prob was enqueued, but is no parameter of such a trial"),
        ({"unary_scale": 1.0}, "needs the choice it belongs to"),
    ],
)
def test_a_wrong_crf_setting_is_refused_in_a_sentence(params: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingRefused) as refused:
        suggested(_asked(params), _crf)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"loss": "dice"}, "expected one of cross-entropy, focal, lovasz_softmax."),
        ({"loss": "focal", "gamma": 9.0}, "gamma = 9 was enqueued: expected a number from 0 to 5."),
        ({"loss": "cross-entropy", "gamma": 1.0}, "gamma was enqueued"),
        ({"gamma": 1.0}, "gamma was enqueued"),
    ],
)
def test_a_wrong_loss_is_refused_in_a_sentence(params: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingRefused, match="was enqueued") as refused:
        suggested(_asked(params), suggest_loss)
    assert words in str(refused.value)


def test_what_was_not_enqueued_is_chosen_by_the_sampler() -> None:
    chosen = suggested(_asked({"unary": "soft", "iterations": 3}), _crf)
    assert (chosen.unary, chosen.iterations) == ("soft", 3)
    assert RANGES.sigma_alpha[0] <= chosen.sigma_alpha <= RANGES.sigma_alpha[1]
    assert suggested(_asked({}), suggest_loss).name


def test_a_named_setting_and_one_of_another_study_may_lie_outside_the_ranges() -> None:
    wide = named_crf_settings(1, has_background=False)["IRN"] | {"sigma_alpha": 1e4}
    for attrs in ({"name": "far", "enqueued": True}, {"warm_start": {"complete": False}}):
        with pytest.warns(UserWarning, match="out of range"):
            assert suggested(_asked(wide, **attrs), _crf).sigma_alpha == 1e4


@pytest.mark.parametrize(
    ("distribution", "value"),
    [(CategoricalDistribution(("a", "b")), "a"), (FloatDistribution(0, 1e9), 1e9)],
)
def test_a_waiting_trial_with_ranges_of_its_own_is_refused(distribution: Any, value: Any) -> None:
    study = optuna.create_study()
    own = {"params": {"sigma_alpha": value}, "distributions": {"sigma_alpha": distribution}}
    study.add_trial(create_trial(**own, state=TrialState.WAITING))
    with pytest.raises(SettingRefused, match="sigma_alpha"):
        suggested(study.ask(), _crf)
