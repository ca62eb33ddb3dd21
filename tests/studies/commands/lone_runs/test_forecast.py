"""What `run --dry` says of the studies that are to come."""

from types import SimpleNamespace
from typing import Any

import pytest

from studies.commands.lone_runs.forecast import _study_sentence
from studies.workspace import Workspace
from tests.support.workspaces import rewrite

CAM = "[cam]\ntrials = 15\n\n[crf]\n"


def forecast(*stages: str) -> Any:
    return SimpleNamespace(
        epoch_seconds=dict.fromkeys(stages, 10.0), start_seconds=5.0, round_seconds=0.0, end_seconds=0.0
    )


@pytest.mark.parametrize(
    ("study", "stages", "told"),
    [
        (CAM, ("warm-up", "self-training"), " The cam study before it: 15 trials take about 4 min."),
        (CAM, ("self-training",), ""),
        ("[crf]\n", ("warm-up", "self-training"), ""),
    ],
)
def test_the_cam_study_is_forecast_where_it_is_to_come(
    workspace: Workspace, study: str, stages: tuple[str, ...], told: str
) -> None:
    sentence = _study_sentence(rewrite(workspace, "[crf]\n", study), forecast(*stages))
    assert sentence.partition("the crf study comes on top.")[2] == told
