"""The hash by which a run knows its settings again."""

import pytest

from sonarseg.training.config import RunConfig
from sonarseg.training.run_folder import summary
from sonarseg.training.run_folder.summary import config_hash


@pytest.mark.parametrize(
    ("settings", "recorded"),
    [
        ({"survey": "s"}, "a2080ccc743a9e8b"),
        (
            {"survey": "s", "seed": 3, "training": {"rounds": 2}, "cam": {"scales": [1.0]}},
            "4e0777f340a4b05a",
        ),
    ],
)
def test_fields_that_came_later_leave_the_hash_of_older_runs_alone(
    settings: dict[str, object], recorded: str
) -> None:
    assert config_hash(RunConfig.model_validate(settings)) == recorded


@pytest.mark.parametrize(
    "chosen",
    [
        {"cam": {"loss": "candidate"}},
        {"cam": {"form": "survey-max"}},
        {"cam": {"setting": "paper"}},
        {"cam": {"presence_weight": 0.5}},
        {"cam": {"top_share": 0.2}},
        {"cam": {"object_top_share": 0.2}},
        {"cam": {"temperature": 0.4}},
        {"network": {"branch_channels": 32}},
        {"training": {"warmup_rate": 0.002}},
    ],
)
def test_what_the_maps_are_made_of_counts(chosen: dict[str, object]) -> None:
    config, other = (RunConfig.model_validate({"survey": "s"} | added) for added in ({}, chosen))
    assert config_hash(config) != config_hash(other)


def test_a_later_field_counts_once_it_has_another_value(monkeypatch: pytest.MonkeyPatch) -> None:
    config, other = (RunConfig.model_validate({"survey": "s", "training": {"rounds": n}}) for n in (3, 4))
    monkeypatch.setattr(summary, "ADDED_LATER", {"training": {"rounds": 3}})
    without = config_hash(config)
    assert config_hash(other) != without
    monkeypatch.setattr(summary, "ADDED_LATER", {})
    assert config_hash(config) != without


def test_where_features_are_kept_counts_for_nothing() -> None:
    settings = {"encoder_training": "frozen", "weights": "imagenet"}
    config, other, cells = (
        RunConfig.model_validate({"survey": "s", "cam": {"scales": [1.0]}, "network": settings | more})
        for more in ({}, {"feature_gb": 0}, {"cell": 4})
    )
    assert config_hash(config) == config_hash(other) != config_hash(cells)


def test_what_is_scored_besides_counts_for_nothing() -> None:
    config, other = (RunConfig(survey="s", score_maps=scored) for scored in (False, True))
    assert config_hash(config) == config_hash(other)
