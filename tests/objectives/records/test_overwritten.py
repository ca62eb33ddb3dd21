"""Attributes of a study that another program has overwritten are named in a sentence."""

from typing import Any

import optuna
import pytest

from objectives.records.overwritten import refuse_overwritten
from objectives.records.read import read_studies
from sonarseg.errors import UserError

WRITTEN = {
    "kind": "crf",
    "config": {"seed": 0},
    "created": "2026-01-01T00:00:00+00:00",
    "device": "cpu",
    "draws": 3,
    "engine": "numba",
    "groups": [None, "line 1"],
    "metric": "miou_multiclass",
    "seed": 0,
    "survey": {"classes": ["mud", "rock"], "background": None},
    "test_openings": [{"time": "2026-01-01T00:00:00+00:00", "what": "loss:1"}],
    "tiles": ["a", "b"],
    "unscored": [],
    "versions": {"optuna": "4.0.0"},
}


def holding(attrs: dict[str, Any]) -> optuna.Study:
    study = optuna.create_study()
    for name, value in attrs.items():
        study.set_user_attr(name, value)
    return study


def test_what_this_program_writes_and_what_it_does_not_know_is_no_fault() -> None:
    refuse_overwritten("study.db", {"crf": holding({})})
    refuse_overwritten("study.db", {"crf": holding({**WRITTEN, "of another program": [None]})})


@pytest.mark.parametrize("name", sorted(WRITTEN.keys() - {"kind"}))
@pytest.mark.parametrize("value", ["garbage", None, 1.5])
def test_an_overwritten_attribute_is_named(name: str, value: Any) -> None:
    if value == "garbage" and name in ("created", "device", "engine"):
        return
    with pytest.raises(UserError, match=f"study.db: the attribute {name} of the crf study is .*, expected "):
        refuse_overwritten("study.db", {"crf": holding({**WRITTEN, name: value})})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("survey", {"classes": "mud"}),
        ("versions", {"optuna": 4}),
        ("test_openings", ["yesterday"]),
        ("tiles", [1]),
        ("draws", True),
    ],
)
def test_what_lies_inside_is_looked_at(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"the attribute {name} of"):
        refuse_overwritten("study.db", {"crf": holding({**WRITTEN, name: value})})


def test_a_report_refuses_such_a_database(tmp_path: Any) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(study_name="crf", storage=storage, direction="maximize")
    study.set_user_attr("kind", "crf")
    study.set_user_attr("test_openings", "garbage")
    with pytest.raises(UserError, match=r"study\.db: the attribute test_openings of the crf study"):
        read_studies(tmp_path)
