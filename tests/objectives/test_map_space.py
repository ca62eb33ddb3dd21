"""What a cam trial may choose, and how it becomes the settings of a run."""

from typing import Any

import optuna
import pytest

from objectives.map_space import (
    AS_CONFIGURED,
    CANDIDATE_MAPS,
    PUBLISHED_MAPS,
    map_space,
    map_text,
    named_map_settings,
    suggest_maps,
    with_maps,
)
from sonarseg.training.config import RunConfig

FROZEN = {
    "network": {"encoder_training": "frozen", "weights": "imagenet", "decoder_channels": 48},
    "cam": {"loss": "candidate", "form": "softmax", "scales": [1.0]},
    "training": {"warmup_epochs": 12, "head_factor": 2.0},
}
EVERY = {
    "loss",
    "form",
    "presence_weight",
    "top_share",
    "object_top_share",
    "temperature",
    "warmup_rate",
    "warmup_epochs",
    "branch_channels",
    "local_statistics",
}


def settings(sections: dict[str, Any]) -> RunConfig:
    return RunConfig.model_validate({"survey": "s"} | sections)


@pytest.mark.parametrize(
    ("sections", "background", "fixed", "expected"),
    [
        (FROZEN, "floor", {"loss": "candidate"}, EVERY),
        (FROZEN, None, {"loss": "candidate"}, EVERY - {"object_top_share"}),
        ({}, None, {"loss": "binary"}, {"loss", "binary_form", "warmup_rate", "warmup_epochs"}),
    ],
)
def test_parameters_exist_where_they_matter_and_reach_the_run(
    sections: dict[str, Any], background: str | None, fixed: dict[str, Any], expected: set[str]
) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    study.enqueue_trial(fixed)
    base = settings(sections)
    params = suggest_maps(study.ask(), map_space(base, background))
    assert params.keys() == expected
    changed = with_maps(base, params)
    found = changed.cam.model_dump() | changed.network.model_dump() | changed.training.model_dump()
    assert {name: found["form" if name == "binary_form" else name] for name in params} == params
    assert map_space(changed, background).configured == params


def test_a_study_starts_with_the_published_maps_those_of_the_candidate_loss_and_its_own() -> None:
    base = settings(FROZEN)
    named = named_map_settings(map_space(base, None))
    assert list(named) == [PUBLISHED_MAPS, CANDIDATE_MAPS]
    assert with_maps(base, named[CANDIDATE_MAPS]).cam == base.cam
    assert (named[PUBLISHED_MAPS]["binary_form"], named[PUBLISHED_MAPS]["warmup_rate"]) == ("tile-max", 2e-3)
    own = settings(FROZEN | {"cam": FROZEN["cam"] | {"top_share": 0.2}})
    assert list(named_map_settings(map_space(own, None))) == [PUBLISHED_MAPS, CANDIDATE_MAPS, AS_CONFIGURED]


def test_named_settings_train_as_the_run_does_without_them() -> None:
    base = settings({})
    found = with_maps(base, named_map_settings(map_space(base, None))[PUBLISHED_MAPS])
    assert found.cam == base.cam and found.network == base.network
    assert found.training.warmup_rate == base.training.learning_rate * base.training.head_factor


def test_a_wrong_value_is_refused() -> None:
    with pytest.raises(ValueError, match="top_share"):
        with_maps(settings({}), {"loss": "candidate", "top_share": 3.0})


def test_the_text_tells_settings_apart() -> None:
    assert map_text({"loss": "binary", "binary_form": "tile-max", "warmup_rate": 0.002}) == (
        "binary tile-max warmup_rate=0.002"
    )
    assert map_text({"local_statistics": True, "form": "softmax", "loss": "candidate"}) == (
        "candidate softmax local_statistics=true"
    )
