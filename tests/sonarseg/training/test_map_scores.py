"""A warm-up run says what its maps are worth as pseudo-labels."""

from pathlib import Path

import numpy as np
import pytest

from sonarseg.cam.extract_split import extract_cams
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.evaluation import evaluate_crf
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.iou import survey_scores
from sonarseg.survey.layout import open_survey
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.config import CamConfig, RunConfig
from sonarseg.training.run import run
from tests.support.run_folders import write_run

SOFTMAX = CamConfig(loss="candidate", form="softmax", scales=(1.0,))


@pytest.mark.parametrize("background", [None, "mud"])
@pytest.mark.parametrize("cam", [CamConfig(), CamConfig(form="survey-max"), SOFTMAX])
def test_maps_are_worth_what_a_crf_of_no_iterations_makes_of_them(
    tmp_path: Path, tiny_config: RunConfig, cam: CamConfig, background: str | None
) -> None:
    config = tiny_config.model_copy(
        update={"cam": cam, "stage": "warm-up", "score_maps": True, "background": background}
    )
    maps = run(write_run(tmp_path / "run", config))["maps"]
    survey = open_survey(Path(config.survey), background)
    extract_cams(tmp_path / "run", survey, ["val"], tmp_path / "cams", "cpu")
    no_crf = CrfParameters(iterations=0, unary="soft")
    expected = evaluate_crf(survey, "val", tmp_path / "cams", no_crf, GreyScaling(), cam=cam).confusions
    np.testing.assert_array_equal(unpack_confusions(maps["confusions"]), expected)
    assert maps["metrics"] == survey_scores(expected, survey.classes)


def test_other_runs_do_not_score_them(tmp_path: Path, tiny_config: RunConfig) -> None:
    assert (
        run(write_run(tmp_path / "run", tiny_config.model_copy(update={"stage": "warm-up"})))["maps"] is None
    )
